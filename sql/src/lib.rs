//! Rows on SQLite or Postgres, behind one type: [`Database`]. It knows no table.
//!
//! | what | where |
//! |---|---|
//! | one transaction, again when another was in the way | [`Database::run_tx`] |
//! | one snapshot beside the writer | [`Database::read`] |
//! | whole statements, which a reader can search for | [`sql()`], [`by_engine`], [`Statement`] |
//! | values and columns, the same for both engines | [`Value`], [`Row`], [`Column`] |
//! | the schema's history | [`Migrations`] |
//! | what goes wrong, one word for each | [`Error`] |
//! | to fail on purpose, in tests | `Database::inject`, feature `testing` |
//! | an address with a password | [`SecretUrl`] |
//! | to be told of what another process has kept | [`Database::listen`], [`Tx::notify`] |
//!
//! `sqlite.rs` and `postgres.rs` have what the engines do not share. ADR 18 (docs/adr/0018-one-sql-crate.md) says why this is
//! one crate.
//!
//! ```
//! # use scale_sql::{Database, Error, Row, sql};
//! # async fn example(database: &Database) -> Result<(), Error> {
//! let name: Option<String> = database
//!     .run_tx("rename", |tx| {
//!         Box::pin(async move {
//!             tx.execute(sql("UPDATE pets SET name = $2 WHERE id = $1").bind(7_u64).bind("Rex")).await?;
//!             tx.one(sql("SELECT name FROM pets WHERE id = $1").bind(7_u64), |row| row.get("name")).await
//!         })
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod database;
mod error;
mod faults;
mod listen;
mod migrations;
mod postgres;
mod row;
mod secret_url;
mod sqlite;
mod statement;
#[cfg(feature = "testing")]
pub mod testing;
mod tx;
mod value;

/// A closure's future, as [`Database::run_tx`] takes it.
pub use futures::future::BoxFuture;
/// The steps of a schema, as `sqlx::migrate!` reads them from a folder.
pub use sqlx::migrate::Migrator;

pub use database::Database;
pub use error::Error;
#[cfg(feature = "testing")]
pub use faults::{Inject, Point};
pub use listen::{Heard, Listener};
pub use migrations::{Migrations, Step};
pub use postgres::{Isolation, PostgresOptions};
pub use row::{Column, Row};
pub use secret_url::SecretUrl;
pub use sqlite::SqliteOptions;
pub use statement::{Statement, by_engine, sql};
pub use tx::{Access, Tx};
pub use value::{Moment, Value};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// In one file, or in memory: nothing to install.
    Sqlite,
    /// On a server, which many processes share.
    Postgres,
}

impl Engine {
    /// Its name, for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}
