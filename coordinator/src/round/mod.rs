//! One round as a pure machine: state and event in, state and effects out. No clock, no I/O, no randomness.
//!
//! ```text
//! Selecting ──▶ Training ──▶ Securing ──▶ Committing ──▶ Finished
//!      └───────────┴────────────┴─────────────┴───────▶ Abandoned(code, sentence)
//! ```
//!
//! A [`Round`] is one small row. [`Round::handle`] decides on the copy in memory; the transaction after it stores what was
//! decided if the row still has the revision that it was decided on. Effects that need more than that transaction ([`Effect::CloseStage`], [`Effect::ReleaseSum`], [`Effect::CommitModel`]) are
//! derived again from the state after a restart ([`Round::pending`]), so a crash loses none and repeats are harmless.
//!
//! Within Securing each session walks through its stages by itself ([`session`]). The cryptography decides which devices
//! are in a set; this machine knows only how many, and checks every one of these numbers against the floor again.

mod machine;
mod session;
mod shape;
#[cfg(test)]
mod tests;
mod window;

use std::time::Duration;

use scale_proto::ids::{DeviceId, ModelVersion, RoundId, SessionId, TaskId};
use scale_proto::limits::COHORT_FLOOR;
use scale_proto::task::{Schedule, SecureAggregation, TaskConfig, Timing};
use scale_proto::time::Timestamp;
use scale_secagg::config::Mechanism;
use serde::{Deserialize, Serialize};

pub use session::{SessionProgress, SessionStage};
pub use shape::one_session;
pub use window::Window;

/// What is left of every window at least when the coordinator is back: devices did not reach it in the meantime.
pub const RESTART_GRACE: Duration = Duration::from_secs(10);

/// How long stage 4 waits for the rest once every secret could be rebuilt: more shares than needed repair wrong ones.
pub const REPAIR_GRACE: Duration = Duration::from_secs(1);

/// What a round needs of its task's configuration, fixed when it opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Devices wanted in the sum.
    pub goal: u32,
    /// Fewest devices in a round, a session and a sum; never below [`COHORT_FLOOR`].
    pub floor: u32,
    /// Devices to select.
    pub selected: u32,
    /// Largest session of a cohort that divides.
    pub session_max: u32,
    /// The cohort makes one session, whatever its size; see [`one_session`].
    #[serde(default)]
    pub one_session: bool,
    /// Longest time of each step.
    pub timing: Timing,
    /// Too few devices when selection ends: wait on (`true`) or abandon.
    pub patient: bool,
    /// Added to every signed closing time, so that a device whose clock runs ahead still takes part.
    pub clock_slack_ms: u64,
}

impl Rules {
    /// The rules of a task's next round. The floor is raised to [`COHORT_FLOOR`] whatever the configuration says.
    /// `noise`: what devices add before they mask.
    pub fn of(config: &TaskConfig, noise: &Mechanism, clock_slack: Duration) -> Self {
        let floor = config.cohort.floor.max(COHORT_FLOOR);
        let session_max = config.cohort.session_max.max(floor);
        let mut selected = config.cohort.selected().max(floor);
        let SecureAggregation { profile, sessions, .. } = config.secure_aggregation;
        let one_session = one_session(profile, sessions, *noise != Mechanism::None);
        // From two floors on, every cohort divides into sessions between floor and maximum; below, only one session is
        // sure to stand.
        if session_max < 2 * floor && !one_session {
            selected = selected.min(session_max);
        }
        Self {
            goal: config.cohort.goal.max(floor),
            floor,
            selected,
            session_max,
            one_session,
            timing: config.timing.clone(),
            patient: config.schedule == Schedule::WhenReady,
            clock_slack_ms: u64::try_from(clock_slack.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Where a round stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Phase {
    /// Devices are admitted.
    Selecting {
        /// Set by the first admission.
        deadline: Option<Timestamp>,
    },
    /// Devices train; their keys are arriving. Every session is in its key stage.
    Training,
    /// At least one session has its roster.
    Securing,
    /// The sum is known; the model is being made.
    Committing,
    /// A model was published.
    Finished {
        /// The new version.
        version: ModelVersion,
        /// When.
        at: Timestamp,
    },
    /// Over without a model.
    Abandoned {
        /// One stable word.
        code: String,
        /// For a person.
        sentence: String,
        /// When.
        at: Timestamp,
    },
}

impl Phase {
    /// The word on the wire and in the database.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Selecting { .. } => "selecting",
            Self::Training => "training",
            Self::Securing => "securing",
            Self::Committing => "committing",
            Self::Finished { .. } => "finished",
            Self::Abandoned { .. } => "abandoned",
        }
    }

    /// Whether nothing can change any more.
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Abandoned { .. })
    }
}

/// What the sum says about a finished round, and what it cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean loss over the survivors' examples, nats.
    pub loss: f64,
    /// Share of correct answers, 0 to 1.
    pub accuracy: f64,
    /// Examples behind both.
    pub examples: u64,
    /// Payload bytes that one survivor sent.
    pub bytes_up_per_device: u64,
    /// L2 norm of the mean update over that of the noise expected in it; `None` without noise on updates. The mean holds
    /// its noise, so about 1 says that nothing else is in it.
    #[serde(default)]
    pub signal_to_noise: Option<f64>,
}

