//! Progress of a participation.

use scale_client_core::device;
use serde::Serialize;

use super::Epsilons;

/// The phase of a participation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Enum))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Asking for work.
    CheckingIn,
    /// Downloading the global model.
    Downloading,
    /// Training on local examples.
    Training,
    /// Waiting for the keys of the other devices.
    Keys,
    /// Secret-sharing the keys of the masks.
    Shares,
    /// Sending the masked update.
    Uploading,
    /// Agreeing with the other devices on whose updates are in the sum.
    Agreeing,
    /// Helping to remove the masks from the sum.
    Unmasking,
    /// The participation has ended.
    Over,
}

impl From<device::Phase> for Phase {
    fn from(phase: device::Phase) -> Self {
        match phase {
            device::Phase::CheckingIn => Self::CheckingIn,
            device::Phase::Downloading => Self::Downloading,
            device::Phase::Training => Self::Training,
            device::Phase::Keys => Self::Keys,
            device::Phase::Shares => Self::Shares,
            device::Phase::Uploading => Self::Uploading,
            device::Phase::Agreeing => Self::Agreeing,
            device::Phase::Unmasking => Self::Unmasking,
            device::Phase::Over => Self::Over,
        }
    }
}

/// The progress of a participation, and the event that changed it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Progress {
    /// Current phase.
    pub phase: Phase,
    /// Overall progress in thousandths. Never decreases within one call.
    pub permille: u32,
    /// The phase, for the user.
    pub sentence: String,
    /// What happened.
    pub event: ProgressEvent,
}

/// An event that an app may want to show.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Enum))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ProgressEvent {
    /// A phase has begun.
    Entered,
    /// A further part of the model file was downloaded.
    Downloaded {
        /// Bytes so far.
        bytes: u64,
        /// All bytes.
        of: u64,
    },
    /// Training steps are done.
    Step {
        /// Steps so far.
        step: u32,
        /// All steps.
        of: u32,
        /// Mean loss of the step's examples before the step, in nats. Null under DP-SGD, where the loss carries no noise and
        /// is therefore not shown.
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
        /// Bytes so far.
        bytes: u64,
        /// All bytes.
        of: u64,
    },
}

impl Progress {
    /// `None` for an event that this version does not know.
    pub fn new(progress: &device::Progress) -> Option<Self> {
        let event = match progress.event {
            device::ProgressEvent::Entered => ProgressEvent::Entered,
            device::ProgressEvent::Downloaded { bytes, of } => ProgressEvent::Downloaded { bytes, of },
            device::ProgressEvent::Step { step, of, loss } => ProgressEvent::Step { step, of, loss },
            device::ProgressEvent::Paid { round, total } => {
                ProgressEvent::Paid { round: round.into(), total: total.into() }
            }
            device::ProgressEvent::Uploaded { bytes, of } => ProgressEvent::Uploaded { bytes, of },
            _ => return None,
        };
        let (phase, sentence) = (progress.phase.into(), progress.sentence().to_owned());
        Some(Self { phase, permille: progress.permille(), sentence, event })
    }
}
