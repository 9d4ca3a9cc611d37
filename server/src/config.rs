//! What an operator may configure: a TOML file, all of it optional. `docs/coordinator.example.toml` shows every setting
//! with its default. Flags and environment variables are laid over it by [`crate::cli`].

mod storage;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use scale_coordinator::blobs::sign::MAX_TTL;
use serde::Deserialize;

use crate::transport::server::Limits;

pub use storage::{BlobStore, Database};

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The port.
    pub server: Server,
    /// The data folder.
    pub data: Data,
    /// Where rounds are kept, if not in the data folder.
    pub database: Database,
    /// Where models are kept, if not in the data folder.
    pub blobs: BlobStore,
    /// Tokens.
    pub tokens: Tokens,
    /// Rounds.
    pub rounds: Rounds,
    /// The REST facade.
    #[cfg(feature = "facade")]
    pub rest: scale_rest::Config,
    /// Logs.
    pub log: Log,
}

/// The port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How devices reach this coordinator; `None`: derived from `listen`.
    pub public_url: Option<String>,
    /// PEM certificate chain.
    pub tls_cert: Option<PathBuf>,
    /// PEM key.
    pub tls_key: Option<PathBuf>,
    /// Origins of web pages that may call; `*` is any.
    pub cors_origins: Vec<String>,
    /// Serve gRPC reflection, to anybody.
    pub reflection: bool,
    /// Open connections.
    pub max_connections: usize,
    /// Calls at once on one connection.
    pub max_streams_per_connection: u32,
    /// Seconds between pings on idle connections.
    pub keepalive_interval_s: u64,
    /// Seconds that a ping may take.
    pub keepalive_timeout_s: u64,
    /// Seconds after which a connection makes way for a new one, a tenth more or less; 0: never.
    pub connection_age_s: u64,
    /// Seconds between the news that this process is about to stop, in `/ready` and `grpc.health.v1`, and the stop.
    pub drain_notice_s: u64,
    /// Seconds that calls may take to finish at the end.
    pub drain_s: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7400)),
            public_url: None,
            tls_cert: None,
            tls_key: None,
            cors_origins: vec!["*".to_owned()],
            reflection: false,
            max_connections: 16_384,
            max_streams_per_connection: 1024,
            keepalive_interval_s: 30,
            keepalive_timeout_s: 20,
            connection_age_s: 0,
            drain_notice_s: 0,
            drain_s: 20,
        }
    }
}

impl Server {
    /// What the accept loop keeps to.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            streams_per_connection: self.max_streams_per_connection,
            keepalive_interval: Duration::from_secs(self.keepalive_interval_s),
            keepalive_timeout: Duration::from_secs(self.keepalive_timeout_s),
            connection_age: Some(Duration::from_secs(self.connection_age_s)).filter(|age| !age.is_zero()),
            drain: Duration::from_secs(self.drain_s),
        }
    }
}

/// The data folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Database, models and secrets.
    pub folder: PathBuf,
    /// Most megabytes of the database; 0: as much as the disk holds.
    pub database_max_mb: u32,
}

impl Default for Data {
    fn default() -> Self {
        Self { folder: PathBuf::from("data"), database_max_mb: 0 }
    }
}

/// Tokens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// Days that a device's token lives.
    pub device_ttl_days: u32,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { device_ttl_days: 400 }
    }
}

/// Rounds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rounds {
    /// Milliseconds that a stage call waits for its stage.
    pub long_poll_ms: u64,
    /// Threads that remove masks; 0: one per core.
    pub unmask_threads: usize,
    /// Seconds added to signed closing times.
    pub clock_slack_s: u64,
    /// Seconds that a model's URL lives.
    pub model_url_ttl_s: u64,
    /// Seconds that a process that is not heard of holds its work; then another one does it.
    pub lease_s: u64,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { long_poll_ms: 10_000, unmask_threads: 0, clock_slack_s: 300, model_url_ttl_s: 3600, lease_s: 30 }
    }
}

