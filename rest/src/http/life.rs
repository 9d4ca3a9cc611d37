//! The life of a request: id, span, CORS, limits of its address, token, limits of its person, the handler, and the same
//! way back.
//!
//! | layer | on | refuses with |
//! | --- | --- | --- |
//! | [`life`] | everything | - |
//! | [`by_address`] | everything but the probes | 429 |
//! | [`by_person`] | what belongs to a person | 401, 403, 429 |
//! | [`in_time`] | everything but streams of bytes under way | 503 |

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use scale_proto::time::Timestamp;
use tracing::Instrument as _;

use super::cors::Cors;
use super::problem::Problem;
use super::{Shared, caching};
use crate::auth::{AuthError, Caller, Role};
use crate::limit::{Bucket, Decision, client_ip};

/// The request's name in answers and logs.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
/// Longest id that is taken over from a client.
const ID_LEN: usize = 64;

/// Around everything: the id, one span and one line, CORS, the body of problems, headers that every answer has.
pub(super) async fn life(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    // The route's pattern: ids are in no log, and neither are queries.
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let origin = shared.cors.allowed(request.headers());
    let span = tracing::info_span!("request", %id, %method, path);
    async move {
        let mut response = match shared.cors.preflight(&method, request.headers()) {
            Some(response) => response,
            None => next.run(request).await,
        };
        let problem = response.extensions_mut().remove::<Arc<Problem>>();
        if let Some(problem) = &problem {
            *response.body_mut() = Body::from(problem.render(&id));
        }
        let user = response.extensions().get::<Caller>().map(|caller| tracing::field::display(caller.user));
        tracing::info!(
            %method,
            path,
            status = response.status().as_u16(),
            code = problem.as_ref().map(|problem| problem.code()),
            ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            user,
            "answered"
        );
        let fields = response.headers_mut();
        // It has been checked to be a header's value, or is a UUID.
        if let Ok(id) = HeaderValue::from_str(&id) {
            fields.insert(REQUEST_ID, id);
        }
        Cors::open(origin, fields);
        secure(fields, shared.api.config.https_only);
        fields.entry(header::CACHE_CONTROL).or_insert(caching::NO_STORE);
        response
    }
    .instrument(span)
    .await
}

/// The client's id if it is one that can stand in a log, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    match given.filter(|id| (1..=ID_LEN).contains(&id.len()) && id.bytes().all(plain)) {
        Some(id) => id.to_owned(),
        None => uuid::Uuid::now_v7().to_string(),
    }
}

/// Headers that keep a browser from doing more with an answer than it is for.
fn secure(fields: &mut HeaderMap, https_only: bool) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=()"),
    ] {
        fields.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if https_only {
        let year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        fields.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
}

/// One address may only ask so often.
pub(super) async fn by_address(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip());
    let address = client_ip(peer, request.headers(), &shared.api.config.limit.trusted_proxies);
    let decision = shared.api.limiter.take(Bucket::Ip(address), (shared.api.now)()).await;
    if !decision.allowed {
        return limited(decision);
    }
    let mut response = next.run(request).await;
    say_limit(decision, response.headers_mut());
    response
}

/// A person, by their token, who may only ask so often. Handlers find the [`Caller`].
pub(super) async fn by_person(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let now = (shared.api.now)();
    let caller = match caller(&shared, request.headers(), now).await {
        Ok(caller) => caller,
        Err(error) => return Problem::from(error).into_response(),
    };
    let decision = shared.api.limiter.take(Bucket::User(caller.user), now).await;
    let mut response = if decision.allowed {
        request.extensions_mut().insert(caller);
        let mut response = next.run(request).await;
        say_limit(decision, response.headers_mut());
        response
    } else {
        limited(decision)
    };
    response.extensions_mut().insert(caller);
    response
}

async fn caller(shared: &Shared, headers: &HeaderMap, now: Timestamp) -> Result<Caller, AuthError> {
    let token = bearer(headers)?;
    let caller = shared.api.verifier.verify(token, now).await?;
    match caller.role {
        Role::User => {}
        Role::Operator => shared.api.verifier.check_operator(&caller)?,
        // What is served here belongs to persons.
        Role::Service => return Err(AuthError::Forbidden),
    }
    Ok(caller)
}

fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(AuthError::MissingToken) };
    let value = value.to_str().map_err(|_| AuthError::MalformedToken("characters that no token has"))?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(AuthError::MissingToken),
    }
}

/// The handler answers in time or not at all; what it had begun is dropped, and rows are whole whenever that is.
pub(super) async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("timeout", "the answer took too long; try again later").into_response(),
    }
}

/// The refusal of a call too many.
pub(super) fn limited(decision: Decision) -> Response {
    let detail = format!("too many calls; at most {} a minute", decision.limit);
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(decision.reset);
    let mut response = problem.into_response();
    say_limit(decision, response.headers_mut());
    response
}

/// The narrowest limit speaks: what an inner layer has said stays.
fn say_limit(decision: Decision, fields: &mut HeaderMap) {
    if decision.limit == 0 || fields.contains_key(RATELIMIT_LIMIT) {
        return;
    }
    fields.insert(RATELIMIT_LIMIT, HeaderValue::from(decision.limit));
    fields.insert(RATELIMIT_REMAINING, HeaderValue::from(decision.remaining));
    let seconds = decision.reset.as_secs() + u64::from(decision.reset.subsec_nanos() > 0);
    fields.insert(RATELIMIT_RESET, HeaderValue::from(seconds));
}
