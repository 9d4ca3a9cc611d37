//! What operators see and do.
//!
//! | file | holds |
//! |---|---|
//! | `info.rs` | tasks, rounds and models as operators see them |
//! | `tasks.rs` | making, pausing and rolling back a task |
//! | `models.rs` | models for devices: the newest manifest, and word of every new one |

mod info;
mod models;
mod tasks;

use std::sync::Arc;

use scale_proto::ids::{ModelVersion, RoundId, TaskId};

use crate::context::Context;
use crate::error::Error;
use crate::round::Event;
use crate::rounds::{Rounds, decision};
use crate::rows::{ModelRow, TaskRow};

pub use info::{ModelInfo, RoundInfo, SessionInfo, TaskInfo};
pub use models::ModelWatch;
pub(crate) use models::manifest;

/// The operators' room.
pub(crate) struct Admin {
    context: Arc<Context>,
    rounds: Arc<Rounds>,
}

impl Admin {
    pub(crate) fn new(rounds: Arc<Rounds>) -> Self {
        Self { context: Arc::clone(&rounds.context), rounds }
    }

    /// Every task, by name.
    pub(crate) fn list_tasks(&self) -> Vec<TaskInfo> {
        self.rounds.tasks.all().into_iter().map(TaskInfo::from).collect()
    }

    /// Opens a round now, whatever the schedule says.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::TaskNotActive`], [`Error::RoundOpen`], [`Error::Store`].
    pub(crate) async fn open_round(&self, task: &TaskId) -> Result<RoundInfo, Error> {
        RoundInfo::read(&self.rounds.open(task).await?.view().row)
    }

    /// The newest rounds of a task, newest first.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::Store`].
    pub(crate) async fn list_rounds(&self, task: &TaskId, limit: u32) -> Result<Vec<RoundInfo>, Error> {
        let id = self.task(task).await?.id;
        let read = self
            .context
            .store
            .read("list_rounds", move |tx| Box::pin(async move { Ok::<_, Error>(tx.rounds_of(&id, limit).await?) }));
        read.await?.iter().map(RoundInfo::read).collect()
    }

    /// One round.
    ///
    /// # Errors
    /// [`Error::UnknownRound`], [`Error::Store`].
    pub(crate) async fn get_round(&self, round: RoundId) -> Result<RoundInfo, Error> {
        let read = self
            .context
            .store
            .read("get_round", move |tx| Box::pin(async move { Ok::<_, Error>(tx.round(round).await?) }));
        RoundInfo::read(&read.await?.ok_or(Error::UnknownRound)?)
    }

    /// Ends a round; nothing of it is revealed that is not already.
    ///
    /// # Errors
    /// [`Error::UnknownRound`], [`Error::RoundOver`], [`Error::Store`].
    pub(crate) async fn abandon_round(&self, round: RoundId, reason: String) -> Result<RoundInfo, Error> {
        let abandon = decision::<(), _>(move |step| {
            let reason = reason.clone();
            Box::pin(async move {
                if step.round.phase.is_over() {
                    return Err(Error::RoundOver(step.round.phase.name()));
                }
                step.feed(Event::AbandonRequested { reason }).await
            })
        });
        self.rounds.step("abandon_round", round, abandon).await?;
        self.get_round(round).await
    }

    /// Every model version of a task, newest first.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::Store`].
    pub(crate) async fn list_models(&self, task: &TaskId) -> Result<Vec<ModelInfo>, Error> {
        let row = self.task(task).await?;
        let id = row.id.clone();
        let read = self
            .context
            .store
            .read("list_models", move |tx| Box::pin(async move { Ok::<_, Error>(tx.models(&id).await?) }));
        let mut models = Vec::new();
        for model in read.await? {
            models.push(self.model_info(&row, model).await?);
        }
        Ok(models)
    }

    /// One model version; `None`: the one that is served.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::UnknownModel`], [`Error::Store`].
    pub(crate) async fn get_model_info(
        &self,
        task: &TaskId,
        version: Option<ModelVersion>,
    ) -> Result<ModelInfo, Error> {
        let row = self.task(task).await?;
        let model = models::model_row(&self.rounds, task, version.unwrap_or(row.current_version)).await?;
        self.model_info(&row, model).await
    }

    async fn model_info(&self, task: &TaskRow, model: ModelRow) -> Result<ModelInfo, Error> {
        let url = self.context.model_urls.model_url(&model.blob).await?;
        Ok(ModelInfo::of(task, model, url))
    }

    /// A task's row; another process may have changed it a moment ago.
    async fn task(&self, task: &TaskId) -> Result<TaskRow, Error> {
        let id = task.clone();
        let read =
            self.context.store.read("task", move |tx| Box::pin(async move { Ok::<_, Error>(tx.task(&id).await?) }));
        let row = read.await?.ok_or_else(|| Error::UnknownTask(task.to_string()))?;
        self.rounds.tasks.put(row.clone());
        Ok(row)
    }
}
