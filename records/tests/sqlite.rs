//! Rows in SQLite: in memory, and in a file.

mod conformance;

use std::path::Path;
use std::time::{Duration, Instant};

use conformance::{at, conforms, create, everything, expense, file, full, open_import, somebody};
use scale_records::domain::{Scope, UserId};
use scale_records::store::{self, Error, Filter, Location, Page};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

fn location(folder: &Path) -> Location {
    Location::Sqlite(folder.join("records.sqlite3"))
}

async fn raw(folder: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(folder.join("records.sqlite3")).create_if_missing(true);
    SqlitePool::connect_with(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conforms(&store::open(&Location::Memory).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_conforms_and_keeps_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let rows = store::open(&location(folder.path())).await.unwrap();
    conforms(&rows).await;
    let user = somebody(&rows).await;
    let before = everything(&rows, user).await;
    rows.close().await;
    assert_eq!(rows.ping().await.unwrap_err().code(), "storage_unavailable");
    drop(rows);
    let rows = store::open(&location(folder.path())).await.unwrap();
    assert_eq!(everything(&rows, user).await, before);
}

#[tokio::test]
async fn two_databases_in_memory_are_two() {
    let one = store::open(&Location::Memory).await.unwrap();
    let two = store::open(&Location::Memory).await.unwrap();
    let user = somebody(&one).await;
    assert_eq!(everything(&two, user).await.transactions, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_do_not_wait_for_an_import() {
    let folder = tempfile::tempdir().unwrap();
    let rows = store::open(&location(folder.path())).await.unwrap();
    let user = somebody(&rows).await;
    let before = everything(&rows, user).await;
    let mut import = open_import(&rows, UserId::new(), &file(5)).await;
    import.insert(&(0..1000).map(full).collect::<Vec<_>>()).await.unwrap();
    let start = Instant::now();
    assert_eq!(everything(&rows, user).await, before);
    let page = Page { limit: 200, after: None };
    let all = rows.transactions(Scope::Service, &Filter::default(), &page).await.unwrap();
    assert_eq!(all.transactions.len(), 2, "nothing of the import is there yet");
    assert!(start.elapsed() < Duration::from_secs(2));
    import.abandon().await;
}

#[tokio::test]
async fn a_database_in_use_by_another_process_is_unavailable_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let rows = store::open(&location(folder.path())).await.unwrap();
    let user = somebody(&rows).await;
    let shell = raw(folder.path()).await;
    let mut other = shell.acquire().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *other).await.unwrap();
    let start = Instant::now();
    let busy = rows.create_transaction(user, &expense(30), at(1)).await.unwrap_err();
    assert!(matches!(busy, Error::Unavailable(_)), "{busy}");
    assert!(start.elapsed() < Duration::from_secs(12));
    sqlx::query("ROLLBACK").execute(&mut *other).await.unwrap();
    create(&rows, user, &expense(30)).await;
}

#[tokio::test]
async fn the_schema_goes_up_down_and_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let location = location(folder.path());
    let steps = store::missing_steps(&location).await.unwrap();
    assert_eq!(steps.first().map(ToString::to_string).as_deref(), Some("0001 people"));
    assert!(!folder.path().join("records.sqlite3").exists(), "looking makes nothing");
    assert_eq!(store::migrate(&location).await.unwrap(), steps);
    assert_eq!(store::missing_steps(&location).await.unwrap(), vec![]);
    assert_eq!(store::migrate(&location).await.unwrap(), vec![]);
    let schema = schema(folder.path()).await;
    assert!(schema.iter().any(|name| name == "idx_transactions_user_fingerprint"));

    store::revert(&location, 0).await.unwrap();
    assert_eq!(self::schema(folder.path()).await, Vec::<String>::new(), "the way down leaves nothing");
    assert_eq!(store::missing_steps(&location).await.unwrap(), steps);
    assert_eq!(store::migrate(&location).await.unwrap(), steps);
    assert_eq!(self::schema(folder.path()).await, schema);
    somebody(&store::open(&location).await.unwrap()).await;
}

async fn schema(folder: &Path) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE tbl_name <> 'scale_records_migrations' ORDER BY name";
    sqlx::query_scalar(sql).fetch_all(&raw(folder).await).await.unwrap()
}

#[tokio::test]
async fn schemas_and_files_of_others_are_refused() {
    for (change, says) in [
        (
            "INSERT INTO scale_records_migrations (version, description, success, checksum, execution_time)
             VALUES (999, 'from the future', 1, x'00', 0)",
            "schema 999",
        ),
        ("UPDATE scale_records_migrations SET checksum = x'00'", "another file"),
        ("UPDATE scale_records_migrations SET success = 0", "not ended"),
        ("PRAGMA application_id = 1", "something else"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let location = location(folder.path());
        store::migrate(&location).await.unwrap();
        sqlx::query(change).execute(&raw(folder.path()).await).await.unwrap();
        let before = schema(folder.path()).await;
        let answers = [
            store::open(&location).await.map(drop),
            store::migrate(&location).await.map(drop),
            store::missing_steps(&location).await.map(drop),
            store::revert(&location, 0).await,
        ];
        for refused in answers {
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), "unknown_schema");
            assert!(refused.to_string().contains(says), "{refused}");
        }
        assert_eq!(schema(folder.path()).await, before);
    }

    let folder = tempfile::tempdir().unwrap();
    sqlx::query("CREATE TABLE bookmarks (url TEXT)").execute(&raw(folder.path()).await).await.unwrap();
    assert_eq!(store::open(&location(folder.path())).await.unwrap_err().code(), "unknown_schema");
    assert_eq!(schema(folder.path()).await, ["bookmarks"]);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.sqlite3");
    std::fs::write(&path, "shopping list: milk, bread, and so on and so on").unwrap();
    assert_eq!(store::open(&location(folder.path())).await.unwrap_err().code(), "unknown_schema");
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("shopping list"));
    let nowhere = Location::Sqlite(folder.path().join("no/such/folder/db"));
    assert_eq!(store::open(&nowhere).await.unwrap_err().code(), "storage_unavailable");
}
