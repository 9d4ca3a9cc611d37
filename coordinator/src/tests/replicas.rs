//! Whole rounds with several coordinators on the same rows and blobs, in memory on a clock that the tests move, and on
//! Postgres with its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use scale_clock::{Anchor, MockClock, SystemClock};
use scale_proto::ids::ModelVersion;
use scale_proto::task::TaskConfig;
use scale_proto::time::Timestamp;
use scale_secagg::keys::IdentityKey;
use scale_sql::testing::Server;

use super::cluster::{Cluster, Recipe, Rows};
use super::expected;
use super::fleet::*;
use crate::blobs::Blobs;
use crate::round::{Round, SessionStage};
use crate::store::Store;
use crate::*;

/// Longest time of one round: a test that waits in vain says so.
const PATIENCE: Duration = Duration::from_secs(120);

/// A lease in memory, where the tests move the clock. Long, because it is prolonged by the machine's time.
const LEASE: Duration = Duration::from_secs(30);
/// A lease on Postgres, by the server's clock.
const SHORT: Duration = Duration::from_secs(1);

fn settings(lease: Duration) -> Settings {
    let mut settings = Settings::default();
    (settings.replicas, settings.lease, settings.long_poll) = (true, lease, Duration::from_secs(5));
    settings
}

/// Replicas in memory, and an open round.
async fn in_memory(replicas: u32, seed: u64) -> Arc<Site> {
    let store = Store::open_in_memory().await.expect("a database");
    let clock = MockClock::at(Timestamp::from_millis(1_700_000_000_000));
    let mut settings = settings(LEASE);
    // Tests move the clock by whole windows.
    settings.standstill = Duration::MAX;
    let rows = Rows::Memory(store.clone());
    site(store, rows, clock.clone(), Arc::new(clock), settings, replicas, seed).await
}

