//! What only a file can do: be full, be somebody else's, be in use.

mod kit;

use std::path::Path;
use std::time::{Duration, Instant};

use kit::{MIGRATIONS, count_from, file, one_more, value};
use scale_sql::{Access, Database, Error, SqliteOptions, sql};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

async fn raw(folder: &Path) -> SqlitePool {
    SqlitePool::connect_with(SqliteConnectOptions::new().filename(folder.join("db")).create_if_missing(true))
        .await
        .unwrap()
}

async fn open(folder: &Path, options: SqliteOptions) -> Result<Database, Error> {
    Database::sqlite(&folder.join("db"), options).await
}

/// A full disk, as SQLite reports it: the file may not grow any more. SQLite may undo the transaction by itself then.
#[tokio::test]
async fn a_full_disk_changes_nothing_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let first = file(folder.path()).await;
    count_from(&first, "a", 1).await.unwrap();
    first.close().await;
    let small = SqliteOptions { max_pages: Some(20), ..SqliteOptions::new(&MIGRATIONS) };
    let database = open(folder.path(), small).await.unwrap();
    for _ in 0..3 {
        let mut tx = database.begin(Access::Write, None).await.unwrap();
        tx.execute(sql("UPDATE counters SET value = 9")).await.unwrap();
        let large = sql("INSERT INTO things (id, bytes) VALUES (1, zeroblob(1000000))");
        let full = tx.execute(large).await.unwrap_err();
        assert_eq!((full.code(), full.retry_helps()), ("storage_full", true));
        // Were this one run, it would last on its own.
        assert_eq!(tx.execute(sql("UPDATE counters SET value = 9")).await.unwrap_err(), full);
        assert_eq!(tx.commit().await.unwrap_err(), full);
        assert_eq!(value(&database, "a").await, Some(1));
    }
    assert_eq!(one_more(&database, "a").await.unwrap(), 2, "what needs no room goes on");
    database.close().await;
    let database = file(folder.path()).await;
    let inserted: Result<u64, Error> = database
        .run_tx("room", |tx| Box::pin(tx.execute(sql("INSERT INTO things (id, bytes) VALUES (1, zeroblob(1000000))"))))
        .await;
    assert_eq!(inserted, Ok(1));
}

#[tokio::test]
async fn an_acknowledged_row_is_written_with_full_synchronization() {
    let folder = tempfile::tempdir().unwrap();
    let database = file(folder.path()).await;
    let mut tx = database.begin(Access::Write, None).await.unwrap();
    let mode = tx.one(sql("PRAGMA journal_mode"), |row| row.get::<String>("journal_mode")).await.unwrap();
    let synchronous = tx.one(sql("PRAGMA synchronous"), |row| row.get::<i64>("synchronous")).await.unwrap();
    assert_eq!((mode.as_deref(), synchronous), (Some("wal"), Some(2)));
}

#[tokio::test]
async fn a_file_in_use_by_another_process_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let database = file(folder.path()).await;
    count_from(&database, "a", 1).await.unwrap();
    let mut other = raw(folder.path()).await.acquire().await.unwrap().detach();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let start = Instant::now();
    assert_eq!(one_more(&database, "a").await.unwrap_err().code(), "storage_unavailable");
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    assert_eq!(value(&database, "a").await, Some(1), "readers are not in the way");
    let waits = tokio::spawn({
        let database = database.clone();
        async move { one_more(&database, "a").await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(waits.await.unwrap(), Ok(2));
}

#[tokio::test]
async fn two_databases_in_memory_are_two() {
    let (one, two) = (kit::memory().await, kit::memory().await);
    count_from(&one, "a", 1).await.unwrap();
    assert_eq!(value(&two, "a").await, None);
    let clone = one.clone();
    drop(one);
    assert_eq!(value(&clone, "a").await, Some(1));
    assert!(clone.listen("counted").await.unwrap().is_none());
    let mut tx = clone.begin(Access::Write, None).await.unwrap();
    tx.notify("counted", "to nobody").await.unwrap();
    assert_eq!(tx.server_millis().await.unwrap(), None);
}

#[tokio::test]
async fn a_newer_an_edited_an_unfinished_and_a_foreign_file_are_refused() {
    for (change, says) in [
        ("UPDATE scale_test_migrations SET version = 999", "schema 999"),
        ("UPDATE scale_test_migrations SET checksum = x'00'", "another file"),
        ("UPDATE scale_test_migrations SET success = 0", "not ended"),
        ("PRAGMA application_id = 1", "something else"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        file(folder.path()).await.close().await;
        sqlx::query(change).execute(&raw(folder.path()).await).await.unwrap();
        let refused = match open(folder.path(), SqliteOptions::new(&MIGRATIONS)).await {
            Ok(database) => {
                let undone = MIGRATIONS.undo(&database, 0).await.unwrap_err();
                let refused = MIGRATIONS.run(&database).await.unwrap_err();
                assert_eq!(undone, refused);
                refused
            }
            Err(refused) => refused,
        };
        assert_eq!(refused.code(), "unknown_schema");
        assert!(refused.to_string().contains(says), "{refused}");
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'counters'")
            .fetch_one(&raw(folder.path()).await)
            .await
            .unwrap();
        assert_eq!(tables, 1, "nothing was changed");
    }

    let folder = tempfile::tempdir().unwrap();
    sqlx::query("CREATE TABLE bookmarks (url TEXT)").execute(&raw(folder.path()).await).await.unwrap();
    assert_eq!(open(folder.path(), SqliteOptions::new(&MIGRATIONS)).await.unwrap_err().code(), "unknown_schema");

    let folder = tempfile::tempdir().unwrap();
    let list = "shopping list: milk, bread, and so on and so on";
    std::fs::write(folder.path().join("db"), list).unwrap();
    assert_eq!(open(folder.path(), SqliteOptions::new(&MIGRATIONS)).await.unwrap_err().code(), "unknown_schema");
    assert_eq!(std::fs::read_to_string(folder.path().join("db")).unwrap(), list);

    let folder = tempfile::tempdir().unwrap();
    let look = SqliteOptions { create: false, ..SqliteOptions::new(&MIGRATIONS) };
    assert_eq!(open(folder.path(), look).await.unwrap_err().code(), "storage_unavailable");
    assert!(!folder.path().join("db").exists());
}

#[tokio::test]
async fn a_file_whose_steps_were_taken_back_is_empty_and_ours() {
    let folder = tempfile::tempdir().unwrap();
    let database = file(folder.path()).await;
    MIGRATIONS.undo(&database, 0).await.unwrap();
    database.close().await;
    let database = open(folder.path(), SqliteOptions::new(&MIGRATIONS)).await.unwrap();
    assert_eq!(MIGRATIONS.run(&database).await.unwrap().len(), 1);
    count_from(&database, "a", 1).await.unwrap();
}
