//! Rows in a real Postgres: the suite of every store, and what only Postgres can do wrong.

mod conformance;
mod postgres_server;

use std::time::{Duration, Instant};

use conformance::{at, conforms, create, everything, expense, file, full, import, open_import, slug, somebody};
use postgres_server::{Proxy, Server, connect, login, objects, superuser, user_of};
use scale_records::domain::{Scope, UploadCounts, UserId};
use scale_records::store::{self, Error, Filter, Location};
use sqlx::{Connection as _, Executor as _, PgConnection};

/// With prepared statements that connections keep; the other tests prepare anew, as behind a pooler.
#[tokio::test(flavor = "multi_thread")]
async fn conforms_as_a_superuser_with_kept_statements() {
    let server = Server::new("records").await;
    store::migrate(&superuser(&server)).await.unwrap();
    let keeping = Location::Postgres(format!("{}?statement-cache-capacity=100", server.superuser()), 8);
    conforms(&store::open(&keeping).await.unwrap()).await;
    server.end().await;
}

/// As it should be in production: one role owns the tables, another one serves people and owns nothing.
#[tokio::test(flavor = "multi_thread")]
async fn conforms_as_a_role_that_owns_nothing() {
    let server = Server::new("records").await;
    store::migrate(&superuser(&server)).await.unwrap();
    let served = login(&server, "NOINHERIT", &["authenticated", "service_role"]).await;
    conforms(&store::open(&served).await.unwrap()).await;
    server.end().await;
}

/// The owner of the database, who is no superuser, migrates and serves.
#[tokio::test(flavor = "multi_thread")]
async fn conforms_as_the_owner() {
    let server = Server::new("records").await;
    let owner = login(&server, "CREATEROLE", &[]).await;
    server.run(&format!("ALTER DATABASE {} OWNER TO {}", server.name(), user_of(&owner))).await;
    store::migrate(&owner).await.unwrap();
    let rows = store::open(&owner).await.unwrap();
    conforms(&rows).await;

    // Even so a statement that does not say for whom it works finds nobody's rows and keeps nothing.
    somebody(&rows).await;
    let mut plain = connect(&owner).await;
    for table in ["transactions", "uploaded_files", "categories", "training_jobs", "enrollment_tokens"] {
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table} WHERE user_id IS NOT NULL"));
        assert_eq!(sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut plain).await.unwrap(), 0, "{table}");
    }
    let insert = "INSERT INTO categories VALUES (gen_random_uuid(), 'mine', 'Mine')";
    assert_eq!(refused(&mut plain, insert).await, "42501");
    server.end().await;
}

/// The SQLSTATE of a statement that must not work; the transaction it ran in is undone.
async fn refused(connection: &mut PgConnection, sql: &'static str) -> String {
    let error = connection.execute(sql).await.unwrap_err();
    error.as_database_error().and_then(|error| error.code()).unwrap().into_owned()
}

