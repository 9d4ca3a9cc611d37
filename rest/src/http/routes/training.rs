//! Training jobs and their events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use scale_records::domain::JobId;

use super::super::extract::{Json, PathId, Person};
use super::super::problem::{Problem, ProblemBody};
use super::super::wire::{CreatedJob, Job, Jobs, NewJob};
use super::super::{Shared, caching};
use super::{created, json};
use crate::training::{Created, Event};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Jobs that are listed.
const LISTED: u16 = 100;
/// How long a client waits before it comes back to a stream that ended.
const RETRY: Duration = Duration::from_secs(3);

fn no_such_one() -> Problem {
    Problem::not_found("training job")
}

/// Start a training job
///
/// The person's device takes part in a round of the task. It shows the `credential` with its progress reports to the
/// coordinator. A person has one active job at a time.
#[utoipa::path(post, path = "/api/v1/training/jobs", tag = "training", operation_id = "create_training_job",
    request_body = NewJob,
    responses(
        (status = 201, description = "The job, and its credential", body = CreatedJob<'_>,
            headers(("location" = String, description = "The path of the job's status")),
            links(
                ("status" = (operation_id = "training_status", parameters(("job_id" = "$response.body#/job/id")))),
                ("stream" = (operation_id = "training_stream", parameters(("job_id" = "$response.body#/job/id")))),
                ("cancel" = (operation_id = "cancel_training_job",
                    parameters(("job_id" = "$response.body#/job/id"))))
            )),
        (status = 404, description = "No such task", body = ProblemBody<'_>, content_type = "application/problem+json"),
        (status = 409, description = "The person has an active job, this one", body = Job<'_>,
            links(
                ("status" = (operation_id = "training_status", parameters(("job_id" = "$response.body#/id")))),
                ("stream" = (operation_id = "training_stream", parameters(("job_id" = "$response.body#/id")))),
                ("cancel" = (operation_id = "cancel_training_job", parameters(("job_id" = "$response.body#/id"))))
            ))))]
pub(in crate::http) async fn create(
    State(shared): State<Arc<Shared>>,
    person: Person,
    Json(new): Json<NewJob>,
) -> Result<Response, Problem> {
    if !shared.api.models.tasks().await?.contains(&new.model_type) {
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown_task", "no task has this name"));
    }
    Ok(match shared.api.hub.create(person.user, &new.model_type).await? {
        Created::New(job, credential) => {
            let answer = CreatedJob { job: Job::from(&job), credential: URL_SAFE_NO_PAD.encode(credential.to_bytes()) };
            created(&format!("/api/v1/training/status/{}", job.id), &answer)
        }
        Created::Active(job) => json(StatusCode::CONFLICT, &Job::from(&job)),
    })
}

/// List training jobs
///
/// Newest first, at most 100.
#[utoipa::path(get, path = "/api/v1/training/jobs", tag = "training", operation_id = "list_training_jobs",
    responses((status = 200, description = "The jobs", body = Jobs<'_>)))]
pub(in crate::http) async fn list(State(shared): State<Arc<Shared>>, person: Person) -> Result<Response, Problem> {
    let jobs = shared.api.records.jobs(person.scope(), LISTED).await?;
    Ok(json(StatusCode::OK, &Jobs { items: jobs.iter().map(Job::from).collect() }))
}

/// Cancel a training job
///
/// It fails; reports on it are refused from then on. A job that has ended stays what it is.
#[utoipa::path(delete, path = "/api/v1/training/jobs/{job_id}", tag = "training", operation_id = "cancel_training_job",
    params(("job_id" = String, Path, format = Uuid, description = "The job's id")),
    responses((status = 200, description = "The job afterwards", body = Job<'_>)))]
pub(in crate::http) async fn cancel(
    State(shared): State<Arc<Shared>>,
    person: Person,
    PathId(id): PathId,
) -> Result<Response, Problem> {
    let job = shared.api.hub.fail(person.scope(), JobId(id), "cancelled by the person").await?;
    Ok(json(StatusCode::OK, &Job::from(&*job.ok_or_else(no_such_one)?)))
}

/// Get a training job
///
/// From memory where it can be: cheap enough to ask every second, though a stream is better.
#[utoipa::path(get, path = "/api/v1/training/status/{job_id}", tag = "training", operation_id = "training_status",
    params(("job_id" = String, Path, format = Uuid, description = "The job's id")),
    responses((status = 200, description = "The job", body = Job<'_>)))]
pub(in crate::http) async fn status(
    State(shared): State<Arc<Shared>>,
    person: Person,
    PathId(id): PathId,
) -> Result<Response, Problem> {
    let job = shared.api.hub.status(person.scope(), JobId(id)).await?.ok_or_else(no_such_one)?;
    Ok(json(StatusCode::OK, &Job::from(&*job)))
}

/// Follow a training job
///
/// Server-sent events `progress`, `complete` and `failed`, each with the job as JSON. The first is the present state; with
/// `last-event-id`, the first is what is newer than that event. Whoever reads slowly gets the newest state and not those
/// in between. The stream ends after the last event, after five minutes without one, and when the token expires; a client
/// comes back with `last-event-id`, and is told with 204 when nothing will follow.
#[utoipa::path(get, path = "/api/v1/training/stream/{job_id}", tag = "training", operation_id = "training_stream",
    params(
        ("job_id" = String, Path, format = Uuid, description = "The job's id"),
        ("last-event-id" = Option<u64>, Header, description = "The `id` of the last event seen", minimum = 0)),
    responses(
        (status = 200, description = "Events", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The last event has been seen; nothing will follow")))]
pub(in crate::http) async fn stream(
    State(shared): State<Arc<Shared>>,
    person: Person,
    PathId(id): PathId,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last_event_id = headers.get(LAST_EVENT_ID).map(event_id).transpose()?;
    let permit = shared.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::unavailable("too_many_streams", "too many streams are open at the moment; ask for the status instead")
    })?;
    let config = &shared.api.config;
    let idle = Duration::from_secs(config.stream_idle_s);
    let subscription = shared.api.hub.subscribe(person.scope(), JobId(id), last_event_id, idle).await?;
    let subscription = subscription.ok_or_else(no_such_one)?;
    if subscription.is_over() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let expiry = tokio::time::sleep(shared.api.clock.now().until(person.caller.expires));
    let events = stream::unfold((subscription, permit), |(mut subscription, permit)| async move {
        let event = subscription.next().await?;
        Some((Ok::<_, Infallible>(write(&event)), (subscription, permit)))
    });
    let heartbeat = KeepAlive::new().interval(Duration::from_secs(config.stream_heartbeat_s)).text("heartbeat");
    let mut response = Sse::new(events.take_until(expiry)).keep_alive(heartbeat).into_response();
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, caching::NO_STORE);
    // Proxies that gather answers before they pass them on are told not to.
    fields.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

fn event_id(value: &HeaderValue) -> Result<u64, Problem> {
    let digits = value.to_str().ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    // A number beyond all of ours is one that was never given out.
    digits.map(|digits| digits.parse().unwrap_or(u64::MAX)).ok_or_else(|| {
        Problem::malformed(
            "malformed_event_id",
            "last-event-id: not an id that this stream sent; give the id of the last event seen",
        )
    })
}

fn write(event: &Event) -> SseEvent {
    let written = SseEvent::default().event(event.name()).id(event.id.to_string()).retry(RETRY);
    // Strings and numbers always have a JSON form, on one line.
    written.data(serde_json::to_string(&Job::from(&*event.job)).unwrap_or_default())
}
