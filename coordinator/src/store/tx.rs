//! One transaction, and what the database's errors mean.

use sqlx::sqlite::{Sqlite, SqliteConnection, SqliteRow};

use super::StoreError;

/// One transaction. Its operations are in the files of the table families.
pub struct Tx {
    inner: sqlx::Transaction<'static, Sqlite>,
    lost: bool,
}

pub(super) type Query = sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments>;

impl Tx {
    pub(super) fn new(inner: sqlx::Transaction<'static, Sqlite>) -> Self {
        Self { inner, lost: false }
    }

    /// Runs a statement; the number of rows that it changed.
    pub(super) async fn execute(&mut self, query: Query) -> Result<u64, StoreError> {
        let result = query.execute(self.connection()).await;
        self.checked(result).map(|done| done.rows_affected())
    }

    /// The first row, decoded.
    pub(super) async fn one<T>(
        &mut self,
        query: Query,
        decode: fn(&SqliteRow) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let result = query.fetch_optional(self.connection()).await;
        self.checked(result)?.as_ref().map(decode).transpose()
    }

    /// Every row, decoded.
    pub(super) async fn all<T>(
        &mut self,
        query: Query,
        decode: fn(&SqliteRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let result = query.fetch_all(self.connection()).await;
        self.checked(result)?.iter().map(decode).collect()
    }

    /// Whether a statement failed because another transaction was in the way: running everything again helps.
    pub(super) const fn lost_against_another(&self) -> bool {
        self.lost
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        self.inner.commit().await
    }

    pub(super) async fn rollback(self) {
        // After a full disk SQLite may have rolled back by itself: then there is nothing left to do.
        if let Err(error) = self.inner.rollback().await {
            tracing::debug!(%error, "rollback");
        }
    }

    fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.inner
    }

    fn checked<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        result.map_err(|error| {
            self.lost |= is_busy(&error);
            classify(&error)
        })
    }
}

impl std::fmt::Debug for Tx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").finish_non_exhaustive()
    }
}

/// SQLite's primary result codes (sqlite.org/rescode.html).
mod code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CONSTRAINT: i32 = 19;
    pub(super) const NOT_A_DATABASE: i32 = 26;
}

/// The primary result code: the low byte of the extended one.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// Another connection holds the database.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(code::BUSY | code::LOCKED))
}

/// Sorts a database error by what helps.
pub(super) fn classify(error: &sqlx::Error) -> StoreError {
    let text = error.to_string();
    match primary_code(error) {
        Some(code::FULL) => StoreError::Full(text),
        Some(code::CONSTRAINT) => StoreError::Conflict(text),
        Some(code::CORRUPT | code::NOT_A_DATABASE) => StoreError::Corrupt(text),
        // A full disk shows itself as an I/O error where the system says so in a write that SQLite did not expect.
        _ if is_storage_full(error) => StoreError::Full(text),
        _ => StoreError::Unavailable(text),
    }
}

fn is_storage_full(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(io) => {
            matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        }
        _ => false,
    }
}
