//! Brings progress to the app's listener: at a pace that a person can follow, from a thread that may block, and without ever
//! holding up the round.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use scale_client_core::device::{self, Observer};
use tokio::sync::oneshot;

use super::callbacks::ProgressListener;
use crate::types::{Progress, ProgressEvent};

/// At most four calls fall into one second.
const EVERY: Duration = Duration::from_millis(300);
/// How long the end of a participation waits for a call of the listener that is running.
const PATIENCE: Duration = Duration::from_millis(100);

/// What was not told yet.
#[derive(Default)]
struct Mailbox {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Costs, and after them the newest of everything else.
    progress: VecDeque<Progress>,
    over: bool,
}

/// Takes the progress of one participation.
pub(crate) struct Told(Option<Arc<Mailbox>>);

/// Calls the listener.
pub(super) struct Telling(Option<(Arc<Mailbox>, Arc<dyn ProgressListener>)>);

/// The thread that calls the listener.
pub(super) struct Started(Option<(Arc<Mailbox>, oneshot::Receiver<()>)>);

/// Both ends of a mailbox for `listener`.
pub(super) fn tell(listener: Option<Arc<dyn ProgressListener>>) -> (Told, Telling) {
    let mailbox = listener.as_ref().map(|_| Arc::<Mailbox>::default());
    (Told(mailbox.clone()), Telling(mailbox.zip(listener)))
}

impl Observer for Told {
    fn on_progress(&mut self, progress: device::Progress) {
        if let (Some(mailbox), Some(progress)) = (&self.0, Progress::new(&progress)) {
            mailbox.lock().push(progress);
            mailbox.changed.notify_one();
        }
    }
}

impl Telling {
    /// On a thread of its own: one that blocks for ever does not keep the installation from its end.
    pub(super) fn start(self) -> Started {
        Started(self.0.map(|(mailbox, listener)| {
            let (ended, end) = oneshot::channel();
            let from = mailbox.clone();
            std::thread::spawn(move || {
                from.deliver(&*listener);
                drop((listener, ended));
            });
            (mailbox, end)
        }))
    }
}

impl Started {
    /// Lets no further call begin. What is not told yet is told by the outcome.
    pub(super) async fn end(mut self) {
        if let Some((mailbox, end)) = self.0.take() {
            mailbox.end();
            // A listener that blocks for ever keeps its thread, but not the app's call.
            let _in_time = tokio::time::timeout(PATIENCE, end).await;
        }
    }
}

/// Also when the participation was dropped.
impl Drop for Started {
    fn drop(&mut self) {
        if let Some((mailbox, _)) = &self.0 {
            mailbox.end();
        }
    }
}

impl Waiting {
    /// Newer progress says everything that older progress has said, except what a round has cost.
    fn push(&mut self, progress: Progress) {
        let replaced = |last: &Progress| !matches!(last.event, ProgressEvent::Paid { .. });
        match self.progress.back_mut().filter(|last| replaced(last)) {
            Some(last) => *last = progress,
            None => self.progress.push_back(progress),
        }
    }
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A poisoned lock is harmless: every change is one call.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.lock().over = true;
        self.changed.notify_one();
    }

    /// Calls the listener until the participation is over.
    fn deliver(&self, listener: &dyn ProgressListener) {
        let mut troubled = false;
        while let Some(progress) = self.next() {
            let called = Instant::now();
            if let Err(error) = listener.on_progress(progress)
                && !troubled
            {
                // Once is enough: it will throw again.
                troubled = true;
                tracing::warn!(%error, "the app's progress listener has failed: the round goes on");
            }
            self.rest(called);
        }
    }

    /// The next progress, as soon as there is any; nothing at the end.
    fn next(&self) -> Option<Progress> {
        let idle = |waiting: &mut Waiting| !waiting.over && waiting.progress.is_empty();
        let mut waiting = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if waiting.over { None } else { waiting.progress.pop_front() }
    }

    /// Keeps the pace, unless the participation ends.
    fn rest(&self, called: Instant) {
        let left = (called + EVERY).saturating_duration_since(Instant::now());
        let ended = self.changed.wait_timeout_while(self.lock(), left, |waiting| !waiting.over);
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use scale_client_core::device::Phase;

    use super::super::callbacks::CallbackError;
    use super::*;

    #[derive(Default)]
    struct Heard {
        times: Mutex<Vec<(Instant, Progress)>>,
        throws: bool,
    }

    impl ProgressListener for Heard {
        fn on_progress(&self, progress: Progress) -> Result<(), CallbackError> {
            self.times.lock().expect("no panic").push((Instant::now(), progress));
            let sentence = "on purpose".to_owned();
            if self.throws { Err(CallbackError::Failed { sentence }) } else { Ok(()) }
        }
    }

    fn step(step: u32) -> device::Progress {
        let event = device::ProgressEvent::Step { step, of: 400, loss: None };
        device::Progress { phase: Phase::Training, phase_permille: step, event }
    }

    async fn heard(heard: Heard) -> Vec<(Instant, Progress)> {
        let heard = Arc::new(heard);
        let (mut told, telling) = tell(Some(heard.clone()));
        let telling = telling.start();
        for number in 0..400 {
            told.on_progress(step(number));
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        telling.end().await;
        told.on_progress(step(400));
        Arc::into_inner(heard).expect("nobody else holds the listener").times.into_inner().expect("no panic")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_listener_is_called_four_times_a_second_at_most_and_not_after_the_end() {
        let times = heard(Heard::default()).await;
        assert!(times.len() >= 3, "{times:?}");
        let second = Duration::from_secs(1);
        for (index, (start, _)) in times.iter().enumerate() {
            let within = times[index..].iter().take_while(|(time, _)| *time < *start + second).count();
            assert!(within <= 4, "{within} calls within a second");
        }
        let permilles: Vec<u32> = times.iter().map(|(_, progress)| progress.permille).collect();
        assert!(permilles.is_sorted(), "{permilles:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_listener_that_throws_is_called_again() {
        let times = heard(Heard { throws: true, ..Heard::default() }).await;
        assert!(times.len() >= 3, "{times:?}");
    }
}
