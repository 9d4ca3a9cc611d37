//! A person's transactions, one by one. Whole files are in [`super::upload`].

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use scale_records::domain::TransactionId;
use scale_records::store::Created;

use super::super::extract::{Json, PathId, Person, Query};
use super::super::problem::Problem;
use super::super::wire::{ChangeCategory, ListQuery, NewTransaction, Transaction, Transactions, today};
use super::super::{Shared, caching};
use super::{created, json};

type Answer = Result<Response, Problem>;

fn no_such_one() -> Problem {
    Problem::not_found("transaction")
}

fn kept(mut response: Response, how: HeaderValue) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, how);
    response.headers_mut().append(header::VARY, HeaderValue::from_static("authorization"));
    response
}

/// List transactions
///
/// Newest first. `next_cursor` of an answer, given as `cursor`, is the next page, whatever was stored in between.
#[utoipa::path(get, path = "/api/v1/transactions", tag = "transactions", operation_id = "list_transactions",
    params(ListQuery), responses((status = 200, description = "A page", body = Transactions<'_>)))]
pub(in crate::http) async fn list(
    State(shared): State<Arc<Shared>>,
    person: Person,
    Query(query): Query<ListQuery>,
) -> Answer {
    let (filter, page) = query.read()?;
    let listed = shared.api.records.transactions(person.scope(), &filter, &page).await?;
    Ok(kept(json(StatusCode::OK, &Transactions::from(&listed)), caching::TRANSACTIONS))
}

/// Get a transaction
#[utoipa::path(get, path = "/api/v1/transactions/{id}", tag = "transactions", operation_id = "get_transaction",
    params(("id" = String, Path, format = Uuid, description = "The transaction's id")),
    responses((status = 200, description = "The transaction", body = Transaction<'_>)))]
pub(in crate::http) async fn get(State(shared): State<Arc<Shared>>, person: Person, PathId(id): PathId) -> Answer {
    let row = shared.api.records.transaction(person.scope(), TransactionId(id)).await?.ok_or_else(no_such_one)?;
    Ok(kept(json(StatusCode::OK, &Transaction::from(&row)), caching::TRANSACTIONS))
}

/// Create a transaction
///
/// The same transaction again (same day, direction, amount, currency, description and occurrence) changes nothing and
/// answers with the one that is there: a request that broke off can be repeated.
#[utoipa::path(post, path = "/api/v1/transactions", tag = "transactions", operation_id = "create_transaction",
    request_body = NewTransaction,
    responses(
        (status = 201, description = "Stored", body = Transaction<'_>,
            headers(("location" = String, description = "The transaction's path")),
            links(
                ("get" = (operation_id = "get_transaction", parameters(("id" = "$response.body#/id")))),
                ("change_category" = (operation_id = "change_category", parameters(("id" = "$response.body#/id")))),
                ("delete" = (operation_id = "delete_transaction", parameters(("id" = "$response.body#/id"))))
            )),
        (status = 200, description = "It was there already", body = Transaction<'_>)))]
pub(in crate::http) async fn create(
    State(shared): State<Arc<Shared>>,
    person: Person,
    Json(new): Json<NewTransaction>,
) -> Answer {
    let now = shared.api.clock.now();
    let new = new.check(today(now))?;
    Ok(match shared.api.records.create_transaction(person.user, &new, now).await? {
        Created::New(row) => created(&format!("/api/v1/transactions/{}", row.id), &Transaction::from(&row)),
        Created::Exists(row) => json(StatusCode::OK, &Transaction::from(&row)),
    })
}

/// Change a transaction's category
///
/// The last change wins, but a prediction never replaces a person's choice: the answer has the transaction as it is
/// afterwards.
#[utoipa::path(patch, path = "/api/v1/transactions/{id}/category", tag = "transactions",
    operation_id = "change_category",
    params(("id" = String, Path, format = Uuid, description = "The transaction's id")), request_body = ChangeCategory,
    responses((status = 200, description = "The transaction afterwards", body = Transaction<'_>)))]
pub(in crate::http) async fn change_category(
    State(shared): State<Arc<Shared>>,
    person: Person,
    PathId(id): PathId,
    Json(change): Json<ChangeCategory>,
) -> Answer {
    let (change, now) = (change.check()?, shared.api.clock.now());
    let row = shared.api.records.set_category(person.scope(), TransactionId(id), &change, now).await?;
    Ok(json(StatusCode::OK, &Transaction::from(&row.ok_or_else(no_such_one)?)))
}

/// Delete a transaction
#[utoipa::path(delete, path = "/api/v1/transactions/{id}", tag = "transactions", operation_id = "delete_transaction",
    params(("id" = String, Path, format = Uuid, description = "The transaction's id")),
    responses((status = 204, description = "It is gone")))]
pub(in crate::http) async fn delete(
    State(shared): State<Arc<Shared>>,
    person: Person,
    PathId(id): PathId,
) -> Result<StatusCode, Problem> {
    match shared.api.records.delete_transaction(person.scope(), TransactionId(id)).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(no_such_one()),
    }
}
