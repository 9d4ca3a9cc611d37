//! Section `[rest.auth]`: whose tokens are good.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Whose tokens are good. With neither a secret nor a key set configured, only the development issuer's are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// The claim `iss` of a good token, such as `https://<project>.supabase.co/auth/v1`. Needed with either kind of key.
    pub issuer: Option<String>,
    /// What the claim `aud` of a good token holds.
    pub audience: String,
    /// A file with the project's secret, of at least 32 bytes, as older Supabase projects have one (HS256).
    pub hs256_secret_file: Option<PathBuf>,
    /// The `kid` that tokens signed with the secret carry. Only needed beside `jwks_url`: without it, a token with any
    /// `kid` is looked up in the key set, and the secret is for those without.
    pub hs256_kid: Option<String>,
    /// Where the project publishes its keys (ES256, RS256), such as
    /// `https://<project>.supabase.co/auth/v1/.well-known/jwks.json`.
    pub jwks_url: Option<String>,
    /// Whether operators need a second factor (`aal2`) for what only operators may do.
    pub operator_needs_mfa: bool,
    /// How far the issuer's clock and ours may be apart, seconds.
    pub leeway_s: u64,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            issuer: None,
            audience: "authenticated".to_owned(),
            hs256_secret_file: None,
            hs256_kid: None,
            jwks_url: None,
            operator_needs_mfa: true,
            leeway_s: 30,
        }
    }
}

impl AuthConfig {
    /// Shortest secret, bytes: as long as what it keys (RFC 7518, 3.2).
    pub const MIN_SECRET_BYTES: usize = 32;
    /// Largest `leeway_s`: more than that is not a clock that is off.
    pub const MAX_LEEWAY_S: u64 = 300;

    /// Whether an issuer is configured; if not, [`Verifier::development`](super::Verifier::development) is the choice.
    pub const fn is_configured(&self) -> bool {
        self.hs256_secret_file.is_some() || self.jwks_url.is_some()
    }

    /// The secret, without the line end that editors leave behind it.
    pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, AuthSetupError> {
        let shown = || path.display().to_string();
        let mut secret =
            Zeroizing::new(std::fs::read(path).map_err(|source| AuthSetupError::SecretFile { path: shown(), source })?);
        let length = secret.trim_ascii_end().len();
        secret.truncate(length);
        if length < Self::MIN_SECRET_BYTES {
            return Err(AuthSetupError::ShortSecret { path: shown(), bytes: length });
        }
        Ok(secret)
    }
}

/// Why no token can be checked with this configuration. Never quotes a secret.
#[derive(Debug, thiserror::Error)]
pub enum AuthSetupError {
    /// Neither a secret nor a key set.
    #[error("rest.auth needs `jwks_url` or `hs256_secret_file`, or tokens of the development issuer")]
    NoKeys,
    /// Tokens of any issuer would be good.
    #[error("rest.auth needs `issuer`, such as https://<project>.supabase.co/auth/v1")]
    NoIssuer,
    /// Tokens of any audience would be good.
    #[error("rest.auth.audience is empty; Supabase's is `authenticated`")]
    NoAudience,
    /// Expired tokens would stay good for long.
    #[error("rest.auth.leeway_s is {0}; at most {max} is a clock that is off", max = AuthConfig::MAX_LEEWAY_S)]
    Leeway(u64),
    /// The secret's file cannot be read.
    #[error("cannot read rest.auth.hs256_secret_file {path}: {source}")]
    SecretFile {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A secret that can be guessed.
    #[error("{path} holds {bytes} bytes; an HS256 secret needs at least {}", AuthConfig::MIN_SECRET_BYTES)]
    ShortSecret {
        /// The file.
        path: String,
        /// How long it is.
        bytes: usize,
    },
    /// Keys fetched in the clear are anybody's.
    #[error("rest.auth.jwks_url must begin with https:// (http:// for this machine alone)")]
    JwksUrl,
    /// No client for HTTP.
    #[error("no HTTP client for rest.auth.jwks_url: {0}")]
    Client(reqwest::Error),
}
