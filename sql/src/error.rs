//! What goes wrong in storage, sorted by what helps.

use std::path::PathBuf;

/// A failed storage operation. Nothing of the transaction it happened in is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk, or a quota, is full. Helps: make room; the same call then succeeds.
    #[error("the database cannot grow, because the disk is full ({0}); free some space")]
    Full(String),
    /// The database does not answer, no connection is free, or it stayed busy for too long. Helps: trying again later. If it
    /// went away while it was keeping a change, that one may be kept.
    #[error("the database cannot be used at the moment: {0}")]
    Unavailable(String),
    /// A row that must be new exists, or one that must exist does not. A race, or a bug.
    #[error("the row contradicts the ones that are there: {0}")]
    Conflict(String),
    /// A stored row does not decode.
    #[error("a stored row is damaged or was written by another program: {0}")]
    Corrupt(String),
    /// Another process uses the folder with the database's file.
    #[error(
        "another coordinator is already using the data folder {}; stop it, or give this one its own with --data",
        .0.display()
    )]
    Locked(PathBuf),
    /// The schema is not one that this build knows, or the server does not let us in. Helps: an operator.
    #[error("this build cannot use the database: {0}")]
    Schema(String),
    /// A defect: a statement that is wrong, a value that a table refuses.
    #[error("the database and this build disagree: {0}")]
    Internal(String),
}

impl Error {
    /// One stable word per cause, for logs, metrics and answers.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Full(_) => "storage_full",
            Self::Unavailable(_) => "storage_unavailable",
            Self::Conflict(_) => "conflict",
            Self::Corrupt(_) => "storage_corrupt",
            Self::Locked(_) => "data_folder_in_use",
            Self::Schema(_) => "unknown_schema",
            Self::Internal(_) => "internal",
        }
    }

    /// Whether the same call may succeed later, once the disk has room or the database is back.
    pub const fn retry_helps(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Unavailable(_))
    }

    /// For a stored value that cannot be: `what` names the column.
    pub fn corrupt(what: &str, problem: impl std::fmt::Display) -> Self {
        Self::Corrupt(format!("{what}: {problem}"))
    }
}
