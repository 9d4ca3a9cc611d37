//! The life of a request, whatever it asks for: its id, one span, CORS, one line in the log.
//!
//! Services find the id in the header `x-request-id` of the request. In the span stand `code` and `user` too, for the one
//! who knows them to record; a line never holds a query, a body or a path that a caller made up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use scale_coordinator::grpc::problem::ERROR_CODE;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::cors::{self, Cors};

/// The request's name in answers and logs.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Where operators call.
const ADMIN: &str = "/scale.fl.v1.Admin/";
/// Longest id that is taken over from a client.
const ID_LEN: usize = 64;
/// Longest name of a gRPC method that stands in a log.
const METHOD_LEN: usize = 64;

/// Around everything.
pub(super) async fn one_request(State(cors): State<Arc<Cors>>, mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let method = request.method().clone();
    let route = route(&request);
    let origin = cors.allowed(request.uri().path(), request.headers());
    let shown = id.to_str().unwrap_or_default();
    let span = tracing::info_span!("request", id = shown, %method, route, code = Empty, user = Empty);
    async move {
        let (told, of_operators) = (is_told(&route), route.starts_with(ADMIN));
        let mut line = Line { started: Instant::now(), told, of_operators, answered: false };
        let mut response = match cors::preflight(&method, request.headers(), origin.is_some()) {
            Some(response) => response,
            None => next.run(request).await,
        };
        line.answered(&response);
        let fields = response.headers_mut();
        fields.insert(REQUEST_ID, id);
        cors::open(origin, fields);
        response
    }
    .instrument(span)
    .await
}

/// The client's id if it is one that can stand in a log, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let given = headers.get(REQUEST_ID);
    match given.filter(|id| (1..=ID_LEN).contains(&id.len()) && id.as_bytes().iter().all(plain)) {
        Some(id) => id.clone(),
        // The digits of a UUID are a header's value.
        None => HeaderValue::try_from(uuid::Uuid::now_v7().to_string()).expect("a UUID is ASCII"),
    }
}

/// What is asked for: the route's pattern, or a gRPC method. Empty: nothing that is served.
fn route(request: &Request) -> String {
    let Some(pattern) = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str) else {
        return String::new();
    };
    // The gRPC library routes by service; methods are its own affair.
    let method = pattern.strip_suffix("{*rest}").and_then(|service| request.uri().path().strip_prefix(service));
    let known = |name: &&str| name.len() <= METHOD_LEN && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match method.filter(known) {
        Some(_) => request.uri().path().to_owned(),
        None => pattern.to_owned(),
    }
}

/// Whether the log tells of it by default: what people do, and what operators change. Devices, probes and watching
/// operators call all the time.
fn is_told(route: &str) -> bool {
    if cors::is_for_people(route) {
        return !matches!(route, "/api/v1/health" | "/api/v1/ready");
    }
    let looks = |method: &str| method.starts_with("List") || method.starts_with("Get");
    route.strip_prefix(ADMIN).is_some_and(|method| !looks(method))
}

/// The request's line in the log, which is written also when the caller hangs up.
struct Line {
    started: Instant,
    told: bool,
    /// A refusal is told then: somebody may be guessing a token.
    of_operators: bool,
    answered: bool,
}

impl Line {
    fn answered(&mut self, response: &Response) {
        self.answered = true;
        let fields = response.headers();
        let text = |name: &str| fields.get(name).and_then(|value| value.to_str().ok());
        let refused = text(ERROR_CODE);
        if let Some(code) = refused {
            tracing::Span::current().record("code", code);
        }
        let (status, grpc_status) = (response.status().as_u16(), text("grpc-status"));
        let ms = millis(self.started.elapsed());
        match self.told || self.of_operators && refused.is_some() {
            true => tracing::info!(status, grpc_status, ms, "answered"),
            false => tracing::debug!(status, grpc_status, ms, "answered"),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.answered {
            tracing::debug!(ms = millis(self.started.elapsed()), "the caller hung up");
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_of_what_people_do_and_operators_change() {
        for told in ["/api/v1/transactions", "/scale.fl.v1.Admin/CreateTask", "/scale.fl.v1.Admin/AbandonRound"] {
            assert!(is_told(told), "{told}");
        }
        for quiet in ["/api/v1/ready", "/scale.fl.v1.Admin/ListRounds", "/scale.fl.v1.Rounds/CheckIn", ""] {
            assert!(!is_told(quiet), "{quiet}");
        }
    }
}
