//! The `training_jobs` table.
//!
//! The condition for an active job is the one of the partial indexes, word for word: otherwise they are not used.

use async_trait::async_trait;
use scale_clock::Timestamp;
use scale_sql::{Moment, sql};

use super::open::Store;
use super::{Created, Error, Jobs, column};
use crate::domain::{JobChange, JobId, JobStatus, Metrics, NewJob, Scope, TrainingJob, UserId};

#[async_trait]
impl Jobs for Store {
    async fn create_job(&self, user: UserId, new: &NewJob, now: Timestamp) -> Result<Created<TrainingJob>, Error> {
        let insert =
            sql("INSERT INTO training_jobs (id, user_id, status, done_permille, model_type, credential_hash, round_id,
                 metrics, failure, model_version, created_at, updated_at)
             VALUES ($1, $2, 'pending', 0, $3, $4, NULL, $5, NULL, NULL, $6, $6)
             ON CONFLICT (user_id) WHERE status IN ('pending', 'processing') DO NOTHING
             RETURNING *")
            .bind(new.id.0)
            .bind(user)
            .bind(new.model_type.as_str())
            .bind(new.credential_hash)
            .bind(json(&Metrics::new()))
            .bind(Moment(now));
        self.write("create_job", Scope::User(user), move |tx| {
            let insert = insert.clone();
            Box::pin(async move {
                if let Some(job) = tx.one(insert, column::job).await? {
                    return Ok(Created::New(job));
                }
                let active =
                    sql("SELECT * FROM training_jobs WHERE user_id = $1 AND status IN ('pending', 'processing')")
                        .bind(user);
                // Ended by its device between the two statements: the next try finds room.
                let ended = || Error::Unavailable("the active job ends at this moment".to_owned());
                Ok(Created::Exists(tx.one(active, column::job).await?.ok_or_else(ended)?))
            })
        })
        .await
    }

    async fn job(&self, scope: Scope, id: JobId) -> Result<Option<TrainingJob>, Error> {
        let query =
            sql("SELECT * FROM training_jobs WHERE id = $1 AND ($2 IS NULL OR user_id = $2)").bind(id.0).bind(scope);
        Ok(self.read(scope, query, column::job).await?.pop())
    }

    async fn jobs(&self, scope: Scope, limit: u16) -> Result<Vec<TrainingJob>, Error> {
        let query = match scope {
            Scope::User(user) => {
                sql("SELECT * FROM training_jobs WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2")
                    .bind(user)
            }
            Scope::Service => sql("SELECT * FROM training_jobs ORDER BY created_at DESC, id DESC LIMIT $1"),
        };
        self.read(scope, query.bind(limit), column::job).await
    }

    async fn change_job(&self, id: JobId, change: &JobChange, now: Timestamp) -> Result<Option<TrainingJob>, Error> {
        let update = match change {
            JobChange::Progress { .. } => {
                sql("UPDATE training_jobs SET updated_at = $2, status = $3, round_id = COALESCE($4, round_id),
                     done_permille = CASE WHEN done_permille < $5 THEN $5 ELSE done_permille END
                 WHERE id = $1 AND status IN ('pending', 'processing') RETURNING *")
            }
            JobChange::Completed { .. } => {
                sql("UPDATE training_jobs SET updated_at = $2, status = $3, model_version = $4, metrics = $5,
                     done_permille = 1000
                 WHERE id = $1 AND status IN ('pending', 'processing') RETURNING *")
            }
            JobChange::Failed { .. } => sql("UPDATE training_jobs SET updated_at = $2, status = $3, failure = $4
                 WHERE id = $1 AND status IN ('pending', 'processing') RETURNING *"),
        };
        let update = update.bind(id.0).bind(Moment(now));
        let update = match change {
            JobChange::Progress { done_permille, round_id } => {
                update.bind(JobStatus::Processing.as_str()).bind(*round_id).bind((*done_permille).min(1000))
            }
            JobChange::Completed { model_version, metrics } => {
                update.bind(JobStatus::Completed.as_str()).bind(*model_version).bind(json(metrics))
            }
            JobChange::Failed { reason } => update.bind(JobStatus::Failed.as_str()).bind(reason.as_str()),
        };
        self.write("change_job", Scope::Service, move |tx| {
            let update = update.clone();
            Box::pin(async move {
                if let Some(changed) = tx.one(update, column::job).await? {
                    return Ok(Some(changed));
                }
                tx.one(sql("SELECT * FROM training_jobs WHERE id = $1").bind(id.0), column::job).await
            })
        })
        .await
    }

    async fn jobs_of_round(&self, round_id: uuid::Uuid) -> Result<Vec<TrainingJob>, Error> {
        let query =
            sql("SELECT * FROM training_jobs WHERE round_id = $1 AND status IN ('pending', 'processing') ORDER BY id");
        self.read(Scope::Service, query.bind(round_id), column::job).await
    }

    async fn stale_jobs(&self, before: Timestamp) -> Result<Vec<TrainingJob>, Error> {
        let query = sql("SELECT * FROM training_jobs WHERE updated_at < $1 AND status IN ('pending', 'processing')
             ORDER BY updated_at LIMIT 1000");
        self.read(Scope::Service, query.bind(Moment(before)), column::job).await
    }
}

/// Without what JSON has no number for.
fn json(metrics: &Metrics) -> serde_json::Value {
    let finite = metrics.iter().filter(|(_, value)| value.is_finite());
    let object = finite.map(|(name, value)| (name.replace('\0', "\u{fffd}"), (*value).into())).collect();
    serde_json::Value::Object(object)
}
