//! What goes wrong on a device, in a few variants that a caller acts on differently.

use scale_privacy::ledger;
use scale_proto::error::{Invalid, Problem};

use crate::examples::ExampleError;
use crate::host::LogError;
use crate::trainer::TrainError;

/// A call to the coordinator, or a download, that gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The coordinator refused. `Problem::remedy` says what helps.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// Nobody answered, or the connection broke. The same call may be sent again.
    #[error("the coordinator cannot be reached: {0}")]
    Unreachable(String),
    /// The answer is not what the schema allows. Update the app, or the coordinator.
    #[error("the coordinator's answer cannot be read: {0}")]
    Malformed(#[from] Invalid),
}

impl CallError {
    /// One stable word; the coordinator's own for a refusal.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused(problem) => &problem.code,
            Self::Unreachable(_) => "unreachable",
            Self::Malformed(_) => "malformed_answer",
        }
    }
}

/// Something of the platform that failed: storage, key store, randomness. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {sentence}")]
pub struct HostError {
    /// What failed: one stable word, such as `store`, `key_store`, `ledger` or `randomness`.
    pub what: &'static str,
    /// What happened and what helps. Holds no secrets and no data.
    pub sentence: String,
}

impl HostError {
    /// Says that `what` failed, and how.
    pub fn new(what: &'static str, sentence: impl Into<String>) -> Self {
        Self { what, sentence: sentence.into() }
    }
}

/// Why a model file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The bytes are not those that were announced. Download again; if it stays so, the server lies.
    #[error("the model file's SHA-256 is not the announced one")]
    DigestMismatch,
    /// More bytes than announced, or than any model may have.
    #[error("the model file is larger than the announced {announced} bytes")]
    TooLarge {
        /// Bytes announced.
        announced: u64,
    },
    /// Not a safetensors file with exactly the model's tensors.
    #[error("the model file does not hold this model: {0}")]
    BadFile(String),
    /// The file is of another architecture, or another build flattens in another order.
    #[error("the model file belongs to another architecture: its fingerprint is not the plan's")]
    FingerprintMismatch,
    /// A weight is NaN or infinite.
    #[error("the model file holds a weight that is not a finite number")]
    NotFinite,
}

impl ModelError {
    /// One stable word per cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::DigestMismatch => "digest_mismatch",
            Self::TooLarge { .. } => "model_too_large",
            Self::BadFile(_) => "bad_model_file",
            Self::FingerprintMismatch => "fingerprint_mismatch",
            Self::NotFinite => "not_finite",
        }
    }
}

/// Why a call of [`crate::device::Client`] failed. A round that ends early is not an error but an outcome.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The platform failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The coordinator did not answer, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A model file was refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// This device has no model yet.
    #[error("there is no model on this device yet: refresh the model, or take part in a round")]
    NoModel,
    /// An example was refused, and none of the call was kept.
    #[error(transparent)]
    Example(ExampleError),
    /// This build cannot compute the model.
    #[error(transparent)]
    Training(#[from] TrainError),
    /// [`crate::device::Client::enroll`] has to come first.
    #[error("this installation has not enrolled: call enroll with a token first")]
    NotEnrolled,
    /// The coordinator signs with another key than the one that the app pins: do not trust it.
    #[error("the coordinator's task key is not the one that this app pins")]
    TaskKeyMismatch,
    /// The app cancelled the call.
    #[error("cancelled by the app")]
    Cancelled,
    /// A participation of this installation runs in this process: one at a time.
    #[error("a participation is running already: wait for it, or cancel it")]
    AlreadyRunning,
    /// Another process, or another client of this one, has the privacy ledger: it is written by one at a time. Nothing
    /// was sent.
    #[error("another process uses this installation's privacy ledger: wait until it is done, or close it")]
    LedgerInUse,
    /// The privacy ledger cannot be trusted: nothing leaves the device until the user resets it.
    #[error("{0}; nothing is sent until then")]
    LedgerLocked(#[from] ledger::Locked),
    /// The privacy ledger takes no record: a limit of the host is no number, or the clock is wrong.
    #[error("the privacy ledger takes no record: {0}")]
    Ledger(#[from] ledger::Refusal),
}

impl From<ExampleError> for Error {
    fn from(error: ExampleError) -> Self {
        match error {
            ExampleError::Host(error) => Self::Host(error),
            error => Self::Example(error),
        }
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        match error {
            LogError::InUse => Self::LedgerInUse,
            LogError::Host(error) => Self::Host(error),
        }
    }
}

impl Error {
    /// One stable word per cause.
    pub fn code(&self) -> &str {
        match self {
            Self::Host(error) => error.what,
            Self::Call(error) => error.code(),
            Self::Model(error) => error.code(),
            Self::NoModel => "no_model",
            Self::Example(error) => error.code(),
            Self::Training(error) => error.code(),
            Self::NotEnrolled => "not_enrolled",
            Self::TaskKeyMismatch => "task_key_mismatch",
            Self::Cancelled => "cancelled",
            Self::AlreadyRunning => "already_running",
            Self::LedgerInUse => "ledger_in_use",
            Self::LedgerLocked(locked) => locked.code(),
            Self::Ledger(refusal) => refusal.code(),
        }
    }
}
