//! The store on a Postgres server: the suite of every store, and what only several processes can do.

use scale_proto::ids::SessionId;
use scale_sql::testing::Server;

use super::conformance::{at, conforms, device, round, task, tx};
use super::*;
use crate::round::SessionStage;
use crate::rows::{Gate, Inserted, LeaseToken, MessageRow, SessionRow, WorkKind, WorkRow};

/// A role that owns nothing and may do nothing but read and write rows, as a careful operator grants it.
async fn role_without_tables(server: &Server) -> String {
    let url = server.login("NOINHERIT", &[]).await;
    let role = Server::user_of(&url);
    server.run(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")).await;
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_as_the_owner() {
    let server = Server::new("rounds").await;
    let owner = server.login("", &[]).await;
    server.run(&format!("ALTER DATABASE {} OWNER TO {}", server.name(), Server::user_of(&owner))).await;
    migrate(&owner).await.unwrap();
    let store = Store::postgres(&owner, 8).await.unwrap();
    assert!(store.is_shared());
    conforms(&store).await;
    store.close().await;
    server.end().await;
}

/// As it should be in production: one role migrates, another one serves.
#[tokio::test(flavor = "multi_thread")]
async fn conforms_as_a_role_that_owns_nothing() {
    let server = Server::new("rounds").await;
    migrate(&server.superuser()).await.unwrap();
    let url = role_without_tables(&server).await;
    let store = Store::postgres(&url, 8).await.unwrap();
    assert!(store.is_new().await.unwrap());
    conforms(&store).await;
    assert!(!store.is_new().await.unwrap());
    // Word of what was kept goes to others without any further right.
    let mut listener = store.database().listen("scale_rounds").await.unwrap().expect("a server tells");
    tx!(store, |tx| tx.notify("scale_rounds", "a round").await).unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(10), listener.next()).await.expect("it is told");
    assert_eq!(heard, scale_sql::Heard::Payload("a round".into()));
    // It cannot change the schema, and says so in a word that an operator understands.
    for refused in [migrate_down(&url).await, migrations::of(Engine::Postgres).undo(store.database(), 0).await] {
        assert_eq!(refused.unwrap_err().code(), "unknown_schema");
    }
    store.close().await;
    server.end().await;
}

/// Takes the schema away with rights that do not suffice.
async fn migrate_down(url: &str) -> Result<(), StoreError> {
    let database = Database::postgres(url, PostgresOptions::default())?;
    let dropped =
        database.run_tx("drop", |tx| Box::pin(async move { tx.execute(scale_sql::sql("DROP TABLE work")).await }));
    dropped.await.map(drop)
}

/// With statements that connections keep prepared, which is what connections of our own are for.
#[tokio::test(flavor = "multi_thread")]
async fn conforms_with_kept_statements() {
    let server = Server::new("rounds").await;
    migrate(&server.superuser()).await.unwrap();
    let store = Store::postgres(&format!("{}?statement-cache-capacity=100", server.superuser()), 8).await.unwrap();
    conforms(&store).await;
    store.close().await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_schemas_are_refused_and_several_replicas_migrate_at_once() {
    let server = Server::new("rounds").await;
    let url = server.superuser();
    let older = Store::postgres(&url, 2).await.unwrap_err();
    assert_eq!(older.code(), "unknown_schema");
    assert!(older.to_string().contains("scale-coordinator migrate"), "it says what to do: {older}");
    assert_eq!(server.ask("SELECT relname::text FROM pg_class WHERE relname = 'rounds'").await, [""; 0]);

    let all = missing_steps(&url).await.unwrap();
    assert!(!all.is_empty());
    let answers = futures::future::join_all((0..4).map(|_| migrate(&url))).await;
    for taken in answers {
        let taken = taken.expect("each waits for the others");
        assert!(taken.is_empty() || taken == all, "{taken:?}");
    }
    assert_eq!(missing_steps(&url).await.unwrap(), []);
    Store::postgres(&url, 2).await.unwrap().close().await;

    for (change, says) in [
        ("UPDATE scale_rounds_migrations SET version = 999 WHERE version = 1", "schema 999"),
        ("UPDATE scale_rounds_migrations SET version = 1, checksum = '\\x00'", "another file"),
    ] {
        server.run(change).await;
        for refused in [Store::postgres(&url, 2).await.map(drop), migrate(&url).await.map(drop)] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), "unknown_schema");
            assert!(refused.to_string().contains(says), "{refused}");
        }
    }
    let nobody = Store::postgres("postgres://nobody:x@127.0.0.1:1/nothing", 2).await.unwrap_err();
    assert_eq!(nobody.code(), "storage_unavailable");
    server.end().await;
}

