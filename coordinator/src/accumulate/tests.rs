use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use scale_proto::ids::{DeviceId, Digest, SessionId};
use scale_secagg::config::{Mechanism, RoundConfig, VectorSpec};
use scale_secagg::pack;
use scale_secagg::params::{Class, Profile};

use super::*;
use crate::blobs::Blobs;
use crate::rows::SegmentRow;

const BITS: u8 = 13;

fn config(len: u64) -> Arc<RoundConfig> {
    let vector = |name: &str, len| VectorSpec { name: name.into(), len };
    Arc::new(RoundConfig {
        task_id: "demo".into(),
        round: 1,
        server_nonce: [1; 32],
        model_digest: [2; 32],
        plan_digest: [3; 32],
        vectors: vec![vector("update", len), vector("statistics", 4)],
        wire_bits: BITS,
        clip: 1.0,
        grid: 100,
        rotation_seed: None,
        mechanism: Mechanism::None,
        policy_id: "none".into(),
        profile: Profile::Standard,
        class: Class::Default,
        n_lo: 10,
        n_hi: 20,
        u3_min: 10,
        closing: [1, 2, 3, 4, 5],
        identity_root: [0; 32],
    })
}

fn session() -> SessionId {
    SessionId::from_random([5; 16])
}

fn device(number: u8) -> DeviceId {
    DeviceId::from_random([number; 16])
}

/// The values that a device sends, and their packed form.
fn input(number: u8, config: &RoundConfig) -> (Vec<u32>, Vec<u8>) {
    let (mut values, mut packed) = (Vec::new(), Vec::new());
    for vector in &config.vectors {
        let part: Vec<u32> =
            (0..vector.len as u32).map(|at| (at * 31 + u32::from(number) * 977) % (1 << BITS)).collect();
        pack::pack(&part, BITS, &mut packed);
        values.extend(part);
    }
    (values, packed)
}

fn announce(number: u8, packed: &[u8]) -> Upload {
    Upload { session: session(), device: device(number), digest: Digest::of(packed), total: packed.len() as u64 }
}

fn stage(staging: &Staging, number: u8, config: &RoundConfig) -> Queued {
    let (_, packed) = input(number, config);
    let upload = announce(number, &packed);
    assert_eq!(staging.append(&upload, 0, &packed).expect("there is room"), Held::Whole);
    staging.verify(&upload, config).expect("a good upload");
    Queued { device: upload.device, index: number.into(), digest: upload.digest }
}

fn plain_sum(numbers: impl Iterator<Item = u8>, config: &RoundConfig) -> Vec<u32> {
    let mut sum = vec![0_u32; config.dim() as usize];
    for number in numbers {
        input(number, config).0.iter().zip(&mut sum).for_each(|(value, sum)| *sum = sum.wrapping_add(*value));
    }
    sum
}

/// Keeps what was committed; fails as often as it is told to.
#[derive(Default)]
struct Ledger {
    failures: AtomicU32,
    committed: Mutex<Vec<(SegmentRow, Vec<Queued>)>>,
}

impl Ledger {
    fn failing(times: u32) -> Arc<Self> {
        Arc::new(Self { failures: AtomicU32::new(times), committed: Mutex::default() })
    }

    fn committed(&self) -> Vec<(SegmentRow, Vec<Queued>)> {
        self.committed.lock().expect("nobody panics").clone()
    }
}

impl Sink for Ledger {
    async fn commit(
        &self,
        segment: SegmentRow,
        uploads: Vec<Queued>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err("the database is away".into());
        }
        self.committed.lock().expect("nobody panics").push((segment, uploads));
        Ok(())
    }
}

