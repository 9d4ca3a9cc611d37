//! Enrollment tokens that enroll one key, from their use to their end.

use scale_proto::time::Timestamp;
use scale_sql::{Row, sql};

use super::column::{bytes, get, moment};
use super::{StoreError, Tx};

/// A token of this kind that was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedTokenRow {
    /// The token's own random id. It says nothing about the person who was given the token.
    pub id: [u8; 16],
    /// The Ed25519 identity key that it enrolled.
    pub identity_key: [u8; 32],
    /// When the token ends.
    pub expires_at: Timestamp,
}

fn key(row: &Row) -> Result<[u8; 32], StoreError> {
    get(row, "identity_key")
}

impl Tx {
    /// Keeps `row`, unless the token was used before; returns the key that it enrolls, which is that of its first use.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn use_token(&mut self, row: &UsedTokenRow) -> Result<[u8; 32], StoreError> {
        let insert = sql(
            "INSERT INTO used_tokens (id, identity_key, expires_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
        )
        .bind(bytes(&row.id))
        .bind(bytes(&row.identity_key))
        .bind(moment(row.expires_at));
        self.execute(insert).await?;
        let query = sql("SELECT identity_key FROM used_tokens WHERE id = $1").bind(bytes(&row.id));
        self.one(query, key)
            .await?
            .ok_or_else(|| StoreError::corrupt("used_tokens", "a row that was just written is gone"))
    }

    /// Removes the rows of tokens that ended before this moment; how many.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn forget_used_tokens(&mut self, ended_before: Timestamp) -> Result<u64, StoreError> {
        let delete = sql("DELETE FROM used_tokens WHERE expires_at < $1").bind(moment(ended_before));
        self.execute(delete).await
    }
}
