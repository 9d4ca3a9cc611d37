//! The embedded store: what only a file can show.

use bytes::Bytes;
use scale_proto::ids::{RoundId, SessionId};

use super::conformance::{conforms, device, round, task, tx};

use super::*;
use crate::round::SessionStage;
use crate::rows::{Gate, MessageRow, SessionRow};

#[tokio::test]
async fn memory_conforms() {
    conforms(&Store::open_in_memory().await.unwrap()).await;
}

#[tokio::test]
async fn file_conforms_and_keeps_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coordinator.sqlite3");
    let store = Store::open(&path).await.unwrap();
    conforms(&store).await;
    let before = tx!(store, |tx| tx.tasks().await).unwrap();
    store.close().await;
    drop(store);
    let store = Store::open(&path).await.unwrap();
    assert_eq!(tx!(store, |tx| tx.tasks().await).unwrap(), before);
    assert_eq!(before.len(), 2);
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coordinator.sqlite3");
    let first = Store::open(&path).await.unwrap();
    let refused = Store::open(&path).await.unwrap_err();
    assert_eq!(refused.code(), "data_folder_in_use");
    drop(first);
    Store::open(&path).await.unwrap();
}

#[tokio::test]
async fn readers_see_a_snapshot_and_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("db")).await.unwrap();
    let writer = store.clone();
    let (before, after): (usize, usize) = store
        .read("test", |tx| {
            Box::pin(async move {
                let before = tx.tasks().await?.len();
                tx!(writer, |tx| tx.insert_task(&task("a")).await)?;
                Ok::<_, StoreError>((before, tx.tasks().await?.len()))
            })
        })
        .await
        .unwrap();
    assert_eq!((before, after), (0, 0));
    let refused = store.read("test", |tx| Box::pin(async move { tx.insert_task(&task("b")).await })).await;
    assert!(refused.is_err());
    assert_eq!(tx!(store, |tx| tx.tasks().await).unwrap().len(), 1);
}

#[tokio::test]
async fn an_abandoned_transaction_is_undone() {
    let store = Store::open_in_memory().await.unwrap();
    let stuck = tokio::time::timeout(
        Duration::from_millis(100),
        store.run_tx("test", |tx| {
            Box::pin(async move {
                tx.insert_task(&task("a")).await?;
                std::future::pending::<Result<(), StoreError>>().await
            })
        }),
    );
    stuck.await.unwrap_err();
    assert_eq!(tx!(store, |tx| tx.tasks().await), Ok(vec![]));
}

/// A full disk, as SQLite reports it: the file may not grow any more.
#[tokio::test]
async fn a_full_disk_changes_nothing_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let session = SessionId::from_random([1; 16]);
    let big = move |n: u8| MessageRow { session, stage: 0, device: device(n), payload: Bytes::from(vec![n; 400_000]) };

    let store = Store::open_with(&path, Options { max_pages: Some(256) }).await.unwrap();
    tx!(store, |tx| {
        tx.insert_task(&task("a")).await?;
        tx.insert_round(&round(1, &task("a").id, 1)).await?;
        let row = SessionRow {
            id: session,
            round: RoundId::from_random([1; 16]),
            ordinal: 0,
            stage: SessionStage::Keys,
            gate: Gate::Open,
            sum_blob: None,
        };
        tx.insert_session(&row).await
    })
    .unwrap();
    tx!(store, |tx| tx.insert_message(&big(0)).await).unwrap();
    for _ in 0..3 {
        let full: Result<(), StoreError> = tx!(store, |tx| {
            tx.set_session_stage(session, SessionStage::Shares, Gate::Open).await?;
            for n in 1..9 {
                tx.insert_message(&big(n)).await?;
            }
            Ok(())
        });
        let full = full.unwrap_err();
        assert_eq!(full.code(), "storage_full", "{full}");
        assert!(full.retry_helps());
        assert_eq!(tx!(store, |tx| tx.messages(session, 0).await).unwrap().len(), 1);
        assert_eq!(tx!(store, |tx| tx.session(session).await).unwrap().unwrap().stage, SessionStage::Keys);
    }
    tx!(store, |tx| tx.set_session_stage(session, SessionStage::Shares, Gate::Open).await).unwrap();
    drop(store);

    let roomy = Store::open(&path).await.unwrap();
    for n in 1..9 {
        tx!(roomy, |tx| tx.insert_message(&big(n)).await).unwrap();
    }
    assert_eq!(tx!(roomy, |tx| tx.messages(session, 0).await).unwrap().len(), 9);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    std::fs::write(&path, "shopping list: milk, bread, and so on and so on").unwrap();
    let refused = Store::open(&path).await.unwrap_err();
    assert_eq!(refused.code(), "unknown_schema", "{refused}");
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("shopping list"));
}
