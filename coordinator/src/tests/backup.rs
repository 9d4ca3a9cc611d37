//! Backups of rounds that run, put back elsewhere: devices follow to the exact sum, or are told to check in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use scale_sql::testing::Server;

use super::privacy::{NOISY, fitting, planned};
use super::*;
use crate::auth::secrets::{self, Secrets};
use crate::backup::{Error as BackupError, Numbers, Restored, SecretsAfter, Target, check, save};
use crate::blobs::Blobs;
use crate::store::{Store, migrate};

/// An empty place.
struct Place {
    store: Store,
    blobs: Blobs,
    folder: tempfile::TempDir,
    server: Option<Server>,
}

impl Place {
    async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("coordinator.sqlite3")).await.unwrap();
        Self { store, blobs: Blobs::local(&folder.path().join("blobs")).unwrap(), folder, server: None }
    }

    async fn postgres() -> Self {
        let server = Server::new("backup").await;
        migrate(&server.superuser()).await.unwrap();
        let store = Store::postgres(&server.superuser(), 8).await.unwrap();
        Self { store, blobs: Blobs::in_memory(), folder: tempfile::tempdir().unwrap(), server: Some(server) }
    }

    async fn restore(&self, site: &Site, file: &Path) -> Result<Restored, BackupError> {
        self.restore_with(site, file, BTreeMap::new()).await
    }

    async fn restore_with(
        &self,
        site: &Site,
        file: &Path,
        lost_rounds: BTreeMap<TaskId, u32>,
    ) -> Result<Restored, BackupError> {
        let (store, blobs, folder) = (&self.store, &self.blobs, self.folder.path());
        let now = site.clock.now();
        check(file)?.restore(Target { store, blobs, folder, now, lost_rounds }, &mut |_, _| {}).await
    }

    /// Everything that lies in it, rows apart.
    async fn blobs(&self) -> Vec<String> {
        let mut all = Vec::new();
        for folder in ["models", "optimizer", "segments", "sums"] {
            all.extend(self.blobs.list(folder).await.unwrap());
        }
        all
    }

    async fn end(self) {
        self.store.close().await;
        if let Some(server) = self.server {
            server.end().await;
        }
    }
}

struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn path(&self) -> PathBuf {
        self.folder.path().join("today.backup")
    }
}

async fn backup(site: &Site) -> File {
    let file = File { folder: tempfile::tempdir().unwrap() };
    save(&site.store, &site.blobs, None, &file.path(), site.clock.now(), &mut |_, _| {}).await.unwrap();
    file
}

