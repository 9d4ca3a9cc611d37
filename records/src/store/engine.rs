//! What SQLite and Postgres do not share. Everything else of the store is written once, over [`Engine`].

use std::future::Future;

use scale_proto::time::Timestamp;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Arguments, Database, Encode, FromRow, Pool, Type};
use time::Date;
use uuid::Uuid;

use super::Error;
use super::column::{Json, Moment};
use crate::domain::{NewTransaction, Scope, UserId};

/// A database that rows can be kept in.
pub(super) trait Engine: Database + Send + Sync + 'static {
    /// Function of two texts: where the second one begins in the first one, from 1; 0 if it does not occur.
    const POSITION: &'static str;

    /// Whether a list is cheaper as one row of JSON than as rows: see `page.rs`.
    const LISTS_IN_ONE_ROW: bool;

    /// The schema's steps.
    fn steps() -> &'static Migrator;

    /// The query whose column `tables` is 1 if the table of the steps taken is there, 0 otherwise.
    const HISTORY_TABLES: &'static str;

    /// What begins a transaction for `scope`; `None`: single statements need none.
    fn begin(scope: Scope, access: Access) -> Option<String>;

    /// Waits for every import, deletion and grant of this person that runs, and keeps further ones waiting until the
    /// transaction ends; `None`: a transaction that writes has everything to itself.
    fn lock_person(user: UserId) -> Option<Statement>;

    /// Sorts a database error by what helps.
    fn classify(error: &sqlx::Error) -> Error;

    /// Runs SQL without values, several statements if need be.
    fn batch(connection: &mut Self::Connection, sql: String) -> impl Answer<()>;

    /// Runs a statement; the number of rows that it changed.
    fn execute(connection: &mut Self::Connection, statement: Statement) -> impl Answer<u64>;

    /// Runs a query.
    fn fetch<T: Stored>(connection: &mut Self::Connection, statement: Statement) -> impl Answer<Vec<T>>;

    /// Stores those of `rows` whose fingerprint the person does not have yet; how many.
    fn insert(
        connection: &mut Self::Connection,
        user: UserId,
        rows: &[NewTransaction],
        now: Timestamp,
    ) -> impl Answer<u64>;

    /// Takes the steps that have not been taken, one process at a time.
    fn run_steps(pool: &Pool<Self>) -> impl Future<Output = Result<(), sqlx::migrate::MigrateError>> + Send;

    /// Takes steps back until `version`.
    fn undo_steps(
        pool: &Pool<Self>,
        version: i64,
    ) -> impl Future<Output = Result<(), sqlx::migrate::MigrateError>> + Send;
}

/// What a database answers, in time.
pub(super) trait Answer<T>: Future<Output = Result<T, sqlx::Error>> + Send {}

impl<T, F: Future<Output = Result<T, sqlx::Error>> + Send> Answer<T> for F {}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A row of either database.
pub(super) trait Stored:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static
{
}

impl<T> Stored for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static {}

/// A value as both databases keep it. The type counts even where there is no value: Postgres wants to know it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Uuid(Option<Uuid>),
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Vec<u8>),
    Day(Date),
    Moment(Moment),
    Json(Option<Json>),
}

impl From<Uuid> for Value {
    fn from(value: Uuid) -> Self {
        Self::Uuid(Some(value))
    }
}

impl From<UserId> for Value {
    fn from(value: UserId) -> Self {
        value.0.into()
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

/// Saturates: only counts that nobody reaches get there.
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        i64::try_from(value).unwrap_or(i64::MAX).into()
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Some(value).into()
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        // Postgres keeps no zero character, and SQLite stops reading at one.
        Self::Text(value.map(|text| text.replace('\0', "\u{fffd}")))
    }
}

