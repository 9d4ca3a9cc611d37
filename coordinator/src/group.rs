//! Group commit: what comes while one transaction runs is written by the next one together. A database writes to its disk
//! once for all of it.

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use tokio::sync::oneshot;

use crate::context::{Context, guard};
use crate::error::Error;

/// Most items of one transaction.
const MOST: usize = 256;

/// Writes items, and says of each, in the same order, what became of it.
type Write<T, A> = dyn Fn(Arc<Context>, Vec<T>) -> BoxFuture<'static, Result<Vec<A>, Error>> + Send + Sync;

/// A queue of `T` and its one worker. `A` is what became of an item.
pub(crate) struct Group<T, A> {
    context: Arc<Context>,
    write: Box<Write<T, A>>,
    queue: Mutex<Queue<T, A>>,
}

struct Queue<T, A> {
    waiting: Vec<(T, oneshot::Sender<Result<A, Error>>)>,
    running: bool,
}

impl<T: Send + 'static, A: Send + 'static> Group<T, A> {
    /// An empty queue. What fails in `write` fails for all of its items.
    pub(crate) fn new<F>(context: &Arc<Context>, write: F) -> Arc<Self>
    where
        F: Fn(Arc<Context>, Vec<T>) -> BoxFuture<'static, Result<Vec<A>, Error>> + Send + Sync + 'static,
    {
        let queue = Mutex::new(Queue { waiting: Vec::new(), running: false });
        Arc::new(Self { context: Arc::clone(context), write: Box::new(write), queue })
    }

    /// Writes one item, together with others. Once it is in the queue it is written even if the caller hangs up.
    ///
    /// # Errors
    /// What the transaction says; nothing is kept then. [`Error::Stopping`].
    pub(crate) async fn write(self: &Arc<Self>, item: T) -> Result<A, Error> {
        if self.context.stop.is_cancelled() {
            return Err(Error::Stopping);
        }
        let (answer, written) = oneshot::channel();
        let start = {
            let mut queue = guard(&self.queue);
            queue.waiting.push((item, answer));
            !std::mem::replace(&mut queue.running, true)
        };
        if start {
            let group = Arc::clone(self);
            self.context.tasks.spawn(async move { group.work().await });
        }
        written.await.map_err(|_| Error::Stopping)?
    }

    async fn work(&self) {
        let _at_a_panic = Left(self);
        loop {
            let batch = {
                let mut queue = guard(&self.queue);
                let count = queue.waiting.len().min(MOST);
                if count == 0 {
                    queue.running = false;
                    return;
                }
                queue.waiting.drain(..count).collect::<Vec<_>>()
            };
            let (items, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            // Where nobody listens any more, the caller has hung up.
            match (self.write)(Arc::clone(&self.context), items).await {
                Ok(written) => answers.into_iter().zip(written).for_each(|(answer, one)| drop(answer.send(Ok(one)))),
                Err(error) => answers.into_iter().for_each(|answer| drop(answer.send(Err(error.again())))),
            }
        }
    }
}

/// Ends a worker that panics: who waits for it is told, and the next item has a new one.
struct Left<'g, T, A>(&'g Group<T, A>);

impl<T, A> Drop for Left<'_, T, A> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *guard(&self.0.queue) = Queue { waiting: Vec::new(), running: false };
        }
    }
}
