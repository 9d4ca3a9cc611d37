//! One device of the fleet: it takes part in rounds, and drops out of some of them at random.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use scale_client_core::app::{App, AppConfig};
use scale_client_core::device::{Cancel, Cause, Outcome, Phase, Progress, Requirements, RunOptions};
use scale_client_core::examples::TextExample;
use scale_client_core::host::memory::{FixedConditions, MemoryKeys, MemoryLedger, MemoryStore};
use scale_client_core::host::native::{FileKeys, FileLedger, FolderStore, NativeHost, SystemClock, SystemRandomness};
use scale_client_core::host::{Clock, DeviceConditions, Host, Parts, Randomness as _};
use scale_client_core::train::{Dataset, Input};
use scale_client_core::trainer::{Progressed, TrainError, Trained, Trainer, Training};
use scale_client_core::transport::native::{Connection, GrpcTransport};
use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_proto::ids::TaskId;
use scale_proto::plan::Plan;
use scale_proto::time::Timestamp;
use tokio::sync::{Notify, mpsc, watch};

use crate::random::Random;

/// The phases at whose start a device may drop out.
const LOST_AT: [Phase; 6] =
    [Phase::Training, Phase::Keys, Phase::Shares, Phase::Uploading, Phase::Agreeing, Phase::Unmasking];

/// Time budget of one participation call; longer than every round of a demo.
const STAYS: Duration = Duration::from_secs(60 * 60);

/// An event of the fleet, for its observer.
#[derive(Clone, Debug)]
pub enum Sighting {
    /// A device has made progress in its round.
    At(usize, Progress),
    /// A device dropped out in this phase.
    Lost(usize, Phase),
    /// A device left its round, with this code and sentence.
    Left(usize, String, String),
}

/// How a device drops out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It stops without a message, as when its process ends: the stage waits for it until its time is over.
    Silent,
    /// It reports that it leaves, as when a user cancels: the coordinator does not wait for it.
    Told,
}

/// How a device behaves.
#[derive(Clone, Copy, Debug)]
pub struct Behavior {
    /// Share of rounds in which it drops out.
    pub drop: f64,
    /// How it drops out.
    pub loss: Loss,
    /// Seed of the random choice of rounds and phases.
    pub seed: u64,
}

/// Limits the number of concurrently running trainers to the number of cores.
#[derive(Clone)]
pub struct Cores(Arc<(Mutex<usize>, Condvar)>);

impl Cores {
    /// All cores of this machine.
    pub fn all() -> Self {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new((Mutex::new(count), Condvar::new())))
    }

    /// Waits for a free core.
    fn take(&self) -> Turn {
        let (free, changed) = &*self.0;
        // A poisoned lock is harmless: the count is consistent after any panic.
        let mut count = free.lock().unwrap_or_else(PoisonError::into_inner);
        while *count == 0 {
            count = changed.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
        *count -= 1;
        Turn(self.clone())
    }
}

/// A reserved core, until this value is dropped.
struct Turn(Cores);

impl Drop for Turn {
    fn drop(&mut self) {
        let (free, changed) = &*self.0.0;
        *free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        changed.notify_one();
    }
}

/// A trainer that waits for a free core before it trains.
pub struct TakingTurns<T> {
    /// The trainer that does the work.
    pub trainer: T,
    /// The cores that the trainers share.
    pub cores: Cores,
}

impl<T: Trainer> Trainer for TakingTurns<T> {
    fn price(&self, plan: &Plan) -> Result<Option<DpSgd>, TrainError> {
        self.trainer.price(plan)
    }

    fn begin<'a>(
        &'a mut self,
        plan: &'a Plan,
        weights: &[f32],
        secret: &[u8; 32],
    ) -> Result<Box<dyn Training + Send + 'a>, TrainError> {
        // Reserved for the whole training, so that there are no more models in memory than cores.
        let turn = tokio::task::block_in_place(|| self.cores.take());
        Ok(Box::new(OnItsTurn { training: self.trainer.begin(plan, weights, secret)?, _turn: turn }))
    }
}

/// A training run with a reserved core.
struct OnItsTurn<'a> {
    training: Box<dyn Training + Send + 'a>,
    _turn: Turn,
}

impl Training for OnItsTurn<'_> {
    fn step(&mut self) -> Result<Progressed, TrainError> {
        tokio::task::block_in_place(|| self.training.step())
    }

    fn finish(self: Box<Self>) -> Result<Trained, TrainError> {
        self.training.finish()
    }
}

/// The system's clock, without yielding between the steps of training: devices that wait for a core block the runtime's
/// threads, so yielding could block the device that has one.
#[derive(Clone, Copy, Debug, Default)]
pub struct FleetClock;

impl Clock for FleetClock {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
    fn steady(&self) -> Duration {
        SystemClock.steady()
    }
    async fn sleep(&self, time: Duration) {
        SystemClock.sleep(time).await;
    }
}

/// The host of a device with its own folder.
pub type FolderHost =
    Parts<GrpcTransport, FolderStore, FileKeys, FixedConditions, FleetClock, SystemRandomness, FileLedger>;

