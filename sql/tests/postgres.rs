//! What only a server can do: meet, deadlock, end connections, tell others.

mod kit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kit::{MIGRATIONS, count_from, one_more, postgres, value};
use scale_sql::testing::{Proxy, Server};
use scale_sql::{Access, Database, Error, Heard, Isolation, PostgresOptions, sql};
use tokio::sync::Barrier;

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_ends_well_for_both() {
    let server = Server::new("sql").await;
    let database = postgres(&server, Isolation::ReadCommitted).await;
    count_from(&database, "a", 0).await.unwrap();
    count_from(&database, "b", 0).await.unwrap();
    let (attempts, both) = (Arc::new(AtomicU32::new(0)), Arc::new(Barrier::new(2)));
    let runs = [["a", "b"], ["b", "a"]].map(|order| {
        let (database, attempts, both) = (database.clone(), attempts.clone(), both.clone());
        tokio::spawn(async move {
            let done: Result<(), Error> = database
                .run_tx("cross", |tx| {
                    let (attempt, both) = (attempts.fetch_add(1, Ordering::SeqCst), both.clone());
                    Box::pin(async move {
                        for (step, name) in order.into_iter().enumerate() {
                            let update = sql("UPDATE counters SET value = value + 1 WHERE name = $1").bind(name);
                            tx.execute(update).await?;
                            if attempt < 2 && step == 0 {
                                both.wait().await;
                            }
                        }
                        Ok(())
                    })
                })
                .await;
            done
        })
    });
    for run in runs {
        run.await.unwrap().unwrap();
    }
    assert_eq!((value(&database, "a").await, value(&database, "b").await), (Some(2), Some(2)));
    assert_eq!(attempts.load(Ordering::SeqCst), 3, "one was undone by the server, once");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_loses_every_time_ends() {
    let server = Server::new("sql").await;
    let database = postgres(&server, Isolation::RepeatableRead).await;
    count_from(&database, "a", 0).await.unwrap();
    let (attempts, other) = (Arc::new(AtomicU32::new(0)), database.clone());
    let counted = attempts.clone();
    let lost: Result<(), Error> = database
        .run_tx("loses", move |tx| {
            counted.fetch_add(1, Ordering::SeqCst);
            let other = other.clone();
            Box::pin(async move {
                tx.all(sql("SELECT value FROM counters"), |_| Ok(())).await?;
                one_more(&other, "a").await?;
                tx.execute(sql("UPDATE counters SET value = -1")).await.map(drop)
            })
        })
        .await;
    assert_eq!(lost.unwrap_err().code(), "storage_unavailable");
    let attempts = attempts.load(Ordering::SeqCst);
    assert!((2..=10).contains(&attempts), "{attempts}");
    assert_eq!(value(&database, "a").await, Some(i64::from(attempts)));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_the_server_refuses_keeps_nothing() {
    let server = Server::new("sql").await;
    let database = postgres(&server, Isolation::default()).await;
    // The server looks at this reference when the transaction ends.
    let kept: Result<(), Error> = database
        .run_tx("orphan", |tx| {
            Box::pin(async move {
                tx.execute(sql("INSERT INTO counters (name, value) VALUES ('a', 1)")).await?;
                tx.execute(sql("INSERT INTO things (id, counter) VALUES (1, 'nobody')")).await.map(drop)
            })
        })
        .await;
    assert!(matches!(kept, Err(Error::Conflict(_))), "{kept:?}");
    assert_eq!(value(&database, "a").await, None);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_costs_one_transaction() {
    let server = Server::new("sql").await;
    drop(postgres(&server, Isolation::default()).await);
    let proxy = Proxy::new(&server).await;
    let database = Database::postgres(&proxy.url(&server), PostgresOptions::default()).unwrap();
    count_from(&database, "a", 1).await.unwrap();

    // Cut while nobody used them, by the network and by the server: nobody notices.
    for _ in 0..3 {
        proxy.cut();
        one_more(&database, "a").await.unwrap();
        server.end_connections().await;
        one_more(&database, "a").await.unwrap();
    }
    assert_eq!(value(&database, "a").await, Some(7));

    // In the middle: what was written is gone, and the next one works.
    for by_server in [false, true] {
        let mut tx = database.begin(Access::Write, None).await.unwrap();
        tx.execute(sql("UPDATE counters SET value = 99")).await.unwrap();
        if by_server {
            server.end_connections().await
        } else {
            proxy.cut()
        }
        assert_eq!(tx.execute(sql("SELECT 1")).await.unwrap_err().code(), "storage_unavailable");
        assert_eq!(tx.commit().await.unwrap_err().code(), "storage_unavailable");
        assert_eq!(value(&database, "a").await, Some(7));
    }
    // In the middle of a statement that runs.
    let mut tx = database.begin(Access::Write, None).await.unwrap();
    let start = Instant::now();
    let (slept, ()) = tokio::join!(tx.execute(sql("SELECT pg_sleep(10)")), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.cut();
    });
    assert_eq!(slept.unwrap_err().code(), "storage_unavailable");
    assert!(start.elapsed() < Duration::from_secs(5));
    tx.undo().await;
    one_more(&database, "a").await.unwrap();
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_hear_what_was_kept_and_that_they_may_have_missed_something() {
    let server = Server::new("sql").await;
    let database = postgres(&server, Isolation::default()).await;
    let mut listener = database.listen("counted").await.unwrap().unwrap();
    let tell = async |channel: &'static str, kept: bool| {
        let mut tx = database.begin(Access::Write, None).await.unwrap();
        tx.notify(channel, if kept { "kept, 'quoted'" } else { "undone" }).await.unwrap();
        if kept { tx.commit().await.unwrap() } else { tx.undo().await }
    };
    let mut hear = async || tokio::time::timeout(Duration::from_secs(10), listener.next()).await.unwrap();
    let kept = Heard::Payload("kept, 'quoted'".to_owned());
    tell("counted", false).await;
    tell("elsewhere", true).await;
    tell("counted", true).await;
    assert_eq!(hear().await, kept);
    server.end_connections().await;
    assert_eq!(hear().await, Heard::Gap);
    tell("counted", true).await;
    assert_eq!(hear().await, kept);
    server.end().await;
}

#[tokio::test]
async fn the_servers_clock_is_read() {
    let server = Server::new("sql").await;
    let database = postgres(&server, Isolation::default()).await;
    let mut tx = database.begin(Access::ReadOne, None).await.unwrap();
    let here = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let there = tx.server_millis().await.unwrap().unwrap();
    assert!(here.abs_diff(there.into()) < 60_000, "{here} {there}");
    tx.commit().await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn what_begins_a_transaction_holds_for_it_alone() {
    let server = Server::new("sql").await;
    let database =
        Database::postgres(&server.superuser(), PostgresOptions { max_connections: 1, ..Default::default() }).unwrap();
    let asked = || sql("SELECT coalesce(current_setting('scale.person', true), '') AS person");
    for (first, expected) in [(Some("SELECT set_config('scale.person', 'eve', true)".to_owned()), "eve"), (None, "")] {
        let mut tx = database.begin(Access::Write, first).await.unwrap();
        let person: Option<String> = tx.one(asked(), |row| row.get("person")).await.unwrap();
        assert_eq!(person.as_deref(), Some(expected));
        tx.commit().await.unwrap();
    }
    let wrong = Database::postgres(&server.superuser().replace("/sql_", "/no_"), PostgresOptions::default()).unwrap();
    assert_eq!(wrong.ping().await.unwrap_err().code(), "unknown_schema");
    assert_eq!(Database::postgres("nonsense", PostgresOptions::default()).unwrap_err().code(), "unknown_schema");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_go_up_and_down_and_unknown_ones_are_refused() {
    let server = Server::new("sql").await;
    let database = Database::postgres(&server.superuser(), PostgresOptions::default()).unwrap();
    let all = MIGRATIONS.missing(&database).await.unwrap();
    assert_eq!(all.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0001 counters"]);
    // Two replicas start at once.
    let (one, two) = tokio::join!(MIGRATIONS.run(&database), MIGRATIONS.run(&database));
    // Each has taken the steps, or found that they were just taken.
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one == all || two == all, "{one:?} {two:?}");
    assert_eq!(MIGRATIONS.run(&database).await.unwrap(), []);
    MIGRATIONS.undo(&database, 0).await.unwrap();
    assert_eq!(MIGRATIONS.run(&database).await.unwrap(), all);
    for (change, says) in [
        ("UPDATE scale_test_migrations SET checksum = '\\x00'", "another file"),
        ("UPDATE scale_test_migrations SET version = 999", "schema 999"),
    ] {
        server.run(change).await;
        let answers = [
            MIGRATIONS.missing(&database).await.map(drop),
            MIGRATIONS.run(&database).await.map(drop),
            MIGRATIONS.undo(&database, 0).await,
        ];
        for refused in answers {
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), "unknown_schema");
            assert!(refused.to_string().contains(says), "{refused}");
        }
    }
    server.end().await;
}