/// Logs, on stderr.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// As in `RUST_LOG`.
    pub filter: String,
    /// One JSON object a line.
    pub json: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), json: false }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML of this form.
    #[error("{}: {problem}", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where, and what.
        problem: String,
    },
    /// A value of the REST facade is out of range.
    #[cfg(feature = "facade")]
    #[error(transparent)]
    Rest(#[from] scale_rest::config::ConfigError),
    /// A value is out of range.
    #[error("setting `{setting}`: {problem}")]
    Value {
        /// Which.
        setting: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`], with the line.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|error| ConfigError::Parse { path: path.to_owned(), problem: error.to_string().trim().to_owned() })
    }

    /// Whether the values can be used.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first that cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        let value = |setting, problem: String| Err(ConfigError::Value { setting, problem });
        if self.server.tls_cert.is_some() != self.server.tls_key.is_some() {
            return value("server.tls_cert", "certificate and key (server.tls_key) go together".to_owned());
        }
        if let Some(url) = &self.server.public_url {
            let plain = url.parse::<http::Uri>().ok().filter(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.query().is_none()
            });
            if plain.is_none() {
                return value("server.public_url", format!("{url:?} is not a URL such as https://fl.example.org"));
            }
        }
        for (setting, number) in [
            ("server.max_connections", self.server.max_connections as u64),
            ("server.max_streams_per_connection", self.server.max_streams_per_connection.into()),
            ("server.keepalive_interval_s", self.server.keepalive_interval_s),
            ("server.keepalive_timeout_s", self.server.keepalive_timeout_s),
            ("tokens.device_ttl_days", self.tokens.device_ttl_days.into()),
        ] {
            if number == 0 {
                return value(setting, "must be at least 1".to_owned());
            }
        }
        if self.server.drain_notice_s > 3600 {
            return value("server.drain_notice_s", "at most 3600: supervisors end what does not stop".to_owned());
        }
        self.database.check()?;
        self.blobs.check()?;
        #[cfg(feature = "facade")]
        self.rest.check()?;
        if self.rounds.long_poll_ms > 60_000 {
            return value("rounds.long_poll_ms", "at most 60000: proxies cut longer calls".to_owned());
        }
        if !(3..=3600).contains(&self.rounds.lease_s) {
            return value("rounds.lease_s", "between 3 and 3600".to_owned());
        }
        if !(60..=MAX_TTL.as_secs()).contains(&self.rounds.model_url_ttl_s) {
            return value("rounds.model_url_ttl_s", format!("between 60 and {}", MAX_TTL.as_secs()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "facade")]
    #[test]
    fn the_example_shows_every_setting_with_its_default() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/coordinator.example.toml");
        let example = Config::read(&path).unwrap();
        assert_eq!(example, Config::default());
        example.check().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let uncommented = ["public_url", "tls_", "database_url", "redis_url", "issuer", "hs256_", "jwks_url"];
        let commented = uncommented.iter().fold(text, |text, name| text.replace(&format!("# {name}"), name));
        let everything: Config = toml::from_str(&commented).unwrap();
        everything.check().unwrap();
        assert!(everything.server.public_url.is_some() && everything.server.tls_key.is_some());
        assert!(everything.rest.database_url.is_some() && everything.rest.auth.is_configured());
    }

    /// Every block of TOML in a document is a configuration of this build.
    #[test]
    fn samples_in_documents_are_understood() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let mut samples = 0;
        for file in std::fs::read_dir(docs).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            for sample in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
                // A sample is of a coordinator or of a task.
                match toml::from_str::<Config>(sample) {
                    Ok(config) => config.check().unwrap_or_else(|error| panic!("{}: {error}", file.display())),
                    Err(error) => assert!(
                        toml::from_str::<scale_proto::task::TaskConfig>(sample).is_ok(),
                        "{}: {error}",
                        file.display()
                    ),
                }
                samples += 1;
            }
        }
        assert!(samples >= 1, "docs/rest.md has one");
    }

    #[test]
    fn unknown_settings_and_impossible_values_are_refused() {
        assert!(toml::from_str::<Config>("[server]\nlisten_on = \"x\"").is_err());
        assert!(toml::from_str::<Config>("[sever]").is_err());
        for (text, setting) in [
            ("[server]\ntls_cert = \"x\"", "server.tls_cert"),
            ("[server]\npublic_url = \"fl.example.org\"", "server.public_url"),
            ("[server]\npublic_url = \"ftp://fl.example.org\"", "server.public_url"),
            ("[server]\nmax_connections = 0", "server.max_connections"),
            ("[rounds]\nmodel_url_ttl_s = 7200", "rounds.model_url_ttl_s"),
            ("[rounds]\nlong_poll_ms = 600000", "rounds.long_poll_ms"),
            ("[server]\ndrain_notice_s = 86400", "server.drain_notice_s"),
        ] {
            let error = toml::from_str::<Config>(text).unwrap().check().unwrap_err().to_string();
            assert!(error.contains(setting), "{error}");
        }
    }
}
