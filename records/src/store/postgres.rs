//! Rows in Postgres, guarded twice: by the conditions of each statement, and by row level security.
//!
//! A transaction says first for whom it works: it takes the role `authenticated` with the person's id as its claims, or
//! the role `service_role`. What forgets that is a plain connection, to which the tables are closed (unless it connects
//! as a superuser, whom nothing stops: give the coordinator a role of its own).
//!
//! # Poolers
//!
//! Statements are prepared without a name, within the transaction that runs them: they work through PgBouncer in
//! transaction mode, whatever its version. On connections of our own, `?statement-cache-capacity=100` in the URL keeps
//! them prepared instead, which saves a message and the server some planning: about a quarter of its time for a page.
//! Migrations need a direct connection: they hold a lock that belongs to one.

use std::time::Duration;

use scale_proto::time::Timestamp;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, Postgres};
use sqlx::{AssertSqlSafe, Pool, query_as_with, query_with, raw_sql};
use uuid::Uuid;

use super::column::Moment;
use super::engine::{Access, Engine, Statement, Stored};
use super::{Error, migrations};
use crate::domain::{CategorySlug, NewTransaction, Scope, Text, TransactionId, UserId};

/// How long to wait for a free connection, or for a server that refuses new ones.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// How long the server works on one statement, locks of others included, in milliseconds.
const STATEMENT_TIMEOUT_MS: u32 = 15_000;
/// How long the server keeps a transaction of ours in which nothing happens, in milliseconds.
const IDLE_TIMEOUT_MS: u32 = 60_000;

/// Whether the URL says that connections are ours alone, so that what one has prepared is there the next time.
pub(super) fn keeps_statements(url: &str) -> bool {
    let options = url.split_once('?').map_or("", |(_, options)| options).split('&');
    options.filter_map(|option| option.strip_prefix("statement-cache-capacity=")).any(|capacity| capacity != "0")
}

/// A pool for the server at `url`. Nothing connects before the first statement.
pub(super) fn connect(url: &str, max_connections: u32) -> Result<PgPool, Error> {
    let options: PgConnectOptions = url.parse().map_err(|error| Postgres::classify(&error))?;
    Ok(PgPoolOptions::new()
        .max_connections(max_connections.max(1))
        .acquire_timeout(CONNECT_WITHIN)
        // The first statement of every transaction is the test.
        .test_before_acquire(false)
        // A start-up parameter that PgBouncer refuses, and that nothing here needs: all values travel in binary.
        .connect_lazy_with(options.extra_float_digits(None)))
}

impl Engine for Postgres {
    const POSITION: &'static str = "strpos";
    const LISTS_IN_ONE_ROW: bool = false;
    const HISTORY_TABLES: &'static str = "SELECT count(to_regclass('scale_records_migrations')) AS tables";

