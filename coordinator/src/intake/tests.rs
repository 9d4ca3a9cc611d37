//! Whole uploads on their way into partial sums: exact, whatever fails in between.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use scale_client_core::testing::inputs::{config, input, plain_sum};
use scale_proto::ids::{DeviceId, Digest, SessionId};
use scale_secagg::config::RoundConfig;

use futures::future::BoxFuture;

use super::segment::{Commit, Committed, Queued, SegmentWriter, segment_path, sum_segments};
use crate::blobs::{BlobError, Blobs};
use crate::error::Error;
use crate::rows::SegmentRow;
use crate::staging::{Held, Staging, Upload};

fn session() -> SessionId {
    SessionId::from_random([5; 16])
}

fn device(number: u8) -> DeviceId {
    DeviceId::from_random([number; 16])
}

fn announce(number: u8, packed: &[u8]) -> Upload {
    Upload { session: session(), device: device(number), digest: Digest::of(packed), total: packed.len() as u64 }
}

async fn stage(staging: &Staging, number: u8, config: &Arc<RoundConfig>) -> Queued {
    let (_, packed) = input(number, config);
    let upload = announce(number, &packed);
    assert_eq!(staging.append(&upload, 0, packed).await.expect("there is room"), Held::Whole);
    staging.verify(&upload, Arc::clone(config)).await.expect("a good upload");
    Queued { upload, index: number.into() }
}

async fn stage_all(staging: &Staging, numbers: std::ops::Range<u8>, config: &Arc<RoundConfig>) -> Vec<Queued> {
    let mut queued = Vec::new();
    for number in numbers {
        queued.push(stage(staging, number, config).await);
    }
    queued
}

/// Keeps what was committed and what was missed; fails as often as it is told to.
#[derive(Default)]
struct Ledger {
    failures: AtomicU32,
    missing: Mutex<Vec<Upload>>,
    committed: Mutex<Vec<(SegmentRow, Vec<Queued>)>>,
}

impl Ledger {
    fn failing(times: u32) -> Arc<Self> {
        Arc::new(Self { failures: AtomicU32::new(times), ..Self::default() })
    }

    fn committed(&self) -> Vec<(SegmentRow, Vec<Queued>)> {
        self.committed.lock().expect("nobody panics").clone()
    }
}

impl Commit for Ledger {
    fn commit(&self, segment: SegmentRow, uploads: Vec<Queued>) -> BoxFuture<'_, Result<Committed, Error>> {
        Box::pin(async move {
            if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                return Err(Error::Blob(BlobError::Unavailable("the database is away".into())));
            }
            self.committed.lock().expect("nobody panics").push((segment, uploads));
            Ok(Committed::Done)
        })
    }

    fn missing(&self, uploads: Vec<Upload>) -> BoxFuture<'_, Result<(), Error>> {
        self.missing.lock().expect("nobody panics").extend(uploads);
        Box::pin(async { Ok(()) })
    }
}

fn writer(config: &Arc<RoundConfig>, staging: &Staging, blobs: &Blobs, ledger: &Arc<Ledger>) -> Arc<SegmentWriter> {
    let commit: Arc<dyn Commit> = ledger.clone();
    Arc::new(SegmentWriter::new(session(), Arc::clone(config), staging.clone(), blobs.clone(), commit))
}

#[tokio::test]
async fn what_waits_becomes_one_segment_and_the_sum_is_exact() {
    let folder = tempfile::tempdir().expect("a folder");
    let staging = Staging::folder(folder.path().into()).expect("a folder");
    let (config, blobs, ledger) = (config(1001), Blobs::in_memory(), Ledger::failing(0));
    let adder = writer(&config, &staging, &blobs, &ledger);
    let queued = stage_all(&staging, 0..20, &config).await;
    // No await between them: the worker starts with all of them.
    for &upload in &queued {
        adder.enqueue(upload.upload, upload.index);
        adder.enqueue(upload.upload, upload.index);
    }
    adder.drained().await;
    let committed = ledger.committed();
    assert_eq!(committed.len(), 1, "one synced write for all that waited");
    assert_eq!(committed[0].1, queued, "nobody twice");
    let segments: Vec<SegmentRow> = committed.into_iter().map(|(segment, _)| segment).collect();
    let sum = sum_segments(&blobs, &config, &segments).await.expect("the blob is there");
    assert_eq!(sum.sums().concat(), plain_sum(0..20, &config));
}

