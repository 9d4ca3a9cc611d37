//! Which secrets the database belongs to.

use scale_sql::{Row, sql};

use super::column::{bytes, get};
use super::{StoreError, Tx};

/// What the database knows of its secrets; none of it is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityRow {
    /// Public Ed25519 key that signs round configurations: apps pin it.
    pub task_key: [u8; 32],
    /// SHA-256 of the key that makes and checks tokens.
    pub token_hash: [u8; 32],
}

fn decode(row: &Row) -> Result<IdentityRow, StoreError> {
    Ok(IdentityRow { task_key: get(row, "task_key")?, token_hash: get(row, "token_hash")? })
}

fn decode_in_use(row: &Row) -> Result<u64, StoreError> {
    get(row, "in_use")
}

impl Tx {
    /// The secrets that this database belongs to; `None`: no start has written them down yet.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn identity(&mut self) -> Result<Option<IdentityRow>, StoreError> {
        self.one(sql("SELECT task_key, token_hash FROM identity"), decode).await
    }

    /// Writes down the secrets that this database belongs to from now on.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn put_identity(&mut self, row: &IdentityRow) -> Result<(), StoreError> {
        let query = sql("INSERT INTO identity (only_row, task_key, token_hash) VALUES (1, $1, $2)
             ON CONFLICT (only_row) DO UPDATE SET task_key = excluded.task_key, token_hash = excluded.token_hash")
        .bind(bytes(&row.task_key))
        .bind(bytes(&row.token_hash));
        self.execute(query).await.map(drop)
    }

    /// Whether a task was ever created here, or a device has enrolled.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn is_in_use(&mut self) -> Result<bool, StoreError> {
        let query = sql("SELECT CAST (CASE WHEN EXISTS (SELECT 1 FROM tasks) OR EXISTS (SELECT 1 FROM devices)
                 THEN 1 ELSE 0 END AS BIGINT) AS in_use");
        Ok(self.one(query, decode_in_use).await?.is_some_and(|in_use| in_use != 0))
    }
}
