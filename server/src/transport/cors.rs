//! Which web pages may call (the Fetch standard's CORS protocol), for everything on the port.
//!
//! People's API has its own list of origins: a page in which a device trains is not yet one that may show a person's rows.
//! Calls carry tokens and never cookies. Only what asks to be a preflight is answered as one: any other `OPTIONS` is a
//! method that a path does not have.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, range, if-none-match, last-event-id, x-request-id, x-grpc-web, x-user-agent, \
     grpc-timeout",
);
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, etag, location, retry-after, content-disposition, content-range, ratelimit-limit, \
     ratelimit-remaining, ratelimit-reset, grpc-status, grpc-message, grpc-status-details-bin, scale-error-code, \
     retry-after-ms",
);
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// Origins of web pages; `*` is any.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    /// Pages that may call gRPC-web, and download models.
    pub devices: Vec<HeaderValue>,
    /// Pages that may call people's API.
    pub people: Vec<HeaderValue>,
}

impl Cors {
    /// What the page of this request's origin may see: the value of `access-control-allow-origin`.
    pub(super) fn allowed(&self, path: &str, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let origins = if is_for_people(path) { &self.people } else { &self.devices };
        match origins.contains(&ANY) {
            true => Some(ANY),
            false => origins.contains(origin).then(|| origin.clone()),
        }
    }
}

/// Whether a path belongs to people's API.
pub(super) fn is_for_people(path: &str) -> bool {
    path.starts_with("/api/") || path == "/docs"
}

/// The answer to a preflight; `None`: the request is none.
pub(super) fn preflight(method: &Method, headers: &HeaderMap, allowed: bool) -> Option<Response> {
    let asks = headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if method != Method::OPTIONS || !asks {
        return None;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if allowed {
        let fields = response.headers_mut();
        fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        fields.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    Some(response)
}

/// Opens an answer to the page that [`Cors::allowed`] named. Caches keep answers of different origins apart.
pub(super) fn open(allowed: Option<HeaderValue>, fields: &mut HeaderMap) {
    fields.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = allowed {
        fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        fields.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}
