//! Participants: the devices of a round.

use scale_proto::ids::{DeviceId, RoundId, SessionId};
use scale_proto::time::Timestamp;
use sqlx::sqlite::SqliteRow;

use super::column::{blob, get, moment, word};
use super::{StoreError, Tx};
use crate::rows::{ParticipantRow, ParticipantStatus};

fn decode(row: &SqliteRow) -> Result<ParticipantRow, StoreError> {
    Ok(ParticipantRow {
        round: get(row, "round")?,
        device: get(row, "device")?,
        identity_key: get(row, "identity_key")?,
        session: get(row, "session")?,
        joined_at: get(row, "joined_at")?,
        seen_at: get(row, "seen_at")?,
        status: word(row, "status", ParticipantStatus::parse)?,
    })
}

impl Tx {
    /// Admits a device. `false`: it, or its identity key, is in this round already, and nothing changed.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such round.
    pub async fn insert_participant(&mut self, row: &ParticipantRow) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "INSERT INTO participants (round, device, identity_key, session, joined_at, seen_at, status)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT DO NOTHING",
        )
        .bind(blob(row.round.as_bytes()))
        .bind(blob(row.device.as_bytes()))
        .bind(blob(&row.identity_key))
        .bind(row.session.map(|session| blob(session.as_bytes())))
        .bind(moment(row.joined_at))
        .bind(moment(row.seen_at))
        .bind(row.status.as_str());
        Ok(self.execute(query).await? == 1)
    }

    /// One device in one round.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn participant(
        &mut self,
        round: RoundId,
        device: DeviceId,
    ) -> Result<Option<ParticipantRow>, StoreError> {
        let query = sqlx::query("SELECT * FROM participants WHERE round = ?1 AND device = ?2")
            .bind(blob(round.as_bytes()))
            .bind(blob(device.as_bytes()));
        self.one(query, decode).await
    }

    /// Every device of a round, in the order of admission.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn participants(&mut self, round: RoundId) -> Result<Vec<ParticipantRow>, StoreError> {
        let query = sqlx::query("SELECT * FROM participants WHERE round = ?1 ORDER BY joined_at, device")
            .bind(blob(round.as_bytes()));
        self.all(query, decode).await
    }

    /// The open rounds that a device is in.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn rounds_of_device(&mut self, device: DeviceId) -> Result<Vec<RoundId>, StoreError> {
        let query = sqlx::query(
            "SELECT r.id FROM participants AS p JOIN rounds AS r ON r.id = p.round
             WHERE p.device = ?1 AND r.closed_at IS NULL ORDER BY r.opened_at, r.id",
        )
        .bind(blob(device.as_bytes()));
        self.all(query, |row| get(row, "id")).await
    }

    /// Notes that a device is still there. Nothing happens when it is not in the round.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn touch_participant(
        &mut self,
        round: RoundId,
        device: DeviceId,
        seen_at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE participants SET seen_at = ?3 WHERE round = ?1 AND device = ?2")
            .bind(blob(round.as_bytes()))
            .bind(blob(device.as_bytes()))
            .bind(moment(seen_at));
        self.execute(query).await.map(drop)
    }

    /// Changes where a device stands. Nothing happens when it is not in the round.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn set_participant_status(
        &mut self,
        round: RoundId,
        device: DeviceId,
        status: ParticipantStatus,
    ) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE participants SET status = ?3 WHERE round = ?1 AND device = ?2")
            .bind(blob(round.as_bytes()))
            .bind(blob(device.as_bytes()))
            .bind(status.as_str());
        self.execute(query).await.map(drop)
    }

    /// Puts devices into sessions, all in one statement.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when one of the devices is not in the round.
    pub async fn assign_sessions(
        &mut self,
        round: RoundId,
        assignments: &[(DeviceId, SessionId)],
    ) -> Result<(), StoreError> {
        let pairs: Vec<[String; 2]> = assignments
            .iter()
            .map(|(device, session)| [hex::encode(device.as_bytes()), hex::encode(session.as_bytes())])
            .collect();
        let pairs = serde_json::to_string(&pairs).map_err(|error| StoreError::corrupt("assignments", error))?;
        let query = sqlx::query(
            "UPDATE participants SET session = unhex(pair.value ->> 1) FROM json_each(?2) AS pair
             WHERE round = ?1 AND device = unhex(pair.value ->> 0)",
        )
        .bind(blob(round.as_bytes()))
        .bind(pairs);
        let changed = self.execute(query).await?;
        if changed == assignments.len() as u64 {
            Ok(())
        } else {
            Err(StoreError::Conflict(format!("only {changed} of {} devices are in the round", assignments.len())))
        }
    }

    /// Removes the devices last seen before `since`; the number removed.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn delete_participants_unseen_since(
        &mut self,
        round: RoundId,
        since: Timestamp,
    ) -> Result<u32, StoreError> {
        let query = sqlx::query("DELETE FROM participants WHERE round = ?1 AND seen_at < ?2")
            .bind(blob(round.as_bytes()))
            .bind(moment(since));
        Ok(u32::try_from(self.execute(query).await?).unwrap_or(u32::MAX))
    }
}
