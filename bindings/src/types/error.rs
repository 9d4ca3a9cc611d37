//! Why a call failed.

use scale_client_core::error;
use serde::Serialize;

/// The kind of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The options do not fit the coordinator, or are not valid.
    Configuration,
    /// The call does not fit the installation's state, or an argument is not valid.
    Usage,
    /// The coordinator cannot be reached. The same call may be repeated later.
    Network,
    /// The coordinator refused the call.
    Refused,
    /// The browser's storage failed, or stored data is damaged.
    Storage,
    /// The privacy ledger is locked, or refused a record.
    PrivacyLedger,
    /// A model failed its verification, or this build cannot use it.
    Model,
    /// The browser lacks something that the SDK needs.
    Unsupported,
    /// A fault of the library: the worker ended. The next call starts a new one.
    Internal,
    /// The app aborted the call. The page side rejects with an `AbortError` then.
    Cancelled,
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What the app can do about it, roughly.
    pub kind: ErrorKind,
    /// Stable code of the cause.
    pub code: String,
    /// What was wrong, where, and what to do.
    pub message: String,
    /// How long to wait before the call is repeated, if the coordinator has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// Options or arguments that cannot be used.
    pub fn invalid(kind: ErrorKind, code: &str, message: impl Into<String>) -> Self {
        Self { kind, code: code.to_owned(), message: message.into(), retry_after_ms: None }
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        // Plain data with string keys.
        serde_json::to_string(self).expect("plain data")
    }
}

impl From<error::Error> for Failure {
    fn from(error: error::Error) -> Self {
        Self {
            kind: error.kind().into(),
            code: error.code().to_owned(),
            message: error.to_string(),
            retry_after_ms: error.retry_after().map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl From<error::ErrorKind> for ErrorKind {
    fn from(kind: error::ErrorKind) -> Self {
        match kind {
            error::ErrorKind::Configuration => Self::Configuration,
            error::ErrorKind::Usage => Self::Usage,
            error::ErrorKind::Network => Self::Network,
            error::ErrorKind::Refused => Self::Refused,
            error::ErrorKind::Storage => Self::Storage,
            error::ErrorKind::PrivacyLedger => Self::PrivacyLedger,
            error::ErrorKind::Model => Self::Model,
            error::ErrorKind::Cancelled => Self::Cancelled,
        }
    }
}
