//! Which web pages may call (the Fetch standard's CORS protocol).
//!
//! Only what asks to be a preflight is answered as one: any other `OPTIONS` is a method that a path does not have.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE");
const HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, if-none-match, last-event-id, x-request-id");
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, etag, location, retry-after, content-disposition, ratelimit-limit, ratelimit-remaining, ratelimit-reset",
);
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// Origins that may call.
#[derive(Debug)]
pub(super) struct Cors {
    any: bool,
    origins: Vec<HeaderValue>,
}

impl Cors {
    pub(super) fn new(origins: &[String]) -> Self {
        let any = origins.iter().any(|origin| origin == "*");
        Self { any, origins: origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect() }
    }

    /// The answer to a preflight; `None`: the request is none.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        let asks = headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if method != Method::OPTIONS || !asks {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if self.allowed(headers).is_some() {
            let fields = response.headers_mut();
            fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
            fields.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
        Some(response)
    }

    /// What the page of this request's origin may see: the value of `access-control-allow-origin`.
    pub(super) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        match self.any {
            true => Some(ANY),
            false => self.origins.contains(origin).then(|| origin.clone()),
        }
    }

    /// Opens an answer to the page that [`Cors::allowed`] named. Caches keep answers of different origins apart.
    pub(super) fn open(allowed: Option<HeaderValue>, fields: &mut HeaderMap) {
        fields.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = allowed {
            fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            fields.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}
