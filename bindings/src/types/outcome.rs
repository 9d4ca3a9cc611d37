//! How a participation ended.

use scale_client_core::device;
use serde::Serialize;

use super::{Phase, Receipt};

/// How a participation ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Enum))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
#[allow(clippy::large_enum_variant, reason = "one value a round; the languages know no boxes")]
pub enum Outcome {
    /// This device's update is in the sum.
    Contributed {
        /// Id of the round.
        round: String,
        /// Session number within the task.
        number: u64,
        /// Version of the model that was trained.
        version: u64,
        /// What the round has cost; null if the report cannot be read.
        receipt: Option<Receipt>,
    },
    /// The budget is used up, or the app is about to be suspended. The round is stored and continues with the next call.
    Paused {
        /// When to call again, from now on.
        resume_after_ms: u64,
        /// After this time the device can no longer complete the round.
        resume_before_ms: u64,
        /// Phase in which the round is paused.
        phase: Phase,
    },
    /// There is no round to join now. An earlier call returns the same, without asking the coordinator.
    Waited {
        /// When to call again.
        until: u64,
        /// Stable code.
        code: String,
        /// The reason, for the user.
        sentence: String,
    },
    /// The device left its round.
    Left {
        /// Id of the round; null if the coordinator had not offered one yet.
        round: Option<String>,
        /// Stable code.
        code: String,
        /// The reason, for the user.
        sentence: String,
        /// When to call again.
        until: u64,
    },
    /// Call `enroll` with a fresh token; a round that was joined continues afterwards.
    EnrollmentNeeded {
        /// Stable code.
        code: String,
        /// The reason, for the user.
        sentence: String,
    },
}

impl Outcome {
    /// `receipt`: that of the round, if the device has contributed.
    pub fn new(outcome: device::Outcome, receipt: Option<device::Receipt>) -> Self {
        match outcome {
            device::Outcome::Contributed(device::Contribution { round, number, version, .. }) => Self::Contributed {
                round: round.to_string(),
                number,
                version: version.0,
                receipt: receipt.map(Receipt::from),
            },
            device::Outcome::Paused { resume, phase } => Self::Paused {
                resume_after_ms: millis(resume.after),
                resume_before_ms: millis(resume.before),
                phase: phase.into(),
            },
            device::Outcome::Waited { until, code, sentence } => {
                Self::Waited { until: until.as_millis(), code, sentence }
            }
            device::Outcome::Left { round, cause, until } => Self::Left {
                round: round.map(|round| round.to_string()),
                code: cause.code().to_owned(),
                sentence: cause.to_string(),
                until: until.as_millis(),
            },
            device::Outcome::EnrollmentNeeded { code, sentence } => Self::EnrollmentNeeded { code, sentence },
        }
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
