//! Lets an app stop one call from elsewhere.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Cancels the calls that it was given to, and no others. Clones are the same token; any thread may use one. A token that
/// was cancelled stays so: give the next call a new one.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    cancelled: bool,
    waiting: Vec<Waker>,
}

impl Cancel {
    /// A token that nobody has cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes every call that has this token leave its round in good order, at once or as soon as it starts.
    pub fn cancel(&self) {
        let waiting = {
            let mut inner = self.lock();
            inner.cancelled = true;
            std::mem::take(&mut inner.waiting)
        };
        // Outside of the lock: a waker may poll at once.
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether [`Self::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// What `work` gives, or `None` as soon as somebody cancels.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| {
            {
                let mut inner = self.lock();
                if inner.cancelled {
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
        // Two fields that are whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
