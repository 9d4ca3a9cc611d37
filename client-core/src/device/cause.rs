//! Why a device leaves a round, or does not join it: a stable code, and a sentence for the user. Neither contains
//! anything about the device's data.

use scale_privacy::distributed::MechanismError;
use scale_privacy::ledger::{self, NoiseError};
use scale_proto::error::{Invalid, Problem};
use scale_proto::ids::TaskId;
use scale_proto::time::Timestamp;
use scale_secagg::check::Check;
use scale_secagg::error::{self, Refusal};

use super::date::date;
use crate::error::ModelError;
use crate::trainer::TrainError;
use crate::update::UpdateError;

/// Why a device does not contribute. [`Self::code`] gives the stable code, `Display` the sentence.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The app cancelled the call.
    #[error("cancelled by the app")]
    Cancelled,
    /// A check of the protocol failed ([`Self::check`] says which one), or the signed closing time of a stage has
    /// passed.
    #[error(transparent)]
    Protocol(#[from] Refusal),
    /// A message or event arrived that does not belong to the current stage.
    #[error("{0}")]
    StageOrder(String),
    /// Bytes with a valid signature do not follow the schema.
    #[error(transparent)]
    Malformed(#[from] Invalid),
    /// An answer of the coordinator does not follow the schema.
    #[error("the coordinator's answer cannot be read: {0}")]
    MalformedAnswer(Invalid),
    /// The plan's digest is not the one in the signed configuration.
    #[error("the plan's bytes are not those of the signed round configuration")]
    PlanDigest,
    /// The plan's fingerprint does not match the architecture that it describes.
    #[error("{0}")]
    Fingerprint(Invalid),
    /// The configuration requires a mechanism that this build does not implement.
    #[error(
        "the round requires flattening (a rotation of the update), which this build does not implement: update the app"
    )]
    UnsupportedMechanism,
    /// This build has no trainer for the model's family.
    #[error("this build cannot train models of the family `{0}`: update the app")]
    UnsupportedFamily(String),
    /// The app's configuration does not list the task.
    #[error("this app does not take part in task {0}")]
    UnknownTask(TaskId),
    /// The round exceeds a limit of the device or the app.
    #[error(transparent)]
    Policy(#[from] Guardrail),
    /// The limit on rounds within 24 hours is reached. The number is that of rounds joined.
    #[error("this device has joined {0} rounds within the last 24 hours and may join no more for now: try again later")]
    RoundsPerDay(u32),
    /// Devices add no noise in this round, and the app refuses rounds without noise.
    #[error("devices add no noise in this round, and this app refuses rounds without noise")]
    WithoutNoise,
    /// The noise parameters of the configuration are out of range.
    #[error(transparent)]
    Mechanism(#[from] MechanismError),
    /// The noise has a higher privacy cost than the signed configuration states.
    #[error("the round's noise has a higher privacy cost than its signed configuration states")]
    UnderstatedCost,
    /// The model file failed its verification.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Training gave no result.
    #[error(transparent)]
    Training(#[from] TrainError),
    /// The result of training cannot be sent.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The noise could not be added.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The privacy ledger does not allow the round (check C14).
    #[error("{}", ledger_sentence(.0))]
    Ledger(ledger::Refusal),
    /// The coordinator refused a call; the sentence is the coordinator's.
    #[error("{}", .0.sentence)]
    Refused(#[source] Problem),
}

/// A limit of this device that a round exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Guardrail {
    /// The round uses the malicious profile, and the app pins no identity root (check C05).
    #[error("the round uses the malicious profile, and this app pins no identity root")]
    IdentityRoot,
    /// The plan's `max_weight` exceeds the integer grid.
    #[error("the plan's `max_weight` exceeds the integer grid of the round")]
    Weight,
    /// The signed clip norm is outside of the range that the plan allows.
    #[error("the round's clip norm is outside of the range that its plan allows")]
    ClipRange,
    /// The model file is larger than [`super::Guardrails::model_bytes`].
    #[error("the model file is larger than this device allows")]
    ModelBytes,
    /// The masked input is larger than [`super::Guardrails::upload_bytes`].
    #[error("the upload is larger than this device allows")]
    UploadBytes,
}

impl Cause {
    /// Stable machine-readable code of the cause.
    pub fn code(&self) -> &str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Protocol(refusal) => refusal.code(),
            Self::StageOrder(_) => "stage_order",
            Self::Malformed(_) => "malformed",
            Self::MalformedAnswer(_) => "malformed_answer",
            Self::PlanDigest => "plan_digest",
            Self::Fingerprint(_) => "fingerprint_mismatch",
            Self::UnsupportedMechanism => "unsupported_mechanism",
            Self::UnsupportedFamily(_) => "unsupported_model",
            Self::UnknownTask(_) => "unknown_task",
            Self::Policy(_) => "policy",
            Self::RoundsPerDay(_) => "rounds_per_day",
            Self::WithoutNoise => "without_noise",
            Self::Mechanism(error) => error.code(),
            Self::UnderstatedCost => "understated_cost",
            Self::Model(error) => error.code(),
            Self::Training(error) => error.code(),
            Self::Update(error) => error.code(),
            Self::Noise(error) => error.code(),
            Self::Ledger(refusal) => refusal.code(),
            Self::Refused(problem) => &problem.code,
        }
    }

    /// The check of docs/protocol/ that failed, if the cause is a failed check.
    pub const fn check(&self) -> Option<Check> {
        match self {
            Self::Protocol(refusal) => refusal.check,
            Self::Policy(Guardrail::IdentityRoot) | Self::Mechanism(_) | Self::UnderstatedCost => Some(Check::C05),
            Self::Ledger(_) => Some(Check::C14),
            Self::StageOrder(_) => Some(Check::C22),
            _ => None,
        }
    }

    /// The earliest time at which trying again can succeed, if it is known: when a privacy budget refills.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Ledger(ledger::Refusal::Exhausted { refills_ms, .. }) => refills_ms.map(Timestamp::from_millis),
            _ => None,
        }
    }
}

impl From<ledger::Refusal> for Cause {
    fn from(refusal: ledger::Refusal) -> Self {
        Self::Ledger(refusal)
    }
}

impl From<error::Reason> for Cause {
    fn from(reason: error::Reason) -> Self {
        Self::Protocol(reason.into())
    }
}

fn ledger_sentence(refusal: &ledger::Refusal) -> String {
    match refusal {
        ledger::Refusal::Exhausted { claim, refills_ms: Some(at) } => {
            let refills = date(Timestamp::from_millis(*at));
            format!("the {} privacy budget of this period is used up; it refills on {refills}", claim.code())
        }
        ledger::Refusal::Exhausted { claim, refills_ms: None } => {
            format!("the {} privacy budget of this device's lifetime is used up and does not refill", claim.code())
        }
        other => other.to_string(),
    }
}
