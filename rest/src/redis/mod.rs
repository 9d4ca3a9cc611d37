//! Redis, as something that may be gone: every call has a deadline, and a dead server costs no call any time.
//!
//! | part | where |
//! |---|---|
//! | one call | this file |
//! | the circuit breaker and the connection behind it | [`breaker`] |
//! | messages from other replicas | [`subscription`] |
//!
//! What is kept in Redis can be done without: whoever gets a [`LinkError`] goes on with this process's memory.

mod breaker;
mod subscription;

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo as _, RedisError, ServerErrorKind, cmd};
use breaker::Breaker;
pub use subscription::{Event, Subscription};

/// Gauge: 1 while Redis answers, 0 while it does not. Absent until it was first asked.
pub const UP: &str = "scale_redis_up";

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkOptions {
    /// For one call, a new connection included.
    pub deadline: Duration,
    /// So many failures in a row open the breaker; a connection that is refused opens it at once.
    pub failures: u32,
    /// From the opening until the first probe; twice as long after each that fails.
    pub first_probe: Duration,
    /// The longest time between two probes.
    pub longest_probe: Duration,
    /// For a probe, and for a new connection of a subscription. Nobody waits for those.
    pub connect: Duration,
    /// A subscription without messages asks so often whether its connection is alive.
    pub heartbeat: Duration,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(50),
            failures: 3,
            first_probe: Duration::from_secs(2),
            longest_probe: Duration::from_secs(30),
            connect: Duration::from_secs(2),
            heartbeat: Duration::from_secs(15),
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Redis did not answer in time, or is known to be down. Whether the call had an effect is unknown.
    #[error("redis is down")]
    Down,
    /// Redis is up and refuses this call: a bug of ours or a missing permission.
    #[error("redis refuses the call: {0}")]
    Refused(String),
}

impl LinkError {
    /// One stable word per cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Down => "redis_down",
            Self::Refused(_) => "redis_refused",
        }
    }
}

/// Why a URL is not one of a Redis. Never quotes it: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkSetupError {
    /// Not a URL of Redis.
    #[error("the redis URL is not of the form redis://[user:password@]host[:port][/database]")]
    Url,
    /// TLS is not built in.
    #[error(
        "rediss:// needs TLS, which this build does not speak to redis; use redis:// on a private network or through a \
         TLS tunnel"
    )]
    Tls,
}

/// A way to one Redis. Clones share a connection and a breaker. Connects at the first call.
#[derive(Clone)]
pub struct Link(Arc<Breaker>);

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("address", &self.0.address()).finish_non_exhaustive()
    }
}

/// A Lua script, run by its hash.
#[derive(Clone, Debug)]
pub struct Script {
    code: &'static str,
    hash: String,
}

impl Script {
    /// A script. All its keys must be among those it is called with.
    pub fn new(code: &'static str) -> Self {
        Self { code, hash: ::redis::Script::new(code).get_hash().to_owned() }
    }
}

impl Link {
    /// To the server of `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`LinkSetupError`].
    pub fn open(url: &str) -> Result<Self, LinkSetupError> {
        Self::open_with(url, LinkOptions::default())
    }

    /// As [`Self::open`], with other times.
    ///
    /// # Errors
    /// [`LinkSetupError`].
    pub fn open_with(url: &str, options: LinkOptions) -> Result<Self, LinkSetupError> {
        // The library's own errors may quote the URL.
        if ["rediss:", "valkeys:"].iter().any(|scheme| url.trim_start().starts_with(scheme)) {
            return Err(LinkSetupError::Tls);
        }
        let info = url.into_connection_info().map_err(|_| LinkSetupError::Url)?;
        let client = Client::open(info).map_err(|_| LinkSetupError::Url)?;
        Ok(Self(Arc::new(Breaker::new(client, options))))
    }

