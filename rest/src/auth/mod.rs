//! Who calls: Supabase's access tokens, read by rules that the token has no say in.
//!
//! | step | where |
//! |---|---|
//! | three parts, a header without surprises | [`jws`] |
//! | the key by its `kid`; the algorithm is the key's, never the header's | [`keys`] |
//! | signature | [`jws`], by ring |
//! | issuer, audience, times, subject, role | [`claims`] |
//! | the same token again | [`cache`] |
//!
//! Compact JWS is checked here rather than by a JWT library: what is needed is one split, one comparison and one call of
//! ring, and the libraries want a process-wide provider, read the machine's clock and choose the algorithm by the header.

mod cache;
mod claims;
mod config;
mod dev;
mod jwks;
mod jws;
mod keys;
mod verifier;

#[cfg(test)]
mod tests;

pub use config::{AuthConfig, AuthSetupError};
pub use dev::{DevIssuer, DevIssuerError};
pub use keys::{FetchError, Fetched, KeySource};
use scale_clock::Timestamp;
use scale_records::domain::UserId;
pub use verifier::Verifier;

/// Who calls, after their token has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's subject.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
    /// How they signed in.
    pub assurance: Assurance,
    /// When the token ends. A stream that outlives it has to end too.
    pub expires: Timestamp,
}

/// What a caller may do. A later one may do all that an earlier one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// See and change their own rows.
    User,
    /// Also look after rounds and models.
    Operator,
    /// Everything: another part of the system, not a person.
    Service,
}

impl Role {
    /// The word in `app_metadata`, in configuration and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
            Self::Service => "service",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::User, Self::Operator, Self::Service]
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| format!("{text:?} is no role; there are user, operator and service"))
    }
}

/// How sure the issuer is of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assurance {
    /// One factor, such as a password or another provider's login.
    Aal1,
    /// Two.
    Aal2,
}

/// Why a call is refused. Says nothing that helps to forge a token, and never quotes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no token.
    #[error("this call needs an access token: send the header `authorization: Bearer …`")]
    MissingToken,
    /// It is no token: too long, not three parts, not JSON, a claim missing or of the wrong type.
    #[error("this is not an access token ({0})")]
    MalformedToken(&'static str),
    /// It was changed, or signed by somebody else.
    #[error("the access token's signature is wrong")]
    BadSignature,
    /// It was good once.
    #[error("the access token has expired; refresh the session")]
    ExpiredToken,
    /// It will be good; or one of the two clocks is wrong.
    #[error("the access token is not valid yet; check the clock")]
    NotYetValid,
    /// It is for another service.
    #[error("the access token is for another audience")]
    WrongAudience,
    /// It is from another project.
    #[error("the access token is from another issuer")]
    WrongIssuer,
    /// Its key is not one of the issuer's.
    #[error("the access token names a key that the issuer does not publish; sign in again")]
    UnknownKey,
    /// It claims another algorithm than its key has.
    #[error("the access token's algorithm is not the one of its key")]
    WrongAlgorithm,
    /// Nobody's fault: the issuer's keys have never been fetched. A retry helps.
    #[error("the issuer's keys cannot be fetched at the moment; try again in a few seconds")]
    KeysUnavailable,
    /// A good token of somebody who may not do this.
    #[error("this account may not do that")]
    Forbidden,
    /// A good token of an operator who signed in with one factor.
    #[error("an operator has to sign in with a second factor for this")]
    MfaRequired,
}

impl AuthError {
    /// One stable word per cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::MalformedToken(_) => "malformed_token",
            Self::BadSignature => "bad_signature",
            Self::ExpiredToken => "expired_token",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongAudience => "wrong_audience",
            Self::WrongIssuer => "wrong_issuer",
            Self::UnknownKey => "unknown_key",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::KeysUnavailable => "keys_unavailable",
            Self::Forbidden => "forbidden",
            Self::MfaRequired => "mfa_required",
        }
    }
}
