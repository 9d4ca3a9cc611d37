//! A training job: one person's device taking part in a round, as far as the person's screens show it.

use std::collections::BTreeMap;

use scale_clock::Timestamp;

use super::{Invalid, JobId, UserId, one_of};

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// Asked for; no device has reported yet.
    Pending,
    /// A device takes part.
    Processing,
    /// The device's update is in a model. Final.
    Completed,
    /// It ended otherwise. Final.
    Failed,
}

impl JobStatus {
    /// Its name in rows and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// From its name.
    ///
    /// # Errors
    /// If there is no such status.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let all = [Self::Pending, Self::Processing, Self::Completed, Self::Failed];
        one_of("status", text, &all.map(|status| (status.as_str(), status)))
    }

    /// Whether it can still change: a person has at most one such job.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::Processing)
    }
}

/// What a round says of itself: named numbers, such as `accuracy`.
pub type Metrics = BTreeMap<String, f64>;

/// A job to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// Its name.
    pub id: JobId,
    /// The task that the device is to take part in: the kind of model.
    pub model_type: String,
    /// SHA-256 of the secret with which the device reports: the secret itself is never stored.
    pub credential_hash: [u8; 32],
}

/// A stored job.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingJob {
    /// Its name.
    pub id: JobId,
    /// Whose.
    pub user_id: UserId,
    /// How far.
    pub status: JobStatus,
    /// Share of the training that is done, in thousandths.
    pub done_permille: u16,
    /// The task.
    pub model_type: String,
    /// SHA-256 of the secret with which the device reports.
    pub credential_hash: [u8; 32],
    /// The round it takes part in, once a device has reported.
    pub round_id: Option<uuid::Uuid>,
    /// What came out.
    pub metrics: Metrics,
    /// Why it failed, for a person.
    pub failure: Option<String>,
    /// The model version that it went into.
    pub model_version: Option<u64>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
}

/// What happens to an active job; a final one does not change again.
#[derive(Clone, Debug, PartialEq)]
pub enum JobChange {
    /// A device has got further: `Pending` and `Processing` become `Processing`, and the share never goes down.
    Progress {
        /// In thousandths.
        done_permille: u16,
        /// Where it takes part.
        round_id: Option<uuid::Uuid>,
    },
    /// Its round has made a model.
    Completed {
        /// Which.
        model_version: u64,
        /// What the round says of it.
        metrics: Metrics,
    },
    /// It ended otherwise.
    Failed {
        /// Why, for a person.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_as_they_are_written() {
        for status in [JobStatus::Pending, JobStatus::Processing, JobStatus::Completed, JobStatus::Failed] {
            assert_eq!(JobStatus::parse(status.as_str()), Ok(status));
        }
        assert!(JobStatus::parse("done").unwrap_err().problem.contains("processing"));
    }
}
