//! Rows as plain data: what the store keeps, and nothing about how. Steps and calls build them, the store writes them.

use bytes::Bytes;
use scale_proto::ids::{DeviceId, Digest, ModelVersion, RoundId, SessionId, TaskId};
use scale_proto::task::TaskConfig;
use scale_proto::time::Timestamp;

use crate::round::SessionStage;
use crate::spent::Spent;

macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $vdoc:literal])+ $variant:ident = $word:literal,)* }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[doc = $vdoc])+ $variant,)* }

        impl $name {
            /// The word in the database and on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Reads the word; `None` for any other text.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// Whether a task runs rounds.
    TaskState {
        /// Rounds open by the schedule.
        Active = "active",
        /// No new rounds; one that is open goes on.
        Paused = "paused",
        /// Its last round is over.
        Finished = "finished",
    }
}

words! {
    /// Where a device stands in a round.
    ParticipantStatus {
        /// Takes part.
        Admitted = "admitted",
        /// Said that it leaves.
        Left = "left",
    }
}

words! {
    /// How far an upload has come.
    UploadState {
        /// Pieces arrive.
        Staging = "staging",
        /// Whole and verified; waits for the adder.
        Complete = "complete",
        /// Part of a durable segment: its sender is a survivor.
        Committed = "committed",
    }
}

words! {
    /// What a session's open stage still takes.
    Gate {
        /// Whatever its devices send.
        Open = "open",
        /// Uploads that were whole before may still be committed; nothing else.
        Closing = "closing",
        /// Nothing: what it has taken is final.
        Frozen = "frozen",
    }
}

words! {
    /// What is left to do after a step.
    WorkKind {
        /// Fix what a session's stage has taken, and move the session on.
        CloseStage = "close_stage",
        /// Take the masks off a session's sum.
        ReleaseSum = "release_sum",
        /// Make and publish the model.
        CommitModel = "commit_model",
        /// Delete what only this session needed.
        EndSession = "end_session",
        /// Delete what only this round needed.
        EndRound = "end_round",
    }
}

words! {
    /// Where a model version came from.
    Origin {
        /// Seeded or imported when the task was created.
        Initial = "initial",
        /// A round.
        Round = "round",
        /// An older version, published again.
        Rollback = "rollback",
    }
}

/// One task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRow {
    /// Its name.
    pub id: TaskId,
    /// What the operator chose.
    pub config: TaskConfig,
    /// Whether rounds open.
    pub state: TaskState,
    /// When it was created: `EveryS` counts from here.
    pub created_at: Timestamp,
    /// Least number of the next round, which is the second of its opening where that is higher: strictly rising, because
    /// devices refuse a number that is not.
    pub next_round: u64,
    /// The version that is served.
    pub current_version: ModelVersion,
    /// When its newest round opened.
    pub last_opened_at: Option<Timestamp>,
    /// Rounds that published a model.
    pub finished_rounds: u64,
}

/// One round: the state machine as JSON, and columns to find it by.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundRow {
    /// The round.
    pub id: RoundId,
    /// Its task.
    pub task: TaskId,
    /// Number within the task.
    pub number: u64,
    /// [`crate::round::Phase::name`].
    pub phase: String,
    /// Model that it starts from.
    pub base_version: ModelVersion,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When it was finished or abandoned.
    pub closed_at: Option<Timestamp>,
    /// When its times were last compared with the clock. Long ago: nobody heard the devices in between.
    pub looked_at: Timestamp,
    /// Rises with every write; a write that expects another one fails.
    pub revision: u64,
    /// [`crate::round::Round`] as JSON.
    pub state: String,
    /// Encoded plan; empty before training.
    pub plan: Bytes,
    /// Canonical `RoundConfig`; empty before training.
    pub config: Bytes,
    /// Ed25519 by the task key over the configuration; empty before training.
    pub signature: Bytes,
}

