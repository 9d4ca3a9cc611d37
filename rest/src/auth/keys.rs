//! The keys that tokens are checked with: one of our own configuration, or those that the issuer publishes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use scale_clock::Timestamp;

use super::jwks::{self, Keys};
use super::jws::Key;
use super::{AuthError, AuthSetupError};

/// How long a set is good when its answer does not say.
const DEFAULT_AGE: Duration = Duration::from_secs(600);
/// The shortest age that is believed: a set is not fetched more often than once in [`RETRY`] anyway.
const SHORTEST_AGE: Duration = Duration::from_secs(60);
/// The longest: a key that is withdrawn is gone a day later.
const LONGEST_AGE: Duration = Duration::from_secs(24 * 3600);
/// Between two fetches, whatever tokens arrive.
const RETRY: Duration = Duration::from_secs(30);
/// The same while there has never been a set, and so nobody can be let in.
const FIRST_RETRY: Duration = Duration::from_secs(2);

/// Fetches a key set.
#[async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// The set as it is published now.
    async fn fetch(&self) -> Result<Fetched, FetchError>;
}

/// A key set, as it was published.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// JSON.
    pub body: Vec<u8>,
    /// How long it may be used, if its answer says so.
    pub max_age: Option<Duration>,
}

/// Why there is no key set.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the key set cannot be used: {0}")]
pub struct FetchError(String);

impl FetchError {
    /// With what went wrong.
    pub fn new(problem: String) -> Self {
        Self(problem)
    }
}

/// Where a token's key is looked up. The token's `kid` chooses among them and its `alg` has no say.
pub(super) struct KeyRing {
    own: Option<OwnKey>,
    published: Option<Arc<Published>>,
}

/// A key from our configuration.
pub(super) struct OwnKey {
    /// What its tokens name it; `None`: anything, as long as no keys are published that it could be.
    pub(super) kid: Option<String>,
    pub(super) key: Arc<Key>,
}

impl KeyRing {
    pub(super) fn new(own: Option<OwnKey>, source: Option<Arc<dyn KeySource>>) -> Self {
        Self { own, published: source.map(|source| Arc::new(Published::new(source))) }
    }

    /// The key that a token names.
    ///
    /// # Errors
    /// [`AuthError::UnknownKey`], [`AuthError::KeysUnavailable`].
    pub(super) async fn key(&self, kid: Option<&str>, now: Timestamp) -> Result<Arc<Key>, AuthError> {
        if let Some(own) = &self.own {
            let meant = match (kid, &own.kid) {
                (None, _) => true,
                (Some(kid), Some(own)) => kid == own,
                (Some(_), None) => self.published.is_none(),
            };
            if meant {
                return Ok(own.key.clone());
            }
        }
        match (kid, &self.published) {
            (Some(kid), Some(published)) => published.key(kid, now).await,
            _ => Err(AuthError::UnknownKey),
        }
    }
}

/// The issuer's keys, fetched when they are needed and kept while they are good, or while there are no newer ones.
struct Published {
    source: Arc<dyn KeySource>,
    state: Mutex<State>,
    /// Held by the one fetch there is.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    keys: Option<Keys>,
    fresh_until: Timestamp,
    last_try: Option<Timestamp>,
}

impl State {
    /// Whether the set should be fetched now: it has to be, for `kid` or for its age, and it may be.
    fn is_due(&self, kid: &str, now: Timestamp) -> bool {
        let wanted = self.find(kid).is_none() || now >= self.fresh_until;
        let pause = if self.keys.is_some() { RETRY } else { FIRST_RETRY };
        // A try that lies in the future is from before the clock was set back.
        let allowed = self.last_try.is_none_or(|last| now >= last.plus(pause) || now < last);
        wanted && allowed
    }

    fn find(&self, kid: &str) -> Option<Arc<Key>> {
        self.keys.as_ref()?.get(kid).cloned()
    }
}

impl Published {
    fn new(source: Arc<dyn KeySource>) -> Self {
        Self { source, state: Mutex::default(), fetching: Arc::default() }
    }

    async fn key(self: &Arc<Self>, kid: &str, now: Timestamp) -> Result<Arc<Key>, AuthError> {
        let (known, due) = {
            let state = self.state();
            (state.find(kid), state.is_due(kid, now))
        };
        // Whoever has an old set does not wait for another's fetch of a new one; whoever lacks the key does.
        let turn = match &known {
            Some(_) if due => self.fetching.clone().try_lock_owned().ok(),
            None => Some(self.fetching.clone().lock_owned().await),
            Some(_) => None,
        };
        if let Some(turn) = turn
            && self.state().is_due(kid, now)
        {
            let this = self.clone();
            // A task of its own: a client that hangs up must not be able to keep new keys out.
            let fetch = tokio::spawn(async move {
                this.refresh(now).await;
                drop(turn);
            });
            // It ends early only when the runtime does.
            let _ = fetch.await;
        }
        let state = self.state();
        match (&state.keys, state.find(kid)) {
            (_, Some(key)) => Ok(key),
            (Some(_), None) => Err(AuthError::UnknownKey),
            (None, None) => Err(AuthError::KeysUnavailable),
        }
    }

