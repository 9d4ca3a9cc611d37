//! Rows, durably: SQLite in one file, nothing to install.
//!
//! SQL lives in this module and nowhere else, one file per family of tables; the rows themselves are the plain structs of
//! [`crate::rows`]. An acknowledged transaction survives a power cut (WAL, `synchronous = FULL`).
//!
//! | tables | file |
//! |---|---|
//! | `identity` | `identity.rs` |
//! | `devices` | `devices.rs` |
//! | `used_tokens` | `used_tokens.rs` |
//! | `tasks` | `tasks.rs` |
//! | `rounds`, `participants` | `rounds.rs`, `participants.rs` |
//! | `sessions`, `session_messages` | `sessions.rs` |
//! | `uploads`, `segments` | `uploads.rs` |
//! | `models` | `models.rs` |

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

mod column;
mod devices;
mod error;
mod identity;
mod lock;
mod migrations;
mod models;
mod participants;
mod rounds;
mod sessions;
mod tasks;
mod tx;
mod uploads;
mod used_tokens;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;

pub use devices::DeviceRow;
pub use error::StoreError;
pub use identity::IdentityRow;
pub use lock::FolderLock;
pub use tx::Tx;
pub use used_tokens::UsedTokenRow;

#[cfg(test)]
pub(crate) fn example_task() -> crate::rows::TaskRow {
    conformance::task("example")
}

/// How long a transaction waits for another one before it counts as unavailable.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a transaction that lost against another one is run again.
const ATTEMPTS: u32 = 3;
/// Connections that only read; SQLite lets them work beside the writer.
const READERS: u32 = 4;

/// The coordinator's rows. Clones share the same database.
#[derive(Clone, Debug)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
    _lock: Option<Arc<FolderLock>>,
    /// In memory, the database lives as long as one of its connections: this one is never used for anything else.
    _anchor: Option<SqlitePool>,
}

/// What an operator may limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Most pages of 4 KiB in the file; `None`: as many as the disk holds.
    pub max_pages: Option<u32>,
}

impl Store {
    /// Opens, or creates, the database at `path`, brings its schema up to date, and holds the folder it is in for this
    /// process.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process holds the folder, [`StoreError::Schema`] when the schema is newer than this
    /// build, was edited, or the file is somebody else's, [`StoreError::Full`] and [`StoreError::Unavailable`] from the disk.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, Options::default()).await
    }

    /// [`Self::open`] with limits.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(path: &Path, options: Options) -> Result<Self, StoreError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let lock = FolderLock::take(folder)?;
        let file = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writing = match options.max_pages {
            Some(pages) => file.clone().pragma("max_page_count", pages.to_string()),
            None => file.clone(),
        };
        let writer = one_connection().connect_with(writing).await.map_err(|error| tx::classify(&error))?;
        migrations::run(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_with(file.create_if_missing(false).read_only(true))
            .await
            .map_err(|error| tx::classify(&error))?;
        Ok(Self { writer, readers, _lock: Some(Arc::new(lock)), _anchor: None })
    }

    /// A database that ends with the last clone of this value, for tests.
    ///
    /// # Errors
    /// As [`Self::open`], without the ones of a file.
    pub async fn open_in_memory() -> Result<Self, StoreError> {
        // Reading this URL makes a name of its own for the database, by which both connections mean the same one.
        let options: SqliteConnectOptions = "sqlite::memory:".parse().map_err(|error| tx::classify(&error))?;
        let options = options.foreign_keys(true);
        let anchor = one_connection().connect_with(options.clone()).await.map_err(|error| tx::classify(&error))?;
        let writer = one_connection().connect_with(options).await.map_err(|error| tx::classify(&error))?;
        migrations::run(&writer).await?;
        Ok(Self { readers: writer.clone(), writer, _lock: None, _anchor: Some(anchor) })
    }

    /// Runs `work` in one transaction: kept when it returns `Ok`, undone when it returns `Err` or is dropped. It runs
    /// again when another transaction was in the way, so it must have no effect but on `tx`. `name` labels the log.
    ///
    /// Transactions are serial: there is one writing connection.
    ///
    /// # Errors
    /// What `work` returns; [`StoreError`] when the transaction cannot begin or be kept.
    pub async fn run_tx<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send,
        E: From<StoreError> + Send,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + Sync,
    {
        for attempt in 1.. {
            let last = attempt >= ATTEMPTS;
            let mut tx = match Tx::begin(&self.writer, "BEGIN IMMEDIATE").await {
                Ok(tx) => tx,
                Err(error) if tx::is_busy(&error) && !last => {
                    tracing::debug!(name, attempt, "the database is busy");
                    continue;
                }
                Err(error) => return Err(tx::classify(&error).into()),
            };
            match work(&mut tx).await {
                Ok(value) => return tx.commit().await.map(|()| value).map_err(E::from),
                Err(error) => {
                    let lost = tx.lost_against_another();
                    tx.rollback().await;
                    if !lost || last {
                        return Err(error);
                    }
                }
            }
            tracing::debug!(name, attempt, "transaction runs again");
        }
        unreachable!("the last attempt returns")
    }

    /// Runs `work` on one consistent snapshot, beside the writer. Writing fails.
    ///
    /// # Errors
    /// What `work` returns; [`StoreError::Unavailable`] when no connection is free.
    pub async fn read<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send,
        E: From<StoreError> + Send,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send,
    {
        let mut tx = Tx::begin(&self.readers, "BEGIN").await.map_err(|error| {
            tracing::debug!(name, %error, "no connection to read from");
            tx::classify(&error)
        })?;
        let result = work(&mut tx).await;
        tx.rollback().await;
        result
    }

    /// Whether the database answers, for readiness probes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.readers).await.map(drop).map_err(|error| tx::classify(&error))
    }

    /// Closes the connections, after the statements that run now; the file is then complete in itself.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A pool of exactly one connection that is never replaced: what SQLite wants of a writer.
fn one_connection() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(Duration::from_secs(30))
}