/// One round of twelve devices, of which some are lost on the way; in these stages, when all but one device have answered,
/// the coordinator is lost and goes on from a backup in a new place.
async fn through(mut places: BTreeMap<usize, Place>, lost: [usize; 5], survivors: u32) {
    let mut site = manual_site().await;
    let mut alive = gather(&site, 12).await;
    let (mut inputs, mut left, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (number, stage) in SessionStage::OPEN.into_iter().enumerate() {
        let act = move |mut phone: Phone| async move { phone.act(stage).await.map(|()| phone) };
        alive.truncate(alive.len() - lost[number]);
        let answers = alive.len();
        let mut last = Vec::new();
        if places.contains_key(&number) {
            last = alive.split_off(answers - 1);
        }
        let first = tokio::spawn(together(alive, act));
        if let Some(place) = places.remove(&number) {
            site.until_answered(stage, answers - 1).await;
            if stage == SessionStage::MaskedInput {
                // One has sent a half.
                let phone = &mut last[0];
                phone.device.now = phone.site.right.now(&phone.site.clock);
                let down = phone.down.take().unwrap();
                phone.upload = phone.device.answer(down).unwrap();
                let half = phone.upload.len() / 2;
                assert_eq!(phone.piece(0, half).await.unwrap(), UploadAnswer::Received(half as u64));
                // As if it were whole and waited to be added.
                let (session, device) = (phone.session.unwrap(), phone.caller.device);
                let whole = site.store.run_tx("whole", move |tx| {
                    Box::pin(async move { tx.set_uploads_complete(session, &[device]).await })
                });
                whole.await.unwrap();
            }
            let file = backup(&site).await;
            site.now().shutdown().await;
            let restored = place.restore(&site, &file.path()).await.unwrap();
            assert_eq!(restored.after.open_rounds.len(), 1, "{restored:?}");
            if let Some(session) = last[0].session.filter(|_| stage == SessionStage::MaskedInput) {
                let rows = place.store.read("uploads", move |tx| Box::pin(tx.uploads(session))).await.unwrap();
                assert_eq!(rows.len(), answers - 1, "only what is in a sum: {rows:?}");
            }
            site = site.moved(place.store.clone(), place.blobs.clone()).await;
            left.push(place);
        }
        let rest = if stage == SessionStage::MaskedInput && !last.is_empty() {
            assert_eq!(last[0].piece(0, 0).await.unwrap(), UploadAnswer::Received(0), "what was staged is left behind");
            let send = |mut phone: Phone| async move { phone.send_upload().await.map(|()| phone) };
            tokio::spawn(together(last, send))
        } else {
            tokio::spawn(together(last, act))
        };
        site.until_answered(stage, answers).await;
        if lost[number] > 0 {
            site.pass_window().await;
        }
        let (first, rest) = (first.await.unwrap(), rest.await.unwrap());
        alive = first.0.into_iter().chain(rest.0).collect();
        errors.extend(first.1.into_iter().chain(rest.1));
        if number == 2 {
            inputs = alive.iter().map(|phone| phone.device.summand().to_vec()).collect();
        }
    }
    let info = site.until("the end", |info| info.round.phase.is_over()).await;
    let told = Told { info, errors, inputs };
    assert!(told.errors.is_empty(), "{:?}", told.errors);
    assert_exact(&site, &told, survivors).await;
    site.now().shutdown().await;
    for place in left {
        place.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_any_stage_goes_on_in_another_folder() {
    for stage in 0..5 {
        through(BTreeMap::from([(stage, Place::sqlite().await)]), [0; 5], 12).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_goes_from_engine_to_engine_in_every_stage() {
    let mut places = BTreeMap::new();
    for stage in 0..5 {
        places.insert(stage, if stage % 2 == 0 { Place::postgres().await } else { Place::sqlite().await });
    }
    through(places, [0, 1, 1, 0, 0], 10).await;
}

/// The coordinator went on for a stage after the backup.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_are_ahead_of_the_backup_get_the_exact_sum_or_are_told() {
    for at in 0..5 {
        let site = manual_site().await;
        let mut alive = gather(&site, 12).await;
        let mut file = None;
        let mut inputs = Vec::new();
        for (number, stage) in SessionStage::OPEN.into_iter().enumerate().take(at + 1) {
            let act = move |mut phone: Phone| async move { phone.act(stage).await.map(|()| phone) };
            let last = if number == at { alive.split_off(11) } else { Vec::new() };
            let first = tokio::spawn(together(alive, act));
            if number == at {
                site.until_answered(stage, 11).await;
                file = Some(backup(&site).await);
            }
            let rest = together(last, act).await;
            alive = first.await.unwrap().0.into_iter().chain(rest.0).collect();
            assert_eq!(alive.len(), 12, "stage {number}");
            if number == 2 {
                inputs = alive.iter().map(|phone| phone.device.summand().to_vec()).collect();
            }
        }
        if at == 4 {
            site.until("the end", |info| info.round.phase.is_over()).await;
        }
        site.now().shutdown().await;
        let place = Place::sqlite().await;
        place.restore(&site, &file.unwrap().path()).await.unwrap();
        let site = site.moved(place.store.clone(), place.blobs.clone()).await;
        let next = SessionStage::OPEN.get(at + 1).copied();
        let going = tokio::spawn(async move {
            let Some(next) = next else { return Vec::new() };
            together(alive, move |mut phone: Phone| async move { phone.act(next).await.map(|()| phone) }).await.1
        });
        // Nobody answers the stage that the backup was in any more: its window ends, and the next ones.
        while !site.round().await.round.phase.is_over() {
            site.pass_window().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let info = site.round().await;
        let errors = tokio::time::timeout(Duration::from_secs(60), going).await.expect("everybody is told").unwrap();
        if matches!(info.round.phase, Phase::Finished { version: ModelVersion(2), .. }) {
            assert_eq!(at, 4, "the same shares give the same sum");
            assert_eq!(site.weights(&task_id()).await, expected(&inputs));
        } else {
            assert_eq!(errors.len(), 12, "stage {at}: {errors:?}");
            for error in errors {
                let remedy = error.remedy();
                assert!(matches!(remedy, Remedy::Leave | Remedy::CheckIn(_)), "stage {at}: {error} {remedy:?}");
            }
            let models = site.now().list_models(&task_id()).await.unwrap();
            assert_eq!(models.len(), 1, "nothing is revealed");
        }
        // The next round is everybody's again.
        site.clock.advance(Duration::from_secs(2));
        site.now().open_round(&task_id()).await.unwrap();
        let told = tell(&site, 12, Story::default()).await;
        assert_eq!(told.info.round.phase.name(), "finished", "{:?}", told.info);
        site.now().shutdown().await;
        place.end().await;
    }
}

/// The rows name a partial sum, and it is gone before it is copied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_that_ends_while_it_is_copied_is_read_again() {
    let site = manual_site().await;
    let mut alive = gather(&site, 12).await;
    for stage in [SessionStage::Keys, SessionStage::Shares] {
        let act = move |mut phone: Phone| async move { phone.act(stage).await.map(|()| phone) };
        alive = together(alive, act).await.0;
    }
    alive.truncate(11);
    let act = |mut phone: Phone| async move { phone.act(SessionStage::MaskedInput).await.map(|()| phone) };
    let sending = tokio::spawn(together(alive, act));
    site.until_answered(SessionStage::MaskedInput, 11).await;
    assert!(!site.blobs.list("segments").await.unwrap().is_empty());
    let round = site.round().await.round.id;
    let file = File { folder: tempfile::tempdir().unwrap() };
    let mut totals = Vec::new();
    let mut progress = |done: u64, all: u64| {
        if done == 0 && totals.is_empty() {
            let end = async {
                site.now().abandon_round(round, "only a test".into()).await.unwrap();
                site.until_settled().await;
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(end));
        }
        totals.push((done, all));
    };
    let saved = save(&site.store, &site.blobs, None, &file.path(), site.clock.now(), &mut progress).await.unwrap();
    assert_eq!(saved.blobs, 1, "the model");
    assert!(totals[0].1 > 1 && totals[1..] == [(0, 1), (1, 1)], "{totals:?}");
    assert!(site.blobs.list("segments").await.unwrap().is_empty());
    sending.await.unwrap();
    let place = Place::sqlite().await;
    assert!(place.restore(&site, &file.path()).await.unwrap().after.open_rounds.is_empty());
}

/// Each damage is found before anything is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_is_refused_and_nothing_is_written() {
    let site = manual_site().await;
    let told = tell(&site, 12, Story::default()).await;
    assert_exact(&site, &told, 12).await;
    let file = backup(&site).await;
    let whole = fs::read(file.path()).unwrap();
    let blob = whole.windows(9).position(|window| window == b"{\"blob\":\"").unwrap();
    let lines = whole.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines > 40, "{lines} lines");
    let mut damaged: Vec<(String, Vec<u8>)> = Vec::new();
    for at in [20, blob / 2, blob + 12, blob + 300, whole.len() - 10] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        damaged.push((format!("a bit at {at}"), bytes));
        damaged.push((format!("cut at {at}"), whole[..at].to_vec()));
    }
    damaged.push(("more".into(), [&whole[..], b"\n"].concat()));
    damaged.push(("twice".into(), [&whole[..], &whole[..]].concat()));
    damaged.push(("nothing".into(), Vec::new()));
    damaged.push(("something else".into(), b"shopping list: milk".to_vec()));
    // A row less, and the digest is not asked.
    let text = String::from_utf8_lossy(&whole[..blob]).into_owned();
    let row = text.lines().find(|line| line.starts_with('[')).unwrap().to_owned() + "\n";
    let shorter = [text.replacen(&row, "", 1).as_bytes(), &whole[blob..]].concat();
    damaged.push(("a row less".into(), shorter));
    let place = Place::sqlite().await;
    for (what, bytes) in damaged {
        fs::write(file.path(), bytes).unwrap();
        let refused = place.restore(&site, &file.path()).await.unwrap_err();
        assert!(["backup_damaged", "unknown_backup"].contains(&refused.code()), "{what}: {refused}");
        assert_eq!(place.blobs().await, Vec::<String>::new(), "{what}");
        assert!(place.store.is_new().await.unwrap(), "{what}");
    }
    fs::write(file.path(), whole).unwrap();
    place.restore(&site, &file.path()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_in_use_is_refused_and_stays_as_it_is() {
    let site = manual_site().await;
    let told = tell(&site, 12, Story::default()).await;
    assert_exact(&site, &told, 12).await;
    let file = backup(&site).await;
    let place = Place::sqlite().await;
    place.restore(&site, &file.path()).await.unwrap();
    let again = place.restore(&site, &file.path()).await.unwrap_err();
    assert!(matches!(again, BackupError::DatabaseInUse("tasks")), "{again}");

    // Another blob of the same name, before and behind others that are new.
    let names = place.blobs().await;
    assert_eq!(names.len(), 2, "the first model and the next: {names:?}");
    for name in &names {
        let place = Place::sqlite().await;
        place.blobs.put_new(name, Bytes::from_static(b"another")).await.unwrap();
        let refused = place.restore(&site, &file.path()).await.unwrap_err();
        assert!(matches!(&refused, BackupError::BlobInUse(found) if found == name), "{refused}");
        assert_eq!(place.blobs.get(name).await.unwrap(), Some(Bytes::from_static(b"another")));
        assert_eq!(place.blobs().await, std::slice::from_ref(name), "the others are taken back");
        assert!(place.store.is_new().await.unwrap());
    }
    // The same blob, as a restore leaves it that a crash has ended.
    let half = Place::sqlite().await;
    half.blobs.put_new(&names[0], site.blobs.get(&names[0]).await.unwrap().unwrap()).await.unwrap();
    half.restore(&site, &file.path()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_in_a_backup_only_when_asked_and_have_to_fit() {
    let site = manual_site().await;
    let folder = tempfile::tempdir().unwrap();
    let now = site.clock.now();
    let path = folder.path().join("with");
    let none = save(&site.store, &site.blobs, Some(folder.path()), &path, now, &mut |_, _| {}).await.unwrap_err();
    assert!(matches!(none, BackupError::NoSecrets(_)) && !path.exists(), "{none}");
    Secrets::create(folder.path()).unwrap();
    crate::auth::identity::open(folder.path(), &site.store, true, false).await.unwrap();
    let text = fs::read_to_string(folder.path().join(secrets::FILE)).unwrap();
    save(&site.store, &site.blobs, Some(folder.path()), &path, now, &mut |_, _| {}).await.unwrap();
    let without = backup(&site).await;
    let seed = serde_json::from_str::<serde_json::Value>(&text).unwrap()["task_seed"].as_str().unwrap().to_owned();
    let holds = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).contains(&seed);
    assert!(holds(&path) && !holds(&without.path()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let again = save(&site.store, &site.blobs, None, &path, now, &mut |_, _| {}).await.unwrap_err();
    assert!(matches!(again, BackupError::Exists(_)), "{again}");

    let place = Place::sqlite().await;
    assert_eq!(place.restore(&site, &path).await.unwrap().secrets, SecretsAfter::Restored);
    assert_eq!(fs::read_to_string(place.folder.path().join(secrets::FILE)).unwrap(), text);
    let place = Place::sqlite().await;
    assert_eq!(place.restore(&site, &without.path()).await.unwrap().secrets, SecretsAfter::Missing);
    let place = Place::sqlite().await;
    fs::write(place.folder.path().join(secrets::FILE), &text).unwrap();
    assert_eq!(place.restore(&site, &without.path()).await.unwrap().secrets, SecretsAfter::There);
    let place = Place::sqlite().await;
    Secrets::create(place.folder.path()).unwrap();
    let other = fs::read(place.folder.path().join(secrets::FILE)).unwrap();
    let refused = place.restore(&site, &path).await.unwrap_err();
    assert!(matches!(refused, BackupError::OtherSecrets(_)), "{refused}");
    assert_eq!(fs::read(place.folder.path().join(secrets::FILE)).unwrap(), other);
    assert!(place.store.is_new().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_after_the_backup_is_told() {
    let site = Site::new().await;
    let mut config = task("manual");
    config.privacy = NOISY;
    site.now().create_task(task_id(), fitting(config), None).await.unwrap();
    let file = backup(&site).await;
    let place = Place::sqlite().await;
    site.clock.advance(Duration::from_secs(100));
    let restored = place.restore_with(&site, &file.path(), BTreeMap::from([(task_id(), 3)])).await.unwrap();
    let [task] = &restored.after.tasks[..] else { panic!("{restored:?}") };
    assert_eq!((task.added, task.spent.rounds, task.numbers), (3, 3, Numbers::Rise));
    assert_eq!(task.spent, planned(3));
    let place = Place::sqlite().await;
    let restored = place.restore(&site, &file.path()).await.unwrap();
    assert_eq!((restored.after.tasks[0].added, restored.after.tasks[0].spent.rounds), (0, 0));
    let unknown = "unknown".parse::<TaskId>().unwrap();
    let place = Place::sqlite().await;
    let refused = place.restore_with(&site, &file.path(), BTreeMap::from([(unknown, 1)])).await.unwrap_err();
    assert!(matches!(refused, BackupError::UnknownTask(_)), "{refused}");
    assert!(place.store.is_new().await.unwrap() && place.blobs().await.is_empty(), "all or nothing");
    site.set_clock(-200);
    let restored = place.restore(&site, &file.path()).await.unwrap();
    assert_eq!(restored.after.tasks[0].numbers, Numbers::ClockBehind(Duration::from_secs(100)));
}
