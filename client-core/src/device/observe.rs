//! What a person sees while a device takes part.

use scale_privacy::ledger::Epsilons;
use serde::{Deserialize, Serialize};

/// Where a device is in its round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Asking for work.
    CheckingIn,
    /// Loading the global model.
    Downloading,
    /// Training on local examples.
    Training,
    /// Waiting for the other devices' keys.
    Keys,
    /// Sharing the keys to the masks.
    Shares,
    /// Sending the masked update.
    Uploading,
    /// Agreeing on whose updates are in the sum.
    Agreeing,
    /// Helping to remove the masks from the sum.
    Unmasking,
    /// Over.
    Over,
}

impl Phase {
    /// A sentence for a person.
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

    /// First and last share of the whole that this phase stands for, in thousandths.
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

/// How far a participation has come, and what happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Where it is.
    pub phase: Phase,
    /// Share of the phase that is done, in thousandths.
    pub phase_permille: u32,
    /// What happened.
    pub event: ProgressEvent,
}

/// Something that a person may want to see.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ProgressEvent {
    /// A phase has begun.
    Entered,
    /// More of the model is here.
    Downloaded {
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all.
        of: u64,
    },
    /// A training step is done.
    Step {
        /// Steps so far.
        step: u32,
        /// Steps in all.
        of: u32,
        /// Mean loss of the step's examples before the step, in nats; `None` where it has no noise of its own and must
        /// not be shown.
        loss: Option<f32>,
    },
    /// The privacy ledger has taken down what the round costs, before anything is sent.
    Paid {
        /// This round.
        round: Epsilons,
        /// All rounds so far.
        total: Epsilons,
    },
    /// More of the masked update is sent.
    Uploaded {
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all.
        of: u64,
    },
}

impl Progress {
    /// Share of the whole that is done, in thousandths: for a progress bar.
    pub const fn permille(&self) -> u32 {
        let (from, to) = self.phase.span();
        from + (to - from) * self.phase_permille / 1000
    }

    /// A sentence for a person.
    pub const fn sentence(&self) -> &'static str {
        self.phase.sentence()
    }
}

/// Told when something happens. Called on the participation's own thread: return quickly.
pub trait Observer {
    /// Progress; the whole's share never falls within one call.
    fn on_progress(&mut self, progress: Progress);
}

/// Nobody looks.
impl Observer for () {
    fn on_progress(&mut self, _: Progress) {}
}

impl<F: FnMut(Progress)> Observer for F {
    fn on_progress(&mut self, progress: Progress) {
        self(progress);
    }
}
