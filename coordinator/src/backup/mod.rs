//! A backup of everything that a coordinator keeps, in one file that either database takes back: rows of one moment, and
//! every blob that they name. It is made beside coordinators that run, and in any stage of their rounds.
//!
//! | what | where |
//! |---|---|
//! | the file's form | `archive.rs` |
//! | making one | [`save`] |
//! | putting one back | [`check`], then [`Checked::restore`] |
//! | what a restored coordinator has to be told of | [`After`] |
//!
//! What was not acknowledged is not in it: uploads that wait to be added are sent again. People's rows are another
//! database's, with its own tools.

use std::io;
use std::path::PathBuf;

use crate::auth::secrets::SecretsError;
use crate::blobs::BlobError;
use crate::store::StoreError;

mod after;
mod archive;
mod named;
mod restore;
mod save;

pub use after::{After, Numbers, OpenRound, TaskAfter};
pub use archive::Header;
pub use restore::{Checked, Restored, SecretsAfter, Target, check};
pub use save::{Saved, save};

/// Why there is no backup, or nothing was put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system.
    #[error("the backup's file: {0}")]
    File(#[from] io::Error),
    /// Rows.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Blobs.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// What the rows of a backup say of rounds.
    #[error(transparent)]
    Rounds(Box<crate::Error>),
    /// Lost rounds of a task that is not in the backup.
    #[error("there is no task {0} in the backup")]
    UnknownTask(String),
    /// The secrets of the data folder.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// There is a file of this name.
    #[error("{} is there already; a backup takes no other file's place: give another name", .0.display())]
    Exists(PathBuf),
    /// A blob that a row names is gone.
    #[error("the rows name blob {0}, and it is not there: put it back, from an older backup or the store's versions")]
    Missing(String),
    /// A model's blob is not the one that was published.
    #[error("blob {0} is not the model that its row describes: put the right one back, from an older backup")]
    Altered(String),
    /// Rounds end faster than their blobs are copied.
    #[error("rounds ended {0} times while their partial sums were copied; try again, or pause the tasks for a minute")]
    Busy(u32),
    /// Secrets were asked for, and there are none.
    #[error("there is no secrets.json in {}: name the data folder of a coordinator with --data, or leave --with-secrets out", .0.display())]
    NoSecrets(PathBuf),
    /// The file is something else.
    #[error("the file is no backup of a coordinator")]
    NotABackup,
    /// Of a build that writes another form.
    #[error("the backup has form {found}, and this build reads form {known}: take the build that made it")]
    OtherFormat {
        /// The file's.
        found: u64,
        /// This build's.
        known: u32,
    },
    /// Of a build with other tables.
    #[error(
        "the backup's table {table} has other columns than this build's: restore it with the build that made it, whose \
         version is on the file's first line, and start this one on the result"
    )]
    OtherSchema {
        /// The table.
        table: String,
    },
    /// Cut or altered.
    #[error("the backup is damaged (line {line}: {problem}); nothing was written. Take another copy")]
    Damaged {
        /// Where.
        line: u64,
        /// How.
        problem: String,
    },
    /// The place has rows.
    #[error(
        "the database is in use (table {0} has rows), and a backup is put into an empty place only: name a new data folder \
         with --data, or an empty database"
    )]
    DatabaseInUse(&'static str),
    /// The place has another blob of this name.
    #[error(
        "the store has another blob {0}, and a backup is put into an empty place only: name another bucket or prefix"
    )]
    BlobInUse(String),
    /// The folder has the secrets of another coordinator.
    #[error(
        "{} holds the secrets of another coordinator than the backup's: every device's token and every pinned task key \
         would be refused. Put the secrets.json there that belongs to the backup, or none",
        .0.display()
    )]
    OtherSecrets(PathBuf),
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self::Rounds(Box::new(error))
    }
}

impl Error {
    /// One stable word per cause.
    pub fn code(&self) -> &str {
        match self {
            Self::File(_) | Self::Exists(_) => "file",
            Self::Store(error) => error.code(),
            Self::Blob(error) => error.code(),
            Self::Rounds(error) => error.code(),
            Self::UnknownTask(_) => "unknown_task",
            Self::Secrets(_) | Self::NoSecrets(_) | Self::OtherSecrets(_) => "secrets",
            Self::Missing(_) | Self::Altered(_) => "storage_corrupt",
            Self::Busy(_) => "busy",
            Self::NotABackup | Self::OtherFormat { .. } | Self::OtherSchema { .. } => "unknown_backup",
            Self::Damaged { .. } => "backup_damaged",
            Self::DatabaseInUse(_) | Self::BlobInUse(_) => "not_empty",
        }
    }
}
