//! Categories.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::super::extract::{Json, Person};
use super::super::problem::Problem;
use super::super::wire::{Categories, Category, NewCategory};
use super::super::{Shared, caching};
use super::json;

/// List categories
///
/// Everybody's and the person's own, by slug. The answer may be kept for a day; `if-none-match` with its `etag` then
/// saves the bytes.
#[utoipa::path(get, path = "/api/v1/categories", tag = "categories", operation_id = "list_categories",
    params(("if-none-match" = Option<String>, Header, description = "The `etag` of the answer that is kept")),
    responses(
        (status = 200, description = "The categories", body = Categories<'_>,
            headers(("etag" = String, description = "Names this state of the list"))),
        (status = 304, description = "Nothing has changed since the answer with this `etag`")))]
pub(in crate::http) async fn list(
    State(shared): State<Arc<Shared>>,
    person: Person,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let rows = shared.api.records.categories(person.user).await?;
    let list = Categories { items: rows.iter().map(Category::from).collect() };
    let body = serde_json::to_vec(&list).map_err(|_| Problem::internal())?;
    let tag = caching::tag(&body);
    let mut response = if caching::is_known(&headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, super::JSON)], body).into_response()
    };
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, caching::CATEGORIES);
    fields.append(header::VARY, HeaderValue::from_static("authorization"));
    // A tag is ASCII in quotes.
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        fields.insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Add a category of one's own
#[utoipa::path(post, path = "/api/v1/categories", tag = "categories", operation_id = "create_category",
    request_body = NewCategory,
    responses(
        (status = 201, description = "Added", body = Category<'_>),
        (status = 409, description = "There is one of this slug", body = super::super::problem::ProblemBody<'_>,
            content_type = "application/problem+json")))]
pub(in crate::http) async fn create(
    State(shared): State<Arc<Shared>>,
    person: Person,
    Json(new): Json<NewCategory>,
) -> Result<Response, Problem> {
    let new = new.check()?;
    if shared.api.records.create_category(person.user, &new.slug, &new.name).await? {
        return Ok(json(StatusCode::CREATED, &Category::from(&new)));
    }
    Err(Problem::new(StatusCode::CONFLICT, "category_exists", "a category with this slug exists already"))
}
