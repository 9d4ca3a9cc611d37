//! What replicas tell each other of jobs, over Redis. Without one, or while it is down, all of this does nothing and the
//! rows are read again instead.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use scale_clock::Timestamp;
use scale_records::domain::{JobId, JobStatus, Metrics, TrainingJob, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Hub;
use crate::redis::{Event, Link};

const CHANNEL: &str = "job-events";
/// How long a job stays in the cache: an active one may have changed by a replica that Redis did not hear.
const ACTIVE: Duration = Duration::from_secs(5);
const FINAL: Duration = Duration::from_secs(600);

#[derive(Serialize, Deserialize)]
struct Message {
    /// Who says it.
    origin: Uuid,
    news: News,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum News {
    Job(PackedJob),
    Forget(Uuid),
}

/// A job as replicas pass it on.
#[derive(Serialize, Deserialize)]
struct PackedJob {
    id: Uuid,
    user_id: Uuid,
    status: String,
    done_permille: u16,
    model_type: String,
    #[serde(with = "hex::serde")]
    credential_hash: [u8; 32],
    round_id: Option<Uuid>,
    metrics: Metrics,
    failure: Option<String>,
    model_version: Option<u64>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<&TrainingJob> for PackedJob {
    fn from(job: &TrainingJob) -> Self {
        Self {
            id: job.id.0,
            user_id: job.user_id.0,
            status: job.status.as_str().to_owned(),
            done_permille: job.done_permille,
            model_type: job.model_type.clone(),
            credential_hash: job.credential_hash,
            round_id: job.round_id,
            metrics: job.metrics.clone(),
            failure: job.failure.clone(),
            model_version: job.model_version,
            created_at: job.created_at,
            updated_at: job.updated_at,
        }
    }
}

impl PackedJob {
    /// `None`: a status of another release.
    fn unpack(self) -> Option<TrainingJob> {
        Some(TrainingJob {
            id: JobId(self.id),
            user_id: UserId(self.user_id),
            status: JobStatus::parse(&self.status).ok()?,
            done_permille: self.done_permille,
            model_type: self.model_type,
            credential_hash: self.credential_hash,
            round_id: self.round_id,
            metrics: self.metrics,
            failure: self.failure,
            model_version: self.model_version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

fn key(id: JobId) -> String {
    format!("job:{id}")
}

impl Hub {
    /// The job in Redis.
    pub(super) async fn cached(&self, id: JobId) -> Option<TrainingJob> {
        let bytes = self.0.redis.as_ref()?.get(&key(id)).await.ok()??;
        serde_json::from_slice::<PackedJob>(&bytes).ok()?.unpack()
    }

    pub(super) async fn cache(&self, job: &TrainingJob) {
        let Some(redis) = &self.0.redis else { return };
        let ttl = if job.status.is_active() { ACTIVE } else { FINAL };
        if let Ok(bytes) = serde_json::to_vec(&PackedJob::from(job)) {
            // A failure has been counted and reported by the link; the rows have the job.
            let _ = redis.set_ex(&key(job.id), &bytes, ttl).await;
        }
    }

    pub(super) async fn tell(&self, job: &TrainingJob) {
        if let Some(redis) = &self.0.redis {
            self.publish(redis, News::Job(job.into())).await;
        }
    }

    /// The cache and the other replicas drop what they hold of a person.
    pub(super) async fn tell_forget(&self, user: UserId, jobs: &[JobId]) {
        let Some(redis) = &self.0.redis else { return };
        for id in jobs {
            let _ = redis.del(&key(*id)).await;
        }
        self.publish(redis, News::Forget(user.0)).await;
    }

    async fn publish(&self, redis: &Link, news: News) {
        if let Ok(bytes) = serde_json::to_vec(&Message { origin: self.0.origin, news }) {
            let _ = redis.publish(CHANNEL, &bytes).await;
        }
    }

    /// Hears the other replicas, for ever.
    pub(super) async fn listen(&self) {
        let Some(redis) = &self.0.redis else { return std::future::pending().await };
        let mut events = redis.subscribe(CHANNEL);
        while let Some(event) = events.next().await {
            match event {
                Event::Gap => {
                    // What was known before may have changed unheard.
                    self.0.complete_since.store(self.now().as_millis(), Ordering::Release);
                    self.0.connected.store(true, Ordering::Release);
                }
                Event::Message { payload, .. } => self.heard(&payload),
            }
        }
        self.0.connected.store(false, Ordering::Release);
        std::future::pending().await
    }

    fn heard(&self, payload: &[u8]) {
        let Ok(message) = serde_json::from_slice::<Message>(payload) else {
            tracing::debug!("a message of another release on the channel of training jobs");
            return;
        };
        if message.origin == self.0.origin {
            return;
        }
        match message.news {
            News::Forget(user) => drop(self.forget_here(UserId(user))),
            News::Job(packed) => {
                // Only what is in memory already needs to follow: everything else is read when it is asked for.
                if let Some(job) = packed.unpack()
                    && self.jobs().contains_key(&job.id)
                {
                    self.keep(job);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_survives_its_message() {
        let job = TrainingJob {
            id: JobId::new(),
            user_id: UserId::new(),
            status: JobStatus::Completed,
            done_permille: 1000,
            model_type: "categorizer".to_owned(),
            credential_hash: [7; 32],
            round_id: Some(Uuid::new_v4()),
            metrics: [("accuracy".to_owned(), 0.94)].into(),
            failure: None,
            model_version: Some(43),
            created_at: Timestamp::from_millis(1),
            updated_at: Timestamp::from_millis(2),
        };
        let bytes = serde_json::to_vec(&PackedJob::from(&job)).unwrap();
        assert_eq!(serde_json::from_slice::<PackedJob>(&bytes).unwrap().unpack(), Some(job));
    }
}