    async fn refresh(&self, now: Timestamp) {
        self.state().last_try = Some(now);
        let fetched = self.source.fetch().await;
        let parsed = fetched.and_then(|fetched| Ok((jwks::parse(&fetched.body)?, fetched.max_age)));
        let mut state = self.state();
        match parsed {
            Ok((keys, max_age)) => {
                tracing::debug!(keys = keys.len(), "the issuer's keys have been fetched");
                let age = max_age.unwrap_or(DEFAULT_AGE).clamp(SHORTEST_AGE, LONGEST_AGE);
                state.keys = Some(keys);
                state.fresh_until = now.plus(age);
            }
            Err(error) => {
                let old = state.keys.is_some();
                tracing::warn!(%error, old_keys_stay = old, "the issuer's keys cannot be fetched");
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fetches from a URL.
pub(super) struct HttpKeys {
    client: reqwest::Client,
    url: reqwest::Url,
}

impl HttpKeys {
    const TIMEOUT: Duration = Duration::from_secs(3);
    const MAX_BYTES: usize = 64 * 1024;

    pub(super) fn new(url: &str) -> Result<Self, AuthSetupError> {
        let url = reqwest::Url::parse(url).map_err(|_| AuthSetupError::JwksUrl)?;
        let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if !(url.scheme() == "https" || url.scheme() == "http" && local) {
            return Err(AuthSetupError::JwksUrl);
        }
        // Nobody but the configured host has a say in the keys, so nobody is followed.
        let client = reqwest::Client::builder().timeout(Self::TIMEOUT).redirect(reqwest::redirect::Policy::none());
        Ok(Self { client: client.build().map_err(AuthSetupError::Client)?, url })
    }
}

#[async_trait]
impl KeySource for HttpKeys {
    async fn fetch(&self) -> Result<Fetched, FetchError> {
        let failed = |error: reqwest::Error| FetchError::new(error.without_url().to_string());
        let mut response = self.client.get(self.url.clone()).send().await.map_err(failed)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::new(format!("the answer is {}", response.status())));
        }
        let max_age =
            response.headers().get(reqwest::header::CACHE_CONTROL).and_then(|value| max_age(value.to_str().ok()?));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > Self::MAX_BYTES {
                return Err(FetchError::new(format!("it is longer than {} bytes", Self::MAX_BYTES)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { body, max_age })
    }
}

/// `max-age` of a Cache-Control header.
fn max_age(header: &str) -> Option<Duration> {
    let mut directives = header.split(',').map(str::trim);
    let seconds = directives.find_map(|directive| directive.strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::{StatusCode, header};
    use axum::response::{IntoResponse, Redirect};
    use axum::routing::get;

    use super::*;

    #[tokio::test]
    async fn a_set_is_fetched_over_http_within_bounds() {
        // Whichever test is first; all choose the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sized = |bytes: usize| get(move || async move { "x".repeat(bytes) });
        let router = Router::new()
            .route("/good", get(|| async { ([(header::CACHE_CONTROL, "public, max-age=120")], "{}").into_response() }))
            .route(
                "/ageless",
                get(|| async { ([(header::CACHE_CONTROL, "no-cache, max-age=soon")], "{}").into_response() }),
            )
            .route("/full", sized(HttpKeys::MAX_BYTES))
            .route("/too_long", sized(HttpKeys::MAX_BYTES + 1))
            .route("/away", get(|| async { StatusCode::BAD_GATEWAY }))
            .route("/elsewhere", get(|| async { Redirect::temporary("/good") }))
            .route("/never", get(|| async { std::future::pending::<()>().await }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let fetch = async |path: &str| HttpKeys::new(&format!("http://{address}/{path}")).unwrap().fetch().await;
        let good = fetch("good").await.unwrap();
        assert_eq!((good.body.as_slice(), good.max_age), (&b"{}"[..], Some(Duration::from_secs(120))));
        assert_eq!(fetch("ageless").await.unwrap().max_age, None);
        assert_eq!(fetch("full").await.unwrap().body.len(), HttpKeys::MAX_BYTES);
        for (path, expected) in
            [("too_long", "longer than"), ("away", "502"), ("elsewhere", "307"), ("nowhere", "404"), ("never", "")]
        {
            let error = fetch(path).await.unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("127.0.0.1"), "{path}: {error}");
        }
        server.abort();
        let _ = server.await;
        fetch("good").await.unwrap_err();
    }
}
