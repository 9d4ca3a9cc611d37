//! Everything of one person: to take along, or to be gone.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use http::{HeaderValue, StatusCode, header};
use scale_records::domain;
use scale_records::store::{self, Cursor, Filter, Page};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::Shared;
use super::super::extract::Person;
use super::super::problem::Problem;
use super::super::wire::{Category, GivenToken, Job, Transaction, Upload, moment, moment_schema, uuid_schema};

/// Everything that is kept of a person.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Export<'a> {
    /// When this was written.
    #[schema(schema_with = moment_schema)]
    exported_at: String,
    /// The person.
    #[schema(schema_with = uuid_schema)]
    user_id: Uuid,
    /// The person's own categories.
    categories: Vec<Category<'a>>,
    /// Imported files.
    uploads: Vec<Upload<'a>>,
    /// Training jobs.
    training_jobs: Vec<Job<'a>>,
    /// Enrollment tokens that the person was given and that still count, newest first.
    enrollment_tokens: Vec<GivenToken>,
    /// Transactions, newest first.
    transactions: Vec<Transaction<'a>>,
}

/// Export everything
///
/// All that is kept of the person, as one JSON file that is written while it is read: however much there is, little of it
/// is in memory. An answer that breaks off is not complete.
#[utoipa::path(get, path = "/api/v1/me/export", tag = "me", operation_id = "export_me",
    responses((status = 200, description = "Everything", body = Export<'_>,
        headers(("content-disposition" = String, description = "A name for the file")))))]
pub(in crate::http) async fn export(State(shared): State<Arc<Shared>>, person: Person) -> Result<Response, Problem> {
    let records = &shared.api.records;
    let categories = records.categories(person.user).await?;
    let uploads = records.uploads(person.scope(), u16::MAX).await?;
    let jobs = records.jobs(person.scope(), u16::MAX).await?;
    let enrollments = records.enrollments(person.scope(), u16::MAX).await?;
    let head = Export {
        exported_at: moment(shared.api.clock.now()),
        user_id: person.user.0,
        categories: categories.iter().filter(|category| category.own).map(Category::from).collect(),
        uploads: uploads.iter().map(Upload::from).collect(),
        training_jobs: jobs.iter().map(Job::from).collect(),
        enrollment_tokens: enrollments.into_iter().map(GivenToken::from).collect(),
        transactions: Vec::new(),
    };
    let mut text = serde_json::to_vec(&head).map_err(|_| Problem::internal())?;
    // The transactions are last: their pages go where the empty list ends.
    text.truncate(text.len() - END.len());
    // The first page is read before the answer begins, so that a database that is down is a 503.
    let next = write_page(&shared, person, None, &mut text).await?;

    let rest = stream::try_unfold((shared, next), move |(shared, next)| async move {
        let Some(next) = next else { return Ok(None) };
        let mut text = Vec::new();
        let next = write_page(&shared, person, Some(next), &mut text).await?;
        Ok::<_, store::Error>(Some((Bytes::from(text), (shared, next))))
    });
    let rest = rest.inspect_err(|error| tracing::warn!(code = error.code(), %error, "an export breaks off"));
    let whole = futures::StreamExt::chain(stream::iter([Ok(Bytes::from(text))]), rest);
    let fields = [
        (header::CONTENT_TYPE, super::JSON),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"scale-export.json\"")),
    ];
    Ok((fields, Body::from_stream(whole)).into_response())
}

/// How an export ends.
const END: &str = "]}";

/// Writes one page of transactions, and the end after the last.
async fn write_page(
    shared: &Shared,
    person: Person,
    after: Option<Cursor>,
    text: &mut Vec<u8>,
) -> Result<Option<Cursor>, store::Error> {
    let first = after.is_none();
    let page = Page { limit: Page::MAX, after };
    let listed = shared.api.records.transactions(person.scope(), &Filter::default(), &page).await?;
    for (place, row) in listed.transactions.iter().enumerate() {
        if !(first && place == 0) {
            text.push(b',');
        }
        append(row, text);
    }
    if listed.next.is_none() {
        text.extend_from_slice(END.as_bytes());
    }
    Ok(listed.next)
}

fn append(row: &domain::Transaction, text: &mut Vec<u8>) {
    // Strings and numbers always have a JSON form, and a vector takes all bytes.
    let _ = serde_json::to_writer(text, &Transaction::from(row));
}

/// Delete everything
///
/// All that is kept of the person, at once and for good. The account itself is with whoever issued the token.
#[utoipa::path(delete, path = "/api/v1/me", tag = "me", operation_id = "delete_me",
    responses((status = 204, description = "Nothing is left")))]
pub(in crate::http) async fn delete(State(shared): State<Arc<Shared>>, person: Person) -> Result<StatusCode, Problem> {
    let rows = shared.api.records.delete_person(person.user).await?;
    shared.api.hub.forget(person.user).await;
    tracing::info!(rows, "a person's rows have been deleted");
    Ok(StatusCode::NO_CONTENT)
}
