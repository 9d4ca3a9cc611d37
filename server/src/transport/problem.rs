//! Failures of plain HTTP on their way out: a stable code and a sentence, as `application/problem+json`.

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use scale_coordinator::grpc::problem::unknown_service;

/// A failed request: `status`, `code` and `sentence`.
pub(super) fn http(status: StatusCode, code: &str, sentence: &str) -> Response {
    let body = serde_json::json!({ "status": status.as_u16(), "code": code, "sentence": sentence });
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
    (status, kind, Json(body)).into_response()
}

/// Nothing is served at this path. A gRPC client hears it in its own language.
pub(super) async fn unknown_path(request: Request) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE).cloned();
    match kind.filter(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        Some(kind) => unknown_service(kind),
        None => http(StatusCode::NOT_FOUND, "not_found", "nothing is served at this path"),
    }
}
