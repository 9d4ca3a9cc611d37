//! One device of the fleet: takes part in round after round, and is lost now and then.

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

/// Where a lost device falls silent: as soon as it reaches one of these.
const LOST_AT: [Phase; 6] =
    [Phase::Training, Phase::Keys, Phase::Shares, Phase::Uploading, Phase::Agreeing, Phase::Unmasking];

/// Longest time that a device stays in one call; it outlives every round of a demo.
const STAYS: Duration = Duration::from_secs(60 * 60);

/// What the fleet tells whoever watches.
#[derive(Clone, Debug)]
pub enum Sighting {
    /// A device is somewhere in its round.
    At(usize, Progress),
    /// A device fell silent.
    Lost(usize, Phase),
    /// A device left its round: code and sentence.
    Left(usize, String, String),
}

/// How a device is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It falls silent, as when its process ends: every stage waits for it until the stage's time is over.
    Silent,
    /// It says that it leaves, as when a person takes the phone back: nobody waits for it.
    Told,
}

/// How a device behaves.
#[derive(Clone, Copy, Debug)]
pub struct Behavior {
    /// Share of rounds in which it is lost.
    pub drop: f64,
    /// How.
    pub loss: Loss,
    /// Where its losses come from.
    pub seed: u64,
}

/// Lets as many trainers compute at once as there are cores, whatever the number of devices.
#[derive(Clone)]
pub struct Cores(Arc<(Mutex<usize>, Condvar)>);

impl Cores {
    /// As many as this machine has.
    pub fn all() -> Self {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new((Mutex::new(count), Condvar::new())))
    }

    /// Waits for a free one.
    fn take(&self) -> Turn {
        let (free, changed) = &*self.0;
        // A count is whole after any panic.
        let mut count = free.lock().unwrap_or_else(PoisonError::into_inner);
        while *count == 0 {
            count = changed.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
        *count -= 1;
        Turn(self.clone())
    }
}

/// A core, until it is dropped.
struct Turn(Cores);

impl Drop for Turn {
    fn drop(&mut self) {
        let (free, changed) = &*self.0.0;
        *free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        changed.notify_one();
    }
}

/// A trainer that takes turns with the others and lets the runtime go on meanwhile.
pub struct TakingTurns<T> {
    /// Does the work.
    pub trainer: T,
    /// Whose turn it is.
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
        // Taken for the whole training: as many models are in memory at once as there are cores.
        let turn = tokio::task::block_in_place(|| self.cores.take());
        Ok(Box::new(OnItsTurn { training: self.trainer.begin(plan, weights, secret)?, _turn: turn }))
    }
}

/// A training that has a core.
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

/// The system's clock for a device that has a core: between two steps of its training it lets nobody else run, for those who
/// wait for a core hold the runtime's threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct FleetClock;

impl Clock for FleetClock {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
    async fn sleep(&self, time: Duration) {
        SystemClock.sleep(time).await;
    }
}

/// A device in a folder of its own.
pub type FolderHost =
    Parts<GrpcTransport, FolderStore, FileKeys, FixedConditions, FleetClock, SystemRandomness, FileLedger>;

/// A device that keeps everything in `folder`.
///
/// # Errors
/// The folder or the address cannot be used.
pub fn folder_host(folder: &Path, connection: Connection) -> anyhow::Result<FolderHost> {
    let NativeHost { transport, store, keys, conditions, randomness, ledger, .. } =
        NativeHost::open(folder, connection)?;
    Ok(Parts { transport, store, keys, conditions, clock: FleetClock, randomness, ledger })
}

/// A device of a crowd: keys, ledger, clock and randomness are real; its state is in memory, so that a thousand of them do
/// not wait for one disk. Nothing is kept after the process.
pub type CrowdHost =
    Parts<GrpcTransport, MemoryStore, MemoryKeys, FixedConditions, FleetClock, SystemRandomness, MemoryLedger>;

/// A device of a crowd on a connection that it may share with others: a thousand sockets are more than many systems let a
/// process have.
///
/// # Errors
/// The system gives no random bytes.
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

/// An app for `task` whose device joins rounds whatever its machine's conditions are.
pub fn app<H: Host>(host: H, task: &TaskId, task_key: [u8; 32]) -> App<H> {
    App::new(host, AppConfig { requirements: Requirements::NONE, ..AppConfig::new(task.clone(), task_key) })
}

/// A statement as an app hands it over: `labels` are the names of its classes.
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

/// Takes part until `rounds_over` closes. `rounds_over` counts rounds that have ended: a lost device stays away until its
/// round has.
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
            // Nobody may be watching any more.
            let _ = sightings.send(Sighting::At(index, progress));
        };
        let outcome = tokio::select! {
            // Dropping the participation is what the end of a process does to it: no goodbye, nothing flushed.
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
            // The next call waits as long as it was told to, or says again that it is too long.
            Some(Outcome::Paused { .. }) => {}
            Some(Outcome::Waited { .. }) => {
                if rounds_over.changed().await.is_err() {
                    return Ok(());
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
