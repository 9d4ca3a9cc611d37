//! The `training_jobs` table.

use async_trait::async_trait;
use scale_proto::time::Timestamp;

use super::column::{JOB, JobRow};
use super::engine::{Access, Engine, Statement, Value};
use super::open::Store;
use super::{Created, Error, Jobs};
use crate::domain::{JobChange, JobId, JobStatus, Metrics, NewJob, Scope, TrainingJob, UserId};

/// The condition of the partial indexes, word for word: otherwise they are not used.
const ACTIVE: &str = "status IN ('pending', 'processing')";
/// Most of one look for stale jobs.
const MOST_STALE: i64 = 1000;

#[async_trait]
impl<DB: Engine> Jobs for Store<DB> {
    async fn create_job(&self, user: UserId, new: &NewJob, now: Timestamp) -> Result<Created<TrainingJob>, Error> {
        let mut tx = self.begin(Scope::User(user), Access::Write).await?;
        let insert = Statement::new("INSERT INTO training_jobs (")
            .sql(JOB)
            .sql(") VALUES (")
            .list([
                new.id.0.into(),
                user.into(),
                JobStatus::Pending.as_str().into(),
                0_i64.into(),
                new.model_type.as_str().into(),
                (&new.credential_hash).into(),
                Value::Uuid(None),
                json(&Metrics::new()),
                Value::Text(None),
                Value::Int(None),
                now.into(),
                now.into(),
            ])
            .sql(") ON CONFLICT (user_id) WHERE ")
            .sql(ACTIVE)
            .sql(" DO NOTHING RETURNING ")
            .sql(JOB);
        let created = match tx.one::<JobRow, _>(insert).await? {
            Some(job) => Created::New(job),
            None => {
                let active = select("user_id = ").value(user).sql(" AND ").sql(ACTIVE);
                // Ended by its device between the two statements: the next try finds room.
                let ended = || Error::Unavailable("the active job ends at this moment".to_owned());
                Created::Exists(tx.one::<JobRow, _>(active).await?.ok_or_else(ended)?)
            }
        };
        tx.commit().await?;
        Ok(created)
    }

    async fn job(&self, scope: Scope, id: JobId) -> Result<Option<TrainingJob>, Error> {
        let query = select("id = ").value(id.0).and_scope(scope);
        Ok(self.read::<JobRow, _>(scope, query).await?.pop())
    }

    async fn jobs(&self, scope: Scope, limit: u16) -> Result<Vec<TrainingJob>, Error> {
        let query =
            select("TRUE").and_scope(scope).sql(" ORDER BY created_at DESC, id DESC LIMIT ").value(i64::from(limit));
        self.read::<JobRow, _>(scope, query).await
    }

    async fn change_job(&self, id: JobId, change: &JobChange, now: Timestamp) -> Result<Option<TrainingJob>, Error> {
        let update = Statement::new("UPDATE training_jobs SET updated_at = ").value(now).sql(", status = ");
        let update = match change {
            JobChange::Progress { done_permille, round_id } => {
                let done = i64::from(*done_permille).min(1000);
                update
                    .value(JobStatus::Processing.as_str())
                    .sql(", done_permille = CASE WHEN done_permille < ")
                    .value(done)
                    .sql(" THEN ")
                    .value(done)
                    .sql(" ELSE done_permille END, round_id = COALESCE(")
                    .value(Value::Uuid(*round_id))
                    .sql(", round_id)")
            }
            JobChange::Completed { model_version, metrics } => update
                .value(JobStatus::Completed.as_str())
                .sql(", done_permille = 1000, model_version = ")
                .value(*model_version)
                .sql(", metrics = ")
                .value(json(metrics)),
            JobChange::Failed { reason } => {
                update.value(JobStatus::Failed.as_str()).sql(", failure = ").value(reason.as_str())
            }
        };
        let update = update.sql(" WHERE id = ").value(id.0).sql(" AND ").sql(ACTIVE).sql(" RETURNING ").sql(JOB);
        let mut tx = self.begin(Scope::Service, Access::Write).await?;
        let job = match tx.one::<JobRow, _>(update).await? {
            Some(changed) => Some(changed),
            None => tx.one::<JobRow, _>(select("id = ").value(id.0)).await?,
        };
        tx.commit().await?;
        Ok(job)
    }

    async fn jobs_of_round(&self, round_id: uuid::Uuid) -> Result<Vec<TrainingJob>, Error> {
        let query = select("round_id = ").value(round_id).sql(" AND ").sql(ACTIVE).sql(" ORDER BY id");
        self.read::<JobRow, _>(Scope::Service, query).await
    }

    async fn stale_jobs(&self, before: Timestamp) -> Result<Vec<TrainingJob>, Error> {
        let query = select("updated_at < ")
            .value(before)
            .sql(" AND ")
            .sql(ACTIVE)
            .sql(" ORDER BY updated_at LIMIT ")
            .value(MOST_STALE);
        self.read::<JobRow, _>(Scope::Service, query).await
    }
}

/// The jobs of which `condition` is true; it may go on with a value.
fn select(condition: &'static str) -> Statement {
    Statement::new("SELECT ").sql(JOB).sql(" FROM training_jobs WHERE ").sql(condition)
}

/// Without what JSON has no number for.
fn json(metrics: &Metrics) -> Value {
    let finite = metrics.iter().filter(|(_, value)| value.is_finite());
    let object = finite.map(|(name, value)| (name.replace('\0', "\u{fffd}"), (*value).into())).collect();
    Value::Json(Some(sqlx::types::Json(serde_json::Value::Object(object))))
}