#[test]
fn pieces_in_any_order_of_attempts_make_a_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let staging = Staging::new(folder.path().join("staging")).expect("a folder");
    let config = config(1000);
    let (_, packed) = input(1, &config);
    let upload = announce(1, &packed);
    let third = packed.len() / 3;
    let at = |from: usize, to: usize| staging.append(&upload, from as u64, &packed[from..to]).expect("there is room");
    assert_eq!(at(0, 0), Held::Part(0), "a question");
    assert_eq!(at(third, 2 * third), Held::Part(0), "a gap changes nothing");
    assert_eq!(at(0, third), Held::Part(third as u64));
    assert_eq!(at(0, third), Held::Part(third as u64), "the same piece again");
    assert_eq!(at(third / 2, 2 * third), Held::Part(2 * third as u64), "an overlap goes on where it stood");
    // Another process: the file knows how far it came.
    let staging = Staging::new(folder.path().join("staging")).expect("a folder");
    assert_eq!(staging.append(&upload, 0, &[]).expect("no disk error"), Held::Part(2 * third as u64));
    let end = staging.append(&upload, 2 * third as u64, &packed[2 * third..]).expect("there is room");
    assert_eq!(end, Held::Whole);
    assert_eq!(staging.append(&upload, 0, &packed[..5]).expect("no disk error"), Held::Whole);
    staging.verify(&upload, &config).expect("all bytes came");
}

#[test]
fn bad_uploads_are_refused_and_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let staging = Staging::new(folder.path()).expect("a folder");
    let config = config(1000);
    let (_, good) = input(1, &config);
    let upload = announce(1, &good);
    let beyond = staging.append(&upload, 1, &good);
    assert!(matches!(beyond, Err(Error::BeyondEnd { end, total }) if end == total + 1));
    assert!(matches!(staging.append(&upload, u64::MAX, &good), Err(Error::BeyondEnd { .. })));

    let mut flipped = good.clone();
    flipped[7] ^= 1;
    staging.append(&upload, 0, &flipped).expect("there is room");
    assert!(matches!(staging.verify(&upload, &config), Err(Error::BadDigest)));
    assert_eq!(staging.append(&upload, 0, &[]).expect("no disk error"), Held::Part(0), "it starts again");

    // 4 x 13 bits end within the last byte: its high bits must be zero.
    let mut spare = good.clone();
    *spare.last_mut().expect("not empty") |= 0x80;
    let upload = announce(2, &spare);
    staging.append(&upload, 0, &spare).expect("there is room");
    let refused = staging.verify(&upload, &config);
    assert!(matches!(&refused, Err(Error::Refused(refusal)) if refusal.code() == "padding_bits"), "{refused:?}");
    assert_eq!(staging.append(&upload, 0, &[]).expect("no disk error"), Held::Part(0));

    let short = announce(3, &good[..good.len() - 1]);
    staging.append(&short, 0, &good[..good.len() - 1]).expect("there is room");
    assert!(
        matches!(staging.verify(&short, &config), Err(Error::Refused(refusal)) if refusal.code() == "wrong_length")
    );
}

#[test]
fn only_named_sessions_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let staging = Staging::new(folder.path()).expect("a folder");
    let config = config(10);
    stage(&staging, 1, &config);
    staging.retain(|kept| kept == session()).expect("no disk error");
    staging.open(session(), device(1)).expect("it is still there");
    staging.retain(|_| false).expect("no disk error");
    staging.open(session(), device(1)).expect_err("it is gone");
}

