//! Why a device leaves a round, or does not join it: one stable word, and a sentence for a person. Never anything about
//! its data.

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

/// Why a device does not contribute. [`Self::code`] is the stable word, `Display` the sentence.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The app cancelled the call.
    #[error("cancelled by the app")]
    Cancelled,
    /// A check of the protocol failed ([`Self::check`] says which), or a stage's signed closing time has passed.
    #[error(transparent)]
    Protocol(#[from] Refusal),
    /// Something came that does not belong to this stage.
    #[error("{0}")]
    StageOrder(String),
    /// Bytes under a good signature are not what the schema allows.
    #[error(transparent)]
    Malformed(#[from] Invalid),
    /// An answer of the coordinator cannot be read.
    #[error("the coordinator's answer cannot be read: {0}")]
    MalformedAnswer(Invalid),
    /// The plan is not the one that the signed configuration names.
    #[error("the plan's bytes are not those of the signed round configuration")]
    PlanDigest,
    /// The plan names another architecture than the one that it describes.
    #[error("{0}")]
    Fingerprint(Invalid),
    /// The configuration asks for a mechanism that this build does not have.
    #[error("the round asks for flattening, which this build does not have: update the app")]
    UnsupportedMechanism,
    /// No trainer of this build knows the model's family.
    #[error("this build cannot train a {0}: update the app")]
    UnsupportedFamily(String),
    /// The app takes no part in the task.
    #[error("this app takes no part in task {0}")]
    UnknownTask(TaskId),
    /// A guardrail of the device or the app.
    #[error(transparent)]
    Policy(#[from] Guardrail),
    /// The day's rounds are used up.
    #[error("{0} rounds were joined within the last 24 hours")]
    RoundsPerDay(u32),
    /// Devices add no noise in this round, and the app joins no such round.
    #[error("devices add no noise in this round, and this app takes part in no such round")]
    WithoutNoise,
    /// The noise of the configuration is out of its range.
    #[error(transparent)]
    Mechanism(#[from] MechanismError),
    /// The noise costs more than the signed configuration says.
    #[error("the round's noise costs more privacy than its signed configuration says")]
    UnderstatedCost,
    /// The model file was refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Training gave nothing to contribute.
    #[error(transparent)]
    Training(#[from] TrainError),
    /// What training gave cannot be sent.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The noise could not be added.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The privacy ledger does not allow the round (check C14).
    #[error("{}", ledger_sentence(.0))]
    Ledger(ledger::Refusal),
    /// The coordinator refused a call, in its own words.
    #[error("{}", .0.sentence)]
    Refused(#[source] Problem),
}

/// A limit of this device that a round exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Guardrail {
    /// The round is of the malicious profile, and the app pins no identity root (check C05).
    #[error("the round is of the malicious profile, and this app pins no identity root")]
    IdentityRoot,
    /// The plan weighs examples beyond the integer grid.
    #[error("the plan's largest weight exceeds the grid")]
    Weight,
    /// The signed clip norm is not one that the plan allows.
    #[error("the round's clip norm is outside of the range that its plan names")]
    ClipRange,
    /// The model file is too large.
    #[error("the size of the model exceeds what this device allows")]
    ModelBytes,
    /// The upload is too large.
    #[error("the size of the upload exceeds what this device allows")]
    UploadBytes,
}

impl Cause {
    /// One stable word per cause.
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

    /// The check of docs/protocol/ that failed.
    pub const fn check(&self) -> Option<Check> {
        match self {
            Self::Protocol(refusal) => refusal.check,
            Self::Policy(Guardrail::IdentityRoot) | Self::Mechanism(_) | Self::UnderstatedCost => Some(Check::C05),
            Self::Ledger(_) => Some(Check::C14),
            Self::StageOrder(_) => Some(Check::C22),
            _ => None,
        }
    }

    /// From when on coming back can help, where that is known: when a privacy budget refills.
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
            format!("this device's {} privacy budget is used up for good", claim.code())
        }
        other => other.to_string(),
    }
}
