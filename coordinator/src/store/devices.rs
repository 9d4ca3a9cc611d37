//! Devices: who enrolled.

use scale_proto::ids::DeviceId;
use scale_proto::time::Timestamp;
use scale_sql::{Row, sql};

use super::column::{bytes, get, moment};
use super::{StoreError, Tx};

/// One enrolled installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// Its name.
    pub id: DeviceId,
    /// Its Ed25519 identity key.
    pub identity_key: [u8; 32],
    /// When it enrolled first.
    pub enrolled_at: Timestamp,
}

fn decode(row: &Row) -> Result<DeviceRow, StoreError> {
    Ok(DeviceRow {
        id: get(row, "id")?,
        identity_key: get(row, "identity_key")?,
        enrolled_at: get(row, "enrolled_at")?,
    })
}

impl Tx {
    /// Keeps `row`, unless its identity key has enrolled before; returns the row that is there afterwards.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the id belongs to another key.
    pub async fn enroll_device(&mut self, row: &DeviceRow) -> Result<DeviceRow, StoreError> {
        let insert = sql("INSERT INTO devices (id, identity_key, enrolled_at) VALUES ($1, $2, $3)
             ON CONFLICT (identity_key) DO NOTHING")
        .bind(bytes(row.id.as_bytes()))
        .bind(bytes(&row.identity_key))
        .bind(moment(row.enrolled_at));
        self.execute(insert).await?;
        let by_key = sql("SELECT id, identity_key, enrolled_at FROM devices WHERE identity_key = $1")
            .bind(bytes(&row.identity_key));
        self.one(by_key, decode)
            .await?
            .ok_or_else(|| StoreError::corrupt("devices", "a row that was just written is gone"))
    }

    /// The device of this name.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn device(&mut self, id: DeviceId) -> Result<Option<DeviceRow>, StoreError> {
        let query = sql("SELECT id, identity_key, enrolled_at FROM devices WHERE id = $1");
        self.one(query.bind(bytes(id.as_bytes())), decode).await
    }
}
