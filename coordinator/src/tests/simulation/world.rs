//! A site with up to three coordinators, each in a runtime of its own so that it can die at any point, and what its
//! devices and operators know of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::memory::InMemory;
use scale_clock::{Anchor, Clock as _, MockClock, Timestamp};
use scale_proto::ids::{DeviceId, SessionId};
use scale_secagg::keys::IdentityKey;
use tokio::runtime::{Handle, Runtime};

use super::actor::Actor;
use super::faults::{Faults, Objects};
use super::operations::{DEVICES, List, Operation, REPLICAS};
use crate::blobs::{Blobs, Cdn, ModelUrls};
use crate::context::guard;
use crate::error::Class;
use crate::round::Phase;
use crate::rounds::View;
use crate::rows::TaskState;
use crate::staging::Staging;
use crate::store::Store;
use crate::tests::fleet::{task, task_id};
use crate::*;

/// In front of a model's blob.
pub(super) const URL: &str = "https://fl.example.org/";
/// How long devices get between two operations, if they are not through before.
const MOMENT: Duration = Duration::from_millis(450);
/// A coordinator that is told to stop does so in this time.
const STOPS_IN: Duration = Duration::from_secs(30);

/// What a device has added to the sum of a session, noise included.
pub(super) type Summand = Vec<Vec<i64>>;

/// A site.
pub(super) struct World {
    pub(super) shared: bool,
    pub(super) store: Store,
    /// Without faults.
    pub(super) blobs: Blobs,
    faulty: Blobs,
    pub(super) faults: Arc<Faults>,
    pub(super) clock: MockClock,
    /// Clocks of devices are right, whatever is done to the coordinator's.
    pub(super) right: Anchor,
    pub(super) task_key: Arc<IdentityKey>,
    pub(super) folder: tempfile::TempDir,
    replicas: Mutex<[Option<Replica>; REPLICAS as usize]>,
    turn: AtomicUsize,
    pub(super) heard: Mutex<Heard>,
}

/// What devices were told and have sent, and what must not have happened.
#[derive(Default)]
pub(super) struct Heard {
    /// Uploads that a device was told are part of the sum.
    pub(super) acknowledged: HashMap<SessionId, BTreeMap<DeviceId, Summand>>,
    /// Uploads that a device has begun to send.
    pub(super) sent: HashMap<SessionId, BTreeMap<DeviceId, Summand>>,
    pub(super) wrong: Vec<String>,
    /// Devices that gave up, by word.
    pub(super) gave_up: BTreeMap<String, u32>,
}

struct Replica {
    runtime: Runtime,
    coordinator: Coordinator,
}

impl World {
    pub(super) async fn new(shared: bool) -> Arc<Self> {
        let store = Store::open_in_memory().await.expect("a database");
        let faults = Arc::new(Faults::default());
        let memory = Arc::new(InMemory::new());
        let clock = MockClock::at(Timestamp::from_millis(1_700_000_000_000));
        store.database().inject(Some(faults.hook()));
        let world = Arc::new(Self {
            shared,
            store,
            blobs: Blobs::over(Arc::clone(&memory) as _),
            faulty: Blobs::over(Arc::new(Objects::new(memory, Arc::clone(&faults)))),
            faults,
            right: Anchor::at(&clock),
            clock,
            task_key: Arc::new(IdentityKey::from_seed(&[42; 32])),
            folder: tempfile::tempdir().expect("a folder"),
            replicas: Mutex::default(),
            turn: AtomicUsize::new(0),
            heard: Mutex::default(),
        });
        world.start(0).await;
        let (_, coordinator) = world.someone().expect("it has just started");
        coordinator.create_task(task_id(), task("manual"), None).await.expect("a good task");
        world.operator(Operation::Open).await;
        world
    }

    /// Something happened that must not.
    pub(super) fn wrong(&self, what: String) {
        guard(&self.heard).wrong.push(what);
    }

