//! Tasks.

use scale_proto::ids::TaskId;
use scale_proto::task::TaskConfig;
use scale_sql::{Row, sql};

use super::column::{get, maybe, moment, word};
use super::{StoreError, Tx};
use crate::rows::{TaskRow, TaskState};

fn decode(row: &Row) -> Result<TaskRow, StoreError> {
    let config: String = get(row, "config")?;
    Ok(TaskRow {
        id: get(row, "id")?,
        config: serde_json::from_str(&config).map_err(|error| StoreError::corrupt("tasks.config", error))?,
        state: word(row, "state", TaskState::parse)?,
        created_at: get(row, "created_at")?,
        next_round: get(row, "next_round")?,
        current_version: get(row, "current_version")?,
        last_opened_at: maybe(row, "last_opened_at")?,
        finished_rounds: get(row, "finished_rounds")?,
    })
}

fn config_text(config: &TaskConfig) -> Result<String, StoreError> {
    serde_json::to_string(config).map_err(|error| StoreError::corrupt("tasks.config", error))
}

impl Tx {
    /// Keeps a new task. `false`: the name is taken, and nothing changed.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn insert_task(&mut self, row: &TaskRow) -> Result<bool, StoreError> {
        let query = sql("INSERT INTO tasks
                 (id, config, state, created_at, next_round, current_version, last_opened_at, finished_rounds)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (id) DO NOTHING")
        .bind(row.id.as_str())
        .bind(config_text(&row.config)?)
        .bind(row.state.as_str())
        .bind(moment(row.created_at))
        .bind(row.next_round)
        .bind(row.current_version.0)
        .bind(row.last_opened_at.map(|at| at.as_millis()))
        .bind(row.finished_rounds);
        Ok(self.execute(query).await? == 1)
    }

    /// The task of this name.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn task(&mut self, id: &TaskId) -> Result<Option<TaskRow>, StoreError> {
        let query = sql("SELECT * FROM tasks WHERE id = $1").bind(id.as_str());
        self.one(query, decode).await
    }

    /// The task of this name, which nobody else changes until this transaction ends.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn lock_task(&mut self, id: &TaskId) -> Result<Option<TaskRow>, StoreError> {
        self.one(sql("SELECT * FROM tasks WHERE id = $1").bind(id.as_str()).for_update(), decode).await
    }

    /// Every task, by name.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn tasks(&mut self) -> Result<Vec<TaskRow>, StoreError> {
        self.all(sql("SELECT * FROM tasks ORDER BY id"), decode).await
    }

    /// Replaces a task's row, all but its name and birth.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such task.
    pub async fn update_task(&mut self, row: &TaskRow) -> Result<(), StoreError> {
        let query =
            sql("UPDATE tasks SET config = $2, state = $3, next_round = $4, current_version = $5, last_opened_at = $6,
                 finished_rounds = $7
             WHERE id = $1")
            .bind(row.id.as_str())
            .bind(config_text(&row.config)?)
            .bind(row.state.as_str())
            .bind(row.next_round)
            .bind(row.current_version.0)
            .bind(row.last_opened_at.map(|at| at.as_millis()))
            .bind(row.finished_rounds);
        match self.execute(query).await? {
            1 => Ok(()),
            _ => Err(StoreError::Conflict(format!("task {} is not there", row.id))),
        }
    }
}
