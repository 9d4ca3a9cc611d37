//! Tasks, rounds and models as operators see them.

use scale_clock::Timestamp;
use scale_proto::ids::{Digest, ModelVersion, RoundId, TaskId};
use scale_proto::task::TaskConfig;

use crate::error::Error;
use crate::round::{Phase, Round, SessionProgress};
use crate::rows::{ModelRow, Origin, RoundRow, TaskRow, TaskState};
use crate::spent::Cost;

/// A task as operators see it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskInfo {
    /// Its name.
    pub task: TaskId,
    /// Whether it runs rounds.
    pub state: TaskState,
    /// What was chosen.
    pub config: TaskConfig,
    /// When it was created.
    pub created_at: Timestamp,
    /// Rounds that published a model.
    pub rounds: u64,
    /// The version that is served.
    pub model_version: ModelVersion,
}

/// A round as operators see it.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundInfo {
    /// The machine's state: phase, cohort, sessions, summary.
    pub round: Round,
    /// When it was finished or abandoned.
    pub closed_at: Option<Timestamp>,
}

/// A session as operators see it.
pub type SessionInfo = SessionProgress;

/// A model version as operators see it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// The task.
    pub task: TaskId,
    /// The version.
    pub version: ModelVersion,
    /// What it was made from.
    pub parent: Option<ModelVersion>,
    /// The round that made it.
    pub round: Option<RoundId>,
    /// Devices in the sum.
    pub cohort: u32,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Bytes of the file.
    pub bytes: u64,
    /// When it was published.
    pub created_at: Timestamp,
    /// Where it came from.
    pub origin: Origin,
    /// What its making has cost in privacy; `None` for versions older than the account.
    pub cost: Option<Cost>,
    /// Clip norm of rounds that train it, where it follows the devices.
    pub clip: Option<f64>,
    /// Signed URL of the file.
    pub url: String,
    /// Whether it is the one that is served.
    pub current: bool,
}

impl RoundInfo {
    /// Why it was abandoned: a stable word and a sentence.
    pub fn reason(&self) -> Option<(&str, &str)> {
        match &self.round.phase {
            Phase::Abandoned { code, sentence, .. } => Some((code, sentence)),
            _ => None,
        }
    }

    /// Devices in the sum.
    pub fn survivors(&self) -> u32 {
        self.round.survivors()
    }

    /// What it published.
    pub fn new_version(&self) -> Option<ModelVersion> {
        match self.round.phase {
            Phase::Finished { version, .. } => Some(version),
            _ => None,
        }
    }

    pub(super) fn read(row: &RoundRow) -> Result<Self, Error> {
        let round = serde_json::from_str(&row.state)
            .map_err(|error| Error::Bug(format!("state of round {} does not decode: {error}", row.id)))?;
        Ok(Self { round, closed_at: row.closed_at })
    }
}

impl From<TaskRow> for TaskInfo {
    fn from(row: TaskRow) -> Self {
        Self {
            task: row.id,
            state: row.state,
            config: row.config,
            created_at: row.created_at,
            rounds: row.finished_rounds,
            model_version: row.current_version,
        }
    }
}

impl ModelInfo {
    /// A version of `task`, which can be read at `url`.
    pub(super) fn of(task: &TaskRow, model: ModelRow, url: String) -> Self {
        Self {
            url,
            current: model.version == task.current_version,
            task: model.task,
            version: model.version,
            parent: model.parent,
            round: model.round,
            cohort: model.cohort,
            digest: model.digest,
            bytes: model.bytes,
            created_at: model.created_at,
            origin: model.origin,
            cost: model.spent.map(|spent| spent.cost(&task.config.privacy)),
            clip: model.clip,
        }
    }
}