    /// A failed call: those by the server's own fault must not be.
    pub(super) fn judge(&self, call: &str, error: &Error) {
        if error.class() == Class::Internal {
            self.wrong(format!("{call} was answered with an internal error: {error}"));
        }
    }

    /// A coordinator that runs, another one each time.
    pub(super) fn someone(&self) -> Option<(Handle, Coordinator)> {
        let replicas = guard(&self.replicas);
        let running: Vec<_> = replicas.iter().flatten().collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let replica = running.get(turn % running.len().max(1))?;
        Some((replica.runtime.handle().clone(), replica.coordinator.clone()))
    }

    fn slot(&self, number: u8) -> usize {
        if self.shared { usize::from(number % REPLICAS) } else { 0 }
    }

    async fn start(&self, number: u8) {
        let slot = self.slot(number);
        if guard(&self.replicas)[slot].is_some() {
            return;
        }
        let settings = Settings {
            long_poll: Duration::from_secs(5),
            // Time passes by whole windows here.
            standstill: Duration::MAX,
            replicas: self.shared,
            threads: 1,
            ..Settings::default()
        };
        let staging = if self.shared {
            Staging::objects(self.faulty.clone())
        } else {
            Staging::folder(self.folder.path().join("staging")).expect("a folder")
        };
        let parts = Parts {
            store: self.store.clone(),
            blobs: self.faulty.clone(),
            clock: Arc::new(self.clock.clone()),
            task_key: Arc::clone(&self.task_key),
            model_urls: ModelUrls::cdn(Cdn::parse(URL).expect("an address")),
            staging,
            watch: Arc::new(()),
            settings,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("threads");
        match runtime.spawn(Coordinator::start(parts)).await.expect("no panic") {
            Ok(coordinator) => guard(&self.replicas)[slot] = Some(Replica { runtime, coordinator }),
            Err(error) => {
                self.judge("a start", &error);
                end(runtime).await;
            }
        }
    }

    async fn stop(&self, number: u8) {
        let taken = guard(&self.replicas)[self.slot(number)].take();
        let Some(Replica { runtime, coordinator }) = taken else { return };
        let stopping = runtime.spawn(async move { coordinator.shutdown().await });
        match tokio::time::timeout(STOPS_IN, stopping).await {
            Ok(stopped) => stopped.expect("no panic"),
            Err(_) => self.wrong("a coordinator that was told to stop goes on".to_owned()),
        }
        end(runtime).await;
    }

    async fn kill(&self, number: u8) {
        let taken = guard(&self.replicas)[self.slot(number)].take();
        if let Some(Replica { runtime, coordinator }) = taken {
            end(runtime).await;
            drop(coordinator);
        }
    }

    /// An act of the operator; that it is refused is fine.
    pub(super) async fn operator(&self, operation: Operation) {
        let Some((runtime, coordinator)) = self.someone() else { return };
        let act = async move {
            let name = &task_id();
            match operation {
                Operation::Abandon => {
                    let newest = coordinator.list_rounds(name, 1).await?;
                    for info in newest {
                        coordinator.abandon_round(info.round.id, "the operator wants so".to_owned()).await?;
                    }
                }
                Operation::Pause => drop(coordinator.set_task_state(name, TaskState::Paused).await?),
                _ => {
                    coordinator.set_task_state(name, TaskState::Active).await?;
                    coordinator.open_round(name).await?;
                }
            }
            Ok::<_, Error>(())
        };
        match runtime.spawn(act).await {
            Ok(Err(error)) => self.judge("an operator", &error),
            Ok(Ok(())) => {}
            Err(lost) => assert!(!lost.is_panic(), "{lost}"),
        }
    }

    /// Everything that a list says, and then to the end.
    pub(super) async fn live(self: &Arc<Self>, list: &List, windows: u32) {
        let devices: Vec<Arc<Actor>> = (0..DEVICES).map(|number| Actor::new(self, number)).collect();
        let device = |number: u8| &devices[usize::from(number % DEVICES)];
        for operation in &list.operations {
            match *operation {
                Operation::Everybody => {
                    devices.iter().for_each(|device| device.go(true));
                    settle(&devices, MOMENT).await;
                }
                Operation::These(which) => {
                    let some = devices.iter().enumerate().filter(|(at, _)| which >> at & 1 == 1);
                    some.for_each(|(_, device)| device.go(true));
                    settle(&devices, MOMENT).await;
                }
                Operation::Piece(number) => device(number).piece(),
                Operation::Repeat(number) => device(number).repeat(),
                Operation::Silent(number) => device(number).fall_silent(),
                Operation::Back(number) => device(number).come_back(),
                Operation::Leave(number) => device(number).leave().await,
                Operation::Restart(number) => {
                    self.stop(number).await;
                    self.start(number).await;
                }
                Operation::Start(number) => self.start(number).await,
                Operation::Stop(number) => self.stop(number).await,
                Operation::Kill(number) => self.kill(number).await,
                Operation::Database(fault, count) => self.faults.database(fault, count),
                Operation::Objects(fault, count) => self.faults.objects(fault, count),
                Operation::Pass(seconds) => {
                    self.clock.advance(Duration::from_secs(seconds.into()));
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Operation::SetClock(seconds) => {
                    let now = self.clock.now().as_millis();
                    self.clock.set(Timestamp::from_millis(now.saturating_add_signed(i64::from(seconds) * 1000)));
                }
                Operation::Abandon | Operation::Pause | Operation::Open => self.operator(operation.clone()).await,
            }
        }
        self.end(&devices, windows).await;
    }

    /// Nothing fails any more and time passes, until nothing is left to do.
    async fn end(self: &Arc<Self>, devices: &[Arc<Actor>], windows: u32) {
        self.faults.off();
        for window in 0..windows {
            if self.someone().is_none() {
                self.start(0).await;
            }
            // What the last window's end has brought, and then what is next.
            settle(devices, MOMENT).await;
            devices.iter().for_each(|device| device.go(false));
            settle(devices, 3 * MOMENT).await;
            if self.is_over().await {
                break;
            }
            if self.waits_for_the_first().await {
                self.operator(Operation::Abandon).await;
            }
            // A wall clock that was set back by hours comes up again.
            self.clock.advance(Duration::from_secs(if window < 30 { 61 } else { 600 }));
            self.tick().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        devices.iter().for_each(|device| device.fall_silent());
        for number in 0..REPLICAS {
            self.stop(number).await;
        }
    }

    async fn tick(&self) {
        let Some((runtime, coordinator)) = self.someone() else { return };
        if let Ok(Err(error)) = runtime.spawn(async move { coordinator.tick().await }).await {
            self.judge("a look at the clock", &error);
        }
    }

    /// A round that nobody has checked in to waits, for as long as it takes.
    async fn waits_for_the_first(&self) -> bool {
        let look = self.store.read("test", |tx| {
            Box::pin(async move {
                let newest = tx.rounds_of(&task_id(), 1).await?.pop();
                newest.map(View::of).transpose()
            })
        });
        let newest: Option<View> = look.await.expect("rows");
        newest.is_some_and(|view| matches!(view.round.phase, Phase::Selecting { deadline: None }))
    }

    pub(super) async fn is_over(&self) -> bool {
        let look = self.store.read("test", |tx| {
            Box::pin(
                async move { Ok::<_, Error>(tx.open_revisions().await?.is_empty() && tx.next_work().await?.is_none()) },
            )
        });
        look.await.expect("rows")
    }
}

/// Ends whatever runs in a runtime at the point where it is.
async fn end(runtime: Runtime) {
    let ending = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(20)));
    ending.await.expect("no panic");
}

/// A moment passes, or all devices have done what they were about.
async fn settle(devices: &[Arc<Actor>], most: Duration) {
    let began = tokio::time::Instant::now();
    while began.elapsed() < most && devices.iter().any(|device| device.is_busy()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
