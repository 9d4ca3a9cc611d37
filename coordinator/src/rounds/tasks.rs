//! The tasks as this process knows them, and who watches for their models.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use scale_proto::ids::{ModelVersion, TaskId};
use tokio::sync::watch;

use crate::context::guard;
use crate::error::Error;
use crate::rows::TaskRow;

/// Tasks, and who watches for their models.
#[derive(Default)]
pub(crate) struct TaskCache {
    rows: Mutex<BTreeMap<TaskId, TaskRow>>,
    models: Mutex<HashMap<TaskId, watch::Sender<ModelVersion>>>,
}

impl TaskCache {
    /// A task.
    ///
    /// # Errors
    /// [`Error::UnknownTask`].
    pub(crate) fn get(&self, id: &TaskId) -> Result<TaskRow, Error> {
        guard(&self.rows).get(id).cloned().ok_or_else(|| Error::UnknownTask(id.to_string()))
    }

    /// Every task, by name.
    pub(crate) fn all(&self) -> Vec<TaskRow> {
        guard(&self.rows).values().cloned().collect()
    }

    /// Takes a row that was written or read. Whoever watches for models hears of a new one.
    pub(crate) fn put(&self, row: TaskRow) {
        if let Some(models) = guard(&self.models).get(&row.id) {
            let newest = row.current_version;
            models.send_if_modified(|version| newest > *version && std::mem::replace(version, newest) != newest);
        }
        let mut rows = guard(&self.rows);
        // A row that was read before another was written comes after it at times.
        let older = rows.get(&row.id).is_some_and(|known| {
            (row.current_version, row.next_round, row.finished_rounds)
                < (known.current_version, known.next_round, known.finished_rounds)
        });
        if !older {
            rows.insert(row.id.clone(), row);
        }
    }

    /// Hears of every new version of the task's model.
    pub(crate) fn watch(&self, task: &TaskRow) -> watch::Receiver<ModelVersion> {
        let mut models = guard(&self.models);
        models.entry(task.id.clone()).or_insert_with(|| watch::Sender::new(task.current_version)).subscribe()
    }
}
