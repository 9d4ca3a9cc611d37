//! What is the same on SQLite and on Postgres.

mod kit;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kit::{count_from, file, memory, one_more, postgres, value};
use scale_clock::Timestamp;
use scale_sql::testing::Server;
use scale_sql::{Access, Database, Error, Isolation, Moment, Row, Value, by_engine, sql};
use serde_json::json;
use time::macros::date;
use uuid::Uuid;

/// On a file, in memory, and on Postgres, each new.
async fn on_each<F: Future<Output = ()>>(test: impl Fn(Database) -> F) {
    let folder = tempfile::tempdir().unwrap();
    test(file(folder.path()).await).await;
    test(memory().await).await;
    let server = Server::new("sql").await;
    test(postgres(&server, Isolation::default()).await).await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_is_kept_or_undone_as_it_says() {
    on_each(async |database| {
        count_from(&database, "a", 1).await.unwrap();
        assert_eq!(one_more(&database, "a").await.unwrap(), 2);
        let refused: Result<(), Error> = database
            .run_tx("refused", |tx| {
                Box::pin(async move {
                    assert_eq!(tx.execute(sql("UPDATE counters SET value = 9")).await?, 1);
                    Err(Error::Internal("no".to_owned()))
                })
            })
            .await;
        assert_eq!(refused, Err(Error::Internal("no".to_owned())));
        assert_eq!(value(&database, "a").await, Some(2));
        database.ping().await.unwrap();
        database.close().await;
        assert_eq!(database.ping().await.unwrap_err().code(), "storage_unavailable");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_in_which_a_statement_failed_keeps_nothing() {
    on_each(async |database| {
        count_from(&database, "a", 1).await.unwrap();
        let kept: Result<(), Error> = database
            .run_tx("careless", |tx| {
                Box::pin(async move {
                    tx.execute(sql("UPDATE counters SET value = 7")).await?;
                    let again = sql("INSERT INTO counters (name, value) VALUES ('a', 1)");
                    assert!(matches!(tx.execute(again).await, Err(Error::Conflict(_))));
                    // A server would answer COMMIT with a rollback now, and call it done.
                    Ok(())
                })
            })
            .await;
        assert!(matches!(kept, Err(Error::Conflict(_))), "{kept:?}");
        assert_eq!(value(&database, "a").await, Some(1));

        let mut tx = database.begin(Access::Write, None).await.unwrap();
        let wrong = tx.execute(sql("SELECT no FROM such_table")).await.unwrap_err();
        assert_eq!(wrong.code(), "internal", "{wrong}");
        assert_eq!(tx.execute(sql("UPDATE counters SET value = 7")).await.unwrap_err(), wrong);
        assert_eq!(tx.commit().await.unwrap_err(), wrong);
        assert_eq!(count_from(&database, "large", 1_000_000).await.unwrap_err().code(), "internal");
        assert_eq!(one_more(&database, "a").await.unwrap(), 2, "the connection is as good as before");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_value_comes_back() {
    on_each(async |database| {
        let uuid = Uuid::now_v7();
        let moment = Timestamp::from_millis(1_795_392_000_123);
        let object = json!({"a": [1, 2.5, null], "b": "x"});
        let insert = sql("INSERT INTO things (id, counter, real, flag, text, bytes, uuid, day, millis, moment, json)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
        let full = insert
            .clone()
            .bind(u64::MAX)
            .bind(None::<&str>)
            .bind(0.1)
            .bind(true)
            .bind("zero\0 \u{1f600} '; --")
            .bind([0, 1, 255])
            .bind(uuid)
            .bind(date!(2026 - 02 - 28))
            .bind(moment)
            .bind(Moment(moment))
            .bind(object.clone());
        let empty = insert
            .bind(2_u32)
            .bind(None::<String>)
            .bind(None::<f64>)
            .bind(None::<bool>)
            .bind(None::<&str>)
            .bind(None::<Vec<u8>>)
            .bind(None::<Uuid>)
            .bind(None::<time::Date>)
            .bind(None::<Timestamp>)
            .bind(None::<Moment>)
            .bind(None::<serde_json::Value>);
        let mut tx = database.begin(Access::Write, None).await.unwrap();
        assert_eq!(tx.execute(full).await.unwrap(), 1);
        assert_eq!(tx.execute(empty).await.unwrap(), 1);
        let rows = tx
            .all(sql("SELECT * FROM things ORDER BY id DESC"), |row| {
                let numbers =
                    (row.get::<i64>("id")?, row.get::<Option<f64>>("real")?, row.get::<Option<bool>>("flag")?);
                let texts = (row.get::<Option<String>>("text")?, row.get::<Option<[u8; 3]>>("bytes")?);
                let others = (row.get::<Option<Uuid>>("uuid")?, row.get::<Option<time::Date>>("day")?);
                let times = (row.get::<Option<Timestamp>>("millis")?, row.get::<Option<Moment>>("moment")?);
                assert_eq!(row.get::<Option<Bytes>>("bytes")?.map(Vec::from), row.get::<Option<Vec<u8>>>("bytes")?);
                Ok((numbers, texts, others, times, row.get::<Option<serde_json::Value>>("json")?))
            })
            .await
            .unwrap();
        let text = "zero\u{fffd} \u{1f600} '; --".to_owned();
        let first = (
            (i64::MAX, Some(0.1), Some(true)),
            (Some(text), Some([0, 1, 255])),
            (Some(uuid), Some(date!(2026 - 02 - 28))),
            (Some(moment), Some(Moment(moment))),
            Some(object),
        );
        assert_eq!(rows, [first, ((2, None, None), (None, None), (None, None), (None, None), None)]);

        type Decode = fn(&Row) -> Result<(), Error>;
        let decoders: [(Decode, &str); 4] = [
            (|row| row.get::<[u8; 4]>("bytes").map(drop), "3 bytes instead of 4"),
            (|row| row.get::<i64>("nothing").map(drop), "nothing"),
            (|row| row.get::<u32>("id").map(drop), "id"),
            (|row| row.word("text", |_| None), "unknown word"),
        ];
        for (decode, problem) in decoders {
            let wrong = tx.one(sql("SELECT * FROM things WHERE id > 2"), decode).await.unwrap_err();
            assert_eq!(wrong.code(), "storage_corrupt");
            assert!(wrong.to_string().contains(problem), "{wrong}");
        }
        let others = tx.one(sql("SELECT * FROM things WHERE id = 2"), |row| row.get::<i64>("millis")).await;
        assert_eq!(others.unwrap_err().code(), "storage_corrupt", "nothing where something must be");
        tx.undo().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_statement_takes_many_rows_and_a_value_many_times() {
    on_each(async |database| {
        let insert = by_engine(
            "INSERT INTO things (id, text, bytes)
             SELECT id.value, text.value, unhex(bytes.value)
             FROM json_each($1) AS id JOIN json_each($2) AS text USING (key) JOIN json_each($3) AS bytes USING (key)",
            "INSERT INTO things (id, text, bytes) SELECT * FROM unnest($1, $2, $3)",
        )
        .bind(Value::ints(1..=3))
        .bind(Value::texts(["a", "\"b\"", "c\\"]))
        .bind(Value::bytes_list([vec![0, 255], vec![], vec![7]]));
        let mut tx = database.begin(Access::Write, None).await.unwrap();
        assert_eq!(tx.execute(insert).await.unwrap(), 3);
        let find = by_engine(
            "SELECT * FROM things WHERE id IN (SELECT value FROM json_each($1)) AND (id = $2 OR id = $2 + 2) ORDER BY id",
            "SELECT * FROM things WHERE id = ANY($1) AND (id = $2 OR id = $2 + 2) ORDER BY id",
        )
        .bind(Value::ints([1, 2, 3]))
        .bind(1_i64);
        let found = tx
            .all(find.clone().for_update().skip_locked(), |row| {
                Ok((row.get::<u64>("id")?, row.get::<String>("text")?, row.get::<Vec<u8>>("bytes")?))
            })
            .await
            .unwrap();
        assert_eq!(found, [(1, "a".to_owned(), vec![0, 255]), (3, "c\\".to_owned(), vec![7])]);
        let pushed = sql("SELECT count(*) AS n FROM things WHERE id > $1").bind(0_i64).push(" AND text = $?").bind("a");
        assert_eq!(tx.one(pushed, |row| row.get::<u64>("n")).await.unwrap(), Some(1));
        let none = by_engine(
            "SELECT count(*) AS n FROM things WHERE bytes IN (SELECT unhex(value) FROM json_each($1))",
            "SELECT count(*) AS n FROM things WHERE bytes = ANY($1)",
        );
        let empty = none.bind(Value::bytes_list(Vec::<Vec<u8>>::new()));
        assert_eq!(tx.one(empty, |row| row.get::<u64>("n")).await.unwrap(), Some(0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_hangs_up_leaves_anything() {
    on_each(async |database| {
        count_from(&database, "a", 1).await.unwrap();
        let slow = by_engine(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT count(*) FROM n",
            "SELECT pg_sleep(0.5)",
        );
        // In the middle of a statement, and in the middle of the work, each inside futures that are dropped with theirs.
        for wait in [1, 3, 10, 30] {
            let nested = async {
                let work = database.run_tx("dropped", |tx| {
                    let slow = slow.clone();
                    Box::pin(async move {
                        tx.execute(sql("UPDATE counters SET value = 99")).await?;
                        tx.all(slow, |_| Ok(())).await?;
                        std::future::pending::<Result<(), Error>>().await
                    })
                });
                tokio::time::timeout(Duration::from_secs(60), work).await
            };
            assert!(tokio::time::timeout(Duration::from_millis(wait), nested).await.is_err());
            assert_eq!(value(&database, "a").await, Some(1));
        }
        // The transaction itself goes on living: it knows that it cannot.
        let mut tx = database.begin(Access::Write, None).await.unwrap();
        tx.execute(sql("UPDATE counters SET value = 99")).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(1), tx.all(slow.clone(), |_| Ok(()))).await.is_err());
        assert_eq!(tx.execute(sql("UPDATE counters SET value = 98")).await.unwrap_err().code(), "storage_unavailable");
        assert_eq!(tx.commit().await.unwrap_err().code(), "storage_unavailable");
        drop(database.begin(Access::Write, None).await.unwrap());
        assert_eq!(one_more(&database, "a").await.unwrap(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_one_and_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new("sql").await;
    for database in [file(folder.path()).await, postgres(&server, Isolation::default()).await] {
        count_from(&database, "a", 1).await.unwrap();
        let engine = database.engine();
        let writer = database.clone();
        let seen: Result<(), Error> = database
            .read("look", move |tx| {
                Box::pin(async move {
                    for _ in 0..2 {
                        let now = tx.one(sql("SELECT value FROM counters"), |row| row.get::<i64>("value")).await?;
                        assert_eq!(now, Some(1), "{engine:?}");
                        one_more(&writer, "a").await.unwrap();
                    }
                    assert_eq!(tx.engine(), engine);
                    tx.execute(sql("UPDATE counters SET value = 50")).await.map(drop)
                })
            })
            .await;
        assert!(seen.is_err());
        assert_eq!(value(&database, "a").await, Some(3), "{engine:?}");
    }
    server.end().await;
}

/// The attempts that it took `work`, which runs on both at once, to be done ten times on each.
async fn race(one: Database, other: Database) -> u32 {
    count_from(&one, "race", 0).await.unwrap();
    let attempts = Arc::new(AtomicU32::new(0));
    let runs = [one.clone(), other, one.clone()].map(|database| {
        let attempts = attempts.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                let attempts = attempts.clone();
                let added: Result<(), Error> = database
                    .run_tx("add", move |tx| {
                        attempts.fetch_add(1, Ordering::SeqCst);
                        Box::pin(async move {
                            let find = sql("SELECT value FROM counters WHERE name = 'race'");
                            let value: i64 = tx.one(find, |row| row.get("value")).await?.expect("the counter is there");
                            tokio::time::sleep(Duration::from_millis(2)).await;
                            tx.execute(sql("UPDATE counters SET value = $1").bind(value + 1)).await.map(drop)
                        })
                    })
                    .await;
                added.unwrap();
            }
        })
    });
    for run in runs {
        run.await.unwrap();
    }
    assert_eq!(value(&one, "race").await, Some(30), "nothing is lost");
    attempts.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_race_is_run_again_and_nobody_sees_it() {
    let memory = memory().await;
    race(memory.clone(), memory).await;
    // As two processes would have it: a connection that writes for each.
    let folder = tempfile::tempdir().unwrap();
    race(file(folder.path()).await, file(folder.path()).await).await;
    let server = Server::new("sql").await;
    let database = postgres(&server, Isolation::RepeatableRead).await;
    let attempts = race(database.clone(), database).await;
    assert!(attempts > 30, "they did meet: {attempts} attempts");
    server.end().await;
}
