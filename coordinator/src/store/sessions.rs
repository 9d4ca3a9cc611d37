//! Sessions, and the messages that were accepted in them.

use bytes::Bytes;
use scale_proto::ids::{DeviceId, RoundId, SessionId, TaskId};
use sqlx::sqlite::SqliteRow;

use super::column::{blob, get, int, word};
use super::{StoreError, Tx};
use crate::round::SessionStage;
use crate::rows::{Inserted, MessageRow, NewMessage, SessionRow};

fn decode(row: &SqliteRow) -> Result<SessionRow, StoreError> {
    Ok(SessionRow {
        id: get(row, "id")?,
        round: get(row, "round")?,
        ordinal: get(row, "ordinal")?,
        stage: word(row, "stage", SessionStage::parse)?,
        sum_blob: get(row, "sum_blob")?,
    })
}

fn decode_message(row: &SqliteRow) -> Result<MessageRow, StoreError> {
    let stage: u32 = get(row, "stage")?;
    Ok(MessageRow {
        seq: get(row, "seq")?,
        stage: u8::try_from(stage).map_err(|error| StoreError::corrupt("stage", error))?,
        device: get(row, "device")?,
        payload: get(row, "payload")?,
    })
}

impl Tx {
    /// Keeps a new session.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its id or its place in the round is taken, or the round is not there.
    pub async fn insert_session(&mut self, row: &SessionRow) -> Result<(), StoreError> {
        let query =
            sqlx::query("INSERT INTO sessions (id, round, ordinal, stage, sum_blob) VALUES (?1, ?2, ?3, ?4, ?5)")
                .bind(blob(row.id.as_bytes()))
                .bind(blob(row.round.as_bytes()))
                .bind(i64::from(row.ordinal))
                .bind(row.stage.name())
                .bind(row.sum_blob.clone());
        self.execute(query).await.map(drop)
    }

    /// The session of this id.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn session(&mut self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.one(sqlx::query("SELECT * FROM sessions WHERE id = ?1").bind(blob(id.as_bytes())), decode).await
    }

    /// The sessions of a round, in their order.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn sessions_of(&mut self, round: RoundId) -> Result<Vec<SessionRow>, StoreError> {
        let query =
            sqlx::query("SELECT * FROM sessions WHERE round = ?1 ORDER BY ordinal").bind(blob(round.as_bytes()));
        self.all(query, decode).await
    }

    /// Moves a session on.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such session.
    pub async fn set_session_stage(&mut self, id: SessionId, stage: SessionStage) -> Result<(), StoreError> {
        let query =
            sqlx::query("UPDATE sessions SET stage = ?2 WHERE id = ?1").bind(blob(id.as_bytes())).bind(stage.name());
        self.hit_session(id, query).await
    }

    /// Notes where the sum of a session is or will be.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such session.
    pub async fn set_session_sum(&mut self, id: SessionId, sum_blob: Option<&str>) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE sessions SET sum_blob = ?2 WHERE id = ?1")
            .bind(blob(id.as_bytes()))
            .bind(sum_blob.map(str::to_owned));
        self.hit_session(id, query).await
    }

    async fn hit_session(&mut self, id: SessionId, query: super::tx::Query) -> Result<(), StoreError> {
        match self.execute(query).await? {
            1 => Ok(()),
            _ => Err(StoreError::Conflict(format!("session {id} is not there"))),
        }
    }

    /// Keeps a message, once: its sender has one per stage.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such session.
    pub async fn insert_message(&mut self, message: &NewMessage) -> Result<Inserted, StoreError> {
        let insert = sqlx::query(
            "INSERT INTO session_messages (session, seq, stage, device, payload)
             SELECT ?1, coalesce(max(seq) + 1, 0), ?2, ?3, ?4 FROM session_messages WHERE session = ?1
             ON CONFLICT (session, stage, device) DO NOTHING",
        )
        .bind(blob(message.session.as_bytes()))
        .bind(int(message.stage.into()))
        .bind(blob(message.device.as_bytes()))
        .bind(blob(&message.payload));
        if self.execute(insert).await? == 1 {
            return Ok(Inserted::New);
        }
        let kept = sqlx::query("SELECT * FROM session_messages WHERE session = ?1 AND stage = ?2 AND device = ?3")
            .bind(blob(message.session.as_bytes()))
            .bind(int(message.stage.into()))
            .bind(blob(message.device.as_bytes()));
        let same = self.one(kept, decode_message).await?.is_some_and(|kept| kept.payload == message.payload);
        Ok(if same { Inserted::Same } else { Inserted::Different })
    }

    /// Every message of a session, in the order of acceptance.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn messages(&mut self, session: SessionId) -> Result<Vec<MessageRow>, StoreError> {
        let query =
            sqlx::query("SELECT seq, stage, device, payload FROM session_messages WHERE session = ?1 ORDER BY seq")
                .bind(blob(session.as_bytes()));
        self.all(query, decode_message).await
    }

    /// Forgets the messages of a session that is over, except for the keys that were advertised: see
    /// [`Self::advertised`].
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn delete_messages(&mut self, session: SessionId) -> Result<(), StoreError> {
        let query =
            sqlx::query("DELETE FROM session_messages WHERE session = ?1 AND stage > 0").bind(blob(session.as_bytes()));
        self.execute(query).await.map(drop)
    }

    /// What devices sent in stage 0 of a task's rounds before round `number`: keys that may not come again.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn advertised(&mut self, task: &TaskId, number: u64) -> Result<Vec<(DeviceId, Bytes)>, StoreError> {
        let query = sqlx::query(
            "SELECT m.device, m.payload FROM rounds r
             JOIN sessions s ON s.round = r.id JOIN session_messages m ON m.session = s.id AND m.stage = 0
             WHERE r.task = ?1 AND r.number < ?2 ORDER BY r.number, m.session, m.seq",
        )
        .bind(task.as_str().to_owned())
        .bind(int(number));
        self.all(query, |row| Ok((get(row, "device")?, get(row, "payload")?))).await
    }

    /// Forgets what was sent in stage 0 of a task's rounds, but for the newest round and the `keep` before it. Rounds are
    /// counted: their numbers have gaps.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn forget_advertised(&mut self, task: &TaskId, keep: u32) -> Result<(), StoreError> {
        let query = sqlx::query(
            "DELETE FROM session_messages WHERE stage = 0 AND session IN
             (SELECT s.id FROM rounds r JOIN sessions s ON s.round = r.id WHERE r.task = ?1 AND r.number <
                  (SELECT number FROM rounds WHERE task = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2))",
        )
        .bind(task.as_str().to_owned())
        .bind(i64::from(keep));
        self.execute(query).await.map(drop)
    }
}
