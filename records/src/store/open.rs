//! Where rows are, and how to get at them.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{Pool, Sqlite};

use super::engine::{Access, Engine, Statement, Stored};
use super::migrations::{self, Step};
use super::tx::Tx;
use super::{Error, People, Records, postgres, sqlite};
use crate::domain::{Scope, UserId};

/// Where rows are kept.
#[derive(Clone)]
pub enum Location {
    /// In this SQLite file, which is made if it is not there. One process at a time: see to that with a lock.
    Sqlite(PathBuf),
    /// Nowhere: they end with the last handle.
    Memory,
    /// On this server, with at most so many connections. The URL may hold a password. Without a pooler that shares
    /// connections between transactions, `?statement-cache-capacity=100` in it saves the server some planning.
    Postgres(String, u32),
}

/// Without the URL.
impl std::fmt::Debug for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Memory => f.write_str("Memory"),
            Self::Postgres(_, connections) => f.debug_tuple("Postgres").field(&"…").field(connections).finish(),
        }
    }
}

/// Opens the rows. A SQLite file is brought up to date; a Postgres server must be, because other replicas may use it: see
/// [`migrate`].
///
/// # Errors
/// [`Error::Schema`] for a schema that this build cannot use, [`Error::Unavailable`] if the database does not answer.
pub async fn open(location: &Location) -> Result<Arc<dyn Records>, Error> {
    match location {
        Location::Sqlite(path) => {
            let (writer, readers) = sqlite::connect(path, true).await?;
            migrations::run(&writer).await?;
            Ok(Arc::new(Store::new(writer, readers)))
        }
        Location::Memory => {
            let (anchor, only) = sqlite::connect_in_memory().await?;
            migrations::run(&only).await?;
            Ok(Arc::new(Store { _anchor: Some(anchor), ..Store::new(only.clone(), only) }))
        }
        Location::Postgres(url, connections) => {
            let pool = postgres::connect(url, *connections)?;
            if !migrations::missing(&pool).await?.is_empty() {
                let problem = "its schema is older than this build; run `scale-coordinator migrate`";
                return Err(Error::Schema(problem.to_owned()));
            }
            let keeps_statements = postgres::keeps_statements(url);
            let store = Store { keeps_statements, ..Store::new(pool.clone(), pool) };
            store.may_work_for_everybody().await?;
            Ok(Arc::new(store))
        }
    }
}

/// Brings the schema up to date; the steps that were taken. Several at once wait for each other.
///
/// # Errors
/// [`Error::Schema`] if the database has a schema that this build does not know, or a step fails (and is undone).
pub async fn migrate(location: &Location) -> Result<Vec<Step>, Error> {
    match location {
        Location::Sqlite(path) => finish(migrations::run, sqlite::connect(path, true).await?.0).await,
        Location::Memory => Ok(Vec::new()),
        Location::Postgres(url, _) => finish(migrations::run, postgres::connect(url, 1)?).await,
    }
}

/// The steps that [`migrate`] would take. Changes nothing.
///
/// # Errors
/// As [`migrate`].
pub async fn missing_steps(location: &Location) -> Result<Vec<Step>, Error> {
    match location {
        Location::Sqlite(path) if !path.exists() => Ok(migrations::all::<Sqlite>()),
        Location::Sqlite(path) => finish(migrations::missing, sqlite::connect(path, false).await?.0).await,
        Location::Memory => Ok(Vec::new()),
        Location::Postgres(url, _) => finish(migrations::missing, postgres::connect(url, 1)?).await,
    }
}

/// Takes steps back until the schema is `version`, 0 being none; what they held is lost.
///
/// # Errors
/// As [`migrate`].
pub async fn revert(location: &Location, version: i64) -> Result<(), Error> {
    match location {
        Location::Sqlite(path) => {
            let pool = sqlite::connect(path, false).await?.0;
            finish(async |pool| migrations::undo(pool, version).await, pool).await
        }
        Location::Memory => Ok(()),
        Location::Postgres(url, _) => {
            let pool = postgres::connect(url, 1)?;
            finish(async |pool| migrations::undo(pool, version).await, pool).await
        }
    }
}

/// Works on `pool` and closes it.
async fn finish<DB: Engine, T>(
    work: impl AsyncFnOnce(&Pool<DB>) -> Result<T, Error>,
    pool: Pool<DB>,
) -> Result<T, Error> {
    let result = work(&pool).await;
    pool.close().await;
    result
}

/// The rows on either database; the families are in the files of their names.
pub(super) struct Store<DB: Engine> {
    /// For what changes rows.
    writer: Pool<DB>,
    /// For what only reads them.
    readers: Pool<DB>,
    /// Whether connections keep prepared statements.
    keeps_statements: bool,
    /// In memory, a database lasts as long as one of its connections: this one does nothing else.
    _anchor: Option<Pool<DB>>,
}

impl<DB: Engine> Store<DB> {
    pub(super) fn new(writer: Pool<DB>, readers: Pool<DB>) -> Self {
        Self { writer, readers, keeps_statements: true, _anchor: None }
    }

    /// Begins a transaction for `scope`.
    pub(super) async fn begin(&self, scope: Scope, access: Access) -> Result<Tx<DB>, Error> {
        let pool = match access {
            Access::Read => &self.readers,
            Access::Write => &self.writer,
        };
        Tx::begin(pool, self.keeps_statements, scope, access).await
    }

    /// What one query finds for `scope`, decoded.
    pub(super) async fn read<Row, T>(&self, scope: Scope, query: Statement) -> Result<Vec<T>, Error>
    where
        Row: Stored,
        T: TryFrom<Row, Error = Error>,
    {
        let mut tx = self.begin(scope, Access::Read).await?;
        let found = tx.all::<Row, T>(query).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// Rights are an operator's matter: better found missing at the start than at a person's first visit.
    async fn may_work_for_everybody(&self) -> Result<(), Error> {
        for scope in [Scope::User(UserId::new()), Scope::Service] {
            self.begin(scope, Access::Read).await?.commit().await?;
        }
        Ok(())
    }
}

impl<DB: Engine> std::fmt::Debug for Store<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("database", &DB::NAME).finish_non_exhaustive()
    }
}

impl<DB: Engine> Records for Store<DB> {}

#[async_trait]
impl<DB: Engine> People for Store<DB> {
    async fn delete_person(&self, user: UserId) -> Result<u64, Error> {
        let mut tx = self.begin(Scope::User(user), Access::Write).await?;
        // An import that runs would bring rows after the deletion: it ends first.
        tx.lock_person(user).await?;
        let mut deleted = 0;
        for table in [
            "DELETE FROM transactions WHERE user_id = ",
            "DELETE FROM uploaded_files WHERE user_id = ",
            "DELETE FROM categories WHERE user_id = ",
            "DELETE FROM training_jobs WHERE user_id = ",
            "DELETE FROM enrollment_tokens WHERE user_id = ",
        ] {
            deleted += tx.execute(Statement::new(table).value(user)).await?;
        }
        tx.commit().await?;
        Ok(deleted)
    }

    async fn ping(&self) -> Result<(), Error> {
        let mut tx = self.begin(Scope::Service, Access::Read).await?;
        tx.execute(Statement::new("SELECT 1")).await?;
        tx.commit().await
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
