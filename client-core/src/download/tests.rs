use scale_proto::ids::ModelVersion;

use super::*;
use crate::device::Cancel;
use crate::device::fixtures::coordinator::{Coordinator, Line};
use crate::device::fixtures::{self, coordinator};
use crate::host::Store as _;
use crate::host::memory::{MemoryClock, MemoryHost};
#[cfg(target_arch = "wasm32")]
use crate::single_thread as tokio;

type Shared = std::sync::Arc<std::sync::Mutex<Coordinator>>;

const LEN: usize = 2 * PIECE_BYTES + 12_345;

fn setup() -> (MemoryHost<Line>, Shared, Wanted) {
    let file: Vec<u8> = (0..LEN as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let wanted = Wanted { url: "https://models.invalid/1".into(), bytes: LEN as u64, digest: Digest::of(&file) };
    let plan = fixtures::plan();
    let config = fixtures::config(&plan);
    let shared = Coordinator::new(config.clone(), fixtures::manifest(&config, &plan), file, 10);
    (MemoryHost::new(Line(shared.clone()), MemoryClock::default(), [1; 32]), shared, wanted)
}

fn pieces(host: &MemoryHost<Line>) -> usize {
    host.store.keys().iter().filter(|key| key.starts_with("model/")).count()
}

async fn load(host: &MemoryHost<Line>, wanted: &Wanted) -> Result<ModelFile, Error> {
    let mut last = 0;
    let file = fetch(host, wanted, |bytes| last = bytes).await;
    if file.is_ok() {
        assert_eq!(last, wanted.bytes, "progress ends at the end");
    }
    file
}

#[tokio::test]
async fn loads_once_and_then_from_the_store() {
    let (host, shared, wanted) = setup();
    let file = load(&host, &wanted).await.expect("loads");
    assert_eq!((file.digest(), file.bytes().len()), (wanted.digest, LEN));
    assert_eq!(load(&host, &wanted).await.expect("cached"), file);
    assert_eq!(shared.lock().expect("no panic").downloads, [0], "one download for two calls");
}

#[tokio::test]
async fn resumes_after_the_last_whole_piece() {
    let (host, shared, wanted) = setup();
    shared.lock().expect("no panic").link.break_download = Some(PIECE_BYTES + PIECE_BYTES / 2);
    assert_eq!(load(&host, &wanted).await.expect_err("breaks").code(), "unreachable");
    assert_eq!(pieces(&host), 1);
    shared.lock().expect("no panic").link.break_download = None;
    assert_eq!(load(&host, &wanted).await.expect("resumes").bytes().len(), LEN);
    assert_eq!(shared.lock().expect("no panic").downloads, [0, PIECE_BYTES as u64]);
}

#[tokio::test]
async fn starts_again_where_the_server_cannot_resume() {
    let (host, shared, wanted) = setup();
    shared.lock().expect("no panic").link.break_download = Some(PIECE_BYTES + 1);
    load(&host, &wanted).await.expect_err("breaks");
    {
        let link = &mut shared.lock().expect("no panic").link;
        (link.break_download, link.ranges) = (None, false);
    }
    assert_eq!(load(&host, &wanted).await.expect("loads").digest(), wanted.digest);
}

#[tokio::test]
async fn a_short_file_can_be_resumed() {
    let (host, shared, mut wanted) = setup();
    wanted.bytes += 1;
    assert_eq!(load(&host, &wanted).await.expect_err("one byte is missing").code(), "unreachable");
    assert_eq!(shared.lock().expect("no panic").downloads.len(), 1);
}

#[tokio::test]
async fn a_changed_byte_is_refused_and_nothing_is_kept() {
    let (host, shared, wanted) = setup();
    shared.lock().expect("no panic").link.corrupt = true;
    assert_eq!(load(&host, &wanted).await.expect_err("corrupt").code(), "digest_mismatch");
    assert_eq!(pieces(&host), 0);
    shared.lock().expect("no panic").link.corrupt = false;
    load(&host, &wanted).await.expect("the next try starts clean");
}

#[tokio::test]
async fn a_damaged_store_is_repaired() {
    let (host, shared, wanted) = setup();
    load(&host, &wanted).await.expect("loads");
    let key = format!("model/{}/1", wanted.digest.hex());
    let mut piece = host.store.get(&key).await.expect("memory").expect("there");
    piece[7] ^= 1;
    host.store.put(&key, &piece).await.expect("memory");
    assert_eq!(load(&host, &wanted).await.expect("loads again").digest(), wanted.digest);
    assert_eq!(shared.lock().expect("no panic").downloads, [0, 0]);

    host.store.put(&key, b"short").await.expect("memory");
    load(&host, &wanted).await.expect("goes on after the first piece");
    assert_eq!(shared.lock().expect("no panic").downloads, [0, 0, PIECE_BYTES as u64]);
}

#[tokio::test]
async fn never_takes_more_than_announced() {
    let (host, shared, mut wanted) = setup();
    shared.lock().expect("no panic").link.endless = true;
    assert_eq!(load(&host, &wanted).await.expect_err("endless").code(), "model_too_large");
    assert_eq!(pieces(&host), 0);
    for bytes in [0, MODEL_BYTES + 1, u64::MAX] {
        wanted.bytes = bytes;
        assert_eq!(load(&host, &wanted).await.expect_err("absurd").code(), "model_too_large");
    }
    assert_eq!(shared.lock().expect("no panic").downloads.len(), 1, "absurd sizes are not even asked for");
}

#[tokio::test]
async fn old_models_make_room() {
    let (host, _, wanted) = setup();
    load(&host, &wanted).await.expect("loads");
    for seed in 1..=2u8 {
        let file = vec![seed; 1000];
        let other = Wanted { bytes: 1000, digest: Digest::of(&file), ..wanted.clone() };
        let plan = fixtures::plan();
        let config = fixtures::config(&plan);
        let shared = Coordinator::new(config.clone(), fixtures::manifest(&config, &plan), file, 10);
        let host = MemoryHost { transport: Line(shared), ..host.clone() };
        load(&host, &other).await.expect("loads");
    }
    assert_eq!(pieces(&host), 2, "the two newest, one piece each");
}

#[tokio::test]
async fn a_published_model_is_fetched_and_read() {
    use crate::device::{Client, ClientConfig};
    let plan = fixtures::plan();
    let config = fixtures::config(&plan);
    let file = fixtures::file();
    let shared = Coordinator::new(config.clone(), fixtures::manifest(&config, &plan), file, 10);
    let host = MemoryHost::new(coordinator::Line(shared), MemoryClock::default(), [1; 32]);
    let client = Client::new(host, ClientConfig::new(vec![fixtures::task()], fixtures::task_key().public()));
    assert_eq!(
        client.fetch_model(&fixtures::task(), None, &Cancel::new()).await.expect_err("not enrolled").code(),
        "not_enrolled"
    );
    client.enroll("token", &Cancel::new()).await.expect("enrolls");
    let model = client.fetch_model(&fixtures::task(), None, &Cancel::new()).await.expect("fetches");
    assert_eq!((model.version, model.weights), (ModelVersion(1), fixtures::global()));
}

#[tokio::test]
async fn a_newer_model_stays_installed_and_one_that_is_not_there_is_not() {
    let (host, _, wanted) = setup();
    let model = |version: u64| Installed {
        task: fixtures::task(),
        version: ModelVersion(version),
        digest: wanted.digest,
        spec: fixtures::spec(),
    };
    assert_eq!(install(&host, &model(2)).await, Ok(false), "no such file");
    load(&host, &wanted).await.expect("loads");
    assert_eq!(install(&host, &model(2)).await, Ok(true));
    for version in [1, 2] {
        assert_eq!(install(&host, &model(version)).await, Ok(false), "{version}");
    }
    let info = installed_info(&host, &fixtures::task()).await.expect("memory").expect("installed");
    assert_eq!(info.version, ModelVersion(2));
}
