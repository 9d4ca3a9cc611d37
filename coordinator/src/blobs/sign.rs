//! Signed URLs: leave to read one blob until a moment, proven by an HMAC and by nothing else.
//!
//! `GET /v1/blobs/{path}?exp={ms}&kid={key}&sig={base64url}`, HMAC-SHA256 over `v1`, method, path, expiry and key id,
//! each on its own line. A URL is checked before the blob store is touched. Two keys are live, so that a key can be
//! replaced while URLs of the old one still run.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use scale_proto::time::Timestamp;

use super::error::BlobError;
use super::path::BlobPath;

/// Longest life of a URL.
pub const MAX_TTL: Duration = Duration::from_secs(3600);

/// Where blobs are served.
pub const ROUTE: &str = "/v1/blobs/";

/// One key, and the name by which URLs say which key signed them.
pub struct UrlKey {
    id: String,
    key: hmac::Key,
}

impl UrlKey {
    /// A key from 32 secret bytes.
    pub fn new(id: impl Into<String>, secret: &[u8; 32]) -> Self {
        Self { id: id.into(), key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }
}

impl std::fmt::Debug for UrlKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UrlKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Makes and checks signed URLs.
#[derive(Debug)]
pub struct UrlSigner {
    base_url: String,
    current: UrlKey,
    previous: Option<UrlKey>,
}

/// Why a URL is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A part of it is missing or unreadable.
    #[error("the URL's signature is missing or incomplete; ask for a new manifest")]
    Unsigned,
    /// It is over.
    #[error("the URL has expired; ask for a new manifest")]
    Expired,
    /// It was not signed by this coordinator, or was changed since.
    #[error("the URL's signature is wrong; ask for a new manifest")]
    Forged,
    /// The name in it is not one.
    #[error("the URL does not name a blob")]
    Path,
}

impl Refused {
    /// One stable word per cause.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unsigned => "url_unsigned",
            Self::Expired => "url_expired",
            Self::Forged => "url_forged",
            Self::Path => "url_path",
        }
    }
}

impl UrlSigner {
    /// URLs below `base_url` (such as `https://fl.example.org`), signed with `current`, accepted from `previous` too.
    pub fn new(base_url: &str, current: UrlKey, previous: Option<UrlKey>) -> Self {
        Self { base_url: base_url.trim_end_matches('/').to_owned(), current, previous }
    }

    /// A URL that reads `path` for `ttl`, at most [`MAX_TTL`], counted from `now`.
    ///
    /// # Errors
    /// [`BlobError::Path`] when `path` is not a name.
    pub fn sign_get(&self, path: &str, ttl: Duration, now: Timestamp) -> Result<String, BlobError> {
        let path = BlobPath::parse(path)?;
        let expires = now.plus(ttl.min(MAX_TTL));
        let message = message("GET", path.as_str(), expires, &self.current.id);
        let tag = hmac::sign(&self.current.key, message.as_bytes());
        Ok(format!(
            "{}{ROUTE}{path}?exp={}&kid={}&sig={}",
            self.base_url,
            expires.as_millis(),
            self.current.id,
            URL_SAFE_NO_PAD.encode(tag)
        ))
    }

    /// Checks what came in: `path` as it stands in the URL, escapes and all, and the query. The name, when it may be
    /// read now. `HEAD` needs the leave to `GET`.
    ///
    /// # Errors
    /// [`Refused`]; the signature is compared in constant time, and the expiry is believed only after it.
    pub fn verify(&self, method: &str, path: &str, query: Option<&str>, now: Timestamp) -> Result<BlobPath, Refused> {
        let path = BlobPath::parse(path).map_err(|_| Refused::Path)?;
        let claim = Claim::parse(query.unwrap_or_default()).ok_or(Refused::Unsigned)?;
        let keys = std::iter::once(&self.current).chain(&self.previous);
        let key = keys.into_iter().find(|key| key.id == claim.kid).ok_or(Refused::Forged)?;
        let method = if method == "HEAD" { "GET" } else { method };
        let message = message(method, path.as_str(), claim.expires, &key.id);
        hmac::verify(&key.key, message.as_bytes(), &claim.signature).map_err(|_| Refused::Forged)?;
        // Signed by us, so the cap held then; a clock that jumped back does not make a URL live longer than the cap.
        if claim.expires <= now || claim.expires > now.plus(MAX_TTL) {
            return Err(Refused::Expired);
        }
        Ok(path)
    }
}

/// The query of a signed URL.
struct Claim<'q> {
    expires: Timestamp,
    kid: &'q str,
    signature: Vec<u8>,
}