#[tokio::test]
async fn row_level_security_says_no_by_itself() {
    let server = Server::new("records").await;
    store::migrate(&superuser(&server)).await.unwrap();
    let served = login(&server, "NOINHERIT", &["authenticated", "service_role"]).await;
    let rows = store::open(&served).await.unwrap();
    let owner = somebody(&rows).await;
    let before = everything(&rows, owner).await;
    let mut plain = connect(&served).await;

    // Nobody has said for whom.
    for sql in [
        "SELECT * FROM transactions",
        "SELECT * FROM uploaded_files",
        "SELECT * FROM categories",
        "SELECT * FROM training_jobs",
        "SELECT * FROM enrollment_tokens",
        "DELETE FROM transactions",
        "UPDATE transactions SET category = NULL",
    ] {
        assert_eq!(refused(&mut plain, sql).await, "42501", "{sql}");
    }

    // For somebody else, with statements that forget every condition.
    let other = UserId::new();
    for claims in [format!(r#"{{"sub":"{other}"}}"#), "{}".to_owned(), String::new()] {
        let mut tx = plain.begin().await.unwrap();
        let begin = "SELECT set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)";
        sqlx::query(begin).bind(&claims).execute(&mut *tx).await.unwrap();
        for (table, visible) in [
            ("transactions", 0),
            ("uploaded_files", 0),
            ("training_jobs", 0),
            ("enrollment_tokens", 0),
            ("categories", before.categories.len() - 1),
        ] {
            let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
            let count: i64 = sqlx::query_scalar(count).fetch_one(&mut *tx).await.unwrap();
            assert_eq!(count, visible as i64, "{table} with claims {claims:?}");
            let delete = sqlx::AssertSqlSafe(format!("DELETE FROM {table}"));
            assert_eq!(tx.execute(delete).await.unwrap().rows_affected(), 0, "{table}");
        }
        let update = "UPDATE transactions SET category = NULL";
        assert_eq!(tx.execute(update).await.unwrap().rows_affected(), 0);
        tx.commit().await.unwrap();
    }

    // A person may not plant rows on another one, give rows away, move jobs along, or change what a bank said.
    let claims = format!(r#"{{"sub":"{other}"}}"#);
    for sql in [
        "INSERT INTO categories VALUES (gen_random_uuid(), 'planted', 'Planted')",
        "INSERT INTO categories VALUES (NULL, 'for-everybody', 'For everybody')",
        "INSERT INTO uploaded_files VALUES
            (gen_random_uuid(), gen_random_uuid(), decode(repeat('00', 32), 'hex'), 'a', 'csv', 0, 0, 0, now())",
        "UPDATE transactions SET user_id = gen_random_uuid()",
        "UPDATE transactions SET amount_minor = 0",
        "UPDATE training_jobs SET status = 'completed'",
        "UPDATE categories SET name = 'x'",
        "INSERT INTO enrollment_tokens VALUES (gen_random_uuid(), gen_random_uuid(), now())",
        "UPDATE enrollment_tokens SET created_at = '1970-01-01'",
        "TRUNCATE transactions",
        "SET LOCAL ROLE postgres",
        "CREATE TABLE mine (a int)",
    ] {
        let mut tx = plain.begin().await.unwrap();
        let begin = "SELECT set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)";
        sqlx::query(begin).bind(&claims).execute(&mut *tx).await.unwrap();
        assert_eq!(refused(&mut tx, sql).await, "42501", "{sql}");
        tx.rollback().await.unwrap();
    }
    assert_eq!(everything(&rows, owner).await, before);

    // What a transaction said ends with it.
    assert_eq!(refused(&mut plain, "SELECT * FROM transactions").await, "42501");
    server.end().await;
}

#[tokio::test]
async fn a_role_without_rights_is_refused_at_the_start() {
    let server = Server::new("records").await;
    store::migrate(&superuser(&server)).await.unwrap();
    let nobody = login(&server, "NOINHERIT", &["authenticated"]).await;
    let refused = store::open(&nobody).await.unwrap_err();
    assert_eq!(refused.code(), "unknown_schema");
    assert!(refused.to_string().contains("service_role"), "{refused}");
    let wrong = Location::Postgres(server.superuser().replace(server.name(), "no_such_database"), 1);
    assert_eq!(store::open(&wrong).await.unwrap_err().code(), "unknown_schema");
    let text = format!("{:?}", Location::Postgres("postgres://me:secret@host/db".to_owned(), 3));
    assert!(!text.contains("secret"), "{text}");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_goes_up_down_and_up_again() {
    let server = Server::new("records").await;
    let location = superuser(&server);
    let old = store::open(&location).await.unwrap_err();
    assert_eq!(old.code(), "unknown_schema");
    assert!(old.to_string().contains("run `scale-coordinator migrate`"), "{old}");

    let steps = store::missing_steps(&location).await.unwrap();
    assert_eq!(steps.first().map(ToString::to_string).as_deref(), Some("0001 people"));
    // Three replicas start at once.
    let at_once = (0..3).map(|_| {
        tokio::spawn({
            let location = location.clone();
            async move { store::migrate(&location).await }
        })
    });
    for migrated in at_once.collect::<Vec<_>>() {
        migrated.await.unwrap().unwrap();
    }
    assert_eq!(store::missing_steps(&location).await.unwrap(), vec![]);
    let before = objects(&server).await;
    for index in [
        "idx_transactions_user_date",
        "idx_transactions_category",
        "idx_transactions_user_fingerprint",
        "idx_transactions_merchant",
        "idx_transactions_amount_range",
        "idx_transactions_raw_data",
        "idx_training_jobs_pending",
        "idx_training_jobs_user_status",
        "idx_enrollment_tokens_user_created",
    ] {
        assert!(before.iter().any(|name| name == index), "{index}");
    }

    store::revert(&location, 0).await.unwrap();
    assert_eq!(objects(&server).await, Vec::<String>::new(), "the way down leaves nothing");
    assert!(store::open(&location).await.is_err());
    assert_eq!(store::migrate(&location).await.unwrap(), steps);
    assert_eq!(objects(&server).await, before);
    somebody(&store::open(&location).await.unwrap()).await;
    server.end().await;
}

#[tokio::test]
async fn unknown_schemas_are_refused() {
    let server = Server::new("records").await;
    let location = superuser(&server);
    store::migrate(&location).await.unwrap();
    for (change, says) in [
        ("UPDATE scale_records_migrations SET checksum = '\\x00'", "another file"),
        (
            "INSERT INTO scale_records_migrations (version, description, success, checksum, execution_time)
             VALUES (999, 'from the future', true, '\\x00', 0); DELETE FROM scale_records_migrations WHERE version < 999",
            "schema 999",
        ),
    ] {
        server.run(change).await;
        for refused in [
            store::open(&location).await.map(drop),
            store::migrate(&location).await.map(drop),
            store::missing_steps(&location).await.map(drop),
            store::revert(&location, 0).await,
        ] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), "unknown_schema");
            assert!(refused.to_string().contains(says), "{refused}");
        }
    }
    server.end().await;

    // Somebody else's tables of the same name are left alone, and the step that met them is undone.
    let server = Server::new("records").await;
    server.run("CREATE TABLE training_jobs (mine int)").await;
    let refused = store::migrate(&superuser(&server)).await.unwrap_err();
    assert!(matches!(&refused, Error::Schema(text) if text.contains("training_jobs")), "{refused}");
    assert_eq!(objects(&server).await, ["training_jobs"]);
    server.end().await;
}