    fn steps() -> &'static Migrator {
        &migrations::POSTGRES
    }

    /// One message to the server. The id is the only thing that varies, and its digits need no quotes of their own.
    fn begin(scope: Scope, access: Access) -> Option<String> {
        let begin = match access {
            Access::Read => "BEGIN READ ONLY",
            Access::Write => "BEGIN",
        };
        let (role, claims) = match scope {
            Scope::User(UserId(id)) => ("authenticated", format!(r#"{{"sub":"{id}","role":"authenticated"}}"#)),
            Scope::Service => ("service_role", r#"{"role":"service_role"}"#.to_owned()),
        };
        Some(format!(
            "{begin}; SELECT set_config('request.jwt.claims', '{claims}', true), set_config('role', '{role}', true), \
             set_config('statement_timeout', '{STATEMENT_TIMEOUT_MS}', true), \
             set_config('idle_in_transaction_session_timeout', '{IDLE_TIMEOUT_MS}', true)"
        ))
    }

    fn lock_person(user: UserId) -> Option<Statement> {
        let (high, low) = user.0.as_u64_pair();
        // Others may lock numbers too: theirs are small, or hashes.
        let key = i64::from_ne_bytes((high ^ low.rotate_left(1)).to_ne_bytes());
        Some(Statement::new("SELECT pg_advisory_xact_lock(").value(key).sql(")"))
    }

    fn classify(error: &sqlx::Error) -> Error {
        let text = error.to_string();
        let state = error.as_database_error().and_then(|error| error.code());
        match (state.as_deref(), error) {
            (Some("53100"), _) => Error::Full(text),
            // Passwords, rights to connect, databases that do not exist, and roles: an operator must act.
            (Some(state), _) if state.starts_with("28") || matches!(state, "3D000" | "42501" | "22023") => {
                Error::Schema(text)
            }
            // Broken connections, servers that start or stop, exhausted ones, time-outs, and losing against others.
            (Some(state), _)
                if ["08", "53", "57", "40", "25P03"].iter().any(|class| state.starts_with(class))
                    || state == "55P03" =>
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

    async fn batch(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
        raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
    }

    async fn execute(connection: &mut PgConnection, statement: Statement) -> Result<u64, sqlx::Error> {
        let (sql, values, kept) = statement.into_parts::<Self>()?;
        Ok(query_with(sql, values).persistent(kept).execute(connection).await?.rows_affected())
    }

    async fn fetch<T: Stored>(connection: &mut PgConnection, statement: Statement) -> Result<Vec<T>, sqlx::Error> {
        let (sql, values, kept) = statement.into_parts::<Self>()?;
        query_as_with(sql, values).persistent(kept).fetch_all(connection).await
    }

    /// One statement: an array for each column.
    async fn insert(
        connection: &mut PgConnection,
        user: UserId,
        rows: &[NewTransaction],
        now: Timestamp,
    ) -> Result<u64, sqlx::Error> {
        let words = |word: fn(&NewTransaction) -> &str| rows.iter().map(word).collect::<Vec<&str>>();
        let maybe = |word: fn(&NewTransaction) -> Option<&str>| rows.iter().map(word).collect::<Vec<Option<&str>>>();
        let insert = sqlx::query(
            "INSERT INTO transactions (id, user_id, transaction_date, direction, amount_minor, currency, description, \
             merchant_name, category, category_source, payment_method, status, fingerprint, raw_data, created_at, \
             updated_at)
             SELECT row.id, $14, row.transaction_date, row.direction, row.amount_minor, row.currency, row.description, \
             row.merchant_name, row.category, row.category_source, row.payment_method, row.status, row.fingerprint, \
             row.raw_data, $15, $15
             FROM unnest($1::uuid[], $2::date[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], \
             $8::text[], $9::text[], $10::text[], $11::text[], $12::bytea[], $13::jsonb[])
             AS row (id, transaction_date, direction, amount_minor, currency, description, merchant_name, category, \
             category_source, payment_method, status, fingerprint, raw_data)
             ON CONFLICT (user_id, fingerprint) DO NOTHING",
        )
        .bind(rows.iter().map(|_| TransactionId::new().0).collect::<Vec<Uuid>>())
        .bind(rows.iter().map(|row| row.transaction_date).collect::<Vec<time::Date>>())
        .bind(words(|row| row.direction.as_str()))
        .bind(rows.iter().map(|row| row.money.minor).collect::<Vec<i64>>())
        .bind(words(|row| row.money.currency.code()))
        .bind(words(|row| row.description.as_str()))
        .bind(maybe(|row| row.merchant_name.as_ref().map(Text::as_str)))
        .bind(maybe(|row| row.category.as_ref().map(|(slug, _)| CategorySlug::as_str(slug))))
        .bind(maybe(|row| row.category.as_ref().map(|(_, source)| source.as_str())))
        .bind(maybe(|row| row.payment_method.as_ref().map(Text::as_str)))
        .bind(words(|row| row.status.as_str()))
        .bind(rows.iter().map(|row| row.fingerprint.0.as_slice()).collect::<Vec<&[u8]>>())
        .bind(rows.iter().map(|row| row.raw_data.as_ref().map(sqlx::types::Json)).collect::<Vec<_>>())
        .bind(user.0)
        .bind(Moment(now));
        Ok(insert.persistent(false).execute(connection).await?.rows_affected())
    }

    async fn run_steps(pool: &Pool<Self>) -> Result<(), MigrateError> {
        Self::steps().run(pool).await
    }

    async fn undo_steps(pool: &Pool<Self>, version: i64) -> Result<(), MigrateError> {
        Self::steps().undo(pool, version).await
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
            url.parse::<PgConnectOptions>().unwrap();
        }
    }
}
