//! The events and effects of the state machine.

use std::sync::Arc;
use std::time::Duration;

use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_privacy::ledger::Append;
use scale_proto::answer::{CheckIn, CheckInAnswer, Leave, Progress, StageDown};
use scale_proto::error::Problem;
use scale_proto::ids::{RoundId, SessionId, TaskId};
use scale_proto::plan::Plan;
use scale_proto::stage::StageUp;
use scale_proto::time::{RetryWindow, Timestamp};
use zeroize::Zeroizing;

use super::{Cause, Participation, Payload, Snapshot};
use crate::download::{Installed, ModelFile, Wanted};
use crate::trainer::{TrainError, Trained};

/// An input of the state machine: something that happened.
#[derive(Debug)]
pub enum Event {
    /// The app starts a participation.
    Start,
    /// The process was restarted; the state comes from [`super::State::restore`].
    Resume,
    /// The coordinator answered the check-in.
    CheckedIn(CheckInAnswer),
    /// The answer to [`Effect::Price`]: the largest privacy cost that training can have for its examples.
    Priced(Result<Option<DpSgd>, TrainError>),
    /// The model file is downloaded and verified.
    Downloaded(ModelFile),
    /// Training has ended, with a result or an error.
    Trained(Result<Trained, TrainError>),
    /// A stage has closed; this message opens the next one.
    Down(StageDown),
    /// The stage is still open: ask again in this window.
    Wait(RetryWindow),
    /// The record of [`Effect::Record`] is durable, and so is its count in the key store.
    Recorded,
    /// The coordinator has durably added the upload to the sum.
    Committed,
    /// The coordinator has accepted the shares of stage 4.
    Accepted,
    /// The coordinator refused a call.
    Refused(Problem),
    /// A call gave no answer. The number is that of consecutive failures, starting at 1.
    Broken(u32),
    /// The time of [`Effect::WakeAt`] has come.
    Woke,
    /// An effect could not be performed.
    Failed(Cause),
    /// The app cancels the participation.
    Cancel,
}

impl Event {
    /// Name of the event, for messages and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Resume => "resume",
            Self::CheckedIn(_) => "checked_in",
            Self::Priced(_) => "priced",
            Self::Downloaded(_) => "downloaded",
            Self::Trained(_) => "trained",
            Self::Down(_) => "down",
            Self::Wait(_) => "wait",
            Self::Recorded => "recorded",
            Self::Committed => "committed",
            Self::Accepted => "accepted",
            Self::Refused(_) => "refused",
            Self::Broken(_) => "broken",
            Self::Woke => "woke",
            Self::Failed(_) => "failed",
            Self::Cancel => "cancel",
        }
    }
}

/// An output of the state machine: something to do. Effects are performed in order; those that store come before those
/// that send.
#[derive(Debug)]
pub enum Effect {
    /// Check in at the coordinator; answered by [`Event::CheckedIn`].
    CheckIn(CheckIn),
    /// Ask the trainer for the privacy cost of this plan; answered by [`Event::Priced`].
    Price(Arc<Plan>),
    /// Download and verify the model; answered by [`Event::Downloaded`].
    Download(Wanted),
    /// Install the model that was just downloaded as the newest one of its task, so that the app can predict without a
    /// network.
    Install(Box<Installed>),
    /// Train; answered by [`Event::Trained`].
    Train(Box<TrainingInput>),
    /// Store this session number durably ([`super::History::remember`]) before the next effect.
    Remember(TaskId, u64),
    /// Store the state durably, sealed, before the next effect: first the parts that are not stored yet, then the state
    /// that names them; then remove the parts that it does not name. All bytes are secret.
    Persist(Snapshot),
    /// Add this to the stored participations, durably: the privacy report combines it with the receipt of
    /// [`Effect::Record`].
    Note(Participation),
    /// Append this to the privacy ledger's log, durably, then store its count in the key store; answered by
    /// [`Event::Recorded`].
    Record(Append),
    /// Delete the stored state and its parts.
    DeleteSnapshot,
    /// Send the message of a stage; answered by [`Event::Down`], [`Event::Wait`] or [`Event::Accepted`].
    Send(Outgoing),
    /// Send the masked input in pieces; answered by [`Event::Committed`], [`Event::Down`] or [`Event::Wait`].
    Upload {
        /// Session that the masked input belongs to.
        session: SessionId,
        /// The masked input, as the privacy ledger released it.
        payload: Payload,
        /// Whether to ask first how many bytes of an earlier attempt the coordinator has.
        ask: bool,
    },
    /// Wait until this time; answered by [`Event::Woke`].
    WakeAt(Timestamp),
    /// Report the progress of training to the coordinator. The answer is ignored.
    Report(Progress),
    /// Tell the coordinator not to wait for this device any longer. The answer is ignored.
    Leave(Leave),
}

/// The input of a training run.
#[derive(Debug)]
pub struct TrainingInput {
    /// Round under which progress is reported.
    pub round: RoundId,
    /// The training plan.
    pub plan: Arc<Plan>,
    /// The global model as one flat vector.
    pub weights: Arc<Zeroizing<Vec<f32>>>,
    /// Longest training time.
    pub limit: Duration,
}

/// The message of a stage.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    AdvertiseKeys(StageUp<RoundId>),
    ShareKeys(StageUp<SessionId>),
    ConfirmSurvivors(StageUp<SessionId>),
    RevealShares(StageUp<SessionId>),
}
