//! Models for devices: the newest manifest, and word of every new one.

use std::sync::Arc;

use scale_proto::answer::ModelManifest;
use scale_proto::ids::{ModelVersion, TaskId};
use tokio::sync::watch;

use crate::error::Error;
use crate::rounds::Rounds;
use crate::rows::ModelRow;

/// A device that waits for models. Versions that come faster than it asks are skipped: only the newest counts.
pub struct ModelWatch {
    rounds: Arc<Rounds>,
    task: TaskId,
    versions: watch::Receiver<ModelVersion>,
}

impl ModelWatch {
    /// Word of a task's models: the present one at once, then each that is published.
    pub(crate) fn new(rounds: &Arc<Rounds>, task: &TaskId) -> Result<Self, Error> {
        let row = rounds.tasks.get(task)?;
        let mut versions = rounds.tasks.watch(&row);
        versions.mark_changed();
        Ok(Self { rounds: Arc::clone(rounds), task: row.id, versions })
    }

    /// The next manifest; `None` when the coordinator stops.
    pub async fn next(&mut self) -> Option<Result<ModelManifest, Error>> {
        tokio::select! {
            changed = self.versions.changed() => changed.ok()?,
            () = self.rounds.context.stop.cancelled() => return None,
        }
        let version = *self.versions.borrow_and_update();
        Some(manifest(&self.rounds, &self.task, Some(version)).await)
    }
}

impl std::fmt::Debug for ModelWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelWatch").field("task", &self.task).finish_non_exhaustive()
    }
}

/// Where a model is: the version asked for, or the one that is served.
pub(crate) async fn manifest(
    rounds: &Rounds,
    task: &TaskId,
    version: Option<ModelVersion>,
) -> Result<ModelManifest, Error> {
    let row = rounds.tasks.get(task)?;
    let model = model_row(rounds, task, version.unwrap_or(row.current_version)).await?;
    Ok(ModelManifest {
        task: model.task,
        version: model.version,
        digest: model.digest,
        bytes: model.bytes,
        url: rounds.context.model_urls.model_url(&model.blob).await?,
        fingerprint: model.fingerprint,
        model: row.config.model,
    })
}

/// One version's row.
pub(super) async fn model_row(rounds: &Rounds, task: &TaskId, version: ModelVersion) -> Result<ModelRow, Error> {
    let id = task.clone();
    let read = rounds
        .context
        .store
        .read("model", move |tx| Box::pin(async move { Ok::<_, Error>(tx.model(&id, version).await?) }));
    read.await?.ok_or_else(|| Error::UnknownModel { task: task.to_string(), version: version.0 })
}
