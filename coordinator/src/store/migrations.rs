//! The schema's history: numbered up/down pairs in `migrations/sqlite` and `migrations/postgres`, embedded in the binary,
//! never edited once released.

use scale_sql::{Database, Engine, Migrations, Migrator, PostgresOptions, SqliteOptions, Step};

use super::StoreError;

static SQLITE_STEPS: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_STEPS: Migrator = sqlx::migrate!("migrations/postgres");

/// "SCLF": what `PRAGMA application_id` says in a database of ours.
const APPLICATION_ID: i32 = 0x5343_4C46;

/// In a file that is ours alone.
static OF_SQLITE: Migrations = Migrations {
    application_id: APPLICATION_ID,
    history_table: "_sqlx_migrations",
    sqlite: &SQLITE_STEPS,
    postgres: &POSTGRES_STEPS,
};
/// In a database that others use as well.
static OF_POSTGRES: Migrations = Migrations {
    application_id: APPLICATION_ID,
    history_table: "scale_rounds_migrations",
    sqlite: &SQLITE_STEPS,
    postgres: &POSTGRES_STEPS,
};

/// The history that a database of this engine has.
pub(super) fn of(engine: Engine) -> &'static Migrations {
    match engine {
        Engine::Sqlite => &OF_SQLITE,
        Engine::Postgres => &OF_POSTGRES,
    }
}

/// How the file is opened.
pub(super) fn sqlite_options() -> SqliteOptions {
    SqliteOptions::new(&OF_SQLITE)
}

/// Brings the schema of a Postgres database up to date; the steps that were taken. Several at once wait for each other.
///
/// # Errors
/// [`StoreError::Schema`] if the database has a schema that this build does not know, or a step fails (and is undone).
pub async fn migrate(url: &str) -> Result<Vec<Step>, StoreError> {
    let database = one_connection(url)?;
    let taken = OF_POSTGRES.run(&database).await;
    database.close().await;
    taken
}

/// The steps that [`migrate`] would take. Changes nothing.
///
/// # Errors
/// As [`migrate`].
pub async fn missing_steps(url: &str) -> Result<Vec<Step>, StoreError> {
    let database = one_connection(url)?;
    let missing = OF_POSTGRES.missing(&database).await;
    database.close().await;
    missing
}

fn one_connection(url: &str) -> Result<Database, StoreError> {
    Database::postgres(url, PostgresOptions { max_connections: 1, ..PostgresOptions::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_step_goes_up_down_and_up_again() {
        let database = Database::memory().await.unwrap();
        let all = OF_SQLITE.run(&database).await.unwrap();
        assert_eq!(all, OF_SQLITE.all(Engine::Sqlite));
        OF_SQLITE.undo(&database, 0).await.unwrap();
        assert_eq!(OF_SQLITE.missing(&database).await.unwrap(), all);
        assert_eq!(OF_SQLITE.run(&database).await.unwrap(), all);
        assert_eq!(OF_SQLITE.run(&database).await.unwrap(), []);
    }

    #[test]
    fn steps_are_numbered_without_gaps_and_come_in_pairs() {
        for steps in [&SQLITE_STEPS, &POSTGRES_STEPS] {
            let of = |up: bool| {
                let wanted = steps.iter().filter(|step| step.migration_type.is_up_migration() == up);
                wanted.map(|step| step.version).collect::<Vec<i64>>()
            };
            let expected: Vec<i64> = (1..).take(of(true).len()).collect();
            assert_eq!((of(true), of(false)), (expected.clone(), expected));
        }
    }
}
