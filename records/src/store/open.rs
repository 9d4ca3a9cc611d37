//! Where rows are, and how to get at them.
//!
//! On Postgres they are guarded twice: by the conditions of each statement, and by row level security. A transaction says
//! first for whom it works: it takes the role `authenticated` with the person's id as its claims, or the role
//! `service_role`. What forgets that is a plain connection, to which the tables are closed (unless it connects as a
//! superuser, whom nothing stops: give the coordinator a role of its own).

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use scale_sql::{
    Access, BoxFuture, Database, Engine, Migrations, Migrator, PostgresOptions, Row, SqliteOptions, Statement, Step,
    Tx, Value, sql,
};

use super::{Error, Page, People, Records};
use crate::domain::{Scope, UserId};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// The schema's history: numbered up/down pairs in `migrations/`.
pub(super) static MIGRATIONS: Migrations = Migrations {
    // "SCLR"
    application_id: 0x5343_4C52,
    history_table: "scale_records_migrations",
    sqlite: &SQLITE,
    postgres: &POSTGRES,
};

/// How a file is opened.
pub(super) const FILE: SqliteOptions = SqliteOptions {
    // A whole page of a list and one more.
    rows_waiting: Page::MAX as usize + 1,
    // An import touches pages all over the index of fingerprints.
    writer_cache_kib: 64 << 10,
    ..SqliteOptions::new(&MIGRATIONS)
};

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
    let store = Store::new(connect(location, true).await?);
    match location {
        Location::Sqlite(_) | Location::Memory => drop(MIGRATIONS.run(&store.database).await?),
        Location::Postgres(..) => {
            if !MIGRATIONS.missing(&store.database).await?.is_empty() {
                let problem = "its schema is older than this build; run `scale-coordinator migrate`";
                return Err(Error::Schema(problem.to_owned()));
            }
            store.may_work_for_everybody().await?;
        }
    }
    Ok(Arc::new(store))
}

async fn connect(location: &Location, create: bool) -> Result<Database, Error> {
    match location {
        Location::Sqlite(path) => Database::sqlite(path, SqliteOptions { create, ..FILE }).await,
        Location::Memory => Database::memory().await,
        Location::Postgres(url, most) => {
            Database::postgres(url, PostgresOptions { max_connections: *most, ..PostgresOptions::default() })
        }
    }
}

/// Brings the schema up to date; the steps that were taken. Several at once wait for each other.
///
/// # Errors
/// [`Error::Schema`] if the database has a schema that this build does not know, or a step fails (and is undone).
pub async fn migrate(location: &Location) -> Result<Vec<Step>, Error> {
    if matches!(location, Location::Memory) {
        return Ok(Vec::new());
    }
    let database = connect(location, true).await?;
    let taken = MIGRATIONS.run(&database).await;
    database.close().await;
    taken
}

/// The steps that [`migrate`] would take. Changes nothing.
///
/// # Errors
/// As [`migrate`].
pub async fn missing_steps(location: &Location) -> Result<Vec<Step>, Error> {
    match location {
        Location::Memory => return Ok(Vec::new()),
        Location::Sqlite(path) if !path.exists() => return Ok(MIGRATIONS.all(Engine::Sqlite)),
        Location::Sqlite(_) | Location::Postgres(..) => {}
    }
    let database = connect(location, false).await?;
    let missing = MIGRATIONS.missing(&database).await;
    database.close().await;
    missing
}

/// Takes steps back until the schema is `version`, 0 being none; what they held is lost.
///
/// # Errors
/// As [`migrate`].
pub async fn revert(location: &Location, version: i64) -> Result<(), Error> {
    if matches!(location, Location::Memory) {
        return Ok(());
    }
    let database = connect(location, false).await?;
    let undone = MIGRATIONS.undo(&database, version).await;
    database.close().await;
    undone
}

/// The rows on either database; the families are in the files of their names.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
}

impl Store {
    pub(super) const fn new(database: Database) -> Self {
        Self { database }
    }

    pub(super) const fn engine(&self) -> Engine {
        self.database.engine()
    }

