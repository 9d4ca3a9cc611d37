//! Whole statements, which a reader can search for, and the values that belong into them.

use std::borrow::Cow;

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::{Engine, Value};

/// SQL with its values. Only text of this build becomes SQL; what comes from outside is a value.
#[derive(Clone, Debug)]
pub struct Statement {
    sqlite: Cow<'static, str>,
    postgres: Cow<'static, str>,
    pub(crate) values: Vec<Value>,
}

/// A statement that both engines understand. Values are `$1`, `$2` and so on, bound in this order.
pub fn sql(text: &'static str) -> Statement {
    by_engine(text, text)
}

/// A statement that the engines want to be told in different words. Both take the same values.
pub fn by_engine(sqlite: &'static str, postgres: &'static str) -> Statement {
    Statement { sqlite: Cow::Borrowed(sqlite), postgres: Cow::Borrowed(postgres), values: Vec::new() }
}

impl Statement {
    /// Gives the next value.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// The rows that are found are this transaction's until it ends. Postgres only: in SQLite a transaction that writes has
    /// everything to itself.
    #[must_use]
    pub fn for_update(self) -> Self {
        self.on_postgres(" FOR UPDATE")
    }

    /// Nobody changes the rows that are found before this transaction ends. Postgres only.
    #[must_use]
    pub fn for_share(self) -> Self {
        self.on_postgres(" FOR SHARE")
    }

    /// After [`Self::for_update`] or [`Self::for_share`]: without the rows that another transaction has. Postgres only.
    #[must_use]
    pub fn skip_locked(self) -> Self {
        self.on_postgres(" SKIP LOCKED")
    }

    /// Goes on with `text`, for filters whose conditions vary: everything else is one whole text. Each `$?` in it is one of
    /// the values that are bound next.
    #[must_use]
    pub fn push(self, text: &'static str) -> Self {
        self.push_by_engine(text, text)
    }

    /// [`Self::push`] in different words for each engine.
    #[must_use]
    pub fn push_by_engine(mut self, sqlite: &'static str, postgres: &'static str) -> Self {
        let bound = self.values.len();
        self.sqlite.to_mut().push_str(&numbered(sqlite, bound));
        self.postgres.to_mut().push_str(&numbered(postgres, bound));
        self
    }

    /// Puts the whole of it between `before` and `after`.
    #[must_use]
    pub fn inside(mut self, before: &'static str, after: &'static str) -> Self {
        self.sqlite = Cow::Owned([before, &self.sqlite, after].concat());
        self.postgres = Cow::Owned([before, &self.postgres, after].concat());
        self
    }

    /// What this engine is told.
    pub fn text(&self, engine: Engine) -> &str {
        match engine {
            Engine::Sqlite => &self.sqlite,
            Engine::Postgres => &self.postgres,
        }
    }

    fn on_postgres(mut self, text: &'static str) -> Self {
        self.postgres.to_mut().push_str(text);
        self
    }

    pub(crate) fn into_parts(self, engine: Engine) -> (SqlStr, Vec<Value>) {
        let text = match engine {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        };
        let text = match text {
            Cow::Borrowed(text) => SqlStr::from_static(text),
            // Made of texts of this build and of numbers.
            Cow::Owned(text) => AssertSqlSafe(text).into_sql_str(),
        };
        (text, self.values)
    }
}

/// `text` with the numbers of its values, of which `bound` come before.
fn numbered(text: &'static str, bound: usize) -> Cow<'static, str> {
    if !text.contains("$?") {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split("$?");
    let mut numbered = parts.next().unwrap_or_default().to_owned();
    for (at, part) in parts.enumerate() {
        numbered.push_str(&format!("${}{part}", bound + at + 1));
    }
    Cow::Owned(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_numbered_as_their_values_are_bound() {
        let mut query = by_engine("SELECT a", "SELECT b").push(" WHERE c = $?").bind(1_i64);
        query = query.push(" AND (d, e) < ($?, $?)").bind(2_i64).bind("x").push(" ORDER BY f");
        let query = query.push_by_engine(" LIMIT $?", " FETCH FIRST $? ROWS ONLY").bind(3_i64).inside("(", ")");
        assert_eq!(query.text(Engine::Sqlite), "(SELECT a WHERE c = $1 AND (d, e) < ($2, $3) ORDER BY f LIMIT $4)");
        assert_eq!(
            query.text(Engine::Postgres),
            "(SELECT b WHERE c = $1 AND (d, e) < ($2, $3) ORDER BY f FETCH FIRST $4 ROWS ONLY)"
        );
        assert_eq!(query.values.len(), 4);
    }

    #[test]
    fn locks_are_for_postgres() {
        let query = sql("SELECT 1").for_update().skip_locked();
        assert_eq!(query.text(Engine::Sqlite), "SELECT 1");
        assert_eq!(query.text(Engine::Postgres), "SELECT 1 FOR UPDATE SKIP LOCKED");
        assert_eq!(sql("SELECT 1").for_share().text(Engine::Postgres), "SELECT 1 FOR SHARE");
    }
}
