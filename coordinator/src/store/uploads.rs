//! Uploads, and the durable partial sums that hold them. An upload's row is `committed` in the same transaction that
//! names its segment: these rows are the survivor set.

use scale_proto::ids::{DeviceId, SessionId};
use scale_sql::{Row, by_engine, sql};

use super::column::{bytes, get, ids, maybe, moment, word};
use super::{StoreError, Tx};
use crate::rows::{SegmentRow, UploadRow, UploadState};

fn decode(row: &Row) -> Result<UploadRow, StoreError> {
    Ok(UploadRow {
        session: get(row, "session")?,
        device: get(row, "device")?,
        participant_index: get(row, "participant_index")?,
        digest: get(row, "digest")?,
        total: get(row, "total")?,
        state: word(row, "state", UploadState::parse)?,
        segment: maybe(row, "segment")?,
        created_at: get(row, "created_at")?,
    })
}

fn decode_segment(row: &Row) -> Result<SegmentRow, StoreError> {
    Ok(SegmentRow {
        id: get(row, "id")?,
        session: get(row, "session")?,
        blob: get(row, "blob")?,
        uploads: get(row, "uploads")?,
    })
}

impl Tx {
    /// Keeps a new upload. `false`: the device has one in this session, and nothing changed.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such session.
    pub async fn insert_upload(&mut self, row: &UploadRow) -> Result<bool, StoreError> {
        let query =
            sql("INSERT INTO uploads (session, device, participant_index, digest, total, state, segment, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (session, device) DO NOTHING")
            .bind(bytes(row.session.as_bytes()))
            .bind(bytes(row.device.as_bytes()))
            .bind(u64::from(row.participant_index))
            .bind(bytes(&row.digest.0))
            .bind(row.total)
            .bind(row.state.as_str())
            .bind(row.segment.as_deref())
            .bind(moment(row.created_at));
        Ok(self.execute(query).await? == 1)
    }

    /// One device's upload.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn upload(&mut self, session: SessionId, device: DeviceId) -> Result<Option<UploadRow>, StoreError> {
        let query = sql("SELECT * FROM uploads WHERE session = $1 AND device = $2")
            .bind(bytes(session.as_bytes()))
            .bind(bytes(device.as_bytes()));
        self.one(query, decode).await
    }

    /// Every upload of a session, by index in the roster.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn uploads(&mut self, session: SessionId) -> Result<Vec<UploadRow>, StoreError> {
        let query = sql("SELECT * FROM uploads WHERE session = $1 ORDER BY participant_index, device")
            .bind(bytes(session.as_bytes()));
        self.all(query, decode).await
    }

    /// How many uploads of a session are in this state.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn count_uploads(&mut self, session: SessionId, state: UploadState) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS uploads FROM uploads WHERE session = $1 AND state = $2")
            .bind(bytes(session.as_bytes()))
            .bind(state.as_str());
        Ok(self.one(query, |row| get(row, "uploads")).await?.unwrap_or(0))
    }

    /// These uploads are whole and verified. Nothing happens to those that are so already.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn set_uploads_complete(&mut self, session: SessionId, devices: &[DeviceId]) -> Result<(), StoreError> {
        let update = by_engine(
            "UPDATE uploads SET state = 'complete'
             WHERE session = $1 AND state = 'staging' AND device IN (SELECT unhex(value) FROM json_each($2))",
            "UPDATE uploads SET state = 'complete' WHERE session = $1 AND state = 'staging' AND device = ANY ($2)",
        )
        .bind(bytes(session.as_bytes()))
        .bind(ids(devices));
        self.execute(update).await.map(drop)
    }

    /// Forgets an upload that is not part of a sum; one that is stays.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn delete_upload(&mut self, session: SessionId, device: DeviceId) -> Result<(), StoreError> {
        let query = sql("DELETE FROM uploads WHERE session = $1 AND device = $2 AND state <> 'committed'")
            .bind(bytes(session.as_bytes()))
            .bind(bytes(device.as_bytes()));
        self.execute(query).await.map(drop)
    }

    /// Keeps a segment, and marks the complete uploads of `devices` as part of it; the number marked.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the segment is there already.
    pub async fn commit_uploads(
        &mut self,
        session: SessionId,
        segment: &SegmentRow,
        devices: &[DeviceId],
    ) -> Result<u32, StoreError> {
        let insert = sql("INSERT INTO segments (id, session, blob, uploads) VALUES ($1, $2, $3, $4)")
            .bind(segment.id.as_str())
            .bind(bytes(segment.session.as_bytes()))
            .bind(segment.blob.as_str())
            .bind(u64::from(segment.uploads));
        self.execute(insert).await?;
        let mark = by_engine(
            "UPDATE uploads SET state = 'committed', segment = $2
             WHERE session = $1 AND state = 'complete' AND device IN (SELECT unhex(value) FROM json_each($3))",
            "UPDATE uploads SET state = 'committed', segment = $2
             WHERE session = $1 AND state = 'complete' AND device = ANY ($3)",
        )
        .bind(bytes(session.as_bytes()))
        .bind(segment.id.as_str())
        .bind(ids(devices));
        Ok(u32::try_from(self.execute(mark).await?).unwrap_or(u32::MAX))
    }

    /// The durable partial sums of a session.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn segments(&mut self, session: SessionId) -> Result<Vec<SegmentRow>, StoreError> {
        let query = sql("SELECT * FROM segments WHERE session = $1 ORDER BY id").bind(bytes(session.as_bytes()));
        self.all(query, decode_segment).await
    }

    /// Forgets every upload of a session that is over.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn delete_uploads(&mut self, session: SessionId) -> Result<(), StoreError> {
        let query = sql("DELETE FROM uploads WHERE session = $1").bind(bytes(session.as_bytes()));
        self.execute(query).await.map(drop)
    }

    /// Forgets the partial sums of a session that is over.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn delete_segments(&mut self, session: SessionId) -> Result<(), StoreError> {
        let query = sql("DELETE FROM segments WHERE session = $1").bind(bytes(session.as_bytes()));
        self.execute(query).await.map(drop)
    }
}
