//! Participants: the devices of a round.

use std::collections::BTreeMap;

use scale_proto::ids::{DeviceId, RoundId, SessionId};
use scale_proto::time::Timestamp;
use scale_sql::{Row, by_engine, sql};

use super::column::{bytes, get, ids, maybe, moment, word};
use super::{StoreError, Tx};
use crate::rows::{ParticipantRow, ParticipantStatus};

fn decode(row: &Row) -> Result<ParticipantRow, StoreError> {
    Ok(ParticipantRow {
        round: get(row, "round")?,
        device: get(row, "device")?,
        identity_key: get(row, "identity_key")?,
        session: maybe(row, "session")?,
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
        let query = sql("INSERT INTO participants (round, device, identity_key, session, joined_at, seen_at, status)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT DO NOTHING")
        .bind(bytes(row.round.as_bytes()))
        .bind(bytes(row.device.as_bytes()))
        .bind(bytes(&row.identity_key))
        .bind(row.session.map(|session| session.as_bytes().to_vec()))
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
        let query = sql("SELECT * FROM participants WHERE round = $1 AND device = $2")
            .bind(bytes(round.as_bytes()))
            .bind(bytes(device.as_bytes()));
        self.one(query, decode).await
    }

    /// Every device of a round, in the order of admission.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn participants(&mut self, round: RoundId) -> Result<Vec<ParticipantRow>, StoreError> {
        let query =
            sql("SELECT * FROM participants WHERE round = $1 ORDER BY joined_at, device").bind(bytes(round.as_bytes()));
        self.all(query, decode).await
    }

    /// Where a device is in rounds that are not over.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn open_participations(&mut self, device: DeviceId) -> Result<Vec<ParticipantRow>, StoreError> {
        let query = sql("SELECT p.* FROM participants p JOIN rounds r ON r.id = p.round
             WHERE p.device = $1 AND r.closed_at IS NULL ORDER BY r.opened_at, r.id");
        self.all(query.bind(bytes(device.as_bytes())), decode).await
    }

    /// The device of a round that has this identity key.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn participant_of_key(
        &mut self,
        round: RoundId,
        identity_key: &[u8; 32],
    ) -> Result<Option<ParticipantRow>, StoreError> {
        let query = sql("SELECT * FROM participants WHERE round = $1 AND identity_key = $2")
            .bind(bytes(round.as_bytes()))
            .bind(bytes(identity_key));
        self.one(query, decode).await
    }

    /// Notes that devices are still there. Nothing happens for those that are not in the round.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn touch_participants(
        &mut self,
        round: RoundId,
        devices: &[DeviceId],
        seen_at: Timestamp,
    ) -> Result<(), StoreError> {
        let update = by_engine(
            "UPDATE participants SET seen_at = $3
             WHERE round = $1 AND seen_at < $3 AND device IN (SELECT unhex(value) FROM json_each($2))",
            "UPDATE participants SET seen_at = $3 WHERE round = $1 AND seen_at < $3 AND device = ANY ($2)",
        )
        .bind(bytes(round.as_bytes()))
        .bind(ids(devices))
        .bind(moment(seen_at));
        self.execute(update).await.map(drop)
    }

    /// Moves the times at which devices were last seen, after the clock that they are told by was set.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn shift_participants(&mut self, round: RoundId, by_ms: i64) -> Result<(), StoreError> {
        let update = by_engine(
            "UPDATE participants SET seen_at = max(0, seen_at + $2) WHERE round = $1",
            "UPDATE participants SET seen_at = greatest(0, seen_at + $2) WHERE round = $1",
        );
        self.execute(update.bind(bytes(round.as_bytes())).bind(by_ms)).await.map(drop)
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
        let query = sql("UPDATE participants SET status = $3 WHERE round = $1 AND device = $2")
            .bind(bytes(round.as_bytes()))
            .bind(bytes(device.as_bytes()))
            .bind(status.as_str());
        self.execute(query).await.map(drop)
    }

    /// Puts devices into sessions, one statement for each session.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when one of the devices is not in the round.
    pub async fn assign_sessions(
        &mut self,
        round: RoundId,
        assignments: &[(DeviceId, SessionId)],
    ) -> Result<(), StoreError> {
        let mut dealt: BTreeMap<SessionId, Vec<DeviceId>> = BTreeMap::new();
        for &(device, session) in assignments {
            dealt.entry(session).or_default().push(device);
        }
        let mut changed = 0;
        for (session, devices) in dealt {
            let update = by_engine(
                "UPDATE participants SET session = $3
                 WHERE round = $1 AND device IN (SELECT unhex(value) FROM json_each($2))",
                "UPDATE participants SET session = $3 WHERE round = $1 AND device = ANY ($2)",
            )
            .bind(bytes(round.as_bytes()))
            .bind(ids(&devices))
            .bind(bytes(session.as_bytes()));
            changed += self.execute(update).await?;
        }
        if changed == assignments.len() as u64 {
            Ok(())
        } else {
            Err(StoreError::Conflict(format!("only {changed} of {} devices are in the round", assignments.len())))
        }
    }

    /// Removes the devices that have not left and were last seen before `since`; how many.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn delete_participants_unseen_since(
        &mut self,
        round: RoundId,
        since: Timestamp,
    ) -> Result<u32, StoreError> {
        let delete = sql("DELETE FROM participants WHERE round = $1 AND seen_at < $2 AND status = 'admitted'")
            .bind(bytes(round.as_bytes()))
            .bind(moment(since));
        Ok(u32::try_from(self.execute(delete).await?).unwrap_or(u32::MAX))
    }
}