/// Uploads come one after the other, as devices finish: each of them alone would cost a segment.
#[tokio::test]
async fn uploads_that_come_shortly_after_each_other_share_a_segment() {
    let folder = tempfile::tempdir().expect("a folder");
    let staging = Staging::folder(folder.path().into()).expect("a folder");
    let (config, blobs, ledger) = (config(77), Blobs::in_memory(), Ledger::failing(0));
    let adder = writer(&config, &staging, &blobs, &ledger);
    for number in 0..10 {
        let queued = stage(&staging, number, &config).await;
        adder.enqueue(queued.upload, queued.index);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Nobody asks for the end: it comes by itself.
    while ledger.committed().iter().map(|(_, uploads)| uploads.len()).sum::<usize>() < 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(ledger.committed().len() <= 3, "{} segments of 10 uploads", ledger.committed().len());
}

/// The process dies, or the database fails, after the blob was written and before the rows were: the blob is an orphan,
/// the uploads are added again, and nothing is in the sum twice.
#[tokio::test]
async fn a_crash_between_blob_and_rows_counts_nobody_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let staging = Staging::folder(folder.path().into()).expect("a folder");
    let (config, blobs, ledger) = (config(77), Blobs::in_memory(), Ledger::failing(2));
    let adder = writer(&config, &staging, &blobs, &ledger);
    let first = stage(&staging, 1, &config).await;
    adder.enqueue(first.upload, first.index);
    tokio::time::sleep(Duration::from_millis(300)).await;
    // While it is being tried, others come, and the first one's device asks again.
    let queued = stage(&staging, 2, &config).await;
    adder.enqueue(queued.upload, queued.index);
    adder.enqueue(first.upload, first.index);
    adder.drained().await;
    let committed = ledger.committed();
    let mut uploads: Vec<u32> = committed.iter().flat_map(|(_, uploads)| uploads).map(|upload| upload.index).collect();
    uploads.sort_unstable();
    assert_eq!(uploads, [1, 2]);
    assert!(blobs.list("segments").await.expect("no disk error").len() > committed.len(), "orphans are there");
    let segments: Vec<SegmentRow> = committed.into_iter().map(|(segment, _)| segment).collect();
    let sum = sum_segments(&blobs, &config, &segments).await.expect("the blobs are there");
    assert_eq!(sum.sums().concat(), plain_sum(1..3, &config));
}

#[tokio::test]
async fn a_damaged_upload_spoils_no_sum() {
    let folder = tempfile::tempdir().expect("a folder");
    let staging = Staging::folder(folder.path().into()).expect("a folder");
    let config = config(64);
    let good = stage(&staging, 1, &config).await;
    let bad = Queued { upload: Upload { device: device(9), ..good.upload }, index: 9 };
    let blobs = Blobs::in_memory();
    let adder = writer(&config, &staging, &blobs, &Ledger::failing(0));
    assert!(adder.segment(&[good, bad]).await.is_err(), "the second file is missing");
    let segment = adder.segment(&[good]).await.expect("the first is fine");
    let sum = sum_segments(&blobs, &config, &[segment]).await.expect("the blob is there");
    assert_eq!(sum.sums().concat(), plain_sum(1..2, &config));
}

