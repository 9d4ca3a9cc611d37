//! Whole rounds with the device that ships, in one process, on a clock that the tests move.

mod backup;
mod clocks;
mod cluster;
pub(crate) mod fleet;
mod privacy;
mod replay;
mod replicas;
mod simulation;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use scale_proto::answer::{CheckIn, CheckInAnswer, Leave, ModelRequest, StageAnswer, UploadAnswer};
use scale_proto::error::Remedy;
use scale_proto::ids::{Digest, ModelVersion, RoundId, SessionId, TaskId};
use scale_proto::stage::{StageUp, UploadPiece};
use scale_proto::task::{IdentityRoot, Sessions};
use scale_proto::time::Timestamp;
use scale_secagg::keys::IdentityKey;
use scale_secagg::params::Profile;
use scale_secagg::roster::Certificate;

use fleet::*;

use crate::aggregate::{Optimizer, Scale, Totals};
use crate::round::{Phase, SessionStage};
use crate::rows::TaskState;
use crate::*;
use scale_clock::Clock as _;

/// What the sum of these inputs makes of the first model.
fn expected(inputs: &[Vec<Vec<i64>>]) -> Vec<f32> {
    let config = task("manual");
    let mut totals = Totals::new(ENTRIES);
    for input in inputs {
        totals.add(input, 1).expect("the shape fits");
    }
    let grid = crate::noise::of(&config).expect("a small model").grid;
    let mean = totals.mean(&Scale { clip: 1.0, grid, max_weight: 50, noisy: false }).expect("there is weight");
    let mut weights = scale_proto::model_file::initial(&task_id(), &config.model);
    Optimizer::new(config.aggregation, ENTRIES).step(&mut weights, &mean.update).expect("finite");
    weights
}

async fn manual_site() -> Arc<Site> {
    let site = Site::new().await;
    site.now().create_task(task_id(), task("manual"), None).await.expect("a good task");
    site.now().open_round(&task_id()).await.expect("none is open");
    site
}

