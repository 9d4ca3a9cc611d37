//! What is done at each path.

pub(super) mod category;
pub(super) mod device;
pub(super) mod model;
pub(super) mod person;
pub(super) mod probe;
pub(super) mod training;
pub(super) mod transaction;
pub(super) mod upload;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use super::problem::Problem;
use super::{Shared, caching};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A value as JSON.
fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, JSON)], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer has no JSON form");
            Problem::internal().into_response()
        }
    }
}

/// The same, as a resource that is new at this path.
fn created(path: &str, value: &impl Serialize) -> Response {
    let mut response = json(StatusCode::CREATED, value);
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    response
}

/// `GET /api/v1/openapi.json`.
pub(super) async fn description(State(shared): State<Arc<Shared>>) -> Response {
    let fields = [(header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, caching::DOCUMENT)];
    (fields, shared.openapi.clone()).into_response()
}

/// `GET /docs`.
pub(super) async fn docs(State(shared): State<Arc<Shared>>) -> Response {
    shared.docs.clone().into_response()
}

/// Any other path.
pub(super) async fn nothing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown_path", "nothing is served at this path; /docs lists what is")
}

/// A path that has other methods; axum says which, in `allow`.
pub(super) async fn no_such_method() -> Problem {
    let detail = "this path does not take this method; the header allow lists those it takes";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}
