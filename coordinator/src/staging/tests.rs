//! One suite over all places: what is staged is added exactly, whoever of two replicas takes which piece.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use proptest::prelude::*;
use scale_client_core::testing::inputs::{self, BITS, config, input, plain_sum};
use scale_proto::ids::{DeviceId, Digest, SessionId};
use scale_secagg::config::RoundConfig;

use super::objects::Objects;
use super::*;

fn session(number: u8) -> SessionId {
    SessionId::from_random([number; 16])
}

fn device(number: u8) -> DeviceId {
    DeviceId::from_random([number; 16])
}

fn announce(number: u8, packed: &[u8]) -> Upload {
    Upload { session: session(5), device: device(number), digest: Digest::of(packed), total: packed.len() as u64 }
}

/// A place that several replicas work on. Each replica has a connection of its own to it where there is such a thing.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Folder,
    ObjectsInMemory,
    ObjectsInFolder,
}

const KINDS: [Kind; 3] = [Kind::Folder, Kind::ObjectsInMemory, Kind::ObjectsInFolder];
/// Without the one that waits for the disk at every piece.
const FAST: [Kind; 2] = [Kind::Folder, Kind::ObjectsInMemory];

struct Site {
    kind: Kind,
    folder: tempfile::TempDir,
    memory: Blobs,
}

impl Site {
    fn new(kind: Kind) -> Self {
        Self { kind, folder: tempfile::tempdir().expect("a folder"), memory: Blobs::in_memory() }
    }

    fn replica(&self) -> Staging {
        match self.kind {
            Kind::Folder => Staging::folder(self.folder.path().join("staging")).expect("a folder"),
            Kind::ObjectsInMemory | Kind::ObjectsInFolder => Staging::objects(self.blobs()),
        }
    }

    fn blobs(&self) -> Blobs {
        match self.kind {
            Kind::ObjectsInFolder => Blobs::local(&self.folder.path().join("blobs")).expect("a folder"),
            Kind::Folder | Kind::ObjectsInMemory => self.memory.clone(),
        }
    }
}

async fn held(staging: &Staging, upload: &Upload) -> Held {
    staging.append(upload, 0, Bytes::new()).await.expect("no error of the store")
}

async fn stage(staging: &Staging, number: u8, config: &Arc<RoundConfig>) -> Upload {
    let (_, packed) = input(number, config);
    let upload = announce(number, &packed);
    assert_eq!(staging.append(&upload, 0, packed).await.expect("there is room"), Held::Whole);
    staging.verify(&upload, Arc::clone(config)).await.expect("a good upload");
    upload
}

#[tokio::test]
async fn pieces_in_any_order_of_attempts_make_a_whole() {
    for kind in KINDS {
        let site = Site::new(kind);
        let replicas = [site.replica(), site.replica()];
        let config = config(1000);
        let (_, packed) = input(1, &config);
        let upload = announce(1, &packed);
        let (third, total) = (packed.len() / 3, packed.len());
        let (one, two) = (third as u64, 2 * third as u64);
        for (name, replica, from, to, expected) in [
            ("a question", 0, 0, 0, Held::Part(0)),
            ("a gap changes nothing", 0, third, 2 * third, Held::Part(0)),
            ("the first", 0, 0, third, Held::Part(one)),
            ("the same piece again", 0, 0, third, Held::Part(one)),
            ("the same piece at the other replica", 1, 0, third, Held::Part(one)),
            ("an overlap goes on where it stood", 1, third / 2, 2 * third, Held::Part(two)),
            ("a piece within what is held", 0, 5, third, Held::Part(two)),
            ("a gap changes nothing later either", 0, 2 * third + 1, total, Held::Part(two)),
            ("the rest", 0, 2 * third, total, Held::Whole),
            ("after the end", 1, 0, 5, Held::Whole),
        ] {
            let data = packed.slice(from..to);
            let answer = replicas[replica].append(&upload, from as u64, data).await.expect("there is room");
            assert_eq!(answer, expected, "{kind:?}: {name}");
        }
        // Another process: the place knows how far the upload came.
        let third_replica = site.replica();
        assert_eq!(held(&third_replica, &upload).await, Held::Whole, "{kind:?}");
        third_replica.verify(&upload, Arc::clone(&config)).await.expect("all bytes came");
        let sum = replicas[1].add_up(Arc::clone(&config), &[upload]).await.expect("all bytes came");
        assert_eq!(sum.sums().concat(), plain_sum(1..2, &config), "{kind:?}");
    }
}

