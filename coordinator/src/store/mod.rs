//! Rows, durably: SQLite in one file with nothing to install, or Postgres for any number of replicas.
//!
//! The engines are [`scale_sql`]'s. SQL about rounds lives in this module and nowhere else, one file per family of tables;
//! the rows themselves are the plain structs of [`crate::rows`].
//!
//! | tables | file |
//! |---|---|
//! | `identity` | `identity.rs` |
//! | `devices` | `devices.rs` |
//! | `used_tokens` | `used_tokens.rs` |
//! | `tasks` | `tasks.rs` |
//! | `rounds`, `participants` | `rounds.rs`, `participants.rs` |
//! | `sessions`, `messages` | `sessions.rs`, `messages.rs` |
//! | `uploads`, `segments` | `uploads.rs` |
//! | `models` | `models.rs` |
//! | `work` | `work.rs` |
//! | all of them, unread | `tables.rs` |
//!
//! Rows that a transaction locks, it locks in this order: task, round, session, participant, message, upload, work.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytemuck::TransparentWrapper as _;
use futures::future::BoxFuture;
use scale_sql::{Database, Engine, PostgresOptions, SqliteOptions};

mod column;
mod devices;
mod identity;
mod lock;
mod messages;
mod migrations;
mod models;
mod participants;
mod rounds;
mod sessions;
pub(crate) mod tables;
mod tasks;
mod uploads;
mod used_tokens;
mod work;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod postgres_tests;
#[cfg(test)]
mod tests;

pub use devices::DeviceRow;
pub use identity::IdentityRow;
pub use lock::FolderLock;
pub use migrations::{migrate, missing_steps};
pub use scale_sql::Error as StoreError;
pub use used_tokens::UsedTokenRow;

#[cfg(test)]
pub(crate) fn example_task() -> crate::rows::TaskRow {
    conformance::task("example")
}

/// One transaction. Its operations are in the files of the table families.
#[derive(bytemuck::TransparentWrapper)]
#[repr(transparent)]
pub struct Tx(scale_sql::Tx);

impl std::ops::Deref for Tx {
    type Target = scale_sql::Tx;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl std::ops::DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// The coordinator's rows. Clones share the same database.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
    /// SQLite's file is one process's alone.
    _lock: Option<Arc<FolderLock>>,
}

/// A replica that stands still in the middle of a step keeps the others from its round for so long. No transaction here waits
/// for anything but the database.
const IDLE: Duration = Duration::from_secs(5);

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
        let options = SqliteOptions { max_pages: options.max_pages, ..migrations::sqlite_options() };
        let database = Database::sqlite(path, options).await?;
        migrations::of(Engine::Sqlite).run(&database).await?;
        Ok(Self { database, _lock: Some(Arc::new(lock)) })
    }

    /// The rows in the Postgres database at `url`, with at most so many connections. Its schema must be up to date,
    /// because other replicas may use it: see [`migrate`].
    ///
    /// # Errors
    /// [`StoreError::Schema`] when it is not, [`StoreError::Unavailable`] when the server does not answer.
    pub async fn postgres(url: &str, connections: u32) -> Result<Self, StoreError> {
        let options = PostgresOptions { max_connections: connections, idle: IDLE, ..PostgresOptions::default() };
        let database = Database::postgres(url, options)?;
        if !migrations::of(Engine::Postgres).missing(&database).await?.is_empty() {
            let problem = "its schema is older than this build; run `scale-coordinator migrate`";
            return Err(StoreError::Schema(problem.to_owned()));
        }
        Ok(Self { database, _lock: None })
    }

    /// Opens the database at `path` to read, beside the process that holds its folder.
    ///
    /// # Errors
    /// As [`Self::open`], and [`StoreError::Schema`] when the schema is older than this build: nothing is changed here.
    pub async fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let database =
            Database::sqlite(path, SqliteOptions { read_only: true, ..migrations::sqlite_options() }).await?;
        if !migrations::of(Engine::Sqlite).missing(&database).await?.is_empty() {
            let problem =
                "its schema is older than this build; start this build's `scale-coordinator serve` on it once";
            return Err(StoreError::Schema(problem.to_owned()));
        }
        Ok(Self { database, _lock: None })
    }

    /// The last step that the schema has taken, for people.
    pub fn schema(&self) -> String {
        let all = migrations::of(self.database.engine()).all(self.database.engine());
        all.last().map(ToString::to_string).unwrap_or_default()
    }

    /// A database that ends with the last clone of this value, for tests.
    ///
    /// # Errors
    /// As [`Self::open`], without the ones of a file.
    pub async fn open_in_memory() -> Result<Self, StoreError> {
        let database = Database::memory().await?;
        migrations::of(Engine::Sqlite).run(&database).await?;
        Ok(Self { database, _lock: None })
    }

    /// Whether nobody has used these rows yet.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn is_new(&self) -> Result<bool, StoreError> {
        self.read("is_new", |tx| Box::pin(async move { Ok(tx.identity().await?.is_none() && !tx.is_in_use().await?) }))
            .await
    }

    /// Whether other processes may work on the same rows.
    pub fn is_shared(&self) -> bool {
        self.database.engine() == Engine::Postgres
    }

    /// The database itself, for what is not about rows: listening, backup.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Runs `work` in one transaction: kept when it returns `Ok`, undone when it returns `Err` or is dropped. It runs
    /// again when another transaction was in the way, so it must have no effect but on `tx`. `name` labels the span.
    ///
    /// # Errors
    /// What `work` returns; [`StoreError`] when the transaction cannot begin or be kept.
    pub async fn run_tx<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send,
        E: From<StoreError> + Send,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + Sync,
    {
        self.database.run_tx(name, |tx| work(Tx::wrap_mut(tx))).await
    }

    /// Runs `work` on one consistent snapshot, beside the writers. Writing fails.
    ///
    /// # Errors
    /// What `work` returns; [`StoreError::Unavailable`] when no connection is free.
    pub async fn read<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send,
        E: From<StoreError> + Send,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send,
    {
        self.database.read(name, |tx| work(Tx::wrap_mut(tx))).await
    }

    /// Whether the database answers, for readiness probes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.database.ping().await
    }

    /// Closes the connections, after the statements that run now; a file is then complete in itself.
    pub async fn close(&self) {
        self.database.close().await;
    }
}
