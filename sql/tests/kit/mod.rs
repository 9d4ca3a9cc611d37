//! A schema for tests, on both engines.
#![allow(dead_code, reason = "each test takes its part")]

use std::path::Path;
use std::time::Duration;

use scale_sql::testing::Server;
use scale_sql::{Database, Error, Isolation, Migrations, Migrator, PostgresOptions, SqliteOptions, sql};

static SQLITE: Migrator = sqlx::migrate!("tests/migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("tests/migrations/postgres");

pub(crate) static MIGRATIONS: Migrations = Migrations {
    application_id: 0x5343_4C54,
    history_table: "scale_test_migrations",
    sqlite: &SQLITE,
    postgres: &POSTGRES,
};

/// A database in a file of `folder`, with the schema.
pub(crate) async fn file(folder: &Path) -> Database {
    let database = Database::sqlite(&folder.join("db"), SqliteOptions::new(&MIGRATIONS)).await.unwrap();
    MIGRATIONS.run(&database).await.unwrap();
    database
}

/// A database in memory, with the schema.
pub(crate) async fn memory() -> Database {
    let database = Database::memory().await.unwrap();
    MIGRATIONS.run(&database).await.unwrap();
    database
}

/// The database of `server`, with the schema.
pub(crate) async fn postgres(server: &Server, isolation: Isolation) -> Database {
    let database = Database::postgres(
        &server.superuser(),
        PostgresOptions { max_connections: 8, isolation, ..Default::default() },
    )
    .unwrap();
    MIGRATIONS.run(&database).await.unwrap();
    database
}

/// Makes a counter.
pub(crate) async fn count_from(database: &Database, name: &'static str, value: i64) -> Result<(), Error> {
    database
        .run_tx("count_from", |tx| {
            Box::pin(async move {
                let insert = sql("INSERT INTO counters (name, value) VALUES ($1, $2)").bind(name).bind(value);
                tx.execute(insert).await.map(drop)
            })
        })
        .await
}

/// Reads a counter and writes what it was and one more, in two statements.
pub(crate) async fn one_more(database: &Database, name: &'static str) -> Result<i64, Error> {
    database
        .run_tx("one_more", |tx| {
            Box::pin(async move {
                let find = sql("SELECT value FROM counters WHERE name = $1").bind(name);
                let value: i64 = tx.one(find, |row| row.get("value")).await?.expect("the counter is there");
                tokio::time::sleep(Duration::from_millis(2)).await;
                let update = sql("UPDATE counters SET value = $2 WHERE name = $1").bind(name).bind(value + 1);
                tx.execute(update).await?;
                Ok(value + 1)
            })
        })
        .await
}

/// What a counter says; `None`: there is none.
pub(crate) async fn value(database: &Database, name: &'static str) -> Option<i64> {
    let found: Result<_, Error> = database
        .read("value", |tx| {
            Box::pin(async move {
                let find = sql("SELECT value FROM counters WHERE name = $1").bind(name);
                tx.one(find, |row| row.get("value")).await
            })
        })
        .await;
    found.unwrap()
}