/// Replicas on Postgres, as a role that owns nothing, and an open round.
async fn on_postgres(server: &Server, replicas: u32, seed: u64) -> Arc<Site> {
    store::migrate(&server.superuser()).await.expect("a new database");
    let store = Store::postgres(&server.superuser(), 4).await.expect("the schema is there");
    let url = server.login("NOINHERIT", &[]).await;
    let role = Server::user_of(&url);
    server.run(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")).await;
    let rows = Rows::Server(url);
    site(store, rows, MockClock::default(), Arc::new(SystemClock), settings(SHORT), replicas, seed).await
}

async fn site(
    store: Store,
    rows: Rows,
    clock: MockClock,
    time: scale_clock::SharedClock,
    settings: Settings,
    replicas: u32,
    seed: u64,
) -> Arc<Site> {
    let (blobs, task_key) = (Blobs::in_memory(), Arc::new(IdentityKey::from_seed(&[42; 32])));
    let (standstill, right) = (settings.standstill, Anchor::at(&clock));
    let recipe =
        Recipe { rows, blobs: blobs.clone(), clock: Arc::clone(&time), task_key: Arc::clone(&task_key), settings };
    let desk = Desk::Many(Box::new(Cluster::new(recipe, replicas, seed).await));
    let folder = tempfile::tempdir().expect("a folder");
    let site = Arc::new(Site { store, blobs, clock, time, right, standstill, task_key, folder, desk });
    open(&site, task("manual")).await;
    site
}

async fn open(site: &Site, config: TaskConfig) {
    site.operate(move |coordinator| {
        let config = config.clone();
        Box::pin(async move {
            coordinator.create_task(task_id(), config, None).await?;
            coordinator.open_round(&task_id()).await
        })
    })
    .await;
}

/// The sum is exact, one version was published, and nothing of the round is left.
async fn assert_exact(site: &Site, told: &Told, devices: u32) {
    assert_eq!(told.info.round.phase.name(), "finished", "{:?}", told.info);
    // Who asked a replica that did not answer may come back after the masks are off: more shares only repair wrong ones.
    assert!(told.errors.iter().all(|error| matches!(error, Error::Late)), "{:?}", told.errors);
    assert_eq!((told.info.survivors(), told.inputs.len()), (devices, devices as usize));
    assert_eq!(site.weights(&task_id()).await, expected(&told.inputs), "the sum is exact");
    let models = site.operate(|coordinator| Box::pin(async move { coordinator.list_models(&task_id()).await })).await;
    let versions: Vec<_> = models.iter().map(|model| (model.version, model.cohort)).collect();
    assert_eq!(versions, [(ModelVersion(2), devices), (ModelVersion(1), 0)], "versions rise by one");
    site.until_settled().await;
    site.cluster().stop_all().await;
    let mut left = Vec::new();
    for folder in ["segments", "sums", "staging"] {
        left.extend(site.blobs.list(folder).await.expect("no error"));
    }
    assert_eq!(left, Vec::<String>::new(), "segments, sums or staged pieces are left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_at_another_replica_in_memory() {
    for replicas in [2, 3] {
        let site = in_memory(replicas, 1).await;
        let told = tell(&site, 12, Story::default()).await;
        assert_eq!(site.cluster().failures.load(Ordering::SeqCst), 0, "nobody hears of lost races");
        assert_exact(&site, &told, 12).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_at_another_replica_on_postgres() {
    for replicas in [2, 3] {
        let server = Server::new("replicas").await;
        let site = on_postgres(&server, replicas, 2).await;
        let told = tell(&site, 12, Story::default()).await;
        assert_eq!(site.cluster().failures.load(Ordering::SeqCst), 0, "nobody hears of lost races");
        assert_exact(&site, &told, 12).await;
        server.end().await;
    }
}

/// Where the newest round is, as far as calls can see. From its row: a replica that is held answers nobody.
async fn place(site: &Site) -> (String, Vec<(SessionStage, bool)>) {
    let read = site.store.read("place", |tx| Box::pin(async move { tx.rounds_of(&task_id(), 1).await }));
    let row = read.await.expect("rows").remove(0);
    let round: Round = serde_json::from_str(&row.state).expect("a state");
    (row.phase, round.sessions.iter().map(|session| (session.stage, session.closing)).collect())
}

/// What a replica does in a round, by the transactions that keep it, in the order in which they come.
const TRANSACTIONS: [&str; 9] = [
    "keep_messages",
    // Every stage's end; the first is that of the keys.
    "close_stage",
    "announce_upload",
    "verify_upload",
    "commit_segment",
    "freeze",
    "unmask",
    "release_sum",
    "publish",
];

/// Those of work that is leased.
const LEASED: [&str; 5] = ["close_stage", "freeze", "unmask", "release_sum", "publish"];

/// What happens to a replica that is held in the middle of its work.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Killed,
    /// It goes on once another replica has done its work.
    Late,
}

/// A replica stops before it begins `transaction`, and the others finish what it holds.
async fn hold(site: &Arc<Site>, transaction: &'static str, fate: Fate) -> Told {
    let phones = gather(site, 12).await;
    site.cluster().arm(transaction);
    let running = tokio::spawn({
        let site = Arc::clone(site);
        async move { go_on(&site, phones, Story::default()).await }
    });
    let held = site.cluster().until_held().await;
    let before = place(site).await;
    if fate == Fate::Killed {
        site.cluster().kill(&held);
    }
    // In memory time does not pass by itself.
    site.clock.advance(LEASE + Duration::from_secs(1));
    if fate == Fate::Late {
        if LEASED.contains(&transaction) {
            let others = async {
                while place(site).await == before {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(PATIENCE, others).await.expect("another replica does the work");
        }
        // Some time for what is wrong to happen: what the others have done goes on meanwhile.
        tokio::time::sleep(Duration::from_millis(500)).await;
        site.cluster().release();
    }
    running.await.expect("no panic")
}

// A replica that dies is tested on Postgres only: in memory all of them have one connection, and a killed one takes it away,
// which no process can do to another.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_comes_back_late_changes_nothing_in_memory() {
    for (transaction, seed) in TRANSACTIONS.into_iter().zip(30..) {
        tracing::info!("late before {transaction}");
        let site = in_memory(3, seed).await;
        let held = hold(&site, transaction, Fate::Late);
        let told = tokio::time::timeout(PATIENCE, held).await.unwrap_or_else(|_| panic!("late before {transaction}"));
        assert_exact(&site, &told, 12).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_dies_at_its_work_is_followed_by_another_on_postgres() {
    for (transaction, seed) in TRANSACTIONS.into_iter().zip(50..) {
        tracing::info!("killed before {transaction}");
        let server = Server::new("replicas").await;
        let site = on_postgres(&server, 3, seed).await;
        let held = hold(&site, transaction, Fate::Killed);
        let told = tokio::time::timeout(PATIENCE, held).await.unwrap_or_else(|_| panic!("killed before {transaction}"));
        assert_exact(&site, &told, 12).await;
        server.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_comes_back_late_changes_nothing_on_postgres() {
    for (transaction, seed) in TRANSACTIONS.into_iter().zip(70..) {
        tracing::info!("late before {transaction}");
        let server = Server::new("replicas").await;
        let site = on_postgres(&server, 3, seed).await;
        let held = hold(&site, transaction, Fate::Late);
        let told = tokio::time::timeout(PATIENCE, held).await.unwrap_or_else(|_| panic!("late before {transaction}"));
        assert_exact(&site, &told, 12).await;
        server.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_stopped_and_replaced_in_every_stage() {
    for (stage, seed) in (0..5).zip(90..) {
        let site = in_memory(2, seed).await;
        let told = tell(&site, 12, Story { restart_in: Some(stage), ..Story::default() }).await;
        assert_exact(&site, &told, 12).await;
        let server = Server::new("replicas").await;
        let site = on_postgres(&server, 2, seed).await;
        let told = tell(&site, 12, Story { restart_in: Some(stage), ..Story::default() }).await;
        assert_exact(&site, &told, 12).await;
        server.end().await;
    }
}

/// Devices fall silent in every stage; each call of the others goes to another replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_leave_the_exact_sum_of_the_survivors() {
    for (lost, survivors) in [([0, 1, 1, 1, 1], 10), ([0, 0, 0, 2, 0], 12), ([2, 0, 0, 0, 0], 10)] {
        let site = in_memory(3, 7).await;
        let told = tell(&site, 12, Story { lost, ..Story::default() }).await;
        assert_exact(&site, &told, survivors).await;
    }
}

/// A device's last piece comes twice, at two replicas: both write a partial sum with it, and one is thrown away.
async fn an_upload_that_two_replicas_add(site: Arc<Site>) {
    let mut phones = gather(&site, 12).await;
    for stage in [SessionStage::Keys, SessionStage::Shares] {
        let act = move |mut phone: Phone| async move { phone.act(stage).await.map(|()| phone) };
        let (alive, errors) = together(phones, act).await;
        assert!(errors.is_empty(), "{errors:?}");
        phones = alive;
    }
    // The first replica that is about to name its partial sum waits until the others have named theirs.
    site.cluster().arm("commit_segment");
    let send = |mut phone: Phone| async move {
        let down = phone.down.take().expect("the sharers");
        phone.device.now = phone.site.device_time();
        phone.upload = phone.device.answer(down).expect("an honest coordinator");
        let (piece, caller) = (phone.part(0, phone.upload.len()), phone.caller);
        let everywhere = phone.site.cluster().all().into_iter().map(|replica| {
            let (piece, site) = (piece.clone(), Arc::clone(&phone.site));
            async move {
                let call = |coordinator: Coordinator| -> futures::future::BoxFuture<'static, _> {
                    Box::pin(async move { coordinator.upload_piece(&caller, piece).await })
                };
                site.cluster().ask_of(&replica, call).await
            }
        });
        for answer in futures::future::join_all(everywhere).await {
            answer?;
        }
        Ok(phone)
    };
    let sending = tokio::spawn(together(phones, send));
    site.cluster().until_held().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    site.cluster().release();
    let (phones, errors) = sending.await.expect("no panic");
    assert!(errors.is_empty(), "{errors:?}");
    // Each asks on for its survivors, and goes on.
    let wait = |mut phone: Phone| async move { phone.send_upload().await.map(|()| phone) };
    let (mut phones, errors) = together(phones, wait).await;
    assert!(errors.is_empty(), "{errors:?}");
    let inputs = phones.iter().map(|phone| phone.device.summand().to_vec()).collect();
    for stage in [SessionStage::Agreement, SessionStage::Unmask] {
        let act = move |mut phone: Phone| async move { phone.act(stage).await.map(|()| phone) };
        let (alive, errors) = together(phones, act).await;
        assert!(errors.is_empty(), "{errors:?}");
        phones = alive;
    }
    let info = site.until("the end", |info| info.round.phase.is_over()).await;
    assert_exact(&site, &Told { info, errors: Vec::new(), inputs }, 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_two_replicas_add_counts_once() {
    an_upload_that_two_replicas_add(in_memory(2, 3).await).await;
    let server = Server::new("replicas").await;
    an_upload_that_two_replicas_add(on_postgres(&server, 2, 4).await).await;
    server.end().await;
}

/// How long the calls that wait at one replica take to hear of what another one has done.
///
/// `deaf`: those that are on this server hear nothing any more. By now they have all their connections.
async fn until_told(site: &Arc<Site>, deaf: Option<&Server>) -> Duration {
    let mut phones = gather(site, 12).await;
    if let Some(server) = deaf {
        deafen(server).await;
    }
    let last = phones.pop().expect("twelve");
    let [one, other] = [0, 1].map(|at| site.cluster().all().remove(at));
    let at = |replica: Arc<super::cluster::Replica>, mut phone: Phone| async move {
        let (payload, caller) = (phone.keys().await, phone.caller);
        let round = phone.manifest.as_ref().expect("checked in").round;
        let call = |coordinator: Coordinator| -> futures::future::BoxFuture<'static, _> {
            Box::pin(async move {
                let up = scale_proto::stage::StageUp { handle: round, payload };
                coordinator.advertise_keys(&caller, up).await
            })
        };
        let answer = phone.site.cluster().ask_of(&replica, call).await.expect("no failure");
        assert!(matches!(answer, Some(scale_proto::answer::StageAnswer::Down(_))), "{answer:?}");
    };
    let waiting: Vec<_> = phones.into_iter().map(|phone| tokio::spawn(at(Arc::clone(&one), phone))).collect();
    site.until_answered(SessionStage::Keys, 11).await;
    let begin = std::time::Instant::now();
    at(other, last).await;
    for call in waiting {
        call.await.expect("an answer");
    }
    begin.elapsed()
}

/// Word from the database is only faster than looking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_elsewhere_are_answered_within_two_seconds() {
    let within = Duration::from_secs(2);
    // In memory nobody tells.
    let looked = until_told(&in_memory(2, 5).await, None).await;
    assert!(looked < within, "{looked:?}");
    for listens in [true, false] {
        let server = Server::new("replicas").await;
        let site = on_postgres(&server, 2, 6).await;
        let told = until_told(&site, Some(&server).filter(|_| !listens)).await;
        assert!(told < within, "listens: {listens}, {told:?}");
        assert_eq!(server.ask(LISTENING).await.len(), if listens { 2 } else { 0 });
        site.cluster().stop_all().await;
        server.end().await;
    }
}

/// Connections that listen.
const LISTENING: &str = "SELECT pid::text FROM pg_stat_activity
     WHERE datname = current_database() AND query LIKE 'LISTEN \"scale_rounds\"%'";

/// The connections that listen end, and there is no room for others.
async fn deafen(server: &Server) {
    assert_eq!(server.ask(LISTENING).await.len(), 2, "each replica listens");
    let ours = "SELECT count(*)::text FROM pg_stat_activity
         WHERE datname = current_database() AND usename LIKE 'login%'";
    let room: usize = server.ask(ours).await[0].parse().expect("a number");
    server.run(&format!("ALTER DATABASE {} CONNECTION LIMIT {}", server.name(), room - 2)).await;
    server.run(&format!("SELECT pg_terminate_backend(pid::int) FROM ({LISTENING}) AS listening")).await;
}
