//! `/docs`: the API's description for a person, as one page without outside assets.
//!
//! The page's own script and style are named by their digests in its content security policy: nothing else runs.

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, header};

use super::caching;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
/// What reads schemas, apart so that it can be tested in Node.js; then what shows them.
const SCRIPT: &str = concat!(include_str!("schema.js"), include_str!("script.js"));

/// The page and its policy.
#[derive(Clone, Debug)]
pub(super) struct Page {
    html: Bytes,
    policy: HeaderValue,
}

impl Page {
    pub(super) fn new() -> Self {
        let html = PAGE.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
        let digest = |text: &str| STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()));
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            digest(SCRIPT),
            digest(STYLE),
        );
        // Base64 and the words above are printable ASCII.
        let policy = HeaderValue::from_str(&policy).expect("the policy is ASCII");
        Self { html: html.into(), policy }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let fields = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (header::CONTENT_SECURITY_POLICY, self.policy),
            (header::CACHE_CONTROL, caching::DOCUMENT),
        ];
        (fields, self.html).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_outside() {
        let page = Page::new();
        let html = std::str::from_utf8(&page.html).unwrap();
        assert!(html.contains(STYLE) && html.contains(SCRIPT));
        // Inline handlers and styles would be refused by the policy; addresses of others would leave the page.
        for foreign in ["http://", "https://", " onclick=", " style=", "@import", "url("] {
            assert!(!html.contains(foreign), "{foreign}");
        }
        assert!(!SCRIPT.contains("innerHTML") && !SCRIPT.contains("eval("));
    }
}
