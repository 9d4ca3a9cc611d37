//! Where a platform keeps the privacy ledger (`scale_privacy::ledger` says what is in it).
//!
//! The log and the count live in two places, so that nobody can set back one without the other telling: the log beside
//! the app's data, the count in the key store.

use std::future::Future;

use scale_privacy::ledger::Count;

use super::{MaybeSend, MaybeSync};
use crate::error::HostError;

/// The privacy ledger's log: bytes that only grow. Keep it out of backups: a restored one is an older one.
pub trait LedgerLog: MaybeSend + MaybeSync {
    /// The log while this process has it for itself.
    type Held: HeldLog;

    /// Takes the log for this process alone: a file lock, Web Locks in a browser. Does not wait. Dropping what it gives
    /// lets go, and so does the death of the process.
    ///
    /// # Errors
    /// [`LogError::InUse`]; [`LogError::Host`] if the platform fails.
    fn hold(&self) -> impl Future<Output = Result<Self::Held, LogError>> + MaybeSend;

    /// All of it without holding it, also while another process does; empty where there is none. It may then end in the
    /// middle of a record that is being written.
    ///
    /// # Errors
    /// [`HostError`] `ledger`.
    fn read(&self) -> impl Future<Output = Result<Vec<u8>, HostError>> + MaybeSend;
}

/// The log in the hands of one process. What these calls have written is on the disk when they return (browser: IndexedDB
/// with durability "strict").
pub trait HeldLog: MaybeSend + MaybeSync {
    /// All of it; empty where there is none.
    fn read(&mut self) -> impl Future<Output = Result<Vec<u8>, HostError>> + MaybeSend;

    /// Appends `bytes` to a log of `at` bytes. A log begins with [`Self::replace`], or it would look as if it began in the
    /// middle.
    ///
    /// # Errors
    /// [`HostError`] `ledger`, also for a log of another length or an empty one: then nothing is written.
    fn append(&mut self, at: u64, bytes: &[u8]) -> impl Future<Output = Result<(), HostError>> + MaybeSend;

    /// Puts `bytes` in place of all of it, all or nothing: a reset that the user asked for, or the first record ever.
    ///
    /// # Errors
    /// [`HostError`] `ledger`.
    fn replace(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), HostError>> + MaybeSend;

    /// Removes all of it: the installation is forgotten, together with its keys and their count.
    ///
    /// # Errors
    /// [`HostError`] `ledger`.
    fn remove(&mut self) -> impl Future<Output = Result<(), HostError>> + MaybeSend;
}

/// Why a log cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Another process has it.
    #[error("another process has the privacy ledger")]
    InUse,
    /// The platform failed.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// What a key store knows about the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerCount {
    /// Nothing: this platform has no place that a restored backup or a cleared folder leaves alone. A log that was set
    /// back or deleted cannot be told from one that ends there, or from a new device.
    CannotCount,
    /// It can count, and has counted no record yet: this device is new.
    Never,
    /// This far.
    At(Count),
}

impl LedgerCount {
    /// As the ledger takes it. Having counted nothing is a count too.
    pub(crate) const fn known(self) -> Option<Count> {
        match self {
            Self::CannotCount => None,
            Self::Never => Some(Count { epoch: 0, records: 0 }),
            Self::At(count) => Some(count),
        }
    }
}
