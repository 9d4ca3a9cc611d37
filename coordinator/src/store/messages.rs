//! What devices sent in stages 0, 1, 3 and 4. Uploads of stage 2 have rows of their own.

use bytes::Bytes;
use scale_proto::ids::{DeviceId, SessionId, TaskId};
use scale_sql::{Row, sql};

use super::column::{bytes, get};
use super::{StoreError, Tx};
use crate::rows::{Inserted, MessageRow};

fn decode(row: &Row) -> Result<MessageRow, StoreError> {
    Ok(MessageRow {
        session: get(row, "session")?,
        stage: get(row, "stage")?,
        device: get(row, "device")?,
        payload: get(row, "payload")?,
    })
}

impl Tx {
    /// Keeps a message, once: its sender has one per stage. Whether the stage is open is the caller's to see, with
    /// [`Tx::hold_session`].
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such session.
    pub async fn insert_message(&mut self, message: &MessageRow) -> Result<Inserted, StoreError> {
        let insert = sql("INSERT INTO messages (session, stage, device, payload) VALUES ($1, $2, $3, $4)
             ON CONFLICT (session, stage, device) DO NOTHING")
        .bind(bytes(message.session.as_bytes()))
        .bind(u64::from(message.stage))
        .bind(bytes(message.device.as_bytes()))
        .bind(bytes(&message.payload));
        if self.execute(insert).await? == 1 {
            return Ok(Inserted::New);
        }
        let kept = self.message(message.session, message.stage, message.device).await?;
        let same = kept.is_some_and(|kept| kept.payload == message.payload);
        Ok(if same { Inserted::Same } else { Inserted::Different })
    }

    /// What one device sent in one stage.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn message(
        &mut self,
        session: SessionId,
        stage: u8,
        device: DeviceId,
    ) -> Result<Option<MessageRow>, StoreError> {
        let query = sql("SELECT * FROM messages WHERE session = $1 AND stage = $2 AND device = $3")
            .bind(bytes(session.as_bytes()))
            .bind(u64::from(stage))
            .bind(bytes(device.as_bytes()));
        self.one(query, decode).await
    }

    /// How many devices have answered in a stage.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn count_messages(&mut self, session: SessionId, stage: u8) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS answered FROM messages WHERE session = $1 AND stage = $2")
            .bind(bytes(session.as_bytes()))
            .bind(u64::from(stage));
        Ok(self.one(query, |row| get(row, "answered")).await?.unwrap_or(0))
    }

    /// Who has answered in a stage, by device.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn senders(&mut self, session: SessionId, stage: u8) -> Result<Vec<DeviceId>, StoreError> {
        let query = sql("SELECT device FROM messages WHERE session = $1 AND stage = $2 ORDER BY device")
            .bind(bytes(session.as_bytes()))
            .bind(u64::from(stage));
        self.all(query, |row| get(row, "device")).await
    }

    /// Every message of a stage, by device: the same order for everybody who reads it.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn messages(&mut self, session: SessionId, stage: u8) -> Result<Vec<MessageRow>, StoreError> {
        let query = sql("SELECT * FROM messages WHERE session = $1 AND stage = $2 ORDER BY device")
            .bind(bytes(session.as_bytes()))
            .bind(u64::from(stage));
        self.all(query, decode).await
    }

    /// Forgets the messages of a session that is over, except for the keys that were advertised: see
    /// [`Self::advertised`].
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn delete_messages(&mut self, session: SessionId) -> Result<(), StoreError> {
        let delete = sql("DELETE FROM messages WHERE session = $1 AND stage > 0").bind(bytes(session.as_bytes()));
        self.execute(delete).await.map(drop)
    }

    /// What devices sent in stage 0 of a task's rounds before round `number`: keys that may not come again.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn advertised(&mut self, task: &TaskId, number: u64) -> Result<Vec<(DeviceId, Bytes)>, StoreError> {
        let query = sql("SELECT m.device, m.payload FROM rounds r
             JOIN sessions s ON s.round = r.id JOIN messages m ON m.session = s.id AND m.stage = 0
             WHERE r.task = $1 AND r.number < $2 ORDER BY r.number, m.session, m.device");
        self.all(query.bind(task.as_str()).bind(number), |row| Ok((get(row, "device")?, get(row, "payload")?))).await
    }

    /// Forgets what was sent in stage 0 of a task's rounds, but for the newest round and the `keep` before it. Rounds are
    /// counted: their numbers have gaps.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn forget_advertised(&mut self, task: &TaskId, keep: u32) -> Result<(), StoreError> {
        let delete = sql("DELETE FROM messages WHERE stage = 0 AND session IN
             (SELECT s.id FROM rounds r JOIN sessions s ON s.round = r.id WHERE r.task = $1 AND r.number <
                  (SELECT number FROM rounds WHERE task = $1 ORDER BY number DESC LIMIT 1 OFFSET $2))");
        self.execute(delete.bind(task.as_str()).bind(u64::from(keep))).await.map(drop)
    }
}