/// A device in a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantRow {
    /// The round.
    pub round: RoundId,
    /// The device.
    pub device: DeviceId,
    /// Its Ed25519 identity key.
    pub identity_key: [u8; 32],
    /// Its session; `None` before training.
    pub session: Option<SessionId>,
    /// When it was admitted.
    pub joined_at: Timestamp,
    /// When it last checked in.
    pub seen_at: Timestamp,
    /// Whether it is still there.
    pub status: ParticipantStatus,
}

/// One secure aggregation session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The session.
    pub id: SessionId,
    /// Its round.
    pub round: RoundId,
    /// Position among the round's sessions, from 0.
    pub ordinal: u32,
    /// The stage that is open.
    pub stage: SessionStage,
    /// What it still takes.
    pub gate: Gate,
    /// Blob of the sum, from before the masks are taken off; `None` again if they could not be.
    pub sum_blob: Option<String>,
}

/// What became of a [`MessageRow`] that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// Kept.
    New,
    /// The same bytes were there already; nothing changed.
    Same,
    /// Other bytes of this sender for this stage were there already; nothing changed.
    Different,
}

/// What a device sent in a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// The session.
    pub session: SessionId,
    /// Stage 0, 1, 3 or 4; uploads of stage 2 have rows of their own.
    pub stage: u8,
    /// Who sent it.
    pub device: DeviceId,
    /// Canonical bytes.
    pub payload: Bytes,
}

/// What is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkRow {
    /// What.
    pub kind: WorkKind,
    /// In which round.
    pub round: RoundId,
    /// In which session, if it is about one.
    pub session: Option<SessionId>,
    /// In which stage, if it is about one.
    pub stage: Option<u8>,
    /// How often it was begun.
    pub attempts: u32,
}

impl WorkRow {
    /// Its name: the same work is there once.
    pub fn id(&self) -> String {
        let kind = self.kind.as_str();
        match (self.session, self.stage) {
            (Some(session), Some(stage)) => format!("{kind}/{session}/{stage}"),
            (Some(session), None) => format!("{kind}/{session}"),
            (None, _) => format!("{kind}/{}", self.round),
        }
    }
}

/// Who holds leased work: drawn anew for every lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseToken(pub [u8; 16]);

/// One masked input on its way into the sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRow {
    /// The session.
    pub session: SessionId,
    /// Who sends it.
    pub device: DeviceId,
    /// The sender's index in the roster.
    pub participant_index: u32,
    /// SHA-256 of the whole, as announced with the first piece.
    pub digest: Digest,
    /// Bytes of the whole.
    pub total: u64,
    /// How far it has come.
    pub state: UploadState,
    /// The segment that holds it, once committed.
    pub segment: Option<String>,
    /// When the first piece came.
    pub created_at: Timestamp,
}

/// A durable partial sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRow {
    /// Its name, unique.
    pub id: String,
    /// The session.
    pub session: SessionId,
    /// Where its bytes are.
    pub blob: String,
    /// Uploads in it.
    pub uploads: u32,
}

/// One published model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRow {
    /// The task.
    pub task: TaskId,
    /// The version.
    pub version: ModelVersion,
    /// The version that it was made from.
    pub parent: Option<ModelVersion>,
    /// The round that made it.
    pub round: Option<RoundId>,
    /// Devices in the sum; 0 when no round made it.
    pub cohort: u32,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// [`scale_proto::model::ModelSpec::fingerprint`].
    pub fingerprint: Digest,
    /// Bytes of the file.
    pub bytes: u64,
    /// Where the file is.
    pub blob: String,
    /// Where the optimizer's state after this version is, if it has any.
    pub optimizer_blob: Option<String>,
    /// Where it came from.
    pub origin: Origin,
    /// Clip norm of rounds that train it, where it follows the devices.
    pub clip: Option<f64>,
    /// What its making has cost in privacy; `None` in rows older than the account.
    pub spent: Option<Spent>,
    /// When it was published.
    pub created_at: Timestamp,
}