/// One round: everything that must survive a restart, and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The round.
    pub id: RoundId,
    /// Its task.
    pub task: TaskId,
    /// Strictly rising within the task; signed.
    pub number: u64,
    /// The model it starts from.
    pub base_version: ModelVersion,
    /// Fixed at opening.
    pub rules: Rules,
    /// When it opened.
    pub opened_at: Timestamp,
    /// Where it stands.
    pub phase: Phase,
    /// Devices admitted and not gone.
    pub cohort: u32,
    /// Signed latest closing times T0 to T4; all zero before training.
    pub closings: [Timestamp; 5],
    /// The secure aggregations, in order; empty before training.
    pub sessions: Vec<SessionProgress>,
    /// Set when it finishes.
    pub summary: Option<Summary>,
}

/// What can happen to a round.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A device that is not in yet wants to take part. Whether it is in already is known to the rows, not here.
    DeviceCheckedIn {
        /// Who.
        device: DeviceId,
    },
    /// A device that was in leaves, or was found absent during selection.
    DeviceLeft {
        /// Its session, once there is one.
        session: Option<SessionId>,
        /// The open stage waits for it: it belongs to the stage's set and has not answered.
        awaited: bool,
    },
    /// One more device has answered a session's open stage, durably.
    StageAnswered {
        /// The session.
        session: SessionId,
        /// The stage.
        stage: SessionStage,
        /// Devices that have answered in all; a repeat of the same number changes nothing.
        answered: u32,
        /// The masks could be removed with these answers: the rest gets [`REPAIR_GRACE`] only.
        ready: bool,
    },
    /// A session's open stage would close on silence, but a device that has not answered is in the middle of its upload.
    StillSending {
        /// The session.
        session: SessionId,
    },
    /// [`Effect::CloseStage`] was carried out.
    StageClosed {
        /// The session.
        session: SessionId,
        /// The stage that was closed.
        stage: SessionStage,
        /// How many devices stand in the set that the stage fixed, or why the session cannot go on.
        outcome: Result<u32, Failure>,
    },
    /// [`Effect::ReleaseSum`] was carried out.
    SumReleased {
        /// The session.
        session: SessionId,
        /// Or why there is no sum.
        outcome: Result<(), Failure>,
    },
    /// [`Effect::CommitModel`] was carried out.
    ModelCommitted {
        /// What was published, or why nothing was.
        outcome: Result<(ModelVersion, Summary), Failure>,
    },
    /// An operator wants it to end.
    AbandonRequested {
        /// The operator's words.
        reason: String,
    },
    /// The coordinator heard nobody for a while and is back: it was down, or its process stood still. Also when the
    /// clock was set while devices were being selected.
    Resumed,
    /// Time has passed.
    Tick,
}

impl Event {
    /// For logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::DeviceCheckedIn { .. } => "device_checked_in",
            Self::DeviceLeft { .. } => "device_left",
            Self::StageAnswered { .. } => "stage_answered",
            Self::StillSending { .. } => "still_sending",
            Self::StageClosed { .. } => "stage_closed",
            Self::SumReleased { .. } => "sum_released",
            Self::ModelCommitted { .. } => "model_committed",
            Self::AbandonRequested { .. } => "abandon_requested",
            Self::Resumed => "resumed",
            Self::Tick => "tick",
        }
    }
}

/// Why a session or a commit failed: a stable word and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// One stable word.
    pub code: String,
    /// For a person.
    pub sentence: String,
}

impl Failure {
    /// From both parts.
    pub fn new(code: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { code: code.into(), sentence: sentence.into() }
    }
}

/// Why a device is not admitted. Not an error: it comes back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Enough devices were selected.
    Full,
    /// Selection is over.
    Running,
    /// The round is over.
    Over,
}

impl Refused {
    /// One stable word.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Full => "round_full",
            Self::Running => "round_running",
            Self::Over => "round_over",
        }
    }

    /// For a person.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Full => "this round has all the devices it needs; the next one may take this device",
            Self::Running => "a round is running already; the next one may take this device",
            Self::Over => "the round is over; the next one may take this device",
        }
    }
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Keep the device as a participant.
    Admit {
        /// Who.
        device: DeviceId,
    },
    /// Tell the device to come back later.
    Refuse {
        /// Who.
        device: DeviceId,
        /// Why.
        why: Refused,
    },
    /// Selection waits on: forget the devices that were not heard of since then, and report each as
    /// [`Event::DeviceLeft`].
    DropAbsent {
        /// Seen before this moment is absent.
        unseen_since: Timestamp,
    },
    /// Deal the participants to [`Round::sessions`], sign the configuration, hand out manifests.
    StartTraining,
    /// Close a stage of the secure aggregation and report [`Event::StageClosed`].
    CloseStage {
        /// The session.
        session: SessionId,
        /// The stage: keys to agreement.
        stage: SessionStage,
    },
    /// Remove the masks and report [`Event::SumReleased`].
    ReleaseSum {
        /// The session.
        session: SessionId,
    },
    /// Make and publish the model from all released sums and report [`Event::ModelCommitted`].
    CommitModel,
    /// A session is over: its uploads, segments and messages can go. Its released sum stays for the commit.
    EndSession {
        /// The session.
        session: SessionId,
    },
    /// The round is over: everything that only it needed can go, and the next one may open.
    EndRound,
}

/// A new state, and what follows from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The new state.
    pub round: Round,
    /// In order.
    pub effects: Vec<Effect>,
}
