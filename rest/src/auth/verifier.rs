//! From a token to a [`Caller`].

use std::sync::Arc;
use std::time::Duration;

use ring::hmac;
use scale_clock::Timestamp;

use super::cache::Cache;
use super::claims::Rules;
use super::jws::{Key, Unverified};
use super::keys::{HttpKeys, KeyRing, OwnKey};
use super::{Assurance, AuthConfig, AuthError, AuthSetupError, Caller, DevIssuer, KeySource, Role, dev};

/// Checks access tokens. Clones share the keys and the cache.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    rules: Rules,
    operator_needs_mfa: bool,
    keys: KeyRing,
    cache: Cache,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("rules", &self.0.rules).finish_non_exhaustive()
    }
}

impl Verifier {
    /// For the tokens of the configured issuer. Keys are fetched when the first token needs them; the process must have
    /// chosen rustls's cryptography by now if there is a `jwks_url`.
    ///
    /// # Errors
    /// [`AuthSetupError`].
    pub fn new(config: &AuthConfig) -> Result<Self, AuthSetupError> {
        let source = config.jwks_url.as_deref().map(HttpKeys::new).transpose()?;
        Self::with_source(config, source.map(|source| Arc::new(source) as Arc<dyn KeySource>))
    }

    /// As [`Self::new`], with keys from `source` whatever `jwks_url` says.
    ///
    /// # Errors
    /// [`AuthSetupError`].
    pub fn with_source(config: &AuthConfig, source: Option<Arc<dyn KeySource>>) -> Result<Self, AuthSetupError> {
        let own = config.hs256_secret_file.as_deref().map(AuthConfig::read_secret).transpose()?.map(|secret| OwnKey {
            kid: config.hs256_kid.clone(),
            key: Arc::new(Key::Hs256(hmac::Key::new(hmac::HMAC_SHA256, &secret))),
        });
        if own.is_none() && source.is_none() {
            return Err(AuthSetupError::NoKeys);
        }
        let issuer = config.issuer.clone().filter(|issuer| !issuer.is_empty()).ok_or(AuthSetupError::NoIssuer)?;
        Self::build(config, issuer, KeyRing::new(own, source))
    }

    /// For the tokens of `issuer` alone, by the rules of the default configuration.
    pub fn development(issuer: &DevIssuer) -> Self {
        let (kid, key) = issuer.public_key();
        let own = OwnKey { kid: Some(kid), key: Arc::new(key) };
        // The default configuration has an audience and a short leeway.
        Self::build(&AuthConfig::default(), dev::ISSUER.to_owned(), KeyRing::new(Some(own), None))
            .expect("the default configuration is good")
    }

    fn build(config: &AuthConfig, issuer: String, keys: KeyRing) -> Result<Self, AuthSetupError> {
        if config.audience.is_empty() {
            return Err(AuthSetupError::NoAudience);
        }
        if config.leeway_s > AuthConfig::MAX_LEEWAY_S {
            return Err(AuthSetupError::Leeway(config.leeway_s));
        }
        let leeway = Duration::from_secs(config.leeway_s);
        Ok(Self(Arc::new(Inner {
            rules: Rules { issuer, audience: config.audience.clone(), leeway },
            operator_needs_mfa: config.operator_needs_mfa,
            keys,
            cache: Cache::default(),
        })))
    }

    /// Who `token` speaks for at `now`. Waits for the issuer only when the token's key is not known here.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Caller, AuthError> {
        let unverified = Unverified::parse(token)?;
        let inner = &*self.0;
        let key = inner.keys.key(unverified.kid.as_deref(), now).await?;
        let digest = Cache::digest(token);
        if let Some(caller) = inner.cache.get(&digest, &key)
            && inner.rules.is_current(caller.expires, now)
        {
            return Ok(caller);
        }
        let caller = inner.rules.check(&unverified.verify(&key)?, now)?;
        inner.cache.insert(digest, caller, key);
        Ok(caller)
    }

    /// Whether `caller` may do what only operators may: by role, and by a second factor if that is configured.
    ///
    /// # Errors
    /// [`AuthError::Forbidden`], [`AuthError::MfaRequired`].
    pub fn check_operator(&self, caller: &Caller) -> Result<(), AuthError> {
        match caller.role {
            Role::User => Err(AuthError::Forbidden),
            Role::Operator if self.0.operator_needs_mfa && caller.assurance < Assurance::Aal2 => {
                Err(AuthError::MfaRequired)
            }
            // A service has no second factor.
            Role::Operator | Role::Service => Ok(()),
        }
    }
}
