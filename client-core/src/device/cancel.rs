//! Lets the host stop a participation from elsewhere.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Cancels what its client does. Clones are the same handle; any thread may use one.
#[derive(Clone, Debug, Default)]
pub struct CancelHandle(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    cancelled: bool,
    waiting: Option<Waker>,
}

impl CancelHandle {
    /// Makes the running participation leave its round, or the next one if none is running. Returns at once.
    pub fn cancel(&self) {
        let mut inner = self.lock();
        inner.cancelled = true;
        if let Some(waker) = inner.waiting.take() {
            waker.wake();
        }
    }

    /// Whether [`Self::cancel`] was called and no participation has ended since.
    pub fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// The participation is over: the next one starts afresh.
    pub(super) fn reset(&self) {
        *self.lock() = Inner::default();
    }

    /// What `work` gives, or `None` as soon as somebody cancels.
    pub(super) async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| {
            {
                let mut inner = self.lock();
                if inner.cancelled {
                    return Poll::Ready(None);
                }
                inner.waiting = Some(context.waker().clone());
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Two fields that are whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
