//! Every table as a list of columns: for who carries all rows from one database to another and asks nothing of them.
//!
//! Both engines have the same columns, so a row of one is a row of the other. A test holds this list against the schemas.

use scale_sql::{Row, Statement, sql};

use super::{StoreError, Tx};

/// What a column holds, in both engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole number.
    Int,
    /// A number.
    Real,
    /// A text.
    Text,
    /// A byte string.
    Bytes,
}

/// A value of a row. `None` is NULL.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// See [`Kind::Int`].
    Int(Option<i64>),
    /// See [`Kind::Real`].
    Real(Option<f64>),
    /// See [`Kind::Text`].
    Text(Option<String>),
    /// See [`Kind::Bytes`].
    Bytes(Option<Vec<u8>>),
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its columns; the first ones are the primary key.
    pub(crate) columns: &'static [(&'static str, Kind)],
    /// How many columns the primary key has.
    key: usize,
    /// Which rows are carried; empty: all.
    only: &'static str,
}

use Kind::{Bytes, Int, Real, Text};

/// All tables, each behind those that it refers to.
pub(crate) const TABLES: &[Table] = &[
    Table {
        name: "identity",
        columns: &[("only_row", Int), ("task_key", Bytes), ("token_hash", Bytes)],
        key: 1,
        only: "",
    },
    Table {
        name: "devices",
        columns: &[("id", Bytes), ("identity_key", Bytes), ("enrolled_at", Int)],
        key: 1,
        only: "",
    },
    Table {
        name: "used_tokens",
        columns: &[("id", Bytes), ("identity_key", Bytes), ("expires_at", Int)],
        key: 1,
        only: "",
    },
    Table {
        name: "tasks",
        columns: &[
            ("id", Text),
            ("config", Text),
            ("state", Text),
            ("created_at", Int),
            ("next_round", Int),
            ("current_version", Int),
            ("last_opened_at", Int),
            ("finished_rounds", Int),
        ],
        key: 1,
        only: "",
    },
    Table {
        name: "rounds",
        columns: &[
            ("id", Bytes),
            ("task", Text),
            ("number", Int),
            ("phase", Text),
            ("base_version", Int),
            ("opened_at", Int),
            ("closed_at", Int),
            ("looked_at", Int),
            ("revision", Int),
            ("state", Text),
            ("plan", Bytes),
            ("config", Bytes),
            ("signature", Bytes),
        ],
        key: 1,
        only: "",
    },
    Table {
        name: "participants",
        columns: &[
            ("round", Bytes),
            ("device", Bytes),
            ("identity_key", Bytes),
            ("session", Bytes),
            ("joined_at", Int),
            ("seen_at", Int),
            ("status", Text),
        ],
        key: 2,
        only: "",
    },
    Table {
        name: "sessions",
        columns: &[
            ("id", Bytes),
            ("round", Bytes),
            ("ordinal", Int),
            ("stage", Text),
            ("gate", Text),
            ("sum_blob", Text),
        ],
        key: 1,
        only: "",
    },
    Table {
        name: "messages",
        columns: &[("session", Bytes), ("stage", Int), ("device", Bytes), ("payload", Bytes)],
        key: 3,
        only: "",
    },
    Table {
        name: "segments",
        columns: &[("id", Text), ("session", Bytes), ("blob", Text), ("uploads", Int)],
        key: 1,
        only: "",
    },
    Table {
        name: "uploads",
        columns: &[
            ("session", Bytes),
            ("device", Bytes),
            ("participant_index", Int),
            ("digest", Bytes),
            ("total", Int),
            ("state", Text),
            ("segment", Text),
            ("created_at", Int),
        ],
        key: 2,
        // The others are files of a staging area that stays behind; nobody was told that they arrived.
        only: "state = 'committed'",
    },
    Table {
        name: "models",
        columns: &[
            ("task", Text),
            ("version", Int),
            ("parent", Int),
            ("round", Bytes),
            ("cohort", Int),
            ("digest", Bytes),
            ("fingerprint", Bytes),
            ("bytes", Int),
            ("blob", Text),
            ("optimizer_blob", Text),
            ("origin", Text),
            ("created_at", Int),
            ("privacy", Text),
            ("counted_through", Int),
            ("noisy_rounds", Int),
            ("rho_aggregate", Int),
            ("rho_alone", Int),
            ("clip", Real),
        ],
        key: 2,
        only: "",
    },
    // Without the lease: whoever holds it is another process, on other rows.
    Table {
        name: "work",
        columns: &[
            ("id", Text),
            ("kind", Text),
            ("round", Bytes),
            ("session", Bytes),
            ("stage", Int),
            ("run_after", Int),
            ("attempts", Int),
        ],
        key: 1,
        only: "",
    },
];

