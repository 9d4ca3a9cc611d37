//! Cancels or pauses one call, from another task or thread.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Cancels or pauses the calls that it was passed to, and no others. Clones are the same token, and any thread may use them. A
/// token cannot be reset: pass a new one to the next call.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    cancelled: bool,
    paused: bool,
    waiting: Vec<Waker>,
}

impl Cancel {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes every running call with this token leave its round properly. A call that starts with a cancelled token ends at
    /// once and changes nothing.
    pub fn cancel(&self) {
        self.set(|inner| inner.cancelled = true);
    }

    /// Makes a participation with this token return at once, as if its time budget were used up: nothing is sent, and the
    /// stored round continues with the next call. For a platform that is about to suspend the app. Other calls end as if
    /// they were cancelled, and [`Self::cancel`] still works afterwards.
    pub fn pause(&self) {
        self.set(|inner| inner.paused = true);
    }

    fn set(&self, wish: impl FnOnce(&mut Inner)) {
        let waiting = {
            let mut inner = self.lock();
            wish(&mut inner);
            std::mem::take(&mut inner.waiting)
        };
        // After the lock is released: a waker may poll the future at once, which takes the lock.
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether [`Self::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Whether [`Self::pause`] was called.
    pub fn is_paused(&self) -> bool {
        self.lock().paused
    }

    /// The output of `work`, or `None` as soon as the token is cancelled or paused.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| {
            {
                let mut inner = self.lock();
                if inner.cancelled || inner.paused {
                    return Poll::Ready(None);
                }
                if !inner.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                    inner.waiting.push(context.waker().clone());
                }
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A poisoned lock is harmless: its fields are consistent after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
