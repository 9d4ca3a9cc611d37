//! Models for devices: the newest manifest, and word of every new one.

use std::sync::Arc;

use scale_proto::answer::{ModelManifest, ModelRequest};
use scale_proto::ids::{ModelVersion, TaskId};
use scale_secagg::config::RoundConfig;
use tokio::sync::watch;

use super::live::Inner;
use super::{Coordinator, Error};
use crate::rows::{ModelRow, TaskRow};
use crate::spent::Spent;

impl Coordinator {
    /// Where a model is: the version asked for, or the one that is served.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::UnknownModel`], [`Error::Store`].
    pub async fn get_model(&self, request: ModelRequest) -> Result<ModelManifest, Error> {
        self.0.model_manifest(&request.task, request.version).await
    }

    /// Word of a task's models: the present one at once, then each that is published.
    ///
    /// # Errors
    /// [`Error::UnknownTask`].
    pub async fn watch_models(&self, task: &TaskId) -> Result<ModelWatch, Error> {
        let row = self.0.task(task)?;
        let mut news = self.0.news(&row);
        news.mark_changed();
        Ok(ModelWatch { inner: Arc::clone(&self.0), task: row.id, news })
    }
}

/// A device that waits for models. Versions that come faster than it asks are skipped: only the newest counts.
pub struct ModelWatch {
    inner: Arc<Inner>,
    task: TaskId,
    news: watch::Receiver<ModelVersion>,
}

impl ModelWatch {
    /// The next manifest; `None` when the coordinator stops.
    pub async fn next(&mut self) -> Option<Result<ModelManifest, Error>> {
        tokio::select! {
            changed = self.news.changed() => changed.ok()?,
            () = self.inner.stop.cancelled() => return None,
        }
        let version = *self.news.borrow_and_update();
        Some(self.inner.model_manifest(&self.task, Some(version)).await)
    }
}

impl std::fmt::Debug for ModelWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelWatch").field("task", &self.task).finish_non_exhaustive()
    }
}

impl Inner {
    async fn model_manifest(&self, task: &TaskId, version: Option<ModelVersion>) -> Result<ModelManifest, Error> {
        let row = self.task(task)?;
        let model = self.model_row(task, version.unwrap_or(row.current_version)).await?;
        Ok(ModelManifest {
            task: model.task,
            version: model.version,
            digest: model.digest,
            bytes: model.bytes,
            url: (self.model_url)(&model.blob),
            fingerprint: model.fingerprint,
            model: row.config.model,
        })
    }

    pub(super) async fn model_row(&self, task: &TaskId, version: ModelVersion) -> Result<ModelRow, Error> {
        let id = task.clone();
        let found = self
            .store
            .read("model", move |tx| Box::pin(async move { Ok::<_, Error>(tx.model(&id, version).await?) }))
            .await?;
        found.ok_or_else(|| Error::UnknownModel { task: task.to_string(), version: version.0 })
    }

    /// What all rounds so far have cost in privacy: the newest version's account, whatever is served next, and every sum
    /// since. The caller holds the lock of the tasks.
    pub(super) async fn spent(&self, task: &TaskRow) -> Result<Spent, Error> {
        let newest = self.model_row(&task.id, task.current_version).await?;
        let mut spent = newest.spent.unwrap_or_else(|| Spent::nothing(&task.config.privacy));
        let (id, after, through) = (task.id.clone(), spent.through, task.next_round.saturating_sub(1));
        let configs = self
            .store
            .read("spent", move |tx| {
                Box::pin(async move { Ok::<_, Error>(tx.released_configs(&id, after, through).await?) })
            })
            .await?;
        for config in configs {
            spent.charge(&RoundConfig::decode(&config)?);
        }
        Ok(Spent { through, ..spent })
    }
}