async fn assert_exact(site: &Site, told: &Told, devices: u32) {
    assert_eq!(told.info.round.phase.name(), "finished", "{:?}", told.info);
    assert_eq!(told.info.survivors(), devices);
    assert_eq!(told.inputs.len(), devices as usize);
    let summary = told.info.round.summary.expect("finished rounds have one");
    assert_eq!(summary.examples as i64, told.inputs.iter().map(|input| input[1][3]).sum::<i64>());
    let weights = site.weights(&task_id()).await;
    assert_eq!(weights, expected(&told.inputs), "the sum is exact");
    let model = site.now().get_model_info(&task_id(), None).await.expect("a model");
    assert_eq!((model.version, model.parent, model.cohort), (ModelVersion(2), Some(ModelVersion(1)), devices));
    let sessions: Vec<_> = told.info.round.sessions.iter().map(|session| session.id).collect();
    for session in sessions {
        let read = site.store.read("left", move |tx| {
            Box::pin(async move {
                let segments = tx.segments(session).await?.len();
                Ok::<_, Error>(tx.uploads(session).await?.len() + segments)
            })
        });
        assert_eq!(read.await.expect("rows"), 0, "rows of uploads or segments are left");
    }
    // Nothing of the round is left but the models.
    site.until_settled().await;
    site.now().shutdown().await;
    let mut left = site.blobs.list("segments").await.expect("no error");
    left.extend(site.blobs.list("sums").await.expect("no error"));
    let staged = std::fs::read_dir(site.folder.path().join("staging")).expect("a folder");
    left.extend(staged.map(|file| format!("{:?}", file.expect("an entry").path())));
    assert_eq!(left, Vec::<String>::new(), "segments, sums or staged files are left");
    site.start().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_to_the_end() {
    let site = manual_site().await;
    let told = tell(&site, 12, Story::default()).await;
    assert!(told.errors.is_empty(), "{:?}", told.errors);
    assert_exact(&site, &told, 12).await;
    let bytes = told.info.round.summary.expect("finished").bytes_up_per_device;
    // 12 devices on a grid of 222 need 13 bits: keys, shares, 20 bytes of input, a signature, revealed shares.
    assert_eq!(bytes, 192 + (80 * 11 + 32) + (13 + 7) + 64 + 32 * 11);
}

/// A device that has given its last answer asks for work at once; the round ends a moment later, not when its window does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_done_comes_again_soon() {
    let site = manual_site().await;
    let mut phones = gather(&site, 12).await;
    for stage in [SessionStage::Keys, SessionStage::Shares, SessionStage::MaskedInput, SessionStage::Agreement] {
        let (acted, errors) =
            together(phones, move |mut phone| async move { phone.act(stage).await.map(|()| phone) }).await;
        assert!(errors.is_empty(), "{stage:?}: {errors:?}");
        phones = acted;
    }
    let (last, done) = (phones.split_off(11), phones);
    let unmask = |mut phone: Phone| async move { phone.act(SessionStage::Unmask).await.map(|()| phone) };
    let (done, errors) = together(done, unmask).await;
    assert!(errors.is_empty(), "{errors:?}");
    for phone in &done {
        let answer = site.now().check_in(&phone.caller, CheckIn::default()).await.expect("an answer");
        let CheckInAnswer::Wait(wait) = answer else { panic!("{answer:?}") };
        assert!(wait.code == "round_running" && wait.retry.before <= Duration::from_secs(1), "{wait:?}");
    }
    assert!(together(last, unmask).await.1.is_empty());
    site.until("the end", |info| info.round.phase.is_over()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_in_every_stage_leave_the_exact_sum_of_the_survivors() {
    for (name, lost, survivors) in [
        ("keys", [2, 0, 0, 0, 0], 10),
        ("shares", [0, 2, 0, 0, 0], 10),
        ("masked input", [0, 0, 2, 0, 0], 10),
        ("agreement", [0, 0, 0, 2, 0], 12),
        ("unmask", [0, 0, 0, 0, 2], 12),
        ("everywhere", [0, 1, 1, 1, 1], 10),
    ] {
        let site = manual_site().await;
        let told = tell(&site, 12, Story { lost, ..Story::default() }).await;
        assert!(told.errors.is_empty(), "{name}: {:?}", told.errors);
        assert_exact(&site, &told, survivors).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_the_floor_nothing_is_revealed() {
    for (lost, code) in [
        ([3, 0, 0, 0, 0], "too_few_clients"),
        ([0, 3, 0, 0, 0], "too_few_sharers"),
        ([0, 0, 3, 0, 0], "too_few_inputs"),
        ([0, 0, 0, 0, 6], "too_few_shares"),
    ] {
        let site = manual_site().await;
        let told = tell(&site, 12, Story { lost, ..Story::default() }).await;
        assert_eq!(told.info.reason().map(|(code, _)| code), Some(code));
        assert!(told.errors.iter().all(|error| error.code() == code), "{:?}", told.errors);
        let models = site.now().list_models(&task_id()).await.expect("rows");
        assert_eq!(models.len(), 1, "{code}");
        assert_eq!(site.blobs.list("sums").await.expect("no error"), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_in_every_stage_change_nothing() {
    for stage in 0..5 {
        let site = manual_site().await;
        let lost = if stage == 2 { [1, 0, 1, 0, 0] } else { [0; 5] };
        let told = tell(&site, 12, Story { lost, restart_in: Some(stage), ..Story::default() }).await;
        assert!(told.errors.is_empty(), "stage {stage}: {:?}", told.errors);
        assert_exact(&site, &told, if stage == 2 { 10 } else { 12 }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_sessions_are_summed() {
    let site = Site::new().await;
    let mut config = task("manual");
    config.cohort.goal = 24;
    config.cohort.over_selection_permille = 1000;
    config.cohort.session_max = 20;
    site.now().create_task(task_id(), config, None).await.expect("a good task");
    site.now().open_round(&task_id()).await.expect("none is open");
    let told = tell(&site, 24, Story::default()).await;
    assert!(told.errors.is_empty(), "{:?}", told.errors);
    let members: Vec<u32> = told.info.round.sessions.iter().map(|session| session.members).collect();
    assert_eq!(members, [12, 12]);
    assert_exact(&site, &told, 24).await;
}

/// More than 128 devices in one session: a sparse graph, with losses in every stage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_and_forty_devices_in_one_sparse_session() {
    let site = Site::new().await;
    let mut config = task("manual");
    (config.cohort.goal, config.cohort.floor) = (140, 100);
    config.cohort.over_selection_permille = 1000;
    config.secure_aggregation.sessions = Sessions::One;
    site.now().create_task(task_id(), config, None).await.expect("a good task");
    site.now().open_round(&task_id()).await.expect("none is open");
    let told = tell(&site, 140, Story { lost: [1, 2, 3, 2, 2], ..Story::default() }).await;
    assert!(told.errors.is_empty(), "{:?}", told.errors);
    let members: Vec<u32> = told.info.round.sessions.iter().map(|session| session.members).collect();
    assert_eq!(members, [140]);
    assert_exact(&site, &told, 134).await;
}

/// Profile M: who brings no good certificate is refused with the word for it, and the others go on to the exact sum.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certified_devices_sum_up_and_others_are_refused() {
    let site = Site::new().await;
    let mut config = task("manual");
    config.cohort.over_selection_permille = 1300;
    config.secure_aggregation.profile = Profile::Malicious;
    let unknown = site.now().create_task(task_id(), config.clone(), None).await.expect_err("whose certificates?");
    assert_eq!(unknown.code(), "invalid");
    config.secure_aggregation.identity_root = Some(IdentityRoot(root().public()));
    site.now().create_task(task_id(), config, None).await.expect("a good task");
    site.now().open_round(&task_id()).await.expect("none is open");
    let mut phones = gather(&site, 13).await;

    let mut odd = phones.pop().expect("thirteen");
    let good = odd.keys().await;
    let foreign = IdentityKey::from_seed(&[44; 32]);
    let identity = odd.caller.identity_key;
    let with = |certificate: Certificate| Bytes::from([&good[..192], &certificate.encode()].concat());
    for (name, payload, expected) in [
        ("none", good.slice(..192), "certificate_missing"),
        ("cut short", good.slice(..good.len() - 1), "wrong_length"),
        ("another authority's", with(Certificate::issue(&foreign, &identity, u64::MAX)), "certificate"),
        ("another device's", with(phones[0].device.certificate.expect("it has one")), "certificate"),
        ("an old one", with(Certificate::issue(&root(), &identity, 1_600_000_000_000)), "certificate_expired"),
    ] {
        let error = odd.send(SessionStage::Keys, payload).await.expect_err(name);
        assert_eq!(error.code(), expected, "{name}");
        assert_eq!(error.remedy(), Remedy::Leave, "{name}: another try cannot help");
    }
    assert_eq!(site.round().await.round.sessions[0].answered[0], 0);
    let leave = Leave { round: site.round().await.round.id, reason: "certificate".into() };
    site.now().leave(&odd.caller, leave).await.expect("it takes part");

    // A restart replays the certified messages too.
    let told = go_on(&site, phones, Story { lost: [0, 0, 1, 0, 0], restart_in: Some(1), ..Story::default() }).await;
    assert!(told.errors.is_empty(), "{:?}", told.errors);
    assert_exact(&site, &told, 11).await;
    let bytes = told.info.round.summary.expect("finished").bytes_up_per_device;
    assert_eq!(bytes, 192 + 72 + (80 * 11 + 32) + (13 + 7) + 64 + 32 * 11);
}

/// A device whose randomness repeats itself: its keys of an earlier round are refused, also after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_earlier_rounds_are_refused() {
    let site = manual_site().await;
    let mut phones = gather(&site, 12).await;
    let frozen = phones[0].device.keys.clone();
    let told = go_on(&site, std::mem::take(&mut phones), Story::default()).await;
    assert_exact(&site, &told, 12).await;

    site.now().open_round(&task_id()).await.expect("none is open");
    let mut phones = gather(&site, 12).await;
    site.restart().await;
    let stuck = phones.iter_mut().find(|phone| phone.caller == Phone::new(&site, 1).caller).expect("it is in");
    stuck.device.keys = frozen;
    let payload = stuck.keys().await;
    let refused = stuck.send(SessionStage::Keys, payload).await.expect_err("its channel key is an old one");
    assert_eq!(refused.code(), "duplicate_key");
    // With fresh ones it is welcome.
    *stuck = Phone { manifest: stuck.manifest.clone(), ..Phone::new(&site, 1) };
    let told = go_on(&site, phones, Story::default()).await;
    assert!(told.errors.is_empty(), "{:?}", told.errors);
    assert_eq!(told.info.new_version(), Some(ModelVersion(3)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_messages_are_refused_and_change_nothing() {
    let site = manual_site().await;
    let phones: Vec<Phone> = (1..=12).map(|number| Phone::new(&site, number)).collect();
    let (mut phones, _) = together(phones, |mut phone| async move { phone.check_in().await.map(|()| phone) }).await;
    let stranger = Phone::new(&site, 99);
    let coordinator = site.now();
    let round = site.round().await.round.id;
    let manifest = phones[0].manifest.clone().expect("checked in");
    let payload = phones[0].keys().await;
    let mut broken = payload.to_vec();
    broken[191] ^= 1;
    let up = |payload: &Bytes| StageUp { handle: round, payload: payload.clone() };
    let code = |answer: Result<StageAnswer, Error>| answer.map_err(|error| error.code().to_owned()).err();
    let me = phones[0].caller;
    for (name, caller, message, expected) in [
        ("a stranger", stranger.caller, up(&payload), "not_participant"),
        ("another's keys", phones[1].caller, up(&payload), "wrong_identity"),
        ("a stolen device id", Caller { device: me.device, ..phones[1].caller }, up(&payload), "wrong_identity"),
        ("a bad signature", me, up(&broken.into()), "bad_signature"),
        ("too short", me, up(&payload.slice(..191)), "wrong_length"),
        (
            "another round",
            me,
            StageUp { handle: RoundId::from_random([1; 16]), payload: payload.clone() },
            "unknown_round",
        ),
    ] {
        assert_eq!(code(coordinator.advertise_keys(&caller, message).await).as_deref(), Some(expected), "{name}");
    }
    let session = site.round().await.round.sessions[0].id;
    let early = StageUp { handle: session, payload: payload.clone() };
    assert_eq!(code(coordinator.share_keys(&me, early.clone()).await).as_deref(), Some("stage_order"));
    let nowhere = StageUp { handle: SessionId::from_random([1; 16]), payload };
    assert_eq!(code(coordinator.share_keys(&me, nowhere).await).as_deref(), Some("unknown_session"));
    assert_eq!(site.round().await.round.sessions[0].answered, [0; 5]);

    // On to stage 2, where uploads may go wrong.
    phones[0] = Phone { manifest: Some(manifest), ..Phone::new(&site, 1) };
    for stage in [SessionStage::Keys, SessionStage::Shares] {
        let act = move |mut phone: Phone| async move { phone.act(stage).await.map(|()| phone) };
        let (alive, errors) = together(phones, act).await;
        assert!(errors.is_empty(), "{errors:?}");
        phones = alive;
    }
    let second = code(coordinator.share_keys(&me, early).await);
    assert_eq!(second.as_deref(), Some("duplicate"), "a closed stage takes a retry, but no second message");
    let first = phones.remove(0);
    let config = scale_secagg::config::RoundConfig::decode(&first.manifest.as_ref().expect("checked in").round_config);
    let total = config.expect("a configuration").masked_input_len();
    let good = Bytes::from(vec![0; total as usize]);
    let piece =
        |offset: u64, total: u64, digest: Digest, data: Bytes| UploadPiece { session, offset, total, digest, data };
    let send = async |piece| coordinator.upload_piece(&me, piece).await.map_err(|error| error.code().to_owned());
    let digest = Digest::of(&good);
    let wrong = send(piece(0, total + 1, digest, good.clone())).await;
    assert_eq!(wrong, Err("wrong_length".into()));
    let other = Digest::of(b"other");
    assert_eq!(send(piece(0, total, other, good.clone())).await, Err("bad_digest".into()), "and it is forgotten");
    assert_eq!(send(piece(0, total, digest, good.slice(..5))).await, Ok(UploadAnswer::Received(5)));
    assert_eq!(send(piece(9, total, digest, good.slice(9..))).await, Ok(UploadAnswer::Received(5)));
    assert_eq!(send(piece(0, total, other, good.clone())).await, Err("duplicate".into()));
    assert_eq!(send(piece(5, total, digest, good.slice(..total as usize - 4))).await, Err("wrong_length".into()));
    assert_eq!(send(piece(5, total, digest, good.slice(5..))).await, Ok(UploadAnswer::Committed));
    assert_eq!(send(piece(0, total, digest, good.clone())).await, Ok(UploadAnswer::Committed), "a retry");
    assert_eq!(send(piece(0, total, other, good.clone())).await, Err("duplicate".into()));
    // The others do not come; the stage closes and their pieces are late.
    site.pass_window().await;
    let info = site.until("the end", |info| info.round.phase.is_over()).await;
    assert_eq!(info.reason().map(|(code, _)| code), Some("too_few_inputs"));
    assert_eq!(send(piece(0, total, digest, good)).await, Err("too_few_inputs".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_ends_the_wait_for_a_device() {
    let site = manual_site().await;
    let phones: Vec<Phone> = (1..=12).map(|number| Phone::new(&site, number)).collect();
    let (mut phones, _) = together(phones, |mut phone| async move { phone.check_in().await.map(|()| phone) }).await;
    let gone = phones.pop().expect("twelve");
    let round = site.round().await.round.id;
    let leave = Leave { round, reason: "battery".into() };
    site.now().leave(&gone.caller, leave.clone()).await.expect("it takes part");
    site.now().leave(&gone.caller, leave).await.expect("twice is fine");
    // Eleven answer: nobody waits for the twelfth, and no window has to pass.
    let act = |mut phone: Phone| async move { phone.act(SessionStage::Keys).await.map(|()| phone) };
    let (alive, errors) = together(phones, act).await;
    assert_eq!((alive.len(), errors.len()), (11, 0));
    assert_eq!(site.round().await.round.sessions[0].stage, SessionStage::Shares);
    let again = site.now().check_in(&gone.caller, CheckIn::default()).await.expect("an answer");
    assert!(matches!(again, CheckInAnswer::Wait(wait) if wait.code == "has_left"));
}

/// Devices remember the last number of a task, by its name; a coordinator may have forgotten it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_go_on_after_a_backup_and_after_a_task_that_is_made_again() {
    let site = Site::new().await;
    let second = Duration::from_secs(1);
    let (mut joined, mut rounds) = (0, 0);
    let mut open = async |coordinator: &Coordinator| {
        let round = coordinator.open_round(&task_id()).await.expect("none is open").round;
        coordinator.abandon_round(round.id, "only a test".into()).await.expect("it is open");
        assert!(round.number > joined, "every device would refuse round {}: {joined} was joined", round.number);
        (joined, rounds) = (round.number, rounds + 1);
        round.number
    };
    site.now().create_task(task_id(), task("manual"), None).await.expect("a good task");
    for _ in 0..5 {
        open(&site.now()).await;
        site.clock.advance(second);
    }
    // More rounds than seconds, then the clock goes back.
    let ahead = open(&site.now()).await;
    assert_eq!([open(&site.now()).await, open(&site.now()).await], [ahead + 1, ahead + 2]);
    site.clock.set(Timestamp::from_millis(1_600_000_000_000));
    assert_eq!(open(&site.now()).await, ahead + 3);
    // The database is lost; a task of the same name is made in a new one, some minutes later.
    site.clock.set(Timestamp::from_millis((ahead + 600) * 1000));
    let again = Site::new().await;
    again.clock.set(site.clock.now());
    again.now().create_task(task_id(), task("manual"), None).await.expect("a good task");
    open(&again.now()).await;
    // A backup from before the last three rounds is put back.
    let backup = again.store.read("test", |tx| Box::pin(async move { tx.task(&task_id()).await })).await;
    let backup = backup.expect("a row").expect("a task");
    for _ in 0..3 {
        again.clock.advance(second * 60);
        open(&again.now()).await;
    }
    again
        .store
        .run_tx("test", |tx| {
            let backup = backup.clone();
            Box::pin(async move { tx.update_task(&backup).await })
        })
        .await
        .expect("the row is there");
    again.restart().await;
    again.clock.advance(second * 60);
    open(&again.now()).await;
    assert_eq!(rounds, 14);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_open_rounds_and_pausing_stops_them() {
    let site = Site::new().await;
    let coordinator = site.now();
    coordinator.create_task(task_id(), task("when_ready"), None).await.expect("a good task");
    coordinator.tick().await.expect("no storage error");
    let first = site.round().await.round;
    assert_eq!((first.number, first.phase.name()), (1_700_000_000, "selecting"));
    let error = coordinator.open_round(&task_id()).await.expect_err("one is open");
    assert_eq!(error.code(), "round_open");
    coordinator.abandon_round(first.id, "wrong labels".into()).await.expect("it is open");
    assert_eq!(coordinator.abandon_round(first.id, "again".into()).await.expect_err("over").code(), "round_over");
    coordinator.tick().await.expect("no storage error");
    let second = site.round().await.round;
    assert_eq!(second.number, 1_700_000_001, "numbers rise");
    coordinator.set_task_state(&task_id(), TaskState::Paused).await.expect("it exists");
    coordinator.abandon_round(second.id, "pause".into()).await.expect("it is open");
    coordinator.tick().await.expect("no storage error");
    assert_eq!(site.round().await.round.number, second.number);
    assert_eq!(coordinator.open_round(&task_id()).await.expect_err("paused").code(), "task_not_active");
    let phone = Phone::new(&site, 1);
    let answer = coordinator.check_in(&phone.caller, CheckIn::default()).await.expect("an answer");
    assert!(matches!(answer, CheckInAnswer::Wait(wait) if wait.code == "task_paused"));
    let families = CheckIn { families: vec!["cnn".into()], ..CheckIn::default() };
    let answer = coordinator.check_in(&phone.caller, families).await.expect("an answer");
    assert!(matches!(answer, CheckInAnswer::Wait(wait) if wait.code == "family_unsupported"));
    let unknown = CheckIn { tasks: vec!["other".parse().expect("a valid name")], ..CheckIn::default() };
    assert_eq!(coordinator.check_in(&phone.caller, unknown).await.expect_err("unknown").code(), "unknown_task");
}

/// Nobody asks every half minute for what will not come: neither by the task's name, nor for any task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_task_sends_its_devices_away_for_hours() {
    let site = Site::new().await;
    let mut config = task("manual");
    config.max_rounds = Some(1);
    site.now().create_task(task_id(), config, None).await.expect("a good task");
    site.now().open_round(&task_id()).await.expect("none is open");
    assert_exact(&site, &tell(&site, 12, Story::default()).await, 12).await;

    let coordinator = site.now();
    let device = Phone::new(&site, 1).caller;
    let ask = async |tasks: Vec<TaskId>| {
        let answer = coordinator.check_in(&device, CheckIn { tasks, ..CheckIn::default() }).await.expect("an answer");
        let CheckInAnswer::Wait(wait) = answer else { panic!("{answer:?}") };
        wait
    };
    let named = ask(vec![task_id()]).await;
    assert_eq!(named.code, "task_finished");
    assert!(named.retry.after >= Duration::from_secs(3600), "{:?}", named.retry);
    // Nor does an operator bring it back by accident.
    for state in [TaskState::Active, TaskState::Paused] {
        assert_eq!(coordinator.set_task_state(&task_id(), state).await.expect_err("over").code(), "task_over");
    }
    // An app that takes any task hears of a new one sooner; how soon depends on how many ask.
    let mut any = ask(vec![]).await;
    assert_eq!(any.code, "no_task");
    for _ in 0..5_000 {
        any = ask(vec![]).await;
    }
    assert!(any.retry.before - any.retry.after >= Duration::from_secs(100), "{:?}", any.retry);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_published_watched_and_rolled_back() {
    let site = Site::new().await;
    let coordinator = site.now();
    let config = task("manual");
    let given: Vec<f32> = (0..8_u8).map(f32::from).collect();
    let file = scale_proto::model_file::encode(&task_id(), ModelVersion(1), &config.model, &given).expect("it fits");
    let wrong = coordinator.create_task(task_id(), config.clone(), Some(Bytes::from_static(b"no model"))).await;
    assert_eq!(wrong.expect_err("no model").code(), "bad_model_file");
    let mut low = config.clone();
    low.cohort.floor = 9;
    assert_eq!(coordinator.create_task(task_id(), low, None).await.expect_err("too low").code(), "invalid");
    coordinator.create_task(task_id(), config.clone(), Some(file.into())).await.expect("a good task");
    assert_eq!(coordinator.create_task(task_id(), config, None).await.expect_err("taken").code(), "task_exists");
    assert_eq!(site.weights(&task_id()).await, given);

    let mut watch = coordinator.watch_models(&task_id()).await.expect("it exists");
    let first = watch.next().await.expect("not stopping").expect("a model");
    assert_eq!(first.version, ModelVersion(1));
    coordinator.open_round(&task_id()).await.expect("none is open");
    let told = tell(&site, 12, Story::default()).await;
    assert_eq!(told.info.new_version(), Some(ModelVersion(2)));
    assert_eq!(watch.next().await.expect("not stopping").expect("a model").version, ModelVersion(2));

    coordinator.open_round(&task_id()).await.expect("none is open");
    let model = coordinator.rollback_model(&task_id(), ModelVersion(1)).await.expect("it exists");
    assert_eq!((model.version, model.parent, model.current), (ModelVersion(3), Some(ModelVersion(1)), true));
    assert_eq!(site.weights(&task_id()).await, given);
    assert!(matches!(site.round().await.round.phase, Phase::Abandoned { .. }), "it trained what was taken back");
    assert_eq!(watch.next().await.expect("not stopping").expect("a model").version, ModelVersion(3));
    let old = ModelRequest { task: task_id(), version: Some(ModelVersion(2)) };
    let manifest = coordinator.get_model(old).await.expect("nothing is erased");
    assert!(manifest.url.starts_with("https://fl.example.org/models/demo/00000002-"));
    let none = ModelRequest { task: task_id(), version: Some(ModelVersion(9)) };
    assert_eq!(coordinator.get_model(none).await.expect_err("unknown").code(), "unknown_model");
    coordinator.shutdown().await;
    assert!(watch.next().await.is_none());
}

/// Selection of a patient task waits on; who was not heard of for long is forgotten and may come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patient_selection_drops_the_absent() {
    let site = Site::new().await;
    let coordinator = site.now();
    coordinator.create_task(task_id(), task("when_ready"), None).await.expect("a good task");
    coordinator.tick().await.expect("no storage error");
    // One that hangs up at once, and eleven that stay on the line.
    let gone = Phone::new(&site, 200);
    tokio::select! {
        answer = coordinator.check_in(&gone.caller, CheckIn::default()) => panic!("selection is not over: {answer:?}"),
        _ = site.until("an admission", |info| info.round.cohort == 1) => {}
    }
    let phones: Vec<Phone> = (1..=9).map(|number| Phone::new(&site, number)).collect();
    let waiting = tokio::spawn(together(phones, |mut phone| async move { phone.check_in().await.map(|()| phone) }));
    site.until("ten admissions", |info| info.round.cohort == 10).await;
    // Ten would do at the end of the window, so one more leaves first.
    let round = site.round().await.round.id;
    let leaver = Phone::new(&site, 1).caller;
    coordinator.leave(&leaver, Leave { round, reason: "battery".into() }).await.expect("it takes part");
    site.pass_window().await;
    site.until("the absent are dropped", |info| info.round.cohort == 8).await;
    let rows = site
        .store
        .read("participants", move |tx| Box::pin(async move { tx.participants(round).await }))
        .await
        .expect("rows");
    assert!(rows.iter().all(|row| row.device != gone.caller.device));
    let more: Vec<Phone> = (10..=12).chain([200]).map(|number| Phone::new(&site, number)).collect();
    let more = together(more, |mut phone| async move { phone.check_in().await.map(|()| phone) });
    let (alive, errors) = more.await;
    assert_eq!((alive.len(), errors.len()), (4, 0), "{errors:?}");
    waiting.abort();
    assert_eq!(site.round().await.round.cohort, 12);
}

/// Another process writes the round's row at the same time. The step that lost is made again on the new row, and no device
/// hears of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_race_for_the_row_is_retried_and_invisible() {
    let site = manual_site().await;
    let phones = gather(&site, 12).await;
    let round = site.round().await.round.id;
    let (store, stop) = (site.store.clone(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let raced = Arc::clone(&stop);
    let racer = tokio::spawn(async move {
        let mut races = 0_u32;
        while !raced.load(std::sync::atomic::Ordering::Relaxed) {
            // Nobody in this process is told: its copy of the row is old from here on.
            let raise = store.run_tx("race", move |tx| {
                Box::pin(async move {
                    let mut row = tx.lock_round(round).await?.expect("it is there");
                    row.revision += 1;
                    tx.update_round(&row).await
                })
            });
            raise.await.expect("rows");
            races += 1;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        races
    });
    let told = go_on(&site, phones, Story { lost: [0, 1, 1, 0, 0], ..Story::default() }).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(racer.await.expect("no panic") > 20, "there were races to lose");
    assert!(told.errors.is_empty(), "{:?}", told.errors);
    assert_exact(&site, &told, 10).await;
}
