//! Compact JWS (RFC 7515) with three algorithms (RFC 7518): HS256, ES256, RS256.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::AuthError;

/// Nothing longer is looked at. Supabase's tokens have some 1 KB.
pub(super) const MAX_BYTES: usize = 8 * 1024;

/// What a key is used with. A key has one, which nothing in a token changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Es256,
    Rs256,
}

impl Algorithm {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Hs256, Self::Es256, Self::Rs256].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A key that tokens are checked with.
pub(super) enum Key {
    /// A shared secret.
    Hs256(hmac::Key),
    /// P-256: 4, x, y.
    Es256([u8; 65]),
    /// Modulus and exponent, big-endian, without leading zeros.
    Rs256(RsaPublicKeyComponents<Vec<u8>>),
}

impl Key {
    pub(super) const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hs256(_) => Algorithm::Hs256,
            Self::Es256(_) => Algorithm::Es256,
            Self::Rs256(_) => Algorithm::Rs256,
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), ring::error::Unspecified> {
        match self {
            Self::Hs256(key) => hmac::verify(key, message, signature),
            Self::Es256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Self::Rs256(key) => key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature),
        }
    }
}

/// The header, as far as it matters. `jwk`, `jku`, `x5u` and `x5c` do not: a token does not bring its own key.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default)]
    crit: Present,
}

/// Whether a member is there, whatever it holds.
#[derive(Default)]
struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|IgnoredAny| Self(true))
    }
}

/// A token in three parts. Nothing in it has been checked, and its payload cannot be read.
pub(super) struct Unverified<'a> {
    pub(super) kid: Option<String>,
    algorithm: Algorithm,
    /// Header and payload, as they were signed.
    message: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`AuthError::MissingToken`], [`AuthError::MalformedToken`], and [`AuthError::WrongAlgorithm`] for one that no key
    /// has, such as `none`: the keys are not asked then.
    pub(super) fn parse(token: &'a str) -> Result<Self, AuthError> {
        if token.is_empty() {
            return Err(AuthError::MissingToken);
        }
        if token.len() > MAX_BYTES {
            return Err(AuthError::MalformedToken("it is longer than 8 KiB"));
        }
        let malformed = || AuthError::MalformedToken("it has not three parts of base64url");
        let (message, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) =
            message.split_once('.').filter(|(_, rest)| !rest.contains('.')).ok_or_else(malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| malformed())?;
        let header: Header =
            serde_json::from_slice(&header).map_err(|_| AuthError::MalformedToken("its header is not one of a JWT"))?;
        // An extension that must be understood (RFC 7515, 4.1.11), and none is.
        if header.crit.0 {
            return Err(AuthError::MalformedToken("its header has `crit`"));
        }
        let algorithm = Algorithm::parse(&header.alg).ok_or(AuthError::WrongAlgorithm)?;
        Ok(Self { kid: header.kid, algorithm, message, payload, signature })
    }

    /// The payload, if `key` has signed it.
    ///
    /// # Errors
    /// [`AuthError::WrongAlgorithm`], [`AuthError::BadSignature`], [`AuthError::MalformedToken`].
    pub(super) fn verify(&self, key: &Key) -> Result<Vec<u8>, AuthError> {
        if self.algorithm != key.algorithm() {
            return Err(AuthError::WrongAlgorithm);
        }
        key.verify(self.message.as_bytes(), &self.signature).map_err(|_| AuthError::BadSignature)?;
        URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| AuthError::MalformedToken("its payload is not base64url"))
    }
}

/// An ES256 token of a header, which must say so, and a payload.
pub(super) fn sign(key: &EcdsaKeyPair, header: &serde_json::Value, payload: &serde_json::Value) -> String {
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(payload));
    // Signing fails when the system has no randomness, and then there would be no key either.
    let signature = key.sign(&SystemRandom::new(), message.as_bytes()).expect("the system has randomness");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.1: the key, the token, and a payload that is no access token.
    #[test]
    fn the_example_of_the_standard_is_read() {
        let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = Key::Hs256(hmac::Key::new(hmac::HMAC_SHA256, &URL_SAFE_NO_PAD.decode(secret).unwrap()));
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                     eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                     dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let payload = Unverified::parse(token).unwrap().verify(&key).unwrap();
        assert!(payload.starts_with(b"{\"iss\":\"joe\""));
    }

    #[test]
    fn a_header_says_what_it_may_and_no_more() {
        let ok = |header: &str| {
            let token = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
            Unverified::parse(&token).map(|token| token.kid).map_err(|error| error.code())
        };
        for (header, expected) in [
            (r#"{"alg":"ES256"}"#, Ok(None)),
            (r#"{"alg":"ES256","kid":"a","typ":"JWT","jku":"https://evil"}"#, Ok(Some("a".to_owned()))),
            (r#"{"alg":"none"}"#, Err("wrong_algorithm")),
            (r#"{"alg":"NONE"}"#, Err("wrong_algorithm")),
            (r#"{"alg":"es256"}"#, Err("wrong_algorithm")),
            (r#"{"alg":"RS512"}"#, Err("wrong_algorithm")),
            (r#"{"alg":"PS256"}"#, Err("wrong_algorithm")),
            (r#"{"alg":""}"#, Err("wrong_algorithm")),
            (r#"{"alg":"ES256","alg":"HS256"}"#, Err("malformed_token")),
            (r#"{"alg":["ES256"]}"#, Err("malformed_token")),
            (r#"{"alg":"ES256","kid":7}"#, Err("malformed_token")),
            (r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, Err("malformed_token")),
            (r#"{"alg":"ES256","crit":[]}"#, Err("malformed_token")),
            (r#"{"alg":"ES256","crit":null}"#, Err("malformed_token")),
            (r#"{"kid":"a"}"#, Err("malformed_token")),
            ("[]", Err("malformed_token")),
            ("", Err("malformed_token")),
            ("\u{feff}{}", Err("malformed_token")),
        ] {
            assert_eq!(ok(header), expected, "{header}");
        }
    }

    #[test]
    fn what_has_not_three_parts_is_no_token() {
        let long = format!("eyJhbGciOiJFUzI1NiJ9.{}.AA", "A".repeat(MAX_BYTES));
        for token in [
            ".",
            "..",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            "eyJhbGciOiJFUzI1NiJ9.e30",
            "eyJhbGciOiJFUzI1NiJ9.e30.AA.AA",
            "eyJhbGciOiJFUzI1NiJ9.e30.AA.AA.AA",
            "eyJhbGciOiJFUzI1NiJ9.e30.A+",
            "eyJhbGciOiJFUzI1NiJ9.e30.AA==",
            "eyJhbGciOiJFUzI1NiJ9=.e30.AA",
            " eyJhbGciOiJFUzI1NiJ9.e30.AA",
            "eyJhbGciOiJFUzI1NiJ9.e30.AA\n",
            "\u{1F511}.\u{1F511}.\u{1F511}",
            &long,
        ] {
            let error = Unverified::parse(token).err().map(|error| error.code());
            assert_eq!(error, Some("malformed_token"), "{token}");
        }
        assert_eq!(Unverified::parse("").err(), Some(AuthError::MissingToken));
    }
}