/// A host that stores everything in `folder`.
///
/// # Errors
/// The folder or the address cannot be used.
pub fn folder_host(folder: &Path, connection: Connection) -> anyhow::Result<FolderHost> {
    let NativeHost { transport, store, keys, conditions, randomness, ledger, .. } =
        NativeHost::open(folder, connection)?;
    Ok(Parts { transport, store, keys, conditions, clock: FleetClock, randomness, ledger })
}

/// The host of a device in a large fleet. Keys, ledger, clock and randomness are the production ones; the state is in
/// memory, so that a thousand devices do not wait for one disk. Nothing is stored beyond the process.
pub type CrowdHost =
    Parts<GrpcTransport, MemoryStore, MemoryKeys, FixedConditions, FleetClock, SystemRandomness, MemoryLedger>;

/// A host for a large fleet, on a connection that it may share with others, because many systems do not allow a process
/// a thousand sockets.
///
/// # Errors
/// The system supplies no random bytes.
pub fn crowd_host(transport: GrpcTransport) -> anyhow::Result<CrowdHost> {
    let mut identity = [0; 32];
    SystemRandomness.fill(&mut identity)?;
    Ok(CrowdHost {
        transport,
        store: MemoryStore::default(),
        keys: MemoryKeys::new(identity),
        conditions: FixedConditions(DeviceConditions::FINE),
        clock: FleetClock,
        randomness: SystemRandomness,
        ledger: MemoryLedger::default(),
    })
}

/// An app for `task` whose device joins rounds regardless of the machine's conditions.
pub fn app<H: Host>(host: H, task: &TaskId, task_key: [u8; 32]) -> App<H> {
    App::new(host, AppConfig { requirements: Requirements::NONE, ..AppConfig::new(task.clone(), task_key) })
}

/// Converts a statement to the examples that an app supplies. `labels`: the names of its classes.
pub fn examples(statement: Dataset, labels: &[String]) -> Vec<TextExample> {
    let lines = statement.examples.into_iter().enumerate();
    lines
        .filter_map(|(number, example)| match example.input {
            Input::Text(text) => {
                let label = labels[example.label as usize].clone();
                Some(TextExample { id: format!("{number}"), text: text.to_string(), label, time: None })
            }
            Input::Dense(_) => None,
        })
        .collect()
}

/// Takes part in rounds until `rounds_over` closes. `rounds_over` counts the rounds that have ended: a device that
/// dropped out waits until its round has ended.
///
/// # Errors
/// The host fails, or the device is not enrolled.
pub async fn live<H: Host>(
    index: usize,
    app: App<H>,
    cores: Cores,
    behavior: Behavior,
    mut rounds_over: watch::Receiver<u64>,
    sightings: mpsc::UnboundedSender<Sighting>,
) -> anyhow::Result<()> {
    let mut random = Random::new(behavior.seed.wrapping_add(index as u64), "losses");
    let pick = |random: &mut Random| random.chance(behavior.drop).then(|| *random.pick(&LOST_AT));
    let mut lost_at = pick(&mut random);
    let mut trainer = TakingTurns { trainer: app.trainer().await?, cores };
    let options = RunOptions { budget: Some(STAYS), ..RunOptions::default() };
    loop {
        rounds_over.borrow_and_update();
        let (silence, cancel) = (Arc::new(Notify::new()), Cancel::new());
        let mut observer = |progress: Progress| {
            if Some(progress.phase) == lost_at {
                match behavior.loss {
                    Loss::Silent => silence.notify_one(),
                    Loss::Told => cancel.cancel(),
                }
            }
            // The observer may be gone, which is fine.
            let _ = sightings.send(Sighting::At(index, progress));
        };
        let outcome = tokio::select! {
            // Dropping the future has the effect of ending the process: no message to the coordinator, and nothing more
            // is stored.
            () = silence.notified() => None,
            outcome = app.participate_with(options.clone(), &mut trainer, &cancel, &mut observer) => {
                Some(outcome.context("a device failed")?)
            }
        };
        match outcome {
            None | Some(Outcome::Left { cause: Cause::Cancelled, .. }) => {
                if let Some(phase) = lost_at.take() {
                    let _ = sightings.send(Sighting::Lost(index, phase));
                }
                if rounds_over.changed().await.is_err() {
                    return Ok(());
                }
            }
            Some(Outcome::Contributed(_)) => lost_at = pick(&mut random),
            Some(Outcome::Left { cause, .. }) => {
                let _ = sightings.send(Sighting::Left(index, cause.code().to_owned(), cause.to_string()));
                lost_at = pick(&mut random);
            }
            // The next call waits for the stored time, or returns the same outcome.
            Some(Outcome::Paused { .. }) => {}
            // Until the stored time, even when rounds end before it: a round may be waiting for this device.
            Some(Outcome::Waited { until, .. }) => {
                tokio::select! {
                    changed = rounds_over.changed() => if changed.is_err() { return Ok(()) },
                    () = FleetClock.sleep(FleetClock.now().until(until)) => {}
                }
            }
            Some(Outcome::EnrollmentNeeded { sentence, .. }) => {
                bail!("the coordinator refuses device {index}: {sentence}")
            }
        }
        if rounds_over.has_changed().is_err() {
            return Ok(());
        }
    }
}
