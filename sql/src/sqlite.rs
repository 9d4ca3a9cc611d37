//! Rows in one SQLite file: nothing to install. One connection writes, a few read beside it (WAL); a stored row survives
//! a power cut (`synchronous = FULL`).

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    Sqlite, SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::types::Json;
use sqlx::{Arguments as _, AssertSqlSafe, SqlStr, query_with, raw_sql};

use crate::{Access, Engine, Error, Migrations, Statement, Value};

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a transaction waits for its turn: a large one has the writer for some seconds.
const TURN_WITHIN: Duration = Duration::from_secs(15);

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub struct SqliteOptions {
    /// Whose file it must be. An empty one becomes ours.
    pub ours: &'static Migrations,
    /// Whether a file that is not there is made.
    pub create: bool,
    /// Whether nothing is written, so that another process may have the file.
    pub read_only: bool,
    /// Most pages of 4 KiB in the file; `None`: as many as the disk holds.
    pub max_pages: Option<u32>,
    /// Connections that read beside the one that writes.
    pub readers: u32,
    /// Memory of the writer for pages, in KiB.
    pub writer_cache_kib: u32,
    /// Rows of an answer that wait for their reader: with room for a whole answer, the thread that works on a statement
    /// never stops in the middle of it.
    pub rows_waiting: usize,
}

impl SqliteOptions {
    /// For a file with this schema, made if it is not there.
    pub const fn new(ours: &'static Migrations) -> Self {
        Self {
            ours,
            create: true,
            read_only: false,
            max_pages: None,
            readers: 4,
            writer_cache_kib: 16 << 10,
            rows_waiting: 256,
        }
    }
}

/// The writer and the readers of the file at `path`.
pub(crate) async fn connect(path: &Path, options: SqliteOptions) -> Result<(SqlitePool, SqlitePool), Error> {
    let file = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(options.create && !options.read_only)
        .read_only(options.read_only)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .row_buffer_size(options.rows_waiting.max(1))
        .busy_timeout(BUSY_TIMEOUT);
    let mut writing = file.clone().pragma("cache_size", format!("-{}", options.writer_cache_kib));
    if let Some(pages) = options.max_pages {
        writing = writing.pragma("max_page_count", pages.to_string());
    }
    let writer = one_connection().connect_with(writing).await.map_err(|error| not_opened(&error))?;
    options.ours.refuse_foreign_file(&writer).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(options.readers.max(1))
        .acquire_timeout(TURN_WITHIN)
        .test_before_acquire(false)
        .connect_lazy_with(file.create_if_missing(false).read_only(true));
    Ok((writer, readers))
}

/// A database that lasts as long as the first of the two pools, of which nobody uses a connection.
pub(crate) async fn connect_in_memory() -> Result<(SqlitePool, SqlitePool), Error> {
    // Reading this URL makes a name of its own for the database, by which both connections mean the same one.
    let options: SqliteConnectOptions = "sqlite::memory:".parse().map_err(|error| classify(&error))?;
    let options = options.foreign_keys(true);
    let anchor = one_connection().connect_with(options.clone()).await.map_err(|error| classify(&error))?;
    let only = one_connection().connect_with(options).await.map_err(|error| classify(&error))?;
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

pub(crate) const fn begin(access: Access) -> Option<&'static str> {
    match access {
        Access::ReadOne => None,
        Access::Read => Some("BEGIN"),
        Access::Write => Some("BEGIN IMMEDIATE"),
    }
}

pub(crate) async fn batch(connection: &mut SqliteConnection, sql: String) -> Result<(), sqlx::Error> {
    raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}

pub(crate) async fn execute(connection: &mut SqliteConnection, statement: Statement) -> Result<u64, sqlx::Error> {
    let (sql, values) = prepared(statement)?;
    Ok(query_with::<Sqlite, _>(sql, values).execute(connection).await?.rows_affected())
}

pub(crate) async fn fetch(
    connection: &mut SqliteConnection,
    statement: Statement,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let (sql, values) = prepared(statement)?;
    query_with::<Sqlite, _>(sql, values).fetch_all(connection).await
}

fn prepared(statement: Statement) -> Result<(SqlStr, SqliteArguments), sqlx::Error> {
    let (sql, values) = statement.into_parts(Engine::Sqlite);
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Int(value) => arguments.add(value),
            Value::Real(value) => arguments.add(value),
            Value::Bool(value) => arguments.add(value.map(i64::from)),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
            Value::Uuid(value) => arguments.add(value),
            Value::Day(value) => arguments.add(value),
            Value::Millis(value) | Value::Moment(value) => {
                arguments.add(value.map(|moment| i64::try_from(moment.as_millis()).unwrap_or(i64::MAX)))
            }
            Value::Json(value) => arguments.add(value.map(Json)),
            Value::Ints(list) => arguments.add(Value::json_of(list)),
            Value::Texts(list) => arguments.add(Value::json_of(list)),
            Value::BytesList(list) => arguments.add(Value::json_of(list.iter().map(hex::encode))),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok((sql, arguments))
}

/// SQLite's result codes (sqlite.org/rescode.html), and two extended ones.
mod code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const NO_MEMORY: i32 = 7;
    pub(super) const READ_ONLY: i32 = 8;
    pub(super) const IO: i32 = 10;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANNOT_OPEN: i32 = 14;
    pub(super) const PROTOCOL: i32 = 15;
    pub(super) const CONSTRAINT: i32 = 19;
    pub(super) const NOT_A_DATABASE: i32 = 26;
    pub(super) const CONSTRAINT_CHECK: i32 = 275;
    pub(super) const CONSTRAINT_NOT_NULL: i32 = 1299;
}

fn extended_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// The primary result code: the low byte of the extended one.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    Some(extended_code(error)? & 0xff)
}

/// Another connection holds the database.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(code::BUSY | code::LOCKED))
}

/// Sorts a database error by what helps.
pub(crate) fn classify(error: &sqlx::Error) -> Error {
    let text = error.to_string();
    if let sqlx::Error::Io(io) = error
        && matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
    {
        return Error::Full(text);
    }
    match (extended_code(error), primary_code(error), error) {
        (_, Some(code::FULL), _) => Error::Full(text),
        // What no row may be is a defect of this build; what contradicts another row may be a race.
        (Some(code::CONSTRAINT_CHECK | code::CONSTRAINT_NOT_NULL), ..) => Error::Internal(text),
        (_, Some(code::CONSTRAINT), _) => Error::Conflict(text),
        (_, Some(code::CORRUPT | code::NOT_A_DATABASE), _) => Error::Corrupt(text),
        (
            _,
            Some(
                code::BUSY
                | code::LOCKED
                | code::NO_MEMORY
                | code::READ_ONLY
                | code::IO
                | code::CANNOT_OPEN
                | code::PROTOCOL,
            ),
            _,
        )
        | (.., sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed) => {
            Error::Unavailable(text)
        }
        _ => Error::Internal(text),
    }
}

/// [`classify`], for a file that is opened: what is no database at all is somebody else's file.
pub(crate) fn not_opened(error: &sqlx::Error) -> Error {
    match primary_code(error) {
        Some(code::NOT_A_DATABASE) => Error::Schema(format!("the file is something else ({error}); give another path")),
        _ => classify(error),
    }
}