impl Table {
    /// The table of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        TABLES.iter().find(|table| table.name == name)
    }

    /// The place of a column.
    pub(crate) fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|(name, _)| *name == column)
    }

    fn list(&self, mut statement: Statement, columns: usize) -> Statement {
        for (at, (name, _)) in self.columns[..columns].iter().enumerate() {
            statement = statement.push(if at == 0 { "" } else { ", " }).push(name);
        }
        statement
    }

    fn decode(&self, row: &Row) -> Result<Vec<Cell>, StoreError> {
        let cell = |&(name, kind): &(&str, Kind)| {
            Ok(match kind {
                Int => Cell::Int(row.get(name)?),
                Real => Cell::Real(row.get(name)?),
                Text => Cell::Text(row.get(name)?),
                Bytes => Cell::Bytes(row.get(name)?),
            })
        };
        self.columns.iter().map(cell).collect()
    }
}

fn bind(statement: Statement, cell: Cell) -> Statement {
    match cell {
        Cell::Int(value) => statement.bind(value),
        Cell::Real(value) => statement.bind(value),
        Cell::Text(value) => statement.bind(value),
        Cell::Bytes(value) => statement.bind(value),
    }
}

fn values(mut statement: Statement, cells: impl IntoIterator<Item = Cell>) -> Statement {
    for (at, cell) in cells.into_iter().enumerate() {
        statement = bind(statement.push(if at == 0 { "($?" } else { ", $?" }), cell);
    }
    statement.push(")")
}

impl Tx {
    /// The next rows of a table by its key, at most so many, behind the row `after`.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub(crate) async fn page(
        &mut self,
        table: &'static Table,
        after: Option<&[Cell]>,
        most: u32,
    ) -> Result<Vec<Vec<Cell>>, StoreError> {
        let mut query = table.list(sql("SELECT "), table.columns.len()).push(" FROM ").push(table.name);
        if !table.only.is_empty() {
            query = query.push(" WHERE ").push(table.only);
        }
        if let Some(after) = after {
            query = query.push(if table.only.is_empty() { " WHERE (" } else { " AND (" });
            query = table.list(query, table.key).push(") > ");
            query = values(query, after[..table.key].iter().cloned());
        }
        query = table.list(query.push(" ORDER BY "), table.key).push(" LIMIT $?").bind(u64::from(most));
        let rows = self.all_rows(query).await?;
        rows.iter().map(|row| table.decode(row)).collect()
    }

    /// Adds rows to a table.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when one of them is there, or one that it refers to is not.
    pub(crate) async fn put_rows(&mut self, table: &'static Table, rows: Vec<Vec<Cell>>) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut insert = table.list(sql("INSERT INTO ").push(table.name).push(" ("), table.columns.len());
        for (at, row) in rows.into_iter().enumerate() {
            insert = values(insert.push(if at == 0 { ") VALUES " } else { ", " }), row);
        }
        self.execute(insert).await.map(drop)
    }

    /// A table that has a row; `None`: all are empty.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub(crate) async fn table_in_use(&mut self) -> Result<Option<&'static str>, StoreError> {
        for table in TABLES {
            let query = sql("SELECT 1 AS used FROM ").push(table.name).push(" LIMIT 1");
            if !self.all_rows(query).await?.is_empty() {
                return Ok(Some(table.name));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::Store;

    const POSTGRES: &str = include_str!("../../migrations/postgres/0001_rounds.up.sql");

    /// Columns of every table, as SQLite knows them.
    async fn of_sqlite() -> BTreeSet<(String, String)> {
        let store = Store::open_in_memory().await.unwrap();
        store
            .read("columns", |tx| {
                Box::pin(async move {
                    let query = sql("SELECT s.name AS place, c.name AS name FROM sqlite_schema s, pragma_table_info(s.name) c
                        WHERE s.type = 'table' AND s.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND s.name NOT LIKE 'sqlite%'");
                    tx.all(query, |row| Ok((row.get("place")?, row.get("name")?))).await
                })
            })
            .await
            .unwrap()
    .into_iter().collect()
    }

    #[tokio::test]
    async fn no_table_and_no_column_is_forgotten() {
        let mut listed = BTreeSet::new();
        for table in TABLES {
            let left_out = if table.name == "work" { &["lease", "leased_until"][..] } else { &[] };
            let names = table.columns.iter().map(|(name, _)| *name).chain(left_out.iter().copied());
            listed.extend(names.map(|name| (table.name.to_owned(), name.to_owned())));
        }
        assert_eq!(listed, of_sqlite().await);
        let mut postgres = BTreeSet::new();
        for part in POSTGRES.split("CREATE TABLE ").skip(1) {
            let (name, rest) = part.split_once(" (").unwrap();
            let body = rest.split_once("\n);").unwrap().0;
            let columns = body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("--"));
            let columns = columns.filter_map(|line| line.split_whitespace().next());
            let columns = columns.filter(|word| !matches!(*word, "PRIMARY" | "UNIQUE"));
            postgres.extend(columns.map(|column| (name.to_owned(), column.to_owned())));
        }
        assert_eq!(listed, postgres);
    }
}
