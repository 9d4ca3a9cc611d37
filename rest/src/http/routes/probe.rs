//! Whether the service runs, and whether calls are welcome.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Shared;
use super::super::problem::Problem;
use super::json;

/// All is well.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Health {
    /// Always `ok`.
    #[schema(pattern = "^ok$", example = "ok")]
    status: &'static str,
}

/// Whether the service runs
///
/// Asks nothing else; for a supervisor that restarts what hangs.
#[utoipa::path(get, path = "/api/v1/health", tag = "service", operation_id = "health",
    responses((status = 200, description = "It runs", body = Health)))]
pub(in crate::http) async fn health() -> Response {
    json(StatusCode::OK, &Health { status: "ok" })
}

/// Whether calls are welcome
///
/// Asks the database; for a load balancer.
#[utoipa::path(get, path = "/api/v1/ready", tag = "service", operation_id = "ready",
    responses((status = 200, description = "Calls are welcome", body = Health)))]
pub(in crate::http) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match shared.api.records.ping().await {
        Ok(()) => json(StatusCode::OK, &Health { status: "ok" }),
        Err(error) => Problem::from(error).into_response(),
    }
}
