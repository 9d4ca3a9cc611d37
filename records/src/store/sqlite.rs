//! Rows in one SQLite file: nothing to install. One connection writes, a few read beside it (WAL); a stored row survives
//! a power cut (`synchronous = FULL`).

use std::path::Path;
use std::time::Duration;

use scale_proto::time::Timestamp;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Pool, query_as_with, query_with, raw_sql};

use super::column::TRANSACTION;
use super::engine::{Access, Engine, Statement, Stored};
use super::{Error, Page, migrations, transactions};
use crate::domain::{NewTransaction, Scope, UserId};

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a transaction waits for its turn: a large import has the writer for some seconds.
const TURN_WITHIN: Duration = Duration::from_secs(15);
/// Connections that read.
const READERS: u32 = 4;
/// Rows of an answer that wait for their reader: with room for a whole page of a list and one more, the thread that works
/// on a statement never stops in the middle of it.
const ROWS_WAITING: usize = Page::MAX as usize + 1;
/// Memory of the writer for pages, in KiB: an import touches pages all over the index of fingerprints.
const WRITER_CACHE_KIB: u32 = 64 << 10;

/// "SCLR": what `PRAGMA application_id` says in a file of ours.
const APPLICATION_ID: i64 = 0x5343_4C52;

/// The writer and the readers of the file at `path`.
pub(super) async fn connect(path: &Path, create: bool) -> Result<(SqlitePool, SqlitePool), Error> {
    let file = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(create)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .row_buffer_size(ROWS_WAITING)
        .busy_timeout(BUSY_TIMEOUT);
    let writing = file.clone().pragma("cache_size", format!("-{WRITER_CACHE_KIB}"));
    let writer = one_connection().connect_with(writing).await.map_err(|error| Sqlite::classify(&error))?;
    refuse_foreign_file(&writer).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(TURN_WITHIN)
        .test_before_acquire(false)
        .connect_lazy_with(file.create_if_missing(false).read_only(true));
    Ok((writer, readers))
}

/// A database that lasts as long as the first of the two pools, of which nobody uses a connection.
pub(super) async fn connect_in_memory() -> Result<(SqlitePool, SqlitePool), Error> {
    // Reading this URL makes a name of its own for the database, by which both connections mean the same one.
    let options: SqliteConnectOptions = "sqlite::memory:".parse().map_err(|error| Sqlite::classify(&error))?;
    let options = options.foreign_keys(true);
    let anchor = one_connection().connect_with(options.clone()).await.map_err(|error| Sqlite::classify(&error))?;
    let only = one_connection().connect_with(options).await.map_err(|error| Sqlite::classify(&error))?;
    Ok((anchor, only))
}

/// A pool of exactly one connection that is never replaced while it works: what SQLite wants of a writer.
fn one_connection() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .acquire_timeout(TURN_WITHIN)
}

/// Ours says so. Empty ones become ours: also those whose steps were all taken back, of which the history is left.
async fn refuse_foreign_file(pool: &SqlitePool) -> Result<(), Error> {
    let sql = "SELECT (SELECT application_id FROM pragma_application_id),
                      (SELECT count(*) FROM sqlite_schema WHERE tbl_name <> 'scale_records_migrations')";
    let (application, objects): (i64, i64) =
        sqlx::query_as(sql).fetch_one(pool).await.map_err(|error| Sqlite::classify(&error))?;
    if application == APPLICATION_ID || (application == 0 && objects == 0) {
        return Ok(());
    }
    Err(Error::Schema("the file is a SQLite database of something else; give another path".to_owned()))
}

impl Engine for Sqlite {
    const POSITION: &'static str = "instr";
    const LISTS_IN_ONE_ROW: bool = true;
    const HISTORY_TABLES: &'static str =
        "SELECT count(*) AS tables FROM sqlite_schema WHERE type = 'table' AND name = 'scale_records_migrations'";

