//! What the rest of an app may ask while a participation runs: where it is, and the privacy report as it is durable.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Phase, PrivacyReport};
use crate::error::Error;

/// Shared by a participation and everything that answers meanwhile.
#[derive(Debug, Default)]
pub(super) struct Activity(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    running: bool,
    phase: Option<Phase>,
    report: Option<Box<PrivacyReport>>,
}

/// The one participation that may run. Ends with this value, however it is dropped.
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

    /// Where the running participation is; `None`: none runs.
    pub(super) fn phase(&self) -> Option<Phase> {
        self.lock().phase
    }

    /// The last durable account of the running participation; `None`: none runs, or it has not read the ledger yet.
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
        // Three fields that are whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.lock() = Inner::default();
    }
}
