//! Progress of a participation, for the user interface.

use std::time::Duration;

use scale_privacy::ledger::Epsilons;
use serde::{Deserialize, Serialize};

use crate::host::Clock;

/// The phase of a participation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Asking for work.
    CheckingIn,
    /// Downloading the global model.
    Downloading,
    /// Training on local examples.
    Training,
    /// Stage 0: waiting for the keys of the other devices.
    Keys,
    /// Stage 1: secret-sharing the keys of the masks.
    Shares,
    /// Stage 2: sending the masked update.
    Uploading,
    /// Stage 3: agreeing with the other devices on whose updates are in the sum.
    Agreeing,
    /// Stage 4: helping to remove the masks from the sum.
    Unmasking,
    /// The participation has ended.
    Over,
}

impl Phase {
    /// A sentence for the user.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::CheckingIn => "Asking whether there is a round to join",
            Self::Downloading => "Downloading the shared model",
            Self::Training => "Training on this device's own data",
            Self::Keys => "Trained; waiting for enough other devices",
            Self::Shares => "Setting up the masks with the other devices",
            Self::Uploading => "Sending the masked update",
            Self::Agreeing => "Checking with the others whose updates are in the sum",
            Self::Unmasking => "Helping to remove the masks from the sum",
            Self::Over => "Finished",
        }
    }

    /// Overall progress at the start and at the end of this phase, in thousandths.
    const fn span(self) -> (u32, u32) {
        match self {
            Self::CheckingIn => (0, 20),
            Self::Downloading => (20, 150),
            Self::Training => (150, 600),
            Self::Keys => (600, 700),
            Self::Shares => (700, 780),
            Self::Uploading => (780, 900),
            Self::Agreeing => (900, 950),
            Self::Unmasking => (950, 1000),
            Self::Over => (1000, 1000),
        }
    }
}

/// The progress of a participation, and the event that changed it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Current phase.
    pub phase: Phase,
    /// Progress within the phase, in thousandths.
    pub phase_permille: u32,
    /// The event that is reported.
    pub event: ProgressEvent,
}

/// An event that an app may want to show.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ProgressEvent {
    /// A phase has begun.
    Entered,
    /// A further part of the model file was downloaded.
    Downloaded {
        /// Number of bytes so far.
        bytes: u64,
        /// Total number of bytes.
        of: u64,
    },
    /// A training step is done.
    Step {
        /// Number of steps done.
        step: u32,
        /// Total number of steps.
        of: u32,
        /// Mean loss of the step's examples before the step, in nats. `None` under DP-SGD, where the loss must not be
        /// shown because it carries no noise.
        loss: Option<f32>,
    },
    /// The privacy ledger has recorded the cost of the round, before the update is sent.
    Paid {
        /// Cost of this round.
        round: Epsilons,
        /// Cost of all rounds so far.
        total: Epsilons,
    },
    /// A further part of the masked update was sent.
    Uploaded {
        /// Number of bytes so far.
        bytes: u64,
        /// Total number of bytes.
        of: u64,
    },
}

impl Progress {
    /// Overall progress in thousandths, for a progress bar.
    pub const fn permille(&self) -> u32 {
        let (from, to) = self.phase.span();
        from + (to - from) * self.phase_permille / 1000
    }

    /// A sentence for the user.
    pub const fn sentence(&self) -> &'static str {
        self.phase.sentence()
    }
}

/// Receives the progress of a participation. Called on the thread that runs the participation: return quickly.
pub trait Observer {
    /// Called for every event. [`Progress::permille`] never decreases within one participation call.
    fn on_progress(&mut self, progress: Progress);
}

/// Ignores all progress.
impl Observer for () {
    fn on_progress(&mut self, _: Progress) {}
}

impl<F: FnMut(Progress)> Observer for F {
    fn on_progress(&mut self, progress: Progress) {
        self(progress);
    }
}

/// Passes progress on to another observer, but steps and bytes at most once in each interval, because a user sees no more
/// and a call into an app's language costs time. Phases, costs and the end of a count always pass.
#[derive(Debug)]
pub struct Sparingly<'a, C, O> {
    clock: &'a C,
    every: Duration,
    last: Option<Duration>,
    observer: O,
}

impl<'a, C: Clock, O: Observer> Sparingly<'a, C, O> {
    /// `every`: the interval, by [`Clock::steady`].
    pub fn new(clock: &'a C, every: Duration, observer: O) -> Self {
        Self { clock, every, last: None, observer }
    }
}

impl<C: Clock, O: Observer> Observer for Sparingly<'_, C, O> {
    fn on_progress(&mut self, progress: Progress) {
        let counts = match progress.event {
            ProgressEvent::Step { step, of, .. } => step < of,
            ProgressEvent::Downloaded { bytes, of } | ProgressEvent::Uploaded { bytes, of } => bytes < of,
            ProgressEvent::Entered | ProgressEvent::Paid { .. } => false,
        };
        let now = self.clock.steady();
        if counts && self.last.is_some_and(|last| now < last + self.every) {
            return;
        }
        self.last = Some(now);
        self.observer.on_progress(progress);
    }
}

#[cfg(test)]
mod tests {
    use scale_proto::time::Timestamp;

    use super::*;
    use crate::host::memory::MemoryClock;
    #[cfg(target_arch = "wasm32")]
    use crate::single_thread::test;

    #[test]
    fn counts_are_thinned_and_everything_else_passes() {
        let clock = MemoryClock::at(Timestamp::from_millis(1_000));
        let mut seen = vec![];
        {
            let mut observer = Sparingly::new(&clock, Duration::from_millis(50), |progress: Progress| {
                if let ProgressEvent::Step { step, .. } = progress.event {
                    seen.push(step);
                } else {
                    seen.push(0);
                }
            });
            let mut say = |event| observer.on_progress(Progress { phase: Phase::Training, phase_permille: 0, event });
            say(ProgressEvent::Entered);
            for step in 1..=10 {
                clock.advance(Duration::from_millis(20));
                say(ProgressEvent::Step { step, of: 10, loss: None });
            }
            say(ProgressEvent::Entered);
        }
        assert_eq!(seen, [0, 3, 6, 9, 10, 0], "every 60 ms, the last step, and both phases");
    }
}
