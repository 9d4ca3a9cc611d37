//! Training jobs as JSON.

use scale_records::domain::{Metrics, TrainingJob};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use uuid::Uuid;

use super::{moment, moment_schema, uuid_schema};

/// A training job: the person's device taking part in a round.
#[derive(Serialize, ToSchema)]
#[schema(as = TrainingJob)]
pub(in crate::http) struct Job<'a> {
    /// Its id.
    #[schema(schema_with = uuid_schema)]
    id: Uuid,
    /// `pending` until a device reports, `processing` while it takes part; `completed` and `failed` are final.
    #[schema(pattern = "^(pending|processing|completed|failed)$", example = "processing")]
    status: &'static str,
    /// Share of the device's training that is done, in thousandths.
    #[schema(minimum = 0, maximum = 1000, example = 420)]
    done_permille: u16,
    /// The task that the device takes part in.
    #[schema(example = "categorizer")]
    model_type: &'a str,
    /// The round, once a device has reported.
    #[schema(required, format = Uuid)]
    round_id: Option<Uuid>,
    /// What the round says of its model, such as `accuracy`.
    #[schema(schema_with = metrics_schema)]
    metrics: &'a Metrics,
    /// Why it failed.
    #[schema(required)]
    failure: Option<&'a str>,
    /// The model version that it went into.
    #[schema(required)]
    model_version: Option<u64>,
    /// When it was asked for.
    #[schema(schema_with = moment_schema)]
    created_at: String,
    /// When it changed last.
    #[schema(schema_with = moment_schema)]
    updated_at: String,
}

fn metrics_schema() -> RefOr<Schema> {
    let number = ObjectBuilder::new().schema_type(Type::Number).build();
    let named = ObjectBuilder::new().description(Some("Numbers by their names, such as `accuracy`"));
    named.additional_properties(Some(Schema::from(number))).into()
}

impl<'a> From<&'a TrainingJob> for Job<'a> {
    fn from(job: &'a TrainingJob) -> Self {
        Self {
            id: job.id.0,
            status: job.status.as_str(),
            done_permille: job.done_permille.min(1_000),
            model_type: &job.model_type,
            round_id: job.round_id,
            metrics: &job.metrics,
            failure: job.failure.as_deref(),
            model_version: job.model_version,
            created_at: moment(job.created_at),
            updated_at: moment(job.updated_at),
        }
    }
}

/// Training jobs, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = TrainingJobs)]
pub(in crate::http) struct Jobs<'a> {
    /// The jobs.
    #[schema(max_items = 100)]
    pub(in crate::http) items: Vec<Job<'a>>,
}

/// A training job to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTrainingJob)]
pub(in crate::http) struct NewJob {
    /// The task that the device is to take part in.
    #[schema(min_length = 1, max_length = 200, example = "categorizer")]
    pub(in crate::http) model_type: String,
}

/// A new training job, and what its device shows to report on it.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedTrainingJob)]
pub(in crate::http) struct CreatedJob<'a> {
    /// The job.
    pub(in crate::http) job: Job<'a>,
    /// For the device alone, in base64url; it is not shown again.
    #[schema(pattern = "^[A-Za-z0-9_-]{64}$")]
    pub(in crate::http) credential: String,
}
