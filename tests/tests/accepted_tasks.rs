//! Whatever task a coordinator accepts, the device of the same build joins its rounds.
//!
//! Settings at and beyond their edges go to a coordinator in this process. What it takes, it opens a round of, and the
//! device that ships has the last word: a task that every device refuses would stay without a sum
//! for ever, and nobody would be told.

use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use scale_client_core::device::{Event, Guardrails, Rules, State};
use scale_client_core::testing::Device;
use scale_clock::{Clock as _, MockClock};
use scale_coordinator::blobs::{Blobs, Cdn, ModelUrls};
use scale_coordinator::staging::Staging;
use scale_coordinator::store::Store;
use scale_coordinator::{Caller, Coordinator, Parts, Settings};
use scale_proto::answer::{CheckIn, CheckInAnswer};
use scale_proto::ids::{DeviceId, TaskId};
use scale_proto::manifest::Manifest;
use scale_proto::model::Family;
use scale_proto::privacy::Privacy;
use scale_proto::task::{Schedule, TaskConfig};
use scale_proto::time::Timestamp;
use scale_secagg::keys::IdentityKey;
use scale_tests::round::small_task;

/// Tasks that are tried.
const TASKS: u32 = 300;
/// Devices that ask to take part in each.
const DEVICES: u32 = 48;
const TASK_KEY: [u8; 32] = [42; 32];

struct Bench {
    coordinator: Coordinator,
    clock: MockClock,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = MockClock::at(Timestamp::from_millis(1_700_000_000_000));
        let settings = Settings { long_poll: Duration::from_secs(1), ..Settings::default() };
        let parts = Parts {
            store: Store::open_in_memory().await.unwrap(),
            blobs: Blobs::in_memory(),
            clock: Arc::new(clock.clone()),
            task_key: Arc::new(IdentityKey::from_seed(&TASK_KEY)),
            model_urls: ModelUrls::cdn(Cdn::parse("https://fl.example.org").expect("an address")),
            staging: Staging::folder(folder.path().join("staging")).expect("a folder"),
            watch: Arc::new(()),
            settings,
        };
        Self { coordinator: Coordinator::start(parts).await.unwrap(), clock, _folder: folder }
    }

    /// The manifest of a round of `task`: what the first of more devices than any task here wants gets.
    async fn manifest(&self, task: &TaskId) -> Manifest {
        self.coordinator.open_round(task).await.unwrap();
        let wanted = CheckIn { tasks: vec![task.clone()], families: vec![] };
        let calls = (0..DEVICES).map(|number| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_le_bytes());
            let mut seed = [7; 32];
            seed[..4].copy_from_slice(&number.to_le_bytes());
            let identity_key = IdentityKey::from_seed(&seed).public();
            let caller = Caller { device: DeviceId::from_random(id), identity_key };
            let (coordinator, wanted) = (self.coordinator.clone(), wanted.clone());
            Box::pin(async move {
                loop {
                    match coordinator.check_in(&caller, wanted.clone()).await.unwrap() {
                        CheckInAnswer::Manifest(manifest) => return manifest,
                        CheckInAnswer::Wait(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
            })
        });
        let first = futures::future::select_all(calls);
        tokio::time::timeout(Duration::from_secs(30), first).await.expect("training begins").0
    }
}

/// What a new device of an app with this task says.
fn check(manifest: Manifest, task: &TaskId, family: &str, now: Timestamp) -> Result<(), String> {
    let rules = Rules {
        task_key: IdentityKey::from_seed(&TASK_KEY).public(),
        identity_root: None,
        tasks: vec![task.clone()],
        families: vec![family.to_owned()],
        guardrails: Guardrails::default(),
    };
    let checked_in = Event::CheckedIn(CheckInAnswer::Manifest(manifest));
    match Device::at(9, rules, now).step(State::Idle, checked_in).0 {
        State::Joined(_) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

fn one_of<T: Copy>(rng: &mut ChaCha20Rng, values: &[T]) -> T {
    values[rng.next_u32() as usize % values.len()]
}

/// Settings that meet at the edges of what devices take.
fn draw(rng: &mut ChaCha20Rng) -> TaskConfig {
    let mut task = TaskConfig::try_from(small_task(10, 20_000)).unwrap();
    task.schedule = Schedule::Manual;
    task.model.family = Family::Mlp { inputs: one_of(rng, &[1, 4, 300]), hidden: vec![one_of(rng, &[3, 40])] };
    task.training.max_weight = one_of(rng, &[1, 50, 333, 334, 1000, 5000, u32::MAX]);
    task.training.time_limit_ms = one_of(rng, &[1, 10_000, 20_000, 20_001, 1_800_000]);
    task.training.epochs = one_of(rng, &[1, 3, 100]);
    task.quantization.clip = one_of(rng, &[1e-6, 1.0, 1e6]);
    task.quantization.grid_factor = one_of(rng, &[4, 64, 4096, 1 << 20]);
    task.cohort.goal = one_of(rng, &[10, 13, 30]);
    task.cohort.floor = one_of(rng, &[10, task.cohort.goal]);
    task.cohort.session_max = one_of(rng, &[13, 32, 128]);
    let (epsilon, delta) = (one_of(rng, &[0.5, 3.9, 4.1, 8.0, 30.0, 300.0]), one_of(rng, &[1e-9, 1e-6, 1e-5, 1e-2]));
    let rounds = one_of(rng, &[1, 2, 10, 100]);
    task.privacy = match rng.next_u32() % 5 {
        0 | 1 => Privacy::None,
        2 => Privacy::Example { epsilon, delta, rounds, clip: one_of(rng, &[1e-3, 1.0, 1e3]) },
        3 => Privacy::Local { epsilon, delta, rounds },
        _ => Privacy::Distributed { epsilon, delta, rounds },
    };
    task
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_joins_every_task_that_a_coordinator_accepts() {
    let bench = Bench::new().await;
    let rng = &mut ChaCha20Rng::seed_from_u64(11);
    let (mut accepted, mut noisy, mut refused) = (0, 0, std::collections::BTreeMap::<String, u32>::new());
    for number in 0..TASKS {
        let config = draw(rng);
        let task: TaskId = format!("task-{number}").parse().unwrap();
        match bench.coordinator.create_task(task.clone(), config.clone(), None).await {
            Err(error) => *refused.entry(error.code().to_owned()).or_default() += 1,
            Ok(_) => {
                let manifest = bench.manifest(&task).await;
                let family = config.model.family.name();
                let joined = check(manifest, &task, family, bench.clock.now());
                assert!(joined.is_ok(), "a device refuses {config:#?}\n{}", joined.unwrap_err());
                accepted += 1;
                noisy += u32::from(!matches!(config.privacy, Privacy::None | Privacy::Example { .. }));
            }
        }
    }
    assert!(accepted > TASKS / 20 && noisy > 0 && refused.contains_key("invalid"), "{accepted} {noisy} {refused:?}");
}