/// Steps go down to nothing, beside what others keep in the same database, and up again.
#[tokio::test(flavor = "multi_thread")]
async fn the_schema_goes_up_and_down_beside_others() {
    let server = Server::new("rounds").await;
    server.run("CREATE TABLE somebody_elses (id BIGINT PRIMARY KEY)").await;
    migrate(&server.superuser()).await.unwrap();
    let database = Database::postgres(&server.superuser(), PostgresOptions::default()).unwrap();
    let steps = migrations::of(Engine::Postgres);
    steps.undo(&database, 0).await.unwrap();
    let tables = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
         AND relname <> 'scale_rounds_migrations'";
    assert_eq!(server.ask(tables).await, ["somebody_elses"]);
    steps.run(&database).await.unwrap();
    database.close().await;
    server.end().await;
}

async fn with_session(server: &Server) -> (Store, Store, SessionId) {
    migrate(&server.superuser()).await.unwrap();
    let store = Store::postgres(&server.superuser(), 8).await.unwrap();
    let session = SessionId::from_random([1; 16]);
    tx!(store, |tx| {
        tx.insert_task(&task("a")).await?;
        tx.insert_round(&round(1, &task("a").id, 1)).await?;
        let row = SessionRow {
            id: session,
            round: round(1, &task("a").id, 1).id,
            ordinal: 0,
            stage: SessionStage::Keys,
            gate: Gate::Open,
            sum_blob: None,
        };
        tx.insert_session(&row).await
    })
    .unwrap();
    let other = Store::postgres(&server.superuser(), 8).await.unwrap();
    (store, other, session)
}

/// A stage is closed on everything that was taken: whoever shuts the gate waits for those who have seen it open, and who
/// comes after sees it shut.
#[tokio::test(flavor = "multi_thread")]
async fn shutting_a_gate_waits_for_messages_that_are_being_kept() {
    let server = Server::new("rounds").await;
    let (store, other, session) = with_session(&server).await;
    let [seen_open, kept] = [(); 2].map(|()| Arc::new(tokio::sync::Notify::new()));
    let signals = [&seen_open, &kept].map(Arc::clone);
    let keeping = store.run_tx("keep", move |tx| {
        let [seen_open, kept] = signals.clone();
        Box::pin(async move {
            assert_eq!(tx.hold_session(session).await?.expect("a session").gate, Gate::Open);
            seen_open.notify_one();
            kept.notified().await;
            let message = MessageRow { session, stage: 0, device: device(1), payload: bytes::Bytes::from_static(b"x") };
            tx.insert_message(&message).await
        })
    });
    let shutting = async {
        seen_open.notified().await;
        let shut = other.run_tx("shut", |tx| {
            Box::pin(async move {
                tx.set_session_stage(session, SessionStage::Keys, Gate::Closing).await?;
                tx.count_messages(session, 0).await
            })
        });
        let early = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            kept.notify_one();
        };
        tokio::join!(shut, early).0
    };
    let (inserted, counted) = tokio::join!(keeping, shutting);
    assert_eq!((inserted, counted), (Ok(Inserted::New), Ok(1)), "no message is kept behind a shut gate");
    assert_eq!(tx!(store, |tx| tx.hold_session(session).await).unwrap().expect("a session").gate, Gate::Closing);
    server.end().await;
}

/// Many processes that take work at the same time get each piece of it once.
#[tokio::test(flavor = "multi_thread")]
async fn work_is_leased_once_however_many_ask() {
    let server = Server::new("rounds").await;
    let (store, other, _) = with_session(&server).await;
    let round = round(1, &task("a").id, 1).id;
    for n in 0..40_u8 {
        let (session, stage) = (Some(SessionId::from_random([1 + n / 5; 16])), Some(n % 5));
        let work = move || WorkRow { kind: WorkKind::CloseStage, round, session, stage, attempts: 0 };
        tx!(store, |tx| tx.insert_work(&work(), at(0)).await).unwrap();
    }
    let lease = async |store: &Store, n: u8| {
        tx!(store, |tx| tx.lease_work(LeaseToken([n; 16]), at(10), at(1_000), 4).await).unwrap()
    };
    let mut leased =
        futures::future::join_all((0..8).map(|n| lease(if n % 2 == 0 { &store } else { &other }, n))).await;
    // What was locked at that moment was passed over, and is found by the next who asks.
    for n in 8..20 {
        leased.push(lease(&store, n).await);
    }
    let mut ids: Vec<String> = leased.into_iter().flatten().map(|work| work.id()).collect();
    ids.sort_unstable();
    assert_eq!(ids.len(), 40);
    ids.dedup();
    assert_eq!(ids.len(), 40, "each is leased once");
    store.close().await;
    other.close().await;
    server.end().await;
}
