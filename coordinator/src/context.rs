//! What every room of the coordinator stands on.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scale_clock::{SharedClock, Timestamp};
use scale_proto::ids::RoundId;
use scale_secagg::keys::IdentityKey;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::blobs::{Blobs, ModelUrls};
use crate::error::Error;
use crate::parts::{Parts, Settings, Watch};
use crate::store::Store;

/// Rows, blobs, time and settings; how the rooms wake each other; and how they stop.
pub(crate) struct Context {
    pub(crate) store: Store,
    pub(crate) blobs: Blobs,
    pub(crate) clock: SharedClock,
    pub(crate) task_key: Arc<IdentityKey>,
    pub(crate) model_urls: ModelUrls,
    pub(crate) watch: Arc<dyn Watch>,
    pub(crate) settings: Settings,
    /// Rung when a deadline or an opening may have come nearer, or a round has new answers.
    pub(crate) alarm: Notify,
    /// Rounds of which this process has kept answers since the last look.
    answered: Mutex<HashSet<RoundId>>,
    /// Rung when a step has left work.
    pub(crate) work_left: Notify,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Context {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { store, blobs, clock, task_key, model_urls, watch, settings, staging: _ } = parts;
        Self {
            store,
            blobs,
            clock,
            task_key,
            model_urls,
            watch,
            settings,
            alarm: Notify::new(),
            answered: Mutex::default(),
            work_left: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// The present moment by the wall clock. What is counted within a round goes by its own time ([`crate::rounds::Times`]).
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A round has new answers: it is looked at soon.
    pub(crate) fn look_at(&self, round: RoundId) {
        guard(&self.answered).insert(round);
        self.alarm.notify_one();
    }

    /// The rounds of [`Context::look_at`] since the last call.
    pub(crate) fn take_answered(&self) -> HashSet<RoundId> {
        std::mem::take(&mut *guard(&self.answered))
    }

    /// Runs work that a call began to its end even when the caller hangs up: what a transaction has kept is always followed
    /// by what others are told of it.
    ///
    /// # Errors
    /// What `work` returns; [`Error::Stopping`].
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        if self.stop.is_cancelled() {
            return Err(Error::Stopping);
        }
        match self.tasks.spawn(work).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Error::Stopping),
        }
    }
}

/// A lock under which nothing panics: what it guards is whole even if a thread died.
pub(crate) fn guard<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs blocking work on the runtime's threads for it.
///
/// # Errors
/// What `work` returns; [`Error::Stopping`] when the runtime ends.
pub(crate) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Error>
where
    T: Send + 'static,
    E: Into<Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Stopping),
    }
}
