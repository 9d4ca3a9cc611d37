//! Why a call failed.

use scale_client_core::error::Error;

use crate::types::{ErrorKind, Failure};

/// A failed call: one variant for each way in which an app reacts, with the stable code of the cause.
#[allow(
    missing_docs,
    reason = "`code` is the stable code of the cause, `sentence` says what was wrong, where, and what to do"
)]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum ScaleError {
    /// The configuration is not valid, or does not fit the coordinator.
    #[error("{sentence}")]
    Configuration { code: String, sentence: String },
    /// The call does not fit the installation's state, or an argument is not valid.
    #[error("{sentence}")]
    Usage { code: String, sentence: String },
    /// The coordinator cannot be reached. The same call may be repeated later.
    #[error("{sentence}")]
    Network { code: String, sentence: String },
    /// The coordinator refused the call.
    #[error("{sentence}")]
    Refused {
        code: String,
        sentence: String,
        /// How long to wait before the call is repeated, if the coordinator has said so.
        retry_after_ms: Option<u64>,
    },
    /// The device's storage failed, or stored data is damaged.
    #[error("{sentence}")]
    Storage { code: String, sentence: String },
    /// The privacy ledger is locked, or refused a record.
    #[error("{sentence}")]
    PrivacyLedger { code: String, sentence: String },
    /// A model failed its verification, or this version cannot use it.
    #[error("{sentence}")]
    Model { code: String, sentence: String },
    /// The app cancelled the call.
    #[error("{sentence}")]
    Cancelled { code: String, sentence: String },
    /// A fault of the library. The call is over, and others go on.
    #[error("{sentence}")]
    Internal { code: String, sentence: String },
}

impl ScaleError {
    /// A fault of the library: `what` says where.
    pub(crate) fn internal(what: &str) -> Self {
        let sentence = format!("a fault of the library, please report it: {what}");
        Self::Internal { code: "panic".to_owned(), sentence }
    }
}

impl From<Failure> for ScaleError {
    fn from(failure: Failure) -> Self {
        let Failure { kind, code, message: sentence, retry_after_ms } = failure;
        match kind {
            ErrorKind::Configuration => Self::Configuration { code, sentence },
            ErrorKind::Usage => Self::Usage { code, sentence },
            ErrorKind::Network => Self::Network { code, sentence },
            ErrorKind::Refused => Self::Refused { code, sentence, retry_after_ms },
            ErrorKind::Storage => Self::Storage { code, sentence },
            ErrorKind::PrivacyLedger => Self::PrivacyLedger { code, sentence },
            ErrorKind::Model => Self::Model { code, sentence },
            ErrorKind::Cancelled => Self::Cancelled { code, sentence },
            // A browser lacks something; the core itself never says so.
            ErrorKind::Unsupported | ErrorKind::Internal => Self::Internal { code, sentence },
        }
    }
}

impl From<Error> for ScaleError {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}
