//! What operators see and do.

use std::sync::Arc;

use bytes::Bytes;
use scale_proto::ids::{Digest, ModelVersion, RoundId, TaskId};
use scale_proto::model_file;
use scale_proto::task::TaskConfig;
use scale_proto::time::Timestamp;

use super::live::Inner;
use super::{Coordinator, Error, training};
use crate::admission;
use crate::noise;
use crate::registry;
use crate::round::{Event, Phase, Round, SessionProgress};
use crate::rows::{ModelRow, Origin, RoundRow, TaskRow, TaskState};
use crate::spent::{Cost, Spent};

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

    fn read(row: &RoundRow) -> Result<Self, Error> {
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

impl Coordinator {
    /// Creates a task with its first model: the given safetensors file, or seeded initial weights.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TooWide`], [`Error::ModelFile`], [`Error::TaskExists`], [`Error::Store`],
    /// [`Error::Blob`]; nothing is created then.
    pub async fn create_task(
        &self,
        task: TaskId,
        config: TaskConfig,
        initial_model: Option<Bytes>,
    ) -> Result<TaskInfo, Error> {
        let inner = Arc::clone(&self.0);
        let row = self.0.to_the_end(async move { inner.create_task(task, config, initial_model).await }).await?;
        Ok(row.into())
    }

    /// Every task, by name.
    ///
    /// # Errors
    /// None at present; reserved for storage.
    pub async fn list_tasks(&self) -> Result<Vec<TaskInfo>, Error> {
        Ok(self.0.tasks().into_iter().map(TaskInfo::from).collect())
    }

    /// Lets a task open rounds, or not. A round that is open goes on. A finished task that is set to active runs on.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::Store`].
    pub async fn set_task_state(&self, task: &TaskId, to: TaskState) -> Result<TaskInfo, Error> {
        let (inner, id) = (Arc::clone(&self.0), task.clone());
        let row = self.0.to_the_end(async move { inner.set_task_state(&id, to).await }).await?;
        Ok(row.into())
    }

    /// Opens a round now, whatever the schedule says.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::TaskNotActive`], [`Error::RoundOpen`], [`Error::Store`].
    pub async fn open_round(&self, task: &TaskId) -> Result<RoundInfo, Error> {
        let (inner, id) = (Arc::clone(&self.0), task.clone());
        self.0
            .to_the_end(async move {
                let live = inner.open_round(&id).await?;
                RoundInfo::read(&inner.lock(&live).await?.row)
            })
            .await
    }

    /// The newest rounds of a task, newest first.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::Store`].
    pub async fn list_rounds(&self, task: &TaskId, limit: u32) -> Result<Vec<RoundInfo>, Error> {
        let id = self.0.task(task)?.id;
        let rows = self
            .0
            .store
            .read("list_rounds", move |tx| Box::pin(async move { Ok::<_, Error>(tx.rounds_of(&id, limit).await?) }))
            .await?;
        rows.iter().map(RoundInfo::read).collect()
    }

    /// One round.
    ///
    /// # Errors
    /// [`Error::UnknownRound`], [`Error::Store`].
    pub async fn get_round(&self, round: RoundId) -> Result<RoundInfo, Error> {
        let row = self
            .0
            .store
            .read("get_round", move |tx| Box::pin(async move { Ok::<_, Error>(tx.round(round).await?) }))
            .await?;
        RoundInfo::read(&row.ok_or(Error::UnknownRound)?)
    }

    /// Ends a round; nothing of it is revealed that is not already.
    ///
    /// # Errors
    /// [`Error::UnknownRound`], [`Error::RoundOver`], [`Error::Store`].
    pub async fn abandon_round(&self, round: RoundId, reason: String) -> Result<RoundInfo, Error> {
        let info = self.get_round(round).await?;
        let over = Error::RoundOver(info.round.phase.name());
        let live = self.0.live(round).ok_or(over)?;
        let inner = Arc::clone(&self.0);
        self.0
            .to_the_end(async move {
                let mut state = inner.lock(&live).await?;
                if state.round.phase.is_over() {
                    return Err(Error::RoundOver(state.round.phase.name()));
                }
                inner.step(&live, &mut state, Event::AbandonRequested { reason }, vec![]).await?;
                RoundInfo::read(&state.row)
            })
            .await
    }

    /// Every model version of a task, newest first.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::Store`].
    pub async fn list_models(&self, task: &TaskId) -> Result<Vec<ModelInfo>, Error> {
        let row = self.0.task(task)?;
        let id = row.id.clone();
        let models = self
            .0
            .store
            .read("list_models", move |tx| Box::pin(async move { Ok::<_, Error>(tx.models(&id).await?) }))
            .await?;
        Ok(models.into_iter().map(|model| self.model_info(&row, model)).collect())
    }

    /// One model version; `None`: the one that is served.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::UnknownModel`], [`Error::Store`].
    pub async fn get_model_info(&self, task: &TaskId, version: Option<ModelVersion>) -> Result<ModelInfo, Error> {
        let row = self.0.task(task)?;
        let model = self.0.model_row(task, version.unwrap_or(row.current_version)).await?;
        Ok(self.model_info(&row, model))
    }

    /// Publishes an older version again, as a new one. The round that is open, if any, is abandoned: it trains what is
    /// being taken back.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::UnknownModel`], [`Error::Store`], [`Error::Blob`].
    pub async fn rollback_model(&self, task: &TaskId, version: ModelVersion) -> Result<ModelInfo, Error> {
        let inner = Arc::clone(&self.0);
        let id = task.clone();
        let model = self.0.to_the_end(async move { inner.rollback(&id, version).await }).await?;
        Ok(self.model_info(&self.0.task(task)?, model))
    }

    fn model_info(&self, task: &TaskRow, model: ModelRow) -> ModelInfo {
        ModelInfo {
            url: (self.0.model_url)(&model.blob),
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

impl Inner {
    async fn create_task(
        &self,
        task: TaskId,
        config: TaskConfig,
        initial_model: Option<Bytes>,
    ) -> Result<TaskRow, Error> {
        config.check()?;
        noise::check(&config)?;
        training::check_sessions(&config)?;
        admission::check(&config, &noise::of(&config)?)?;
        let _writing = self.tasks_lock.lock().await;
        if self.task(&task).is_ok() {
            return Err(Error::TaskExists(task.to_string()));
        }
        let weights = match &initial_model {
            Some(file) => model_file::decode(&config.model, file)?,
            None => model_file::initial(&task, &config.model),
        };
        let now = self.now();
        let version = ModelVersion(1);
        let draft = registry::Draft {
            task: &task,
            spec: &config.model,
            version,
            parent: None,
            round: None,
            cohort: 0,
            origin: Origin::Initial,
            clip: config.privacy.clip_range().map(|_| config.quantization.clip),
            spent: Spent::nothing(&config.privacy),
            weights: &weights,
            optimizer: Vec::new(),
            created_at: now,
        };
        let model = registry::write(&self.blobs, draft).await?;
        let row = TaskRow {
            id: task,
            config,
            state: TaskState::Active,
            created_at: now,
            next_round: 1,
            current_version: version,
            last_opened_at: None,
            finished_rounds: 0,
        };
        let rows = Arc::new((row, model));
        let write = Arc::clone(&rows);
        self.store
            .run_tx("create_task", move |tx| {
                let write = Arc::clone(&write);
                Box::pin(async move {
                    if !tx.insert_task(&write.0).await? {
                        return Err(Error::TaskExists(write.0.id.to_string()));
                    }
                    tx.insert_model(&write.1).await?;
                    Ok(())
                })
            })
            .await?;
        self.task_changed(rows.0.clone());
        Ok(rows.0.clone())
    }

    async fn set_task_state(&self, task: &TaskId, to: TaskState) -> Result<TaskRow, Error> {
        let _writing = self.tasks_lock.lock().await;
        let mut row = self.task(task)?;
        if row.state == TaskState::Finished {
            return Err(Error::TaskOver(task.to_string()));
        }
        row.state = to;
        let write = Arc::new(row.clone());
        self.store
            .run_tx("set_task_state", move |tx| {
                let row = Arc::clone(&write);
                Box::pin(async move { Ok::<_, Error>(tx.update_task(&row).await?) })
            })
            .await?;
        self.task_changed(row.clone());
        Ok(row)
    }

    async fn rollback(self: &Arc<Self>, task: &TaskId, version: ModelVersion) -> Result<ModelRow, Error> {
        // A commit waits for this lock before it reads the version that it will raise.
        let _writing = self.tasks_lock.lock().await;
        let mut row = self.task(task)?;
        let old = self.model_row(task, version).await?;
        if let Some(live) = self.open_round_of(task).await? {
            let mut state = self.lock(&live).await?;
            let reason = format!("the model was rolled back to {version}");
            self.step(&live, &mut state, Event::AbandonRequested { reason }, vec![]).await?;
        }
        let spec = row.config.model.clone();
        let weights = registry::weights(&self.blobs, &spec, &old).await?;
        let optimizer = registry::optimizer_state(&self.blobs, &old).await?;
        // What was spent stays spent, also by the versions that are taken back and the round that was just ended.
        let spent = self.spent(&row).await?;
        row.current_version = ModelVersion(row.current_version.0 + 1);
        let draft = registry::Draft {
            task,
            spec: &spec,
            version: row.current_version,
            parent: Some(version),
            round: None,
            cohort: 0,
            origin: Origin::Rollback,
            clip: old.clip,
            spent,
            weights: &weights,
            optimizer: optimizer.to_vec(),
            created_at: self.now(),
        };
        let model = registry::write(&self.blobs, draft).await?;
        let rows = Arc::new((model, row));
        let write = Arc::clone(&rows);
        self.store
            .run_tx("rollback_model", move |tx| {
                let write = Arc::clone(&write);
                Box::pin(async move {
                    if !tx.insert_model(&write.0).await? {
                        return Err(Error::Bug(format!("model {} is there already", write.0.version)));
                    }
                    Ok(tx.update_task(&write.1).await?)
                })
            })
            .await?;
        self.task_changed(rows.1.clone());
        Ok(rows.0.clone())
    }
}
