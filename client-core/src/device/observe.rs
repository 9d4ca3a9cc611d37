//! Progress of a participation, for the user interface.

use scale_privacy::ledger::Epsilons;
use serde::{Deserialize, Serialize};

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
