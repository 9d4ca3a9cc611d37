//! Sessions: the stage that is open, and what it still takes.

use scale_proto::ids::{RoundId, SessionId};
use scale_sql::{Row, sql};

use super::column::{bytes, get, maybe, word};
use super::{StoreError, Tx};
use crate::round::SessionStage;
use crate::rows::{Gate, SessionRow};

fn decode(row: &Row) -> Result<SessionRow, StoreError> {
    Ok(SessionRow {
        id: get(row, "id")?,
        round: get(row, "round")?,
        ordinal: get(row, "ordinal")?,
        stage: word(row, "stage", SessionStage::parse)?,
        gate: word(row, "gate", Gate::parse)?,
        sum_blob: maybe(row, "sum_blob")?,
    })
}

impl Tx {
    /// Keeps a new session.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its id or its place in the round is taken, or the round is not there.
    pub async fn insert_session(&mut self, row: &SessionRow) -> Result<(), StoreError> {
        let insert =
            sql("INSERT INTO sessions (id, round, ordinal, stage, gate, sum_blob) VALUES ($1, $2, $3, $4, $5, $6)")
                .bind(bytes(row.id.as_bytes()))
                .bind(bytes(row.round.as_bytes()))
                .bind(u64::from(row.ordinal))
                .bind(row.stage.name())
                .bind(row.gate.as_str())
                .bind(row.sum_blob.as_deref());
        self.execute(insert).await.map(drop)
    }

    /// The session of this id.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn session(&mut self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.one(sql("SELECT * FROM sessions WHERE id = $1").bind(bytes(id.as_bytes())), decode).await
    }

    /// The session of this id, which no step moves on until this transaction ends. Others may hold it as well.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn hold_session(&mut self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        let query = sql("SELECT * FROM sessions WHERE id = $1").bind(bytes(id.as_bytes())).for_share();
        self.one(query, decode).await
    }

    /// The sessions of a round, in their order.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn sessions_of(&mut self, round: RoundId) -> Result<Vec<SessionRow>, StoreError> {
        let query = sql("SELECT * FROM sessions WHERE round = $1 ORDER BY ordinal").bind(bytes(round.as_bytes()));
        self.all(query, decode).await
    }

    /// Moves a session on: waits for everybody who holds it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such session.
    pub async fn set_session_stage(
        &mut self,
        id: SessionId,
        stage: SessionStage,
        gate: Gate,
    ) -> Result<(), StoreError> {
        let update = sql("UPDATE sessions SET stage = $2, gate = $3 WHERE id = $1")
            .bind(bytes(id.as_bytes()))
            .bind(stage.name())
            .bind(gate.as_str());
        self.hit_session(id, update).await
    }

    /// Nothing is added to a stage any more that is being closed. Nothing happens when it is not, or not any more.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn freeze_session(&mut self, session: SessionId, stage: SessionStage) -> Result<(), StoreError> {
        let update = sql("UPDATE sessions SET gate = $3 WHERE id = $1 AND stage = $2 AND gate = $4")
            .bind(bytes(session.as_bytes()))
            .bind(stage.name())
            .bind(Gate::Frozen.as_str())
            .bind(Gate::Closing.as_str());
        self.execute(update).await.map(drop)
    }

    /// Notes where the sum of a session is or will be.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such session.
    pub async fn set_session_sum(&mut self, id: SessionId, sum_blob: Option<&str>) -> Result<(), StoreError> {
        let update = sql("UPDATE sessions SET sum_blob = $2 WHERE id = $1").bind(bytes(id.as_bytes())).bind(sum_blob);
        self.hit_session(id, update).await
    }

    async fn hit_session(&mut self, id: SessionId, update: scale_sql::Statement) -> Result<(), StoreError> {
        match self.execute(update).await? {
            1 => Ok(()),
            _ => Err(StoreError::Conflict(format!("session {id} is not there"))),
        }
    }
}
