//! Rounds: the state machine as text, and columns to find it by.

use bytes::Bytes;
use scale_proto::ids::{RoundId, TaskId};
use scale_sql::{Row, sql};

use super::column::{bytes, get, maybe, moment};
use super::{StoreError, Tx};
use crate::rows::RoundRow;

fn decode(row: &Row) -> Result<RoundRow, StoreError> {
    Ok(RoundRow {
        id: get(row, "id")?,
        task: get(row, "task")?,
        number: get(row, "number")?,
        phase: get(row, "phase")?,
        base_version: get(row, "base_version")?,
        opened_at: get(row, "opened_at")?,
        closed_at: maybe(row, "closed_at")?,
        looked_at: get(row, "looked_at")?,
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
    /// [`StoreError::Conflict`] when its id or its number is taken, its task is not there, or has an open round.
    pub async fn insert_round(&mut self, row: &RoundRow) -> Result<(), StoreError> {
        let insert =
            sql("INSERT INTO rounds (id, task, number, phase, base_version, opened_at, closed_at, looked_at, \
             revision, state, plan, config, signature)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)")
            .bind(bytes(row.id.as_bytes()))
            .bind(row.task.as_str())
            .bind(row.number)
            .bind(row.phase.as_str())
            .bind(row.base_version.0)
            .bind(moment(row.opened_at))
            .bind(row.closed_at.map(|at| at.as_millis()))
            .bind(moment(row.looked_at))
            .bind(row.revision)
            .bind(row.state.as_str())
            .bind(bytes(&row.plan))
            .bind(bytes(&row.config))
            .bind(bytes(&row.signature));
        self.execute(insert).await.map(drop)
    }

    /// The round of this id.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn round(&mut self, id: RoundId) -> Result<Option<RoundRow>, StoreError> {
        self.one(sql("SELECT * FROM rounds WHERE id = $1").bind(bytes(id.as_bytes())), decode).await
    }

    /// The round of this id, which nobody else changes until this transaction ends.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn lock_round(&mut self, id: RoundId) -> Result<Option<RoundRow>, StoreError> {
        let query = sql("SELECT * FROM rounds WHERE id = $1").bind(bytes(id.as_bytes())).for_update();
        self.one(query, decode).await
    }

    /// Every round that is not over, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn open_rounds(&mut self) -> Result<Vec<RoundRow>, StoreError> {
        self.all(sql("SELECT * FROM rounds WHERE closed_at IS NULL ORDER BY opened_at, id"), decode).await
    }

    /// Every round that is not over, and the revision of its row.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn open_revisions(&mut self) -> Result<Vec<(RoundId, u64)>, StoreError> {
        let query = sql("SELECT id, revision FROM rounds WHERE closed_at IS NULL ORDER BY opened_at, id");
        self.all(query, |row| Ok((get(row, "id")?, get(row, "revision")?))).await
    }

    /// The round of a task that is not over.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn open_round_of(&mut self, task: &TaskId) -> Result<Option<RoundRow>, StoreError> {
        let query = sql("SELECT * FROM rounds WHERE task = $1 AND closed_at IS NULL").bind(task.as_str());
        self.one(query, decode).await
    }

    /// The newest `limit` rounds of a task, newest first.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn rounds_of(&mut self, task: &TaskId, limit: u32) -> Result<Vec<RoundRow>, StoreError> {
        let query = sql("SELECT * FROM rounds WHERE task = $1 ORDER BY number DESC LIMIT $2");
        self.all(query.bind(task.as_str()).bind(u64::from(limit)), decode).await
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
        let query = sql("SELECT config FROM rounds WHERE task = $1 AND number > $2 AND number <= $3
                 AND EXISTS (SELECT 1 FROM sessions WHERE round = rounds.id AND sum_blob IS NOT NULL)
             ORDER BY number");
        self.all(query.bind(task.as_str()).bind(after).bind(through), |row| get(row, "config")).await
    }

    /// Writes what changes in a round's life, over the revision before `row.revision`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the stored revision is another one: somebody else wrote in between.
    pub async fn update_round(&mut self, row: &RoundRow) -> Result<(), StoreError> {
        let update = sql("UPDATE rounds SET phase = $2, closed_at = $3, looked_at = $4, revision = $5, state = $6, \
             plan = $7, config = $8, signature = $9
             WHERE id = $1 AND revision = $5 - 1")
        .bind(bytes(row.id.as_bytes()))
        .bind(row.phase.as_str())
        .bind(row.closed_at.map(|at| at.as_millis()))
        .bind(moment(row.looked_at))
        .bind(row.revision)
        .bind(row.state.as_str())
        .bind(bytes(&row.plan))
        .bind(bytes(&row.config))
        .bind(bytes(&row.signature));
        match self.execute(update).await? {
            1 => Ok(()),
            _ => {
                let before = row.revision.wrapping_sub(1);
                Err(StoreError::Conflict(format!("round {} is not at revision {before}", row.id)))
            }
        }
    }
}
