//! Tasks.

use scale_proto::ids::TaskId;
use scale_proto::task::TaskConfig;
use sqlx::sqlite::SqliteRow;

use super::column::{get, int, moment, raw, word};
use super::{StoreError, Tx};
use crate::rows::{TaskRow, TaskState};

fn decode(row: &SqliteRow) -> Result<TaskRow, StoreError> {
    let config: &str = raw(row, "config")?;
    Ok(TaskRow {
        id: get(row, "id")?,
        config: serde_json::from_str(config).map_err(|error| StoreError::corrupt("tasks.config", error))?,
        state: word(row, "state", TaskState::parse)?,
        created_at: get(row, "created_at")?,
        next_round: get(row, "next_round")?,
        current_version: get(row, "current_version")?,
        last_opened_at: get(row, "last_opened_at")?,
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
        let query = sqlx::query(
            "INSERT INTO tasks
                 (id, config, state, created_at, next_round, current_version, last_opened_at, finished_rounds)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(row.id.as_str().to_owned())
        .bind(config_text(&row.config)?)
        .bind(row.state.as_str())
        .bind(moment(row.created_at))
        .bind(int(row.next_round))
        .bind(int(row.current_version.0))
        .bind(row.last_opened_at.map(moment))
        .bind(int(row.finished_rounds));
        Ok(self.execute(query).await? == 1)
    }

    /// The task of this name.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn task(&mut self, id: &TaskId) -> Result<Option<TaskRow>, StoreError> {
        let query = sqlx::query("SELECT * FROM tasks WHERE id = ?1").bind(id.as_str().to_owned());
        self.one(query, decode).await
    }

    /// Every task, by name.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn tasks(&mut self) -> Result<Vec<TaskRow>, StoreError> {
        self.all(sqlx::query("SELECT * FROM tasks ORDER BY id"), decode).await
    }

    /// Replaces a task's row, all but its name and birth.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such task.
    pub async fn update_task(&mut self, row: &TaskRow) -> Result<(), StoreError> {
        let query = sqlx::query(
            "UPDATE tasks SET config = ?2, state = ?3, next_round = ?4, current_version = ?5, last_opened_at = ?6,
                 finished_rounds = ?7
             WHERE id = ?1",
        )
        .bind(row.id.as_str().to_owned())
        .bind(config_text(&row.config)?)
        .bind(row.state.as_str())
        .bind(int(row.next_round))
        .bind(int(row.current_version.0))
        .bind(row.last_opened_at.map(moment))
        .bind(int(row.finished_rounds));
        match self.execute(query).await? {
            1 => Ok(()),
            _ => Err(StoreError::Conflict(format!("task {} is not there", row.id))),
        }
    }
}
