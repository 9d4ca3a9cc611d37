//! Where a platform stores the privacy ledger (`scale_privacy::ledger` describes its content).
//!
//! The log and the count of its records are stored in two places, so that setting back one of them is detected: the log
//! with the app's data, the count in the key store.

use std::future::Future;

use scale_privacy::ledger::Count;

use super::{MaybeSend, MaybeSync};
use crate::error::HostError;

/// The privacy ledger's log, an append-only file. It must not be part of backups, because a restored log is outdated.
pub trait LedgerLog: MaybeSend + MaybeSync {
    /// The log, locked by this process.
    type Held: HeldLog;

    /// Locks the log for this process: a file lock, or Web Locks in a browser. Does not wait. The lock is released when
    /// the returned value is dropped or the process ends.
    ///
    /// # Errors
    /// [`LogError::InUse`]; [`LogError::Host`] if the platform fails.
    fn hold(&self) -> impl Future<Output = Result<Self::Held, LogError>> + MaybeSend;

    /// The whole log, without a lock, also while another process has locked it; empty if there is none. It may end in
    /// the middle of a record that is being written.
    ///
    /// # Errors
    /// [`HostError`] `ledger`.
    fn read(&self) -> impl Future<Output = Result<Vec<u8>, HostError>> + MaybeSend;
}

/// The log, locked by one process. Changes are durable when a call returns (browser: IndexedDB with durability
/// "strict").
pub trait HeldLog: MaybeSend + MaybeSync {
    /// The whole log; empty if there is none.
    fn read(&mut self) -> impl Future<Output = Result<Vec<u8>, HostError>> + MaybeSend;

    /// Appends `bytes` to a log that has `at` bytes. The first record is written with [`Self::replace`], so that a log
    /// that was deleted meanwhile is not begun in its middle.
    ///
    /// # Errors
    /// [`HostError`] `ledger`, also if the log has another length or is empty; nothing is written then.
    fn append(&mut self, at: u64, bytes: &[u8]) -> impl Future<Output = Result<(), HostError>> + MaybeSend;

    /// Replaces the whole log by `bytes`, atomically: for the first record, or for a reset that the user requested.
    ///
    /// # Errors
    /// [`HostError`] `ledger`.
    fn replace(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), HostError>> + MaybeSend;

    /// Removes the log, when all data of the installation is deleted together with its keys and the count.
    ///
    /// # Errors
    /// [`HostError`] `ledger`.
    fn remove(&mut self) -> impl Future<Output = Result<(), HostError>> + MaybeSend;
}

/// Why the log cannot be locked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Another process has locked it.
    #[error("another process uses the privacy ledger: wait until it is done, or close it")]
    InUse,
    /// The platform's storage failed.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// The count of the log's records in the key store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerCount {
    /// This platform cannot store a count: it has no place that survives a restored backup or a deleted folder. A log
    /// that was set back or deleted cannot be distinguished from an intact one or a new device.
    CannotCount,
    /// No count is stored yet: this device is new.
    Never,
    /// The stored count.
    At(Count),
}

impl LedgerCount {
    /// The count in the form that the ledger takes. A new device has a known count, of zero records.
    pub(crate) const fn known(self) -> Option<Count> {
        match self {
            Self::CannotCount => None,
            Self::Never => Some(Count { epoch: 0, records: 0 }),
            Self::At(count) => Some(count),
        }
    }
}
