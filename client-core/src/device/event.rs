//! What the machine is told, and what it asks for.

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

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// The host wants to take part.
    Start,
    /// The process is back; the state comes from [`super::State::restore`].
    Resume,
    /// The coordinator answered the check-in.
    CheckedIn(CheckInAnswer),
    /// What training would cost its examples, at most.
    Priced(Result<Option<DpSgd>, TrainError>),
    /// The model is here.
    Downloaded(ModelFile),
    /// Training is over.
    Trained(Result<Trained, TrainError>),
    /// A stage has closed.
    Down(StageDown),
    /// The stage is still open.
    Wait(RetryWindow),
    /// The record of [`Effect::Record`] is durable, and counted.
    Recorded,
    /// The upload is part of the sum, durably.
    Committed,
    /// The coordinator keeps the shares.
    Accepted,
    /// The coordinator refused a call.
    Refused(Problem),
    /// A call gave no answer; consecutive failures so far, starting at 1.
    Broken(u32),
    /// The time of [`Effect::WakeAt`] has come.
    Woke,
    /// What the device was asked to do cannot be done.
    Failed(Cause),
    /// The host wants out.
    Cancel,
}

impl Event {
    /// Its name, for messages and logs.
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

/// Something to do, in the order given. What persists comes before what sends.
#[derive(Debug)]
pub enum Effect {
    /// Ask for work; gives [`Event::CheckedIn`].
    CheckIn(CheckIn),
    /// Ask the trainer what this plan would cost; gives [`Event::Priced`].
    Price(Arc<Plan>),
    /// Fetch and verify the model; gives [`Event::Downloaded`].
    Download(Wanted),
    /// Keep the model that has just been loaded as its task's newest, so that the app can predict without a network.
    Install(Box<Installed>),
    /// Train; gives [`Event::Trained`].
    Train(Box<TrainingInput>),
    /// Store this round number durably ([`super::History::remember`]) before going on.
    Remember(TaskId, u64),
    /// Store the state durably, sealed, before going on: its parts first, if they are not stored yet, then what names
    /// them; then remove the parts that it does not have. All of it is secret.
    Persist(Snapshot),
    /// Store this beside the other participations, durably: the receipt of [`Effect::Record`] will point to it.
    Note(Participation),
    /// Append this to the privacy ledger's log durably, then store its count in the key store; gives
    /// [`Event::Recorded`].
    Record(Append),
    /// Delete the stored state and its parts.
    DeleteSnapshot,
    /// Send a stage's message; gives [`Event::Down`], [`Event::Wait`] or [`Event::Accepted`].
    Send(Outgoing),
    /// Send the masked input in pieces; gives [`Event::Committed`], [`Event::Down`] or [`Event::Wait`].
    Upload {
        /// The session.
        session: SessionId,
        /// The masked input, as the privacy ledger released it.
        payload: Payload,
        /// Ask first how far an earlier attempt came.
        ask: bool,
    },
    /// Come back at this time; gives [`Event::Woke`].
    WakeAt(Timestamp),
    /// Tell the coordinator how far training is. Its answer does not matter.
    Report(Progress),
    /// Tell the coordinator that nobody need wait for this device. Its answer does not matter.
    Leave(Leave),
}

/// What a trainer needs, and what its progress is reported under.
#[derive(Debug)]
pub struct TrainingInput {
    /// The round.
    pub round: RoundId,
    /// What is trained, and how.
    pub plan: Arc<Plan>,
    /// The global model, flat.
    pub weights: Arc<Zeroizing<Vec<f32>>>,
    /// Longest time.
    pub limit: Duration,
}

/// A stage's message.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    AdvertiseKeys(StageUp<RoundId>),
    ShareKeys(StageUp<SessionId>),
    ConfirmSurvivors(StageUp<SessionId>),
    RevealShares(StageUp<SessionId>),
}