    fn steps() -> &'static Migrator {
        &migrations::SQLITE
    }

    fn begin(_: Scope, access: Access) -> Option<String> {
        match access {
            // Every read is one statement, and sees one snapshot as it is.
            Access::Read => None,
            Access::Write => Some("BEGIN IMMEDIATE".to_owned()),
        }
    }

    fn lock_person(_: UserId) -> Option<Statement> {
        None
    }

    fn classify(error: &sqlx::Error) -> Error {
        let text = error.to_string();
        match (primary_code(error), error) {
            (Some(code::FULL), _) => Error::Full(text),
            (Some(code::NOT_A_DATABASE), _) => Error::Schema(text),
            (Some(code::BUSY | code::LOCKED | code::READ_ONLY | code::IO | code::CANNOT_OPEN), _) => {
                Error::Unavailable(text)
            }
            (
                _,
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed,
            ) => Error::Unavailable(text),
            _ => Error::Internal(text),
        }
    }

    async fn batch(connection: &mut SqliteConnection, sql: String) -> Result<(), sqlx::Error> {
        raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
    }

    async fn execute(connection: &mut SqliteConnection, statement: Statement) -> Result<u64, sqlx::Error> {
        let (sql, values, kept) = statement.into_parts::<Self>()?;
        Ok(query_with(sql, values).persistent(kept).execute(connection).await?.rows_affected())
    }

    async fn fetch<T: Stored>(connection: &mut SqliteConnection, statement: Statement) -> Result<Vec<T>, sqlx::Error> {
        let (sql, values, kept) = statement.into_parts::<Self>()?;
        query_as_with(sql, values).persistent(kept).fetch_all(connection).await
    }

    /// One statement for as many rows as SQLite takes values.
    async fn insert(
        connection: &mut SqliteConnection,
        user: UserId,
        rows: &[NewTransaction],
        now: Timestamp,
    ) -> Result<u64, sqlx::Error> {
        /// SQLite takes 32,766 values, sixteen a row.
        const MOST_ROWS: usize = 2000;
        let mut inserted = 0;
        for rows in rows.chunks(MOST_ROWS) {
            let mut insert = Statement::new("INSERT INTO transactions (").sql(TRANSACTION).sql(") VALUES ");
            for (at, row) in rows.iter().enumerate() {
                insert = insert.sql(if at == 0 { "" } else { ", " });
                insert = insert.unnumbered_row(transactions::columns(user, row, now));
            }
            let (sql, values, kept) =
                insert.sql(" ON CONFLICT (user_id, fingerprint) DO NOTHING").into_parts::<Self>()?;
            inserted += query_with(sql, values).persistent(kept).execute(&mut *connection).await?.rows_affected();
        }
        Ok(inserted)
    }

    async fn run_steps(pool: &Pool<Self>) -> Result<(), MigrateError> {
        Self::steps().run(pool).await
    }

    async fn undo_steps(pool: &Pool<Self>, version: i64) -> Result<(), MigrateError> {
        Self::steps().undo(pool, version).await
    }
}

/// SQLite's primary result codes (sqlite.org/rescode.html).
mod code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READ_ONLY: i32 = 8;
    pub(super) const IO: i32 = 10;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANNOT_OPEN: i32 = 14;
    pub(super) const NOT_A_DATABASE: i32 = 26;
}

/// The primary result code: the low byte of the extended one.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::super::open::Store;
    use super::super::*;
    use super::*;
    use crate::domain::{Currency, Direction, FileHash, Fingerprint, Money, Status, Text};

    fn expense(n: u8) -> NewTransaction {
        NewTransaction {
            transaction_date: date!(2026 - 02 - 28),
            direction: Direction::Debit,
            money: Money::new(100, Currency::new("EUR").unwrap()).unwrap(),
            description: Text::new("description", "card payment").unwrap(),
            merchant_name: None,
            category: None,
            payment_method: None,
            status: Status::Completed,
            fingerprint: Fingerprint([n; 32]),
            raw_data: Some("x".repeat(8000).into()),
        }
    }

    /// A full disk, as SQLite reports it: the file may not grow any more.
    #[tokio::test]
    async fn a_full_disk_changes_nothing_and_passes() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, readers) = connect(&folder.path().join("db"), true).await.unwrap();
        migrations::run(&writer).await.unwrap();
        let limit = async |pages: &'static str| sqlx::query(pages).execute(&writer).await.unwrap();
        let store = Store::new(writer.clone(), readers);
        let user = UserId::new();
        let now = Timestamp::from_millis(1);
        store.create_transaction(user, &expense(0), now).await.unwrap();
        limit("PRAGMA max_page_count = 60").await;
        let file = NewUpload {
            file_hash: FileHash([1; 32]),
            filename: Text::new("filename", "a.csv").unwrap(),
            upload_type: "csv",
        };
        for _ in 0..2 {
            let Begun::Open(mut import) = store.begin_import(user, &file, now).await.unwrap() else { panic!("seen") };
            let many: Vec<_> = (1..100).map(expense).collect();
            let full = import.insert(&many).await.unwrap_err();
            assert_eq!(full.code(), "storage_full", "{full}");
            assert!(import.insert(&many[..1]).await.is_err());
            assert!(import.commit(UploadCounts::default()).await.is_err());
            assert_eq!(store.uploads(Scope::User(user), 10).await.unwrap(), vec![]);
        }
        let page = Page { limit: 10, after: None };
        let list = store.transactions(Scope::User(user), &Filter::default(), &page).await.unwrap();
        assert_eq!(list.transactions.len(), 1);
        limit("PRAGMA max_page_count = 100000").await;
        store.create_transaction(user, &expense(1), now).await.unwrap();
    }

    #[tokio::test]
    async fn an_acknowledged_row_is_written_with_full_synchronization() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, _readers) = connect(&folder.path().join("db"), true).await.unwrap();
        let (mode,): (String,) = sqlx::query_as("PRAGMA journal_mode").fetch_one(&writer).await.unwrap();
        let (synchronous,): (i64,) = sqlx::query_as("PRAGMA synchronous").fetch_one(&writer).await.unwrap();
        assert_eq!((mode.as_str(), synchronous), ("wal", 2));
    }
}
