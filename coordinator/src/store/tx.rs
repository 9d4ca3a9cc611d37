//! One transaction, and what the database's errors mean.

use sqlx::SqlitePool;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqliteRow};

use super::StoreError;

/// One transaction. Its operations are in the files of the table families.
///
/// Begin and end are statements of our own, not `sqlx::Transaction`: SQLite rolls back by itself when the disk is full,
/// and a connection whose transaction ended in another way than asked for must never be used again.
pub struct Tx {
    connection: PoolConnection<Sqlite>,
    /// Whether the database may still hold our transaction.
    open: bool,
    lost: bool,
    /// The first failure after which SQLite may have rolled back by itself: a statement that came later would run, and
    /// last, on its own.
    broken: Option<StoreError>,
}

pub(super) type Query = sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments>;

impl Tx {
    /// Begins with `begin`, `BEGIN` or `BEGIN IMMEDIATE`.
    pub(super) async fn begin(pool: &SqlitePool, begin: &'static str) -> Result<Self, sqlx::Error> {
        let connection = pool.acquire().await?;
        // Open from here on: dropped while it begins, the connection is not used again.
        let mut tx = Self { connection, open: true, lost: false, broken: None };
        match sqlx::query(begin).execute(&mut *tx.connection).await {
            Ok(_) => Ok(tx),
            Err(error) => {
                // Refused, so there is nothing to end; a connection that is out of order is replaced.
                tx.open = !is_busy(&error);
                Err(error)
            }
        }
    }

    /// Runs a statement; the number of rows that it changed.
    pub(super) async fn execute(&mut self, query: Query) -> Result<u64, StoreError> {
        self.whole()?;
        let result = query.execute(&mut *self.connection).await;
        self.checked(result).map(|done| done.rows_affected())
    }

    /// The first row, decoded.
    pub(super) async fn one<T>(
        &mut self,
        query: Query,
        decode: fn(&SqliteRow) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.whole()?;
        let result = query.fetch_optional(&mut *self.connection).await;
        self.checked(result)?.as_ref().map(decode).transpose()
    }

    /// Every row, decoded.
    pub(super) async fn all<T>(
        &mut self,
        query: Query,
        decode: fn(&SqliteRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.whole()?;
        let result = query.fetch_all(&mut *self.connection).await;
        self.checked(result)?.iter().map(decode).collect()
    }

    /// Whether a statement failed because another transaction was in the way: running everything again helps.
    pub(super) const fn lost_against_another(&self) -> bool {
        self.lost
    }

    /// Keeps everything, or nothing.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.whole()?;
        let result = sqlx::query("COMMIT").execute(&mut *self.connection).await;
        self.open = result.is_err();
        self.checked(result).map(drop)
    }

    /// Undoes everything.
    pub(super) async fn rollback(mut self) {
        match sqlx::query("ROLLBACK").execute(&mut *self.connection).await {
            Ok(_) => self.open = false,
            Err(error) => tracing::debug!(%error, "the transaction had ended by itself"),
        }
    }

    fn whole(&self) -> Result<(), StoreError> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    fn checked<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        result.map_err(|error| {
            self.lost |= is_busy(&error);
            let error = classify(&error);
            // A refused row undoes its own statement and nothing else.
            if !matches!(error, StoreError::Conflict(_)) {
                self.broken = Some(error.clone());
            }
            error
        })
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if self.open {
            // Closing the connection undoes whatever is left; the pool makes a new one.
            self.connection.close_on_drop();
        }
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