    /// Whether the last thing known of Redis is that it answers.
    pub fn is_up(&self) -> bool {
        self.0.is_up()
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, LinkError> {
        self.query(cmd("GET").arg(key)).await
    }

    /// Sets `key` to `value` for `ttl`, at least a millisecond.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn set_ex(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), LinkError> {
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64);
        self.query(cmd("SET").arg(key).arg(value).arg("PX").arg(ttl)).await
    }

    /// Forgets `key`.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn del(&self, key: &str) -> Result<(), LinkError> {
        self.query(cmd("DEL").arg(key)).await
    }

    /// Sends `payload` to those who listen to `channel` now; returns how many connections those are.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn publish(&self, channel: &str, payload: &[u8]) -> Result<u64, LinkError> {
        self.query(cmd("PUBLISH").arg(channel).arg(payload)).await
    }

    /// Runs `script` over one key.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn script<T: FromRedisValue>(&self, script: &Script, key: &str, args: &[u64]) -> Result<T, LinkError> {
        let call = |by: &str, what: &str| cmd(by).arg(what).arg(1).arg(key).arg(args).clone();
        match self.attempt(&call("EVALSHA", &script.hash)).await {
            // EVAL keeps the script for the next EVALSHA.
            Err(Failure::Reply(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.query(&call("EVAL", script.code)).await
            }
            result => result.map_err(LinkError::from),
        }
    }

    /// Listens to one channel; see [`Subscription`]. To be called on a tokio runtime.
    pub fn subscribe(&self, channel: &str) -> Subscription {
        Subscription::start(self.0.client().clone(), self.0.options(), channel.to_owned(), false)
    }

    /// Listens to every channel whose name fits `pattern`, such as `job:*`; see [`Subscription`]. To be called on a tokio
    /// runtime.
    pub fn subscribe_pattern(&self, pattern: &str) -> Subscription {
        Subscription::start(self.0.client().clone(), self.0.options(), pattern.to_owned(), true)
    }

    async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LinkError> {
        self.attempt(command).await.map_err(LinkError::from)
    }

    /// One call, within the deadline, its outcome told to the breaker.
    async fn attempt<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let ticket = self.0.admit().ok_or(Failure::Down)?;
        let answer = async {
            let mut connection = self.0.connection(&ticket).await?;
            command.query_async(&mut connection).await
        };
        match tokio::time::timeout(self.0.options().deadline, answer).await {
            Ok(Ok(value)) => {
                self.0.succeeded(&ticket);
                Ok(value)
            }
            Ok(Err(error)) if is_reply(&error) => {
                self.0.succeeded(&ticket);
                Err(Failure::Reply(error))
            }
            Ok(Err(error)) => {
                self.0.failed(&ticket, Some(&error));
                Err(Failure::Down)
            }
            Err(_) => {
                self.0.failed(&ticket, None);
                Err(Failure::Down)
            }
        }
    }
}

enum Failure {
    Down,
    Reply(RedisError),
}

impl From<Failure> for LinkError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Down => Self::Down,
            Failure::Reply(error) => Self::Refused(error.to_string()),
        }
    }
}

/// Whether a working server says this of one call, rather than of itself or of our connection.
fn is_reply(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => !matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain
        ),
        ErrorKind::UnexpectedReturnType => true,
        // NOAUTH and the like: codes the library has no kind for.
        ErrorKind::Extension => error.code() != Some("NOAUTH"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_or_refused_without_being_quoted() {
        for (url, expected) in [
            ("redis://127.0.0.1:6379", Ok("127.0.0.1:6379")),
            ("redis://user:hunter2@cache.internal/3", Ok("cache.internal:6379")),
            ("rediss://:hunter2@cache.internal", Err(LinkSetupError::Tls)),
            ("valkeys://:hunter2@cache.internal", Err(LinkSetupError::Tls)),
            ("http://:hunter2@cache.internal", Err(LinkSetupError::Url)),
            ("redis://:hunter2@", Err(LinkSetupError::Url)),
            ("redis://:hunter2@cache.internal/hunter2", Err(LinkSetupError::Url)),
            ("hunter2", Err(LinkSetupError::Url)),
            ("", Err(LinkSetupError::Url)),
        ] {
            match (Link::open(url), expected) {
                (Ok(link), Ok(address)) => {
                    assert_eq!(link.0.address(), address);
                    assert!(!format!("{link:?}").contains("hunter2"));
                }
                (Err(error), Err(expected)) => {
                    assert_eq!(error, expected, "{url}");
                    assert!(!format!("{error} {error:?}").contains("hunter2"));
                }
                (got, expected) => panic!("{url}: {got:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_script_is_named_by_its_hash() {
        assert_eq!(Script::new("return 1").hash, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}
