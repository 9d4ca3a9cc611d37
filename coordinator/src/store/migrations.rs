//! The schema's history: numbered up/down pairs in `migrations/sqlite`, embedded in the binary, never edited once
//! released. A database knows the checksum of each step it has taken.

use sqlx::SqlitePool;
use sqlx::migrate::{MigrateError, Migrator};

use super::{StoreError, tx};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// "SCLF": what `PRAGMA application_id` says in a database of ours.
const APPLICATION_ID: i64 = 0x5343_4C46;

/// Takes the steps that the database has not taken yet.
///
/// # Errors
/// [`StoreError::Schema`] for a database that is newer, was edited, or is not ours; nothing has been changed by then.
pub(super) async fn run(pool: &SqlitePool) -> Result<(), StoreError> {
    refuse_foreign_file(pool).await?;
    MIGRATIONS.run(pool).await.map_err(explain)
}

async fn refuse_foreign_file(pool: &SqlitePool) -> Result<(), StoreError> {
    let sql = "SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)";
    let (application, objects): (i64, i64) =
        sqlx::query_as(sql).fetch_one(pool).await.map_err(|error| tx::classify(&error))?;
    if objects > 0 && application != APPLICATION_ID {
        return Err(StoreError::Schema("the file is a database of another program; choose another data folder".into()));
    }
    Ok(())
}

fn explain(error: MigrateError) -> StoreError {
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    match error {
        MigrateError::VersionMissing(version) => StoreError::Schema(format!(
            "it is at schema {version} and this build knows schemas up to {newest}; run the newer build that wrote it"
        )),
        MigrateError::VersionMismatch(version) => StoreError::Schema(format!(
            "step {version} of its schema is not the one of this build; it was written by a modified program"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => tx::classify(&error),
        other => StoreError::Schema(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

    use super::*;

    async fn empty() -> SqlitePool {
        SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(SqliteConnectOptions::new().in_memory(true).foreign_keys(true))
            .await
            .unwrap()
    }

    async fn objects(pool: &SqlitePool) -> BTreeSet<String> {
        let sql = "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' AND name <> '_sqlx_migrations'";
        sqlx::query_scalar(sql).fetch_all(pool).await.unwrap().into_iter().collect()
    }

    #[tokio::test]
    async fn every_step_goes_up_down_and_up_again() {
        let pool = empty().await;
        run(&pool).await.unwrap();
        let after_first = objects(&pool).await;
        assert!(after_first.contains("session_messages"));
        MIGRATIONS.undo(&pool, 0).await.unwrap();
        assert_eq!(objects(&pool).await, BTreeSet::new(), "the way down leaves nothing");
        run(&pool).await.unwrap();
        assert_eq!(objects(&pool).await, after_first);
        run(&pool).await.unwrap();
    }

    #[test]
    fn steps_are_numbered_without_gaps_and_come_in_pairs() {
        let ups: Vec<i64> =
            MIGRATIONS.iter().filter(|step| step.migration_type.is_up_migration()).map(|step| step.version).collect();
        let downs: Vec<i64> =
            MIGRATIONS.iter().filter(|step| step.migration_type.is_down_migration()).map(|step| step.version).collect();
        let expected: Vec<i64> = (1..).take(ups.len()).collect();
        assert_eq!(ups, expected);
        assert_eq!(ups, downs);
    }

    #[tokio::test]
    async fn a_newer_an_edited_and_a_foreign_database_are_refused() {
        let newer = empty().await;
        run(&newer).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (999, 'from the future', 1, x'00', 0)",
        )
        .execute(&newer)
        .await
        .unwrap();
        let refused = run(&newer).await.unwrap_err();
        assert_eq!(refused.code(), "unknown_schema");
        assert!(refused.to_string().contains("schema 999"), "{refused}");

        let edited = empty().await;
        run(&edited).await.unwrap();
        sqlx::query("UPDATE _sqlx_migrations SET checksum = x'00'").execute(&edited).await.unwrap();
        assert!(matches!(run(&edited).await, Err(StoreError::Schema(_))));

        let foreign = empty().await;
        sqlx::query("CREATE TABLE bookmarks (url TEXT)").execute(&foreign).await.unwrap();
        assert!(matches!(run(&foreign).await, Err(StoreError::Schema(_))));
        assert_eq!(objects(&foreign).await.len(), 1, "nothing was added to somebody else's file");
    }
}
