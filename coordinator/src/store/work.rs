//! Work that a step has left to do: leased by one process at a time, and done again when its lease ends without it.

use scale_proto::time::Timestamp;
use scale_sql::{Row, by_engine, sql};

use super::column::{bytes, get, maybe, moment, word};
use super::{StoreError, Tx};
use crate::rows::{LeaseToken, WorkKind, WorkRow};

fn decode(row: &Row) -> Result<WorkRow, StoreError> {
    Ok(WorkRow {
        kind: word(row, "kind", WorkKind::parse)?,
        round: get(row, "round")?,
        session: maybe(row, "session")?,
        stage: maybe(row, "stage")?,
        attempts: get(row, "attempts")?,
    })
}

impl Tx {
    /// Adds work, due at `run_after`. What is there already stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such round.
    pub async fn insert_work(&mut self, work: &WorkRow, run_after: Timestamp) -> Result<(), StoreError> {
        let insert = sql("INSERT INTO work (id, kind, round, session, stage, run_after, attempts)
             VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (id) DO NOTHING")
        .bind(work.id())
        .bind(work.kind.as_str())
        .bind(bytes(work.round.as_bytes()))
        .bind(work.session.map(|session| session.as_bytes().to_vec()))
        .bind(work.stage.map(u64::from))
        .bind(moment(run_after));
        self.execute(insert).await.map(drop)
    }

    /// Takes work that is due and that nobody holds: at most `most`, the oldest first. It is `token`'s until `until`.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn lease_work(
        &mut self,
        token: LeaseToken,
        now: Timestamp,
        until: Timestamp,
        most: u32,
    ) -> Result<Vec<WorkRow>, StoreError> {
        let take = by_engine(
            "UPDATE work SET lease = $1, leased_until = $2, attempts = attempts + 1 WHERE id IN
                 (SELECT id FROM work WHERE run_after <= $3 AND (leased_until IS NULL OR leased_until <= $3)
                  ORDER BY run_after, id LIMIT $4)
             RETURNING *",
            "UPDATE work SET lease = $1, leased_until = $2, attempts = attempts + 1 WHERE id IN
                 (SELECT id FROM work WHERE run_after <= $3 AND (leased_until IS NULL OR leased_until <= $3)
                  ORDER BY run_after, id LIMIT $4 FOR UPDATE SKIP LOCKED)
             RETURNING *",
        )
        .bind(bytes(&token.0))
        .bind(moment(until))
        .bind(moment(now))
        .bind(u64::from(most));
        self.all(take, decode).await
    }

    /// When the next work is due that nobody holds, or whose lease ends; `None`: there is none.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn next_work(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let query = by_engine(
            "SELECT min(max(run_after, coalesce(leased_until, 0))) AS due FROM work",
            "SELECT min(greatest(run_after, coalesce(leased_until, 0))) AS due FROM work",
        );
        Ok(self.one(query, |row| maybe(row, "due")).await?.flatten())
    }

    /// Holds the work longer. `false`: somebody else has it, or it is done.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn extend_lease(&mut self, id: &str, token: LeaseToken, until: Timestamp) -> Result<bool, StoreError> {
        let update = sql("UPDATE work SET leased_until = $3 WHERE id = $1 AND lease = $2")
            .bind(id)
            .bind(bytes(&token.0))
            .bind(moment(until));
        Ok(self.execute(update).await? == 1)
    }

    /// Whether the work is still this holder's, and stays so until this transaction ends.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn holds_work(&mut self, id: &str, token: LeaseToken) -> Result<bool, StoreError> {
        let query = sql("SELECT id FROM work WHERE id = $1 AND lease = $2").bind(id).bind(bytes(&token.0)).for_update();
        Ok(self.one(query, |row| get::<String>(row, "id")).await?.is_some())
    }

    /// Removes work that this transaction does. `false`: somebody else has it, or it is done; then nothing of this
    /// transaction may be kept.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn finish_work(&mut self, id: &str, token: LeaseToken) -> Result<bool, StoreError> {
        let delete = sql("DELETE FROM work WHERE id = $1 AND lease = $2").bind(id).bind(bytes(&token.0));
        Ok(self.execute(delete).await? == 1)
    }

    /// Gives work back, for somebody to try again from `run_after` on. Nothing happens when somebody else has it.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn return_work(&mut self, id: &str, token: LeaseToken, run_after: Timestamp) -> Result<(), StoreError> {
        let update = sql("UPDATE work SET lease = NULL, leased_until = NULL, run_after = $3
             WHERE id = $1 AND lease = $2")
        .bind(id)
        .bind(bytes(&token.0))
        .bind(moment(run_after));
        self.execute(update).await.map(drop)
    }

    /// Ends every lease: for a process that knows that no other one is left.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn end_leases(&mut self) -> Result<(), StoreError> {
        let update = sql("UPDATE work SET lease = NULL, leased_until = NULL, run_after = 0");
        self.execute(update).await.map(drop)
    }
}