#[tokio::test]
async fn bad_uploads_are_refused_and_forgotten() {
    for kind in KINDS {
        let staging = Site::new(kind);
        let staging = staging.replica();
        let config = config(1000);
        let (_, good) = input(1, &config);
        let upload = announce(1, &good);
        let beyond = staging.append(&upload, 1, good.clone()).await;
        assert!(matches!(beyond, Err(Error::BeyondEnd { end, total }) if end == total + 1), "{kind:?}");
        let wrapped = staging.append(&upload, u64::MAX, good.clone()).await;
        assert!(matches!(wrapped, Err(Error::BeyondEnd { .. })), "{kind:?}");

        let mut flipped = good.to_vec();
        flipped[7] ^= 1;
        staging.append(&upload, 0, flipped.into()).await.expect("there is room");
        assert!(matches!(staging.verify(&upload, Arc::clone(&config)).await, Err(Error::BadDigest)), "{kind:?}");
        assert_eq!(held(&staging, &upload).await, Held::Part(0), "{kind:?}: it starts again");
        let again = stage(&staging, 1, &config).await;
        assert_eq!(again, upload, "{kind:?}: and comes through");

        // 4 x 13 bits end within the last byte: its high bits must be zero. So do 1001 x 13 in the middle.
        let config = inputs::config(1001);
        let (_, good) = input(1, &config);
        let middle = (1001 * usize::from(BITS)).div_ceil(8) - 1;
        for at in [middle, good.len() - 1] {
            let mut spare = good.to_vec();
            spare[at] |= 0x80;
            let upload = announce(2, &spare);
            let (first, second) = (Bytes::from(spare.clone()).slice(..at), Bytes::from(spare).slice(at..));
            staging.append(&upload, 0, first).await.expect("there is room");
            staging.append(&upload, at as u64, second).await.expect("there is room");
            let refused = staging.verify(&upload, Arc::clone(&config)).await;
            let right = matches!(&refused, Err(Error::Refused(refusal)) if refusal.code() == "padding_bits");
            assert!(right, "{kind:?}, byte {at}: {refused:?}");
            assert_eq!(held(&staging, &upload).await, Held::Part(0), "{kind:?}, byte {at}");
        }

        let short = good.slice(..good.len() - 1);
        let upload = announce(3, &short);
        staging.append(&upload, 0, short).await.expect("there is room");
        let refused = staging.verify(&upload, config).await;
        assert!(
            matches!(&refused, Err(Error::Refused(refusal)) if refusal.code() == "wrong_length"),
            "{kind:?}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn an_upload_that_is_not_whole_is_neither_verified_nor_added() {
    for kind in KINDS {
        let site = Site::new(kind);
        let staging = site.replica();
        let config = config(100);
        let good = stage(&staging, 1, &config).await;
        let (_, packed) = input(2, &config);
        let upload = announce(2, &packed);
        let added = staging.add_up(Arc::clone(&config), &[good, upload]).await;
        assert!(matches!(added, Err(Error::Missing { device, held: 0, .. }) if device == upload.device), "{kind:?}");
        staging.append(&upload, 0, packed.slice(..10)).await.expect("there is room");
        for result in [
            staging.verify(&upload, Arc::clone(&config)).await,
            staging.add_up(Arc::clone(&config), &[good, upload]).await.map(drop),
        ] {
            assert!(matches!(result, Err(Error::Missing { held: 10, .. })), "{kind:?}: {result:?}");
        }
        assert_eq!(held(&staging, &upload).await, Held::Part(10), "{kind:?}: it goes on where it stood");
        let sum = staging.add_up(Arc::clone(&config), &[good]).await.expect("it is there");
        assert_eq!(sum.sums().concat(), plain_sum(1..2, &config), "{kind:?}");
    }
}

#[tokio::test]
async fn one_digest_is_one_upload() {
    for kind in KINDS {
        let site = Site::new(kind);
        let staging = site.replica();
        let config = config(100);
        let good = stage(&staging, 1, &config).await;
        let (_, other) = input(7, &config);
        // The same device, other bytes: neither counts for the other, and removing one leaves the other.
        let second = Upload { digest: Digest::of(&other), ..good };
        assert_eq!(held(&staging, &second).await, Held::Part(0), "{kind:?}");
        staging.append(&second, 0, other.slice(..50)).await.expect("there is room");
        assert_eq!(held(&staging, &good).await, Held::Whole, "{kind:?}");
        staging.remove(&second).await.expect("no error");
        staging.remove(&second).await.expect("what is gone is fine");
        assert_eq!(held(&staging, &second).await, Held::Part(0), "{kind:?}");
        let sum = staging.add_up(Arc::clone(&config), &[good]).await.expect("it is there");
        assert_eq!(sum.sums().concat(), plain_sum(1..2, &config), "{kind:?}");
    }
}

#[tokio::test]
async fn sessions_are_removed_alone() {
    for kind in KINDS {
        let site = Site::new(kind);
        let staging = site.replica();
        let config = config(10);
        staging.retain(HashSet::new()).await.expect("nothing there is fine");
        staging.remove_session(session(5)).await.expect("nothing there is fine");
        let first = stage(&staging, 1, &config).await;
        let (_, packed) = input(2, &config);
        let other = Upload { session: session(6), ..announce(2, &packed) };
        staging.append(&other, 0, packed).await.expect("there is room");
        staging.remove_session(first.session).await.expect("no error");
        staging.remove_session(first.session).await.expect("what is gone is fine");
        assert_eq!(held(&staging, &first).await, Held::Part(0), "{kind:?}");
        assert_eq!(held(&staging, &other).await, Held::Whole, "{kind:?}");
    }
}

#[tokio::test]
async fn a_folder_keeps_the_named_sessions_and_nothing_else() {
    let site = Site::new(Kind::Folder);
    let staging = site.replica();
    let upload = stage(&staging, 1, &config(10)).await;
    staging.retain(HashSet::from([upload.session])).await.expect("no error");
    assert_eq!(held(&staging, &upload).await, Held::Whole);
    staging.retain(HashSet::new()).await.expect("no error");
    assert_eq!(held(&staging, &upload).await, Held::Part(0));
}

/// What this replica has not heard of may be a session that another one opened a moment ago.
#[tokio::test]
async fn objects_are_removed_only_when_they_are_old_and_nobody_knows_them() {
    for kind in [Kind::ObjectsInMemory, Kind::ObjectsInFolder] {
        let site = Site::new(kind);
        let staging = site.replica();
        let upload = stage(&staging, 1, &config(10)).await;
        staging.retain(HashSet::new()).await.expect("no error");
        assert_eq!(held(&staging, &upload).await, Held::Whole, "{kind:?}: it is young");
        let objects = Objects::new(site.blobs());
        let tomorrow = SystemTime::now() + Duration::from_secs(1);
        objects.retain(&HashSet::from([upload.session]), tomorrow).await.expect("no error");
        assert_eq!(held(&staging, &upload).await, Held::Whole, "{kind:?}: it is known");
        objects.retain(&HashSet::new(), tomorrow).await.expect("no error");
        assert_eq!(held(&staging, &upload).await, Held::Part(0), "{kind:?}");
    }
}

/// Each piece costs a request at every later one: a device that sends single bytes does not get far.
#[tokio::test]
async fn an_upload_in_far_too_many_pieces_starts_again() {
    let staging = Site::new(Kind::ObjectsInMemory).replica();
    let config = config(1000);
    let (_, packed) = input(1, &config);
    let upload = announce(1, &packed);
    for at in 0..64 {
        let answer = staging.append(&upload, at as u64, packed.slice(at..=at)).await.expect("there is room");
        assert_eq!(answer, Held::Part(at as u64 + 1));
    }
    let refused = staging.append(&upload, 64, packed.slice(64..)).await;
    assert!(matches!(refused, Err(Error::TooManyPieces(64))), "{refused:?}");
    assert_eq!(held(&staging, &upload).await, Held::Part(0));
    assert_eq!(staging.append(&upload, 0, packed).await.expect("there is room"), Held::Whole);
}

/// Two replicas take different pieces for the same place at the same moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_that_race_make_a_whole() {
    for kind in KINDS {
        let site = Site::new(kind);
        let replicas = [site.replica(), site.replica()];
        let config = config(4000);
        let (_, packed) = input(1, &config);
        let upload = announce(1, &packed);
        let mut at = 0;
        while at < packed.len() {
            let tasks: Vec<_> = [400, 700, 100, 700]
                .into_iter()
                .enumerate()
                .map(|(number, len)| {
                    let data = packed.slice(at..(at + len).min(packed.len()));
                    let staging = replicas[number % 2].clone();
                    tokio::spawn(async move { staging.append(&upload, at as u64, data).await.expect("there is room") })
                })
                .collect();
            for task in tasks {
                task.await.expect("nobody panics");
            }
            at = match held(&replicas[0], &upload).await {
                Held::Whole => packed.len(),
                Held::Part(held) => {
                    assert!(held >= (at + 700) as u64, "{kind:?}: the longest of them is there");
                    held as usize
                }
            };
        }
        replicas[1].verify(&upload, Arc::clone(&config)).await.expect("no byte is lost or doubled");
        let sum = replicas[0].add_up(Arc::clone(&config), &[upload]).await.expect("it is whole");
        assert_eq!(sum.sums().concat(), plain_sum(1..2, &config), "{kind:?}");
    }
}

/// A replica of another make, or a store that lists late, may have left pieces that overlap: each byte counts once.
#[tokio::test]
async fn pieces_that_overlap_are_cut() {
    let blobs = Blobs::in_memory();
    let staging = Staging::objects(blobs.clone());
    let config = config(100);
    let (_, packed) = input(1, &config);
    let upload = announce(1, &packed);
    let total = packed.len();
    let folder = format!("staging/{}/{}/{}", upload.session, upload.device, upload.digest);
    for (from, to) in [(0, 60), (10, 40), (30, 100), (100, total)] {
        blobs.put_new(&format!("{folder}/{from:012}"), packed.slice(from..to)).await.expect("there is room");
    }
    // No piece, though it lies there.
    blobs.put_new(&format!("{folder}/notes"), Bytes::from_static(b"x")).await.expect("there is room");
    staging.verify(&upload, Arc::clone(&config)).await.expect("every byte is there once");
    let sum = staging.add_up(Arc::clone(&config), &[upload]).await.expect("it is whole");
    assert_eq!(sum.sums().concat(), plain_sum(1..2, &config));
}

/// What one call does: a device's piece at one of the replicas.
#[derive(Clone, Debug)]
struct Move {
    device: u8,
    replica: usize,
    /// Where the piece begins, in thousandths of the upload; `None`: where the upload stands.
    from: Option<u16>,
    len: usize,
    /// Under another digest, with other bytes.
    foreign: bool,
    /// A second call with a piece of another length, at the other replica and the same time.
    racing: Option<usize>,
}

fn arb_move() -> impl Strategy<Value = Move> {
    let from = prop_oneof![2 => Just(None), 1 => (0..1000u16).prop_map(Some)];
    let len = 0..400usize;
    (0..3u8, 0..2usize, from, len.clone(), prop::bool::weighted(0.15), prop::option::weighted(0.3, len))
        .prop_map(|(device, replica, from, len, foreign, racing)| Move { device, replica, from, len, foreign, racing })
}

async fn play(kind: Kind, entries: u64, moves: &[Move]) {
    let site = Site::new(kind);
    let replicas = [site.replica(), site.replica()];
    let config = config(entries);
    let mut at = [0_u64; 3];
    for step in moves {
        let number = step.device + if step.foreign { 100 } else { 0 };
        let (_, packed) = input(number, &config);
        let upload = Upload { device: device(step.device), ..announce(number, &packed) };
        let total = packed.len();
        let stands = if step.foreign { 0 } else { at[usize::from(step.device)] as usize };
        let from = step.from.map_or(stands, |from| total * usize::from(from) / 1000);
        let piece = |len: usize| packed.slice(from..(from + len).min(total));
        let other = step.racing.unwrap_or(0);
        let (answer, _) = tokio::join!(
            replicas[step.replica].append(&upload, from as u64, piece(step.len)),
            replicas[1 - step.replica].append(&upload, from as u64, piece(other)),
        );
        let now = match answer.expect("there is room") {
            Held::Whole => total as u64,
            Held::Part(held) => held,
        };
        if !step.foreign {
            let before = &mut at[usize::from(step.device)];
            let end = (from + step.len).min(total) as u64;
            assert!(now >= *before, "{kind:?}: nothing that was acknowledged is lost");
            assert!(from as u64 > *before || step.len == 0 || now >= end, "{kind:?}: a piece that fits is taken");
            *before = now;
        }
    }
    // Everybody finishes, and each upload is verified by the replica that did not take its last piece.
    let mut uploads = Vec::new();
    for number in 0..3u8 {
        let (_, packed) = input(number, &config);
        let upload = announce(number, &packed);
        while let Held::Part(held) = held(&replicas[0], &upload).await {
            let from = held as usize;
            let data = packed.slice(from..(from + 997).min(packed.len()));
            replicas[0].append(&upload, held, data).await.expect("there is room");
        }
        replicas[1].verify(&upload, Arc::clone(&config)).await.expect("a good upload");
        uploads.push(upload);
    }
    let sum = replicas[1].add_up(Arc::clone(&config), &uploads).await.expect("all are whole");
    assert_eq!(sum.sums().concat(), plain_sum(0..3, &config), "{kind:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Random pieces, repeats, overlaps, gaps, other digests and races at two replicas in turn: the sum is exact.
    #[test]
    fn the_sum_is_exact_whatever_comes_in_whatever_order(
        entries in 1..900u64,
        moves in prop::collection::vec(arb_move(), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for kind in FAST {
            runtime.block_on(play(kind, entries, &moves));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// The same where every piece is a file that reaches the disk.
    #[test]
    fn the_sum_is_exact_on_the_disk_too(entries in 1..900u64, moves in prop::collection::vec(arb_move(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(play(Kind::ObjectsInFolder, entries, &moves));
    }
}

/// Adding holds one vector and a few blocks, not the uploads: 96 uploads of 832 KiB each go through a few MiB.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_is_one_vector_whatever_the_cohort() {
    /// Most memory that this process ever held, in KiB.
    fn peak() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux has it");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }
    for kind in [Kind::Folder, Kind::ObjectsInFolder] {
        let site = Site::new(kind);
        let staging = site.replica();
        let config = config(512 << 10);
        let mut uploads = Vec::new();
        for number in 0..96 {
            uploads.push(stage(&staging, number, &config).await);
        }
        let before = peak();
        let sum = staging.add_up(Arc::clone(&config), &uploads).await.expect("good uploads");
        let grown = peak() - before;
        assert_eq!(sum.sums()[1], plain_sum(0..96, &config)[512 << 10..]);
        // Tests beside this one hold little; 96 uploads would be 78 MiB.
        assert!(grown < 24 << 10, "{kind:?}: {grown} KiB");
    }
}