#[tokio::test]
async fn what_waits_becomes_one_segment_and_the_sum_is_exact() {
    let folder = tempfile::tempdir().expect("a folder");
    let staging = Staging::new(folder.path()).expect("a folder");
    let (config, blobs, ledger) = (config(1001), Blobs::in_memory(), Ledger::failing(0));
    let adder = Arc::new(Adder::new(session(), Arc::clone(&config), staging.clone(), blobs.clone()));
    let queued: Vec<Queued> = (0..20).map(|number| stage(&staging, number, &config)).collect();
    // No await between them: the worker starts with all of them.
    for &upload in &queued {
        adder.enqueue(upload, &ledger);
        adder.enqueue(upload, &ledger);
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
    let staging = Staging::new(folder.path()).expect("a folder");
    let (config, blobs, ledger) = (config(77), Blobs::in_memory(), Ledger::failing(0));
    let adder = Arc::new(Adder::new(session(), Arc::clone(&config), staging.clone(), blobs));
    for number in 0..10 {
        adder.enqueue(stage(&staging, number, &config), &ledger);
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
    let staging = Staging::new(folder.path()).expect("a folder");
    let (config, blobs, ledger) = (config(77), Blobs::in_memory(), Ledger::failing(2));
    let adder = Arc::new(Adder::new(session(), Arc::clone(&config), staging.clone(), blobs.clone()));
    let first = stage(&staging, 1, &config);
    adder.enqueue(first, &ledger);
    tokio::time::sleep(Duration::from_millis(300)).await;
    // While it is being tried, others come, and the first one's device asks again.
    adder.enqueue(stage(&staging, 2, &config), &ledger);
    adder.enqueue(first, &ledger);
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
    let staging = Staging::new(folder.path()).expect("a folder");
    let config = config(64);
    let good = stage(&staging, 1, &config);
    let bad = Queued { device: device(9), index: 9, digest: good.digest };
    let adder = Adder::new(session(), Arc::clone(&config), staging.clone(), Blobs::in_memory());
    assert!(adder.segment(&[good, bad]).await.is_err(), "the second file is missing");
    let sum = add_up(&staging, session(), &config, &[good.device]).expect("the first is fine");
    assert_eq!(sum.sums().concat(), plain_sum(1..2, &config));
}

/// A staged file is lost: its upload fails for ever, the others get in, and nobody waits for a pause at the end.
#[tokio::test]
async fn an_upload_that_cannot_be_read_holds_up_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let staging = Staging::new(folder.path()).expect("a folder");
    let (config, blobs, ledger) = (config(64), Blobs::in_memory(), Ledger::failing(0));
    let adder = Arc::new(Adder::new(session(), Arc::clone(&config), staging.clone(), blobs.clone()));
    let queued: Vec<Queued> = (0..16).map(|number| stage(&staging, number, &config)).collect();
    staging.remove(session(), device(5)).expect("it was there");
    for &upload in &queued {
        adder.enqueue(upload, &ledger);
    }
    let count = || ledger.committed().iter().map(|(_, uploads)| uploads.len()).sum::<usize>();
    for _ in 0..500 {
        if count() == 15 {
            break;
        }
        // As the end of the stage does: it asks for the rest, for as long as it may wait.
        let _ = tokio::time::timeout(Duration::from_millis(20), adder.drained()).await;
    }
    assert_eq!(count(), 15);
    adder.stop();
    tokio::time::timeout(Duration::from_secs(5), adder.drained()).await.expect("no pause outlives the queue");
    assert!(ledger.committed().iter().all(|(_, uploads)| uploads.iter().all(|upload| upload.index != 5)));
}

#[tokio::test]
async fn a_stopped_queue_takes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let staging = Staging::new(folder.path()).expect("a folder");
    let (config, ledger) = (config(64), Ledger::failing(u32::MAX));
    let adder = Arc::new(Adder::new(session(), Arc::clone(&config), staging.clone(), Blobs::in_memory()));
    adder.enqueue(stage(&staging, 1, &config), &ledger);
    tokio::time::sleep(Duration::from_millis(300)).await;
    adder.stop();
    adder.drained().await;
    adder.enqueue(stage(&staging, 2, &config), &ledger);
    adder.drained().await;
    assert_eq!(ledger.committed(), []);
}

#[tokio::test]
async fn missing_and_damaged_segments_are_named() {
    let (config, blobs) = (config(64), Blobs::in_memory());
    let row = SegmentRow { id: "x".into(), session: session(), blob: segment_path(session(), "x"), uploads: 1 };
    let missing = sum_segments(&blobs, &config, std::slice::from_ref(&row)).await;
    assert!(matches!(missing, Err(Error::Segment(blob)) if blob == row.blob));
    blobs.put_new(&row.blob, vec![0; 4 * 67].into()).await.expect("there is room");
    assert!(matches!(sum_segments(&blobs, &config, &[row]).await, Err(Error::Segment(_))), "a word is missing");
}

/// Adding holds one vector and one block, not the uploads: 96 uploads of 832 KiB each go through a few MiB.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_one_vector_whatever_the_cohort() {
    /// Most memory that this process ever held, in KiB.
    fn peak() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux has it");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }
    let folder = tempfile::tempdir().expect("a folder");
    let staging = Staging::new(folder.path()).expect("a folder");
    let config = config(512 << 10);
    let devices: Vec<DeviceId> = (0..96).map(|number| stage(&staging, number, &config).device).collect();
    let before = peak();
    let sum = add_up(&staging, session(), &config, &devices).expect("good uploads");
    let grown = peak() - before;
    assert_eq!(sum.sums()[1], plain_sum(0..96, &config)[512 << 10..]);
    // Tests beside this one hold little; 96 uploads would be 78 MiB.
    assert!(grown < 24 << 10, "{grown} KiB");
}
