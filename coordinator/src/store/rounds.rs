//! Rounds: the state machine as text, and columns to find it by.

use bytes::Bytes;
use scale_proto::ids::{RoundId, TaskId};
use sqlx::sqlite::SqliteRow;

use super::column::{blob, get, int, moment};
use super::{StoreError, Tx};
use crate::rows::RoundRow;

fn decode(row: &SqliteRow) -> Result<RoundRow, StoreError> {
    Ok(RoundRow {
        id: get(row, "id")?,
        task: get(row, "task")?,
        number: get(row, "number")?,
        phase: get(row, "phase")?,
        base_version: get(row, "base_version")?,
        opened_at: get(row, "opened_at")?,
        closed_at: get(row, "closed_at")?,
        revision: get(row, "revision")?,
        state: get(row, "state")?,
        plan: get(row, "plan")?,
        config: get(row, "config")?,
        signature: get(row, "signature")?,
    })
}

impl Tx {
    /// Keeps a new round.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its id or its number is taken, or its task is not there.
    pub async fn insert_round(&mut self, row: &RoundRow) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO rounds (id, task, number, phase, base_version, opened_at, closed_at, revision, state, plan,
                 config, signature)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )
        .bind(blob(row.id.as_bytes()))
        .bind(row.task.as_str().to_owned())
        .bind(int(row.number))
        .bind(row.phase.clone())
        .bind(int(row.base_version.0))
        .bind(moment(row.opened_at))
        .bind(row.closed_at.map(moment))
        .bind(int(row.revision))
        .bind(row.state.clone())
        .bind(blob(&row.plan))
        .bind(blob(&row.config))
        .bind(blob(&row.signature));
        self.execute(query).await.map(drop)
    }

    /// The round of this id.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn round(&mut self, id: RoundId) -> Result<Option<RoundRow>, StoreError> {
        self.one(sqlx::query("SELECT * FROM rounds WHERE id = ?1").bind(blob(id.as_bytes())), decode).await
    }

    /// Every round that is not over, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn open_rounds(&mut self) -> Result<Vec<RoundRow>, StoreError> {
        self.all(sqlx::query("SELECT * FROM rounds WHERE closed_at IS NULL ORDER BY opened_at, id"), decode).await
    }

    /// The newest `limit` rounds of a task, newest first.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn rounds_of(&mut self, task: &TaskId, limit: u32) -> Result<Vec<RoundRow>, StoreError> {
        let query = sqlx::query("SELECT * FROM rounds WHERE task = ?1 ORDER BY number DESC LIMIT ?2")
            .bind(task.as_str().to_owned())
            .bind(i64::from(limit));
        self.all(query, decode).await
    }

    /// The configurations of a task's rounds after number `after`, up to `through`, of which a sum was released
    /// or was about to be.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn released_configs(
        &mut self,
        task: &TaskId,
        after: u64,
        through: u64,
    ) -> Result<Vec<Bytes>, StoreError> {
        let query = sqlx::query(
            "SELECT config FROM rounds WHERE task = ?1 AND number > ?2 AND number <= ?3
                 AND EXISTS (SELECT 1 FROM sessions WHERE round = rounds.id AND sum_blob IS NOT NULL)
             ORDER BY number",
        )
        .bind(task.as_str().to_owned())
        .bind(int(after))
        .bind(int(through));
        self.all(query, |row| get(row, "config")).await
    }

    /// Writes what changes in a round's life, over the revision before `row.revision`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the stored revision is another one: somebody else wrote in between.
    pub async fn update_round(&mut self, row: &RoundRow) -> Result<(), StoreError> {
        let query = sqlx::query(
            "UPDATE rounds SET phase = ?2, closed_at = ?3, revision = ?4, state = ?5, plan = ?6, config = ?7,
                 signature = ?8
             WHERE id = ?1 AND revision = ?4 - 1",
        )
        .bind(blob(row.id.as_bytes()))
        .bind(row.phase.clone())
        .bind(row.closed_at.map(moment))
        .bind(int(row.revision))
        .bind(row.state.clone())
        .bind(blob(&row.plan))
        .bind(blob(&row.config))
        .bind(blob(&row.signature));
        match self.execute(query).await? {
            1 => Ok(()),
            _ => Err(StoreError::Conflict(format!(
                "round {} is not at revision {}",
                row.id,
                row.revision.wrapping_sub(1)
            ))),
        }
    }
}