impl<'q> Claim<'q> {
    /// Exactly one each of `exp`, `kid` and `sig`, and nothing else.
    fn parse(query: &'q str) -> Option<Self> {
        let (mut expires, mut kid, mut signature) = (None, None, None);
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=')?;
            let slot = match name {
                "exp" => &mut expires,
                "kid" => &mut kid,
                "sig" => &mut signature,
                _ => return None,
            };
            if slot.replace(value).is_some() {
                return None;
            }
        }
        Some(Self {
            expires: Timestamp::from_millis(expires?.parse().ok()?),
            kid: kid?,
            signature: URL_SAFE_NO_PAD.decode(signature?).ok()?,
        })
    }
}

/// What is signed. No part can hold a line end, so no two claims have one message.
fn message(method: &str, path: &str, expires: Timestamp, kid: &str) -> String {
    format!("v1\n{method}\n{path}\n{}\n{kid}", expires.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn signer(ids: &[(&str, u8)]) -> UrlSigner {
        let mut keys = ids.iter().map(|(id, secret)| UrlKey::new(*id, &[*secret; 32]));
        UrlSigner::new("https://fl.example.org/", keys.next().unwrap(), keys.next())
    }

    fn parts(url: &str) -> (&str, &str) {
        let (path, query) = url.split_once('?').unwrap();
        (path.strip_prefix("https://fl.example.org/v1/blobs/").unwrap(), query)
    }

    #[test]
    fn a_signed_url_opens_one_blob_for_its_time() {
        let signer = signer(&[("a", 1)]);
        let url = signer.sign_get("models/m/1.safetensors", MINUTE, NOW).unwrap();
        let (path, query) = parts(&url);
        assert_eq!(signer.verify("GET", path, Some(query), NOW).unwrap().as_str(), "models/m/1.safetensors");
        assert!(signer.verify("HEAD", path, Some(query), NOW).is_ok());
        for (method, path, now, expected) in [
            ("PUT", path, NOW, Refused::Forged),
            ("DELETE", path, NOW, Refused::Forged),
            ("GET", "models/m/2.safetensors", NOW, Refused::Forged),
            ("GET", "models/m/../m/1.safetensors", NOW, Refused::Path),
            ("GET", "models/m/%2e%2e/1.safetensors", NOW, Refused::Path),
            ("GET", path, NOW.plus(MINUTE), Refused::Expired),
        ] {
            assert_eq!(signer.verify(method, path, Some(query), now), Err(expected), "{method} {path}");
        }
        assert_eq!(signer.sign_get("../secrets.json", MINUTE, NOW), Err(BlobError::Path));
    }

    #[test]
    fn every_changed_character_of_the_query_is_noticed() {
        let signer = signer(&[("a", 1), ("b", 2)]);
        let url = signer.sign_get("x", MINUTE, NOW).unwrap();
        let (path, query) = parts(&url);
        for position in 0..query.len() {
            for replacement in ["0", "9", "b", "&"] {
                let mut forged = query.to_owned();
                forged.replace_range(position..=position, replacement);
                if forged != query {
                    assert!(signer.verify("GET", path, Some(&forged), NOW).is_err(), "{forged}");
                }
            }
        }
        let doubled = format!("{query}&exp=9999999999999");
        for bad in [None, Some(""), Some("exp=1"), Some(doubled.as_str()), Some(&format!("{query}&x=1"))] {
            assert_eq!(signer.verify("GET", path, bad, NOW), Err(Refused::Unsigned), "{bad:?}");
        }
    }

    #[test]
    fn two_keys_live_and_no_third() {
        let old = signer(&[("old", 1)]);
        let url = old.sign_get("x", MINUTE, NOW).unwrap();
        let (path, query) = parts(&url);
        assert!(signer(&[("new", 2), ("old", 1)]).verify("GET", path, Some(query), NOW).is_ok());
        assert_eq!(signer(&[("new", 2)]).verify("GET", path, Some(query), NOW), Err(Refused::Forged));
        let same_name = signer(&[("old", 3)]);
        assert_eq!(same_name.verify("GET", path, Some(query), NOW), Err(Refused::Forged));
    }

    #[test]
    fn no_url_lives_longer_than_the_cap() {
        let signer = signer(&[("a", 1)]);
        let url = signer.sign_get("x", Duration::from_secs(1_000_000), NOW).unwrap();
        let (path, query) = parts(&url);
        let last = NOW.plus(MAX_TTL - Duration::from_millis(1));
        assert!(signer.verify("GET", path, Some(query), last).is_ok());
        assert_eq!(signer.verify("GET", path, Some(query), NOW.plus(MAX_TTL)), Err(Refused::Expired));
    }
}
