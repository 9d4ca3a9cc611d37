//! What a stream of a job says.
//!
//! An event's id is a function of the job's state alone: every replica, and the same one after a restart, gives the
//! same state the same id, so `Last-Event-ID` means the same everywhere and nothing is stored for it. The share that is
//! done never goes down, so ids only grow.

use std::sync::Arc;

use scale_records::domain::{JobStatus, TrainingJob};

/// A job's state as an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Greater than that of any earlier state of the job.
    pub id: u64,
    /// The state.
    pub job: Arc<TrainingJob>,
}

impl Event {
    /// The id of the last event of any job.
    pub const LAST: u64 = 1_002;

    /// The event's name: `progress`, `complete` or `failed`.
    pub fn name(&self) -> &'static str {
        match self.job.status {
            JobStatus::Pending | JobStatus::Processing => "progress",
            JobStatus::Completed => "complete",
            JobStatus::Failed => "failed",
        }
    }

    /// Whether nothing follows.
    pub fn is_last(&self) -> bool {
        self.id == Self::LAST
    }
}

impl From<Arc<TrainingJob>> for Event {
    fn from(job: Arc<TrainingJob>) -> Self {
        Self { id: event_id(&job), job }
    }
}

/// Nothing yet is 0, then 1 and a step for every thousandth, then the end.
pub(super) fn event_id(job: &TrainingJob) -> u64 {
    match job.status {
        JobStatus::Pending => 0,
        JobStatus::Processing => 1 + u64::from(job.done_permille.min(1_000)),
        JobStatus::Completed | JobStatus::Failed => Event::LAST,
    }
}