/// Another process has added an upload and removed what was staged, or a disk has lost it: the others are added at once.
#[tokio::test]
async fn an_upload_that_is_not_staged_any_more_holds_up_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let staging = Staging::folder(folder.path().into()).expect("a folder");
    let (config, blobs, ledger) = (config(64), Blobs::in_memory(), Ledger::failing(0));
    let adder = writer(&config, &staging, &blobs, &ledger);
    let queued = stage_all(&staging, 0..16, &config).await;
    staging.remove(&queued[5].upload).await.expect("it was there");
    for &upload in &queued {
        adder.enqueue(upload.upload, upload.index);
    }
    tokio::time::timeout(Duration::from_secs(5), adder.drained()).await.expect("it does not stay in the queue");
    assert_eq!(*ledger.missing.lock().expect("nobody panics"), [queued[5].upload], "somebody looks what became of it");
    let committed = ledger.committed();
    assert_eq!(committed.len(), 1, "nothing fails on the way");
    let others = [&queued[..5], &queued[6..]].concat();
    assert_eq!(committed[0].1, others);
}

#[tokio::test]
async fn a_stopped_queue_takes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let staging = Staging::folder(folder.path().into()).expect("a folder");
    let (config, ledger) = (config(64), Ledger::failing(u32::MAX));
    let adder = writer(&config, &staging, &Blobs::in_memory(), &ledger);
    let queued = stage(&staging, 1, &config).await;
    adder.enqueue(queued.upload, queued.index);
    tokio::time::sleep(Duration::from_millis(300)).await;
    adder.stop();
    adder.drained().await;
    let queued = stage(&staging, 2, &config).await;
    adder.enqueue(queued.upload, queued.index);
    adder.drained().await;
    assert!(ledger.committed().is_empty());
}

#[tokio::test]
async fn missing_and_damaged_segments_are_named() {
    let (config, blobs) = (config(64), Blobs::in_memory());
    let row = SegmentRow { id: "x".into(), session: session(), blob: segment_path(session(), "x"), uploads: 1 };
    let missing = sum_segments(&blobs, &config, std::slice::from_ref(&row)).await;
    assert!(missing.expect_err("it is not there").to_string().contains(&row.blob));
    blobs.put_new(&row.blob, vec![0; 4 * 67].into()).await.expect("there is room");
    assert!(matches!(sum_segments(&blobs, &config, &[row]).await, Err(Error::Bug(_))), "a word is missing");
}

/// Another process has added one of the uploads: the segment is made again without it, and nobody is counted twice.
#[tokio::test]
async fn uploads_that_are_in_another_sum_are_left_out() {
    struct Elsewhere(Ledger);
    impl Commit for Elsewhere {
        fn commit(&self, segment: SegmentRow, uploads: Vec<Queued>) -> BoxFuture<'_, Result<Committed, Error>> {
            Box::pin(async move {
                if uploads.iter().any(|queued| queued.index == 2) {
                    return Ok(Committed::Already(vec![device(2)]));
                }
                self.0.commit(segment, uploads).await
            })
        }

        fn missing(&self, uploads: Vec<Upload>) -> BoxFuture<'_, Result<(), Error>> {
            self.0.missing(uploads)
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let staging = Staging::folder(folder.path().into()).expect("a folder");
    let (config, blobs) = (config(64), Blobs::in_memory());
    let elsewhere = Arc::new(Elsewhere(Ledger::default()));
    let commit: Arc<dyn Commit> = elsewhere.clone();
    let adder = Arc::new(SegmentWriter::new(session(), Arc::clone(&config), staging.clone(), blobs.clone(), commit));
    for queued in stage_all(&staging, 0..4, &config).await {
        adder.enqueue(queued.upload, queued.index);
    }
    adder.drained().await;
    let committed = elsewhere.0.committed();
    assert_eq!(committed.len(), 1);
    let indices: Vec<u32> = committed[0].1.iter().map(|queued| queued.index).collect();
    assert_eq!(indices, [0, 1, 3]);
    let sum = sum_segments(&blobs, &config, &[committed[0].0.clone()]).await.expect("the blob is there");
    assert_eq!(sum.sums().concat(), plain_sum([0, 1, 3].into_iter(), &config));
}
