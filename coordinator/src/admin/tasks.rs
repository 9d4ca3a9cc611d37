//! Making, pausing and rolling back a task.

use std::sync::Arc;

use bytes::Bytes;
use scale_proto::ids::{ModelVersion, TaskId};
use scale_proto::model_file;
use scale_proto::task::TaskConfig;

use super::{Admin, ModelInfo, TaskInfo, models};
use crate::admission;
use crate::blobs::BlobError;
use crate::error::Error;
use crate::noise;
use crate::registry;
use crate::round::Event;
use crate::rounds::{check_sessions, decision};
use crate::rows::{ModelRow, Origin, TaskRow, TaskState};
use crate::spent::Spent;

impl Admin {
    /// Creates a task with its first model: the given safetensors file, or seeded initial weights.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TooWide`], [`Error::ModelFile`], [`Error::TaskExists`], [`Error::Store`],
    /// [`Error::Blob`]; nothing is created then.
    pub(crate) async fn create_task(
        self: &Arc<Self>,
        task: TaskId,
        config: TaskConfig,
        initial_model: Option<Bytes>,
    ) -> Result<TaskInfo, Error> {
        let admin = Arc::clone(self);
        let row = self.context.to_the_end(async move { admin.create(task, config, initial_model).await }).await?;
        Ok(row.into())
    }

    /// Lets a task open rounds, or not. A round that is open goes on.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::TaskOver`], [`Error::Store`].
    pub(crate) async fn set_task_state(self: &Arc<Self>, task: &TaskId, to: TaskState) -> Result<TaskInfo, Error> {
        let (admin, id) = (Arc::clone(self), task.clone());
        let row = self.context.to_the_end(async move { admin.set_state(id, to).await }).await?;
        Ok(row.into())
    }

    /// Publishes an older version again, as a new one. The round that is open, if any, is abandoned: it trains what is
    /// being taken back.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::UnknownModel`], [`Error::Store`], [`Error::Blob`].
    pub(crate) async fn rollback_model(
        self: &Arc<Self>,
        task: &TaskId,
        version: ModelVersion,
    ) -> Result<ModelInfo, Error> {
        let (admin, id) = (Arc::clone(self), task.clone());
        let (row, model) = self.context.to_the_end(async move { admin.rollback(&id, version).await }).await?;
        self.model_info(&row, model).await
    }

    async fn create(&self, task: TaskId, config: TaskConfig, initial_model: Option<Bytes>) -> Result<TaskRow, Error> {
        config.check()?;
        noise::check(&config)?;
        check_sessions(&config)?;
        admission::check(&config, &noise::of(&config)?)?;
        if self.task(&task).await.is_ok() {
            return Err(Error::TaskExists(task.to_string()));
        }
        let weights = match &initial_model {
            Some(file) => model_file::decode(&config.model, file)?,
            None => model_file::initial(&task, &config.model),
        };
        let now = self.context.now();
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
        let model = registry::write(&self.context.blobs, draft).await?;
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
        self.context
            .store
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
        self.changed(&rows.0);
        Ok(rows.0.clone())
    }

    async fn set_state(&self, task: TaskId, to: TaskState) -> Result<TaskRow, Error> {
        let row = self
            .context
            .store
            .run_tx("set_task_state", move |tx| {
                let task = task.clone();
                Box::pin(async move {
                    let mut row = tx.lock_task(&task).await?.ok_or_else(|| Error::UnknownTask(task.to_string()))?;
                    if row.state == TaskState::Finished {
                        return Err(Error::TaskOver(task.to_string()));
                    }
                    row.state = to;
                    tx.update_task(&row).await?;
                    Ok(row)
                })
            })
            .await?;
        self.changed(&row);
        Ok(row)
    }

    async fn rollback(&self, task: &TaskId, version: ModelVersion) -> Result<(TaskRow, ModelRow), Error> {
        let before = self.task(task).await?;
        let old = models::model_row(&self.rounds, task, version).await?;
        self.abandon_open_round(task, version).await?;
        let spec = before.config.model.clone();
        let weights = registry::weights(&self.context.blobs, &spec, &old).await?;
        let optimizer = registry::optimizer_state(&self.context.blobs, &old).await?;
        // What was spent stays spent, also by the versions that are taken back and the round that was just ended.
        let id = task.clone();
        let read = self.context.store.read("spent", move |tx| {
            Box::pin(async move {
                let row = tx.task(&id).await?.ok_or_else(|| Error::UnknownTask(id.to_string()))?;
                let spent = registry::account(tx, &row).await?;
                Ok::<_, Error>((row, spent))
            })
        });
        let (before, spent) = read.await?;
        let mut row = before.clone();
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
            created_at: self.context.now(),
        };
        let model = registry::write(&self.context.blobs, draft).await?;
        let rows = Arc::new((model, row, before));
        let write = Arc::clone(&rows);
        self.context
            .store
            .run_tx("rollback_model", move |tx| {
                let write = Arc::clone(&write);
                Box::pin(async move {
                    let (model, row, before) = &*write;
                    if tx.lock_task(&row.id).await?.as_ref() != Some(before) || !tx.insert_model(model).await? {
                        let sentence = "the task was changed at the same time; nothing was rolled back, try again";
                        return Err(Error::Blob(BlobError::Unavailable(sentence.into())));
                    }
                    Ok(tx.update_task(row).await?)
                })
            })
            .await?;
        self.changed(&rows.1);
        Ok((rows.1.clone(), rows.0.clone()))
    }

    /// Ends the round of a task that trains what is being taken back.
    async fn abandon_open_round(&self, task: &TaskId, version: ModelVersion) -> Result<(), Error> {
        let id = task.clone();
        let read = self
            .context
            .store
            .read("open_round", move |tx| Box::pin(async move { Ok::<_, Error>(tx.open_round_of(&id).await?) }));
        let Some(open) = read.await? else { return Ok(()) };
        let abandon = decision::<(), _>(move |step| {
            let reason = format!("the model was rolled back to {version}");
            Box::pin(async move { step.feed(Event::AbandonRequested { reason }).await })
        });
        self.rounds.step("abandon_round", open.id, abandon).await
    }

    fn changed(&self, row: &TaskRow) {
        self.rounds.tasks.put(row.clone());
        self.context.alarm.notify_one();
    }
}
