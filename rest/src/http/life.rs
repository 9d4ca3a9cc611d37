//! The way of a request to its handler and back: limits of its address, token, limits of its person. Whoever serves the
//! port has given it an id, in the header `x-request-id`, and a span with the fields `code` and `user`.
//!
//! | layer | on | refuses with |
//! | --- | --- | --- |
//! | [`finish`] | everything | - |
//! | [`by_address`] | everything but the probes | 429 |
//! | [`by_person`] | what belongs to a person | 401, 403, 429 |
//! | [`in_time`] | everything but streams of bytes under way | 503 |

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use scale_clock::Timestamp;

use super::problem::Problem;
use super::{Shared, caching};
use crate::auth::{AuthError, Caller, Role};
use crate::limit::{Bucket, Decision, client_ip};

/// The request's name in problems, as the port has given it.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Around everything here: the body of problems, headers that every answer has, and what the port's line about this request
/// cannot know by itself, the kind of problem and the person.
pub(super) async fn finish(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).cloned();
    let mut response = next.run(request).await;
    let span = tracing::Span::current();
    if let Some(problem) = response.extensions_mut().remove::<Arc<Problem>>() {
        let id = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
        *response.body_mut() = Body::from(problem.render(id));
        span.record("code", problem.code());
    }
    if let Some(caller) = response.extensions().get::<Caller>() {
        span.record("user", tracing::field::display(caller.user));
    }
    let fields = response.headers_mut();
    secure(fields, shared.api.config.https_only);
    fields.entry(header::CACHE_CONTROL).or_insert(caching::NO_STORE);
    response
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
    let decision = shared.api.limiter.take(Bucket::Ip(address), shared.api.clock.now()).await;
    if !decision.allowed {
        return limited(decision);
    }
    let mut response = next.run(request).await;
    say_limit(decision, response.headers_mut());
    response
}

/// A person, by their token, who may only ask so often. Handlers find the [`Caller`].
pub(super) async fn by_person(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let now = shared.api.clock.now();
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
