//! What is served over plain HTTP: probes and signed downloads.

mod blobs;
mod range;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use http::StatusCode;
use scale_coordinator::grpc::Health;

use super::{App, problem};

/// Routes of plain HTTP.
pub(super) fn router(app: App, health: Health) -> Router {
    Router::new()
        .route("/health", get(live))
        .route("/ready", get(ready))
        .with_state((app.clone(), health))
        .merge(Router::new().route("/v1/blobs/{*path}", any(blobs::download)).with_state(app))
}

/// The process runs.
async fn live() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "ok" }))
}

/// Calls are welcome: the database answers and nobody has asked for the end.
async fn ready(State((app, health)): State<(App, Health)>) -> Response {
    if health.is_stopping() {
        return problem::http(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the coordinator is shutting down");
    }
    match app.store.ping().await {
        Ok(()) => Json(serde_json::json!({ "status": "ok" })).into_response(),
        Err(error) => {
            tracing::warn!(code = error.code(), %error, "not ready");
            problem::http(StatusCode::SERVICE_UNAVAILABLE, error.code(), "the database does not answer")
        }
    }
}
