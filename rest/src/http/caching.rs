//! How long an answer may be kept, and by whom.
//!
//! | answer | kept |
//! | --- | --- |
//! | transactions | by the person's own device for a minute, and shown for ten more while it asks again |
//! | categories | by the person's own device for a day; an `ETag` saves the bytes afterwards |
//! | the API's description and its page | by everybody for an hour |
//! | everything else, predictions and models included | not at all |

use http::{HeaderMap, HeaderValue, header};

pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
pub(super) const TRANSACTIONS: HeaderValue =
    HeaderValue::from_static("private, max-age=60, stale-while-revalidate=600");
pub(super) const CATEGORIES: HeaderValue = HeaderValue::from_static("private, max-age=86400");
pub(super) const DOCUMENT: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// The entity tag of these bytes.
pub(super) fn tag(body: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, body);
    format!("\"{}\"", hex::encode(&digest.as_ref()[..16]))
}

/// Whether the client has the answer with this tag already (RFC 9110, 13.1.2).
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|known| known.trim() == "*" || known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag))
}
