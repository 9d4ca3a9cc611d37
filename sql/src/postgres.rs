//! Rows on a Postgres server.
//!
//! # Poolers
//!
//! Statements are prepared without a name, within the transaction that runs them: they work through PgBouncer in
//! transaction mode, whatever its version. On connections of our own, `?statement-cache-capacity=100` in the URL keeps
//! them prepared instead, which saves a message and the server some planning: about a quarter of its time for a page.
//! Migrations and [`crate::Listener`]s need a direct connection: what they ask of the server belongs to one.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow, Postgres};
use sqlx::types::Json;
use sqlx::{Arguments as _, AssertSqlSafe, SqlStr, query_with, raw_sql};
use time::OffsetDateTime;

use crate::{Access, Engine, Error, Statement, Value};

/// How long to wait for a free connection, or for a server that refuses new ones.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// How long the server works on one statement, locks of others included, in milliseconds.
const STATEMENT_TIMEOUT_MS: u32 = 15_000;

/// How a server is used.
#[derive(Clone, Copy, Debug)]
pub struct PostgresOptions {
    /// Most connections at once.
    pub max_connections: u32,
    /// What transactions that write see of each other.
    pub isolation: Isolation,
    /// How long the server keeps a transaction of ours in which nothing happens: a process that stands still, or is cut
    /// off, keeps others from the rows that it has locked for so long.
    pub idle: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { max_connections: 20, isolation: Isolation::default(), idle: Duration::from_secs(60) }
    }
}

/// What a transaction that writes sees of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// What was kept before each of its statements. Whoever decides on a row locks it.
    #[default]
    ReadCommitted,
    /// What was kept before its first statement. If a row that it writes or locks has changed since, it runs again.
    RepeatableRead,
}

/// Whether the URL says that connections are ours alone, so that what one has prepared is there the next time.
pub(crate) fn keeps_statements(url: &str) -> bool {
    let options = url.split_once('?').map_or("", |(_, options)| options).split('&');
    options.filter_map(|option| option.strip_prefix("statement-cache-capacity=")).any(|capacity| capacity != "0")
}

/// A pool for the server at `url`. Nothing connects before the first statement.
pub(crate) fn connect(url: &str, options: PostgresOptions) -> Result<PgPool, Error> {
    Ok(PgPoolOptions::new()
        .max_connections(options.max_connections.max(1))
        .acquire_timeout(CONNECT_WITHIN)
        // The first statement of every transaction is the test.
        .test_before_acquire(false)
        .connect_lazy_with(read_url(url)?))
}

/// A pool of one connection that stays, for a listener.
pub(crate) fn connect_one(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(CONNECT_WITHIN)
        .connect_lazy_with(options.clone())
}

fn read_url(url: &str) -> Result<PgConnectOptions, Error> {
    let options: PgConnectOptions = url.parse().map_err(|error| classify(&error))?;
    // A start-up parameter that PgBouncer refuses, and that nothing here needs: all values travel in binary.
    Ok(options.extra_float_digits(None))
}

/// What begins a transaction, in one message to the server.
pub(crate) fn begin(access: Access, isolation: Isolation, idle: Duration, first: Option<&str>) -> String {
    let idle = idle.as_millis();
    let begin = match (access, isolation) {
        (Access::Read, _) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        (Access::ReadOne, _) => "BEGIN READ ONLY",
        (Access::Write, Isolation::ReadCommitted) => "BEGIN",
        (Access::Write, Isolation::RepeatableRead) => "BEGIN ISOLATION LEVEL REPEATABLE READ",
    };
    let mut batch = format!(
        "{begin}; SELECT set_config('statement_timeout', '{STATEMENT_TIMEOUT_MS}', true), \
         set_config('idle_in_transaction_session_timeout', '{idle}', true)"
    );
    if let Some(first) = first {
        batch.push_str("; ");
        batch.push_str(first);
    }
    batch
}

pub(crate) async fn batch(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}

pub(crate) async fn execute(
    connection: &mut PgConnection,
    statement: Statement,
    kept: bool,
) -> Result<u64, sqlx::Error> {
    let (sql, values) = prepared(statement)?;
    Ok(query_with::<Postgres, _>(sql, values).persistent(kept).execute(connection).await?.rows_affected())
}

pub(crate) async fn fetch(
    connection: &mut PgConnection,
    statement: Statement,
    kept: bool,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let (sql, values) = prepared(statement)?;
    query_with::<Postgres, _>(sql, values).persistent(kept).fetch_all(connection).await
}

fn prepared(statement: Statement) -> Result<(SqlStr, PgArguments), sqlx::Error> {
    let (sql, values) = statement.into_parts(Engine::Postgres);
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Int(value) => arguments.add(value),
            Value::Real(value) => arguments.add(value),
            Value::Bool(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
            Value::Uuid(value) => arguments.add(value),
            Value::Day(value) => arguments.add(value),
            Value::Millis(value) => {
                arguments.add(value.map(|moment| i64::try_from(moment.as_millis()).unwrap_or(i64::MAX)))
            }
            Value::Moment(value) => {
                let nanos = value.map(|moment| i128::from(moment.as_millis()) * 1_000_000);
                let moment = nanos.map(OffsetDateTime::from_unix_timestamp_nanos).transpose();
                arguments.add(moment.map_err(|error| sqlx::Error::Encode(error.into()))?)
            }
            Value::Json(value) => arguments.add(value.map(Json)),
            Value::Ints(list) => arguments.add(list),
            Value::Texts(list) => arguments.add(list),
            Value::BytesList(list) => arguments.add(list),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok((sql, arguments))
}

fn state(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error()?.code()
}

/// Another transaction was in the way: a serialization failure, or a deadlock.
pub(crate) fn lost_race(error: &sqlx::Error) -> bool {
    matches!(state(error).as_deref(), Some("40001" | "40P01"))
}

/// Sorts a database error by what helps.
pub(crate) fn classify(error: &sqlx::Error) -> Error {
    let text = error.to_string();
    match (state(error).as_deref(), error) {
        (Some("53100"), _) => Error::Full(text),
        (Some("23505" | "23503" | "23P01"), _) => Error::Conflict(text),
        // Passwords, rights to connect, databases that do not exist, and roles: an operator must act.
        (Some(state), _) if state.starts_with("28") || matches!(state, "3D000" | "42501" | "22023") => {
            Error::Schema(text)
        }
        (Some("XX001" | "XX002"), _) => Error::Corrupt(text),
        // Broken connections, servers that start or stop or have become a standby, exhausted ones, time-outs, and losing
        // against others.
        (Some(state), _)
            if ["08", "53", "57", "40"].iter().any(|class| state.starts_with(class))
                || matches!(state, "25P03" | "25006" | "55P03") =>
        {
            Error::Unavailable(text)
        }
        (
            None,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed,
        ) => Error::Unavailable(text),
        (None, sqlx::Error::Configuration(_)) => Error::Schema(text),
        _ => Error::Internal(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_kept_only_if_the_url_says_so() {
        for (url, kept) in [
            ("postgres://host/db", false),
            ("postgres://host/db?sslmode=require", false),
            ("postgres://host/db?statement-cache-capacity=0", false),
            ("postgres://host/db?sslmode=require&statement-cache-capacity=100", true),
        ] {
            assert_eq!(keeps_statements(url), kept, "{url}");
            read_url(url).unwrap();
        }
    }
}
