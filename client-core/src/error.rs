//! The errors of this crate: one variant for each way in which a caller should react.

use std::time::Duration;

use scale_privacy::ledger;
use scale_proto::error::{Invalid, Problem};

use crate::examples::ExampleError;
use crate::host::LogError;
use crate::trainer::TrainError;

/// Why a call to the coordinator, or a download, failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The coordinator refused the call. `Problem::remedy` says what the device should do.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// The coordinator did not answer, or the connection broke. The same call may be sent again.
    #[error("the coordinator cannot be reached: {0}")]
    Unreachable(String),
    /// The answer does not follow the schema. Update the app, or the coordinator.
    #[error("the coordinator's answer cannot be read, update the app or the coordinator: {0}")]
    Malformed(#[from] Invalid),
}

impl CallError {
    /// Stable machine-readable code; for a refusal the coordinator's.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused(problem) => &problem.code,
            Self::Unreachable(_) => "unreachable",
            Self::Malformed(_) => "malformed_answer",
        }
    }
}

/// A failure of the platform: storage, key store, ledger or randomness. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {sentence}")]
pub struct HostError {
    /// What failed, as a stable code: `store`, `key_store`, `ledger`, `randomness` and the like.
    pub what: &'static str,
    /// What happened and what to do about it. Contains no secrets and no user data.
    pub sentence: String,
}

impl HostError {
    /// An error in the part `what`, described by `sentence`.
    pub fn new(what: &'static str, sentence: impl Into<String>) -> Self {
        Self { what, sentence: sentence.into() }
    }
}

/// Why a model file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The bytes are not those of the announced digest. Download again; if the error persists, do not trust the server.
    #[error("the SHA-256 of the model file is not the announced one: download it again")]
    DigestMismatch,
    /// The file has more bytes than announced, or than any model may have.
    #[error("the model file is larger than the announced {announced} bytes")]
    TooLarge {
        /// Announced size in bytes.
        announced: u64,
    },
    /// The file is not a safetensors file with exactly the model's tensors.
    #[error("the model file does not hold this model: {0}")]
    BadFile(String),
    /// The file belongs to another architecture, or was written by a build that orders the parameters differently.
    #[error("the model file belongs to another architecture: its fingerprint differs from the plan's")]
    FingerprintMismatch,
    /// A weight is NaN or infinite.
    #[error("the model file contains a weight that is NaN or infinite")]
    NotFinite,
}

impl ModelError {
    /// Stable machine-readable code of the cause.
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
    /// Storage, key store or another part of the platform failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The coordinator did not answer, or refused the call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A model file failed its verification.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// This device has no model yet.
    #[error("there is no model on this device yet: refresh the model, or take part in a round")]
    NoModel,
    /// An example was refused. None of the call's examples was stored.
    #[error(transparent)]
    Example(ExampleError),
    /// This build cannot train or evaluate the model.
    #[error(transparent)]
    Training(#[from] TrainError),
    /// The installation has no identity yet: call [`crate::device::Client::enroll`] first.
    #[error("this installation has not enrolled: call enroll with a token first")]
    NotEnrolled,
    /// The coordinator's task key is not the one that the app pins: do not trust this coordinator.
    #[error(
        "the coordinator's task key is not the one that this app pins: check the coordinator's address, or \
         update the app"
    )]
    TaskKeyMismatch,
    /// The app cancelled the call.
    #[error("cancelled by the app")]
    Cancelled,
    /// This process is already participating in a round for this installation. Only one participation can run at a
    /// time.
    #[error("a participation is running already: wait for it, or cancel it")]
    AlreadyRunning,
    /// Another process, or another client in this process, has the privacy ledger open. Only one can write it at a
    /// time. Nothing was sent.
    #[error("another process uses this installation's privacy ledger: wait until it is done, or close it")]
    LedgerInUse,
    /// The privacy ledger is damaged or was set back. Nothing is sent until the user resets it.
    #[error("{0}; nothing is sent until then")]
    LedgerLocked(#[from] ledger::Locked),
    /// The privacy ledger refused a record: one of the app's limits is not a number, or the device's clock is wrong.
    #[error("the privacy ledger refused a record: {0}")]
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

/// The kind of an [`Error`], for apps that react to kinds and not to single codes. Every language's bindings have these
/// kinds, and two of their own: `unsupported`, if the platform lacks something, and `internal`, a fault of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The app's configuration does not fit the coordinator. Trying again does not help.
    Configuration,
    /// The call does not fit the installation's state, or an argument is invalid: the sentence says which.
    Usage,
    /// The coordinator cannot be reached. The same call may be repeated later.
    Network,
    /// The coordinator refused the call.
    Refused,
    /// Storage, key store or another part of the platform failed, or stored data is damaged.
    Storage,
    /// The privacy ledger is locked, or refused a record.
    PrivacyLedger,
    /// A model failed its verification, or this build cannot use it.
    Model,
    /// The app cancelled the call.
    Cancelled,
}

impl Error {
    /// What the app can do about it, roughly.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Call(CallError::Refused(_)) => ErrorKind::Refused,
            Self::Call(CallError::Unreachable(_)) => ErrorKind::Network,
            Self::Call(CallError::Malformed(_)) | Self::TaskKeyMismatch => ErrorKind::Configuration,
            Self::NoModel | Self::NotEnrolled | Self::AlreadyRunning | Self::LedgerInUse | Self::Example(_) => {
                ErrorKind::Usage
            }
            Self::Host(_) => ErrorKind::Storage,
            Self::LedgerLocked(_) | Self::Ledger(_) => ErrorKind::PrivacyLedger,
            Self::Model(_) | Self::Training(_) => ErrorKind::Model,
            Self::Cancelled => ErrorKind::Cancelled,
        }
    }

    /// How long to wait before the call is repeated, if the coordinator has said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call(CallError::Refused(problem)) => problem.remedy.window().map(|window| window.after),
            _ => None,
        }
    }

    /// Stable machine-readable code of the cause.
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