impl From<&[u8; 32]> for Value {
    fn from(value: &[u8; 32]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl From<Date> for Value {
    fn from(value: Date) -> Self {
        Self::Day(value)
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Moment(Moment(value))
    }
}

/// SQL with the values that belong into it. Only text of this build becomes SQL; what comes from outside is a value.
#[derive(Debug)]
pub(super) struct Statement {
    sql: String,
    values: Vec<Value>,
    /// Whether the connection keeps it prepared for the next time.
    kept: bool,
}

impl Statement {
    /// Begins with `sql`.
    pub(super) fn new(sql: &'static str) -> Self {
        Self { sql: sql.to_owned(), values: Vec::new(), kept: false }
    }

    /// Says whether the connection is to keep it prepared.
    #[must_use]
    pub(super) fn kept(self, kept: bool) -> Self {
        Self { kept, ..self }
    }

    /// Goes on with `sql`.
    #[must_use]
    pub(super) fn sql(mut self, sql: &'static str) -> Self {
        self.sql.push_str(sql);
        self
    }

    /// Goes on with a value.
    #[must_use]
    pub(super) fn value(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self.sql.push('$');
        self.sql.push_str(&self.values.len().to_string());
        self
    }

    /// Puts the whole of it between `before` and `after`.
    #[must_use]
    pub(super) fn inside(mut self, before: &'static str, after: &'static str) -> Self {
        self.sql = [before, &self.sql, after].concat();
        self
    }

    /// Goes on with values and commas between them.
    #[must_use]
    pub(super) fn list(mut self, values: impl IntoIterator<Item = Value>) -> Self {
        for (at, value) in values.into_iter().enumerate() {
            if at > 0 {
                self.sql.push_str(", ");
            }
            self = self.value(value);
        }
        self
    }

    /// Goes on with a row of values without numbers, for statements of many thousand values: SQLite looks numbered ones
    /// up one by one. Postgres does not know this form.
    #[must_use]
    pub(super) fn unnumbered_row(mut self, values: impl IntoIterator<Item = Value>) -> Self {
        let before = self.values.len();
        self.values.extend(values);
        self.sql.push('(');
        self.sql.push_str(&vec!["?"; self.values.len() - before].join(", "));
        self.sql.push(')');
        self
    }

    /// Goes on with the condition that a row is in scope.
    #[must_use]
    pub(super) fn and_scope(self, scope: Scope) -> Self {
        match scope {
            Scope::User(user) => self.sql(" AND user_id = ").value(user),
            Scope::Service => self,
        }
    }

    /// The question how SQLite would go about it.
    #[cfg(test)]
    pub(super) fn explained(mut self) -> Self {
        self.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
        self
    }

    /// The text, the values as the driver takes them, and whether to keep it prepared.
    pub(super) fn into_parts<DB: Database>(
        self,
    ) -> Result<(sqlx::AssertSqlSafe<String>, DB::Arguments, bool), sqlx::Error>
    where
        Option<Uuid>: for<'q> Encode<'q, DB> + Type<DB>,
        Option<i64>: for<'q> Encode<'q, DB> + Type<DB>,
        Option<String>: for<'q> Encode<'q, DB> + Type<DB>,
        Vec<u8>: for<'q> Encode<'q, DB> + Type<DB>,
        Date: for<'q> Encode<'q, DB> + Type<DB>,
        Moment: for<'q> Encode<'q, DB> + Type<DB>,
        Option<Json>: for<'q> Encode<'q, DB> + Type<DB>,
    {
        let mut arguments = DB::Arguments::default();
        for value in self.values {
            match value {
                Value::Uuid(value) => arguments.add(value),
                Value::Int(value) => arguments.add(value),
                Value::Text(value) => arguments.add(value),
                Value::Bytes(value) => arguments.add(value),
                Value::Day(value) => arguments.add(value),
                Value::Moment(value) => arguments.add(value),
                Value::Json(value) => arguments.add(value),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok((sqlx::AssertSqlSafe(self.sql), arguments, self.kept))
    }
}
