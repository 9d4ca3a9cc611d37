//! What handlers take from a request, each refused with a problem that says what would be right.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use scale_records::domain::{Scope, UserId};
use serde::de::{DeserializeOwned, IgnoredAny};
use uuid::Uuid;

use super::Shared;
use super::problem::{Fault, Problem};
use crate::auth::{AuthError, Caller};

/// The person who calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person {
    pub(super) user: UserId,
    pub(super) caller: Caller,
}

impl Person {
    /// What they may see.
    pub(super) fn scope(&self) -> Scope {
        Scope::User(self.user)
    }
}

impl<S: Sync> FromRequestParts<S> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Set by `by_person`; a route outside of it has no person.
        let caller = parts.extensions.get::<Caller>().copied().ok_or(AuthError::MissingToken)?;
        Ok(Self { user: caller.user, caller })
    }
}

/// The one id in a path, in the hyphenated form.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathId(pub(super) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await.ok().map(|Path(text)| text);
        // `Uuid` also reads other forms; one row has one path.
        let id = text.filter(|text| text.len() == 36).and_then(|text| text.parse().ok());
        id.map(Self).ok_or_else(|| {
            let detail = "the id in the path is not an id; ids look like 0198c2f4-5f0e-7000-8000-1f2e3d4c5b6a";
            Problem::malformed("malformed_id", detail)
        })
    }
}

/// What follows the question mark.
#[derive(Clone, Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        read.map(|axum::extract::Query(value)| Self(value)).map_err(|refused| {
            let text = refused.body_text();
            let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            Problem::malformed("malformed_query", format!("the query cannot be read: {text}"))
        })
    }
}

/// A body of JSON.
#[derive(Clone, Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Shared>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        if media_type(request.headers()).as_deref() != Some("application/json") {
            return Err(unsupported("application/json"));
        }
        let config = &shared.api.config;
        let bytes = read_body(request, config.max_body(), config.body_timeout()).await?;
        // Serde would also take a list of the fields' values.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(match serde_json::from_slice::<IgnoredAny>(&bytes) {
                Ok(IgnoredAny) => {
                    let problem = "not an object; write {\"name\": value}".to_owned();
                    Problem::invalid(vec![Fault { problem, ..Fault::default() }])
                }
                Err(wrong) => not_json(&wrong),
            });
        }
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let field = error.path().to_string();
            match error.into_inner() {
                wrong if wrong.is_data() => Problem::invalid(vec![misfit(field, &wrong)]),
                wrong => not_json(&wrong),
            }
        })?;
        json.end().map_err(|wrong| not_json(&wrong))?;
        Ok(Self(value))
    }
}

/// What does not fit the type, with the field's name also where it is a field that is not there.
fn misfit(path: String, error: &serde_json::Error) -> Fault {
    let text = error.to_string();
    let problem = text.rsplit_once(" at line ").map_or(&*text, |(problem, _)| problem);
    let missing = problem.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    let field = missing.map(str::to_owned).or(Some(path).filter(|path| path != "."));
    Fault { field, line: None, problem: problem.to_owned() }
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::malformed("malformed_json", format!("the body is not JSON: {error}"))
}

/// The media type of a body, lower case, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

pub(super) fn unsupported(expected: &str) -> Problem {
    let detail = format!("this call takes {expected}; set the header content-type accordingly");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
}

/// A whole body: not longer than `most`, and never silent for longer than `pause`.
pub(super) async fn read_body(request: Request, most: usize, pause: Duration) -> Result<Bytes, Problem> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > most as u64) {
        return Err(Problem::too_large(most));
    }
    let mut body: Body = request.into_body();
    let mut whole = Bytes::new();
    let mut parts = BytesMut::new();
    while let Some(frame) = in_pause(pause, body.frame()).await? {
        let frame = frame.map_err(|_| broken_off())?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + parts.len() + data.len() > most {
            return Err(Problem::too_large(most));
        }
        // Most bodies are one piece, which needs no copy.
        match (whole.is_empty(), parts.is_empty()) {
            (true, true) => whole = data,
            (false, true) => {
                parts.reserve(length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0).min(most));
                parts.extend_from_slice(&std::mem::take(&mut whole));
                parts.extend_from_slice(&data);
            }
            (_, false) => parts.extend_from_slice(&data),
        }
    }
    Ok(if parts.is_empty() { whole } else { parts.freeze() })
}

/// Waits for a piece of a body, but not for ever.
pub(super) async fn in_pause<T>(pause: Duration, piece: impl Future<Output = T>) -> Result<T, Problem> {
    tokio::time::timeout(pause, piece).await.map_err(|_| {
        let detail = format!("no part of the body arrived for {} seconds; send it again", pause.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "slow_body", detail)
    })
}

pub(super) fn broken_off() -> Problem {
    Problem::malformed("broken_body", "the body ended early, or its length is not the one in content-length")
}
