//! Models that rounds have made.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::Shared;
use super::super::extract::{Person, Query};
use super::super::problem::Problem;
use super::super::wire::Model;
use super::json;

/// Which model.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct LatestQuery {
    /// The task that the model is for.
    #[param(example = "categorizer")]
    task: String,
}

/// Get the newest model of a task
///
/// With a URL from which the file can be downloaded for a while, and the digest that it must have.
#[utoipa::path(get, path = "/api/v1/models/latest", tag = "models", operation_id = "latest_model", params(LatestQuery),
    responses(
        (status = 200, description = "The model", body = Model<'_>),
        (status = 404, description = "No such task, or it has no model yet",
            body = super::super::problem::ProblemBody<'_>, content_type = "application/problem+json")))]
pub(in crate::http) async fn latest(
    State(shared): State<Arc<Shared>>,
    _person: Person,
    Query(query): Query<LatestQuery>,
) -> Result<Response, Problem> {
    let model = shared.api.models.latest(&query.task).await?.ok_or_else(|| Problem::not_found("task with a model"))?;
    Ok(json(StatusCode::OK, &Model::from(&model)))
}
