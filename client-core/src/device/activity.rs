//! State that the rest of an app can read while a participation runs: its phase, and the privacy report as of the last
//! durable record.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Phase, PrivacyReport};
use crate::error::Error;

/// Shared by the running participation and the other calls of the client.
#[derive(Debug, Default)]
pub(super) struct Activity(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    running: bool,
    phase: Option<Phase>,
    report: Option<Box<PrivacyReport>>,
}

/// Proof that no other participation runs. The participation counts as ended when this value is dropped.
#[derive(Debug)]
pub(super) struct Running<'a>(&'a Activity);

impl Activity {
    /// # Errors
    /// [`Error::AlreadyRunning`].
    pub(super) fn start(&self) -> Result<Running<'_>, Error> {
        let mut inner = self.lock();
        if inner.running {
            return Err(Error::AlreadyRunning);
        }
        inner.running = true;
        Ok(Running(self))
    }

    /// Phase of the running participation; `None`: none is running.
    pub(super) fn phase(&self) -> Option<Phase> {
        self.lock().phase
    }

    /// The last durable report of the running participation; `None`: none is running, or it has not read the ledger
    /// yet.
    pub(super) fn report(&self) -> Option<PrivacyReport> {
        self.lock().report.as_deref().cloned()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.lock().phase = Some(phase);
    }

    pub(super) fn publish(&self, report: PrivacyReport) {
        self.lock().report = Some(Box::new(report));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A poisoned lock is harmless: the three fields are consistent after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.lock() = Inner::default();
    }
}