    /// Begins a transaction for `scope`.
    pub(super) async fn begin(&self, scope: Scope, access: Access) -> Result<Tx, Error> {
        self.database.begin(access, self.first(scope)).await
    }

    /// What one query finds for `scope`, decoded.
    pub(super) async fn read<T>(
        &self,
        scope: Scope,
        query: Statement,
        decode: fn(&Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut tx = self.begin(scope, Access::ReadOne).await?;
        let found = tx.all(query, decode).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// Runs `work` for `scope` in one transaction, again when another was in the way.
    pub(super) async fn write<T, F>(&self, name: &'static str, scope: Scope, work: F) -> Result<T, Error>
    where
        T: Send,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, Error>> + Send + Sync,
    {
        self.database.run_tx_after(name, self.first(scope), work).await
    }

    /// Runs one statement for `scope`; the number of rows that it changed.
    pub(super) async fn execute(&self, name: &'static str, scope: Scope, statement: Statement) -> Result<u64, Error> {
        self.write(name, scope, move |tx| Box::pin(tx.execute(statement.clone()))).await
    }

    /// What Postgres is told when a transaction begins. The id is the only thing that varies, and its digits need no quotes
    /// of their own.
    fn first(&self, scope: Scope) -> Option<String> {
        if self.engine() == Engine::Sqlite {
            return None;
        }
        let (role, claims) = match scope {
            Scope::User(UserId(id)) => ("authenticated", format!(r#"{{"sub":"{id}","role":"authenticated"}}"#)),
            Scope::Service => ("service_role", r#"{"role":"service_role"}"#.to_owned()),
        };
        Some(format!("SELECT set_config('request.jwt.claims', '{claims}', true), set_config('role', '{role}', true)"))
    }

    /// Rights are an operator's matter: better found missing at the start than at a person's first visit.
    async fn may_work_for_everybody(&self) -> Result<(), Error> {
        for scope in [Scope::User(UserId::new()), Scope::Service] {
            self.begin(scope, Access::ReadOne).await?.commit().await?;
        }
        Ok(())
    }
}

/// Waits for every import, deletion and grant of this person that runs, and keeps further ones waiting until the transaction
/// ends. In SQLite a transaction that writes has everything to itself.
pub(super) async fn lock_person(tx: &mut Tx, user: UserId) -> Result<(), Error> {
    if tx.engine() == Engine::Sqlite {
        return Ok(());
    }
    let (high, low) = user.0.as_u64_pair();
    // Others may lock numbers too: theirs are small, or hashes.
    let key = i64::from_ne_bytes((high ^ low.rotate_left(1)).to_ne_bytes());
    tx.execute(sql("SELECT pg_advisory_xact_lock($1)").bind(key)).await.map(drop)
}

impl From<UserId> for Value {
    fn from(user: UserId) -> Self {
        user.0.into()
    }
}

/// The person's id; NULL for the coordinator, which sees everybody's rows.
impl From<Scope> for Value {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::User(user) => user.into(),
            Scope::Service => Self::Uuid(None),
        }
    }
}

impl Records for Store {}

#[async_trait]
impl People for Store {
    async fn delete_person(&self, user: UserId) -> Result<u64, Error> {
        self.write("delete_person", Scope::User(user), move |tx| {
            Box::pin(async move {
                // An import that runs would bring rows after the deletion: it ends first.
                lock_person(tx, user).await?;
                let mut deleted = 0;
                for delete in [
                    "DELETE FROM transactions WHERE user_id = $1",
                    "DELETE FROM uploaded_files WHERE user_id = $1",
                    "DELETE FROM categories WHERE user_id = $1",
                    "DELETE FROM training_jobs WHERE user_id = $1",
                    "DELETE FROM enrollment_tokens WHERE user_id = $1",
                ] {
                    deleted += tx.execute(sql(delete).bind(user)).await?;
                }
                Ok(deleted)
            })
        })
        .await
    }

    async fn ping(&self) -> Result<(), Error> {
        let mut tx = self.begin(Scope::Service, Access::ReadOne).await?;
        tx.execute(sql("SELECT 1")).await?;
        tx.commit().await
    }

    async fn close(&self) {
        self.database.close().await;
    }
}