/// On Supabase the roles and `auth.uid()` are there before, and read the claims in two forms.
#[tokio::test(flavor = "multi_thread")]
async fn what_supabase_brings_stays_as_it_is() {
    let server = Server::new("records").await;
    server
        .run(
            "CREATE SCHEMA auth;
             CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
                 SELECT coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
                     (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'))::uuid
             $$;
             GRANT USAGE ON SCHEMA auth TO PUBLIC",
        )
        .await;
    let source = "SELECT prosrc FROM pg_proc WHERE oid = 'auth.uid()'::regprocedure";
    let before = server.ask(source).await;
    store::migrate(&superuser(&server)).await.unwrap();
    conforms(&store::open(&superuser(&server)).await.unwrap()).await;
    assert_eq!(server.ask(source).await, before);
    store::revert(&superuser(&server), 0).await.unwrap();
    assert_eq!(server.ask(source).await, before);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stops_is_unavailable_and_comes_back() {
    let server = Server::new("records").await;
    store::migrate(&superuser(&server)).await.unwrap();
    let proxy = Proxy::new(&server).await;
    let rows = store::open(&Location::Postgres(proxy.url(&server), 4)).await.unwrap();
    let user = somebody(&rows).await;
    let before = everything(&rows, user).await;
    let new = full(9);

    // Restarted while connections were idle: nobody notices.
    proxy.cut();
    assert_eq!(everything(&rows, user).await, before);

    // Stopped in the middle of an import.
    let mut import_ = open_import(&rows, user, &file(7)).await;
    import_.insert(&[expense(40)]).await.unwrap();
    proxy.refuse(true);
    proxy.cut();
    let start = Instant::now();
    let lost = import_.insert(&[expense(41)]).await.unwrap_err();
    assert!(matches!(lost, Error::Unavailable(_)), "{lost}");
    assert!(import_.commit(UploadCounts::default()).await.is_err());
    let answers = tokio::join!(rows.ping(), rows.categories(user), rows.create_transaction(user, &new, at(1)));
    for refused in [answers.0, answers.1.map(drop), answers.2.map(drop)] {
        assert!(matches!(refused.unwrap_err(), Error::Unavailable(_)));
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    proxy.refuse(false);
    assert_eq!(everything(&rows, user).await, before, "nothing of the import is there");

    // It hangs: connections stay, answers do not come.
    proxy.freeze(true);
    let start = Instant::now();
    let answers = tokio::join!(rows.ping(), rows.categories(user), rows.create_transaction(user, &new, at(1)));
    for refused in [answers.0, answers.1.map(drop), answers.2.map(drop)] {
        assert!(matches!(refused.unwrap_err(), Error::Unavailable(_)));
    }
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    proxy.freeze(false);
    let deadline = Instant::now() + Duration::from_secs(10);
    while rows.ping().await.is_err() {
        assert!(Instant::now() < deadline, "it comes back");
    }
    import(&rows, user, &file(7), &[expense(40)]).await;
    assert!(rows.create_category(user, &slug("after"), "After").await.unwrap());
    create(&rows, user, &new).await;
    let found = conformance::list(&rows, user, &Filter::default()).await;
    assert_eq!(found.len(), before.transactions.len() + 2);
    assert!(rows.jobs(Scope::User(user), 10).await.unwrap() == before.jobs);
    rows.close().await;
    server.end().await;
}
