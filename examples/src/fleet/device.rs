//! One device of the fleet: takes part in round after round, and is lost now and then.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use scale_client_core::device::{Client, ClientConfig, Outcome, Phase, Report, Requirements};
use scale_client_core::host::memory::{FixedConditions, MemoryKeys, MemoryLedger, MemoryStore};
use scale_client_core::host::native::{SystemClock, SystemRandomness};
use scale_client_core::host::{DeviceConditions, Host, Parts, Randomness as _};
use scale_client_core::trainer::{LocalTrainer, TrainError, Trained};
use scale_client_core::transport::native::GrpcTransport;
use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_proto::ids::TaskId;
use scale_proto::plan::Plan;
use tokio::sync::{Notify, mpsc, watch};

use crate::random::Random;

/// Where a lost device falls silent: as soon as it reaches one of these.
const LOST_AT: [Phase; 6] =
    [Phase::Training, Phase::Keys, Phase::Shares, Phase::Uploading, Phase::Agreeing, Phase::Unmasking];

/// What the fleet tells whoever watches.
#[derive(Clone, Debug)]
pub enum Sighting {
    /// A device is somewhere in its round.
    At(usize, Report),
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

    fn on_one<T>(&self, work: impl FnOnce() -> T) -> T {
        let (free, changed) = &*self.0;
        // A count is whole after any panic.
        let mut count = free.lock().unwrap_or_else(PoisonError::into_inner);
        while *count == 0 {
            count = changed.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
        *count -= 1;
        drop(count);
        let result = work();
        *free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        changed.notify_one();
        result
    }
}

/// A trainer that takes turns with the others and lets the runtime go on meanwhile.
pub struct TakingTurns<T> {
    /// Does the work.
    pub trainer: T,
    /// Whose turn it is.
    pub cores: Cores,
}

impl<T: LocalTrainer> LocalTrainer for TakingTurns<T> {
    fn price(&self, plan: &Plan) -> Result<Option<DpSgd>, TrainError> {
        self.trainer.price(plan)
    }

    fn train(
        &mut self,
        plan: &Plan,
        weights: &[f32],
        stop: &mut dyn FnMut() -> bool,
        progress: &mut dyn FnMut(u32),
    ) -> Result<Trained, TrainError> {
        let Self { trainer, cores } = self;
        tokio::task::block_in_place(|| cores.on_one(|| trainer.train(plan, weights, stop, progress)))
    }
}

/// A device of a crowd: keys, ledger, clock and randomness are real; its state is in memory, so that a thousand of them do
/// not wait for one disk. Nothing is kept after the process.
pub type CrowdHost =
    Parts<GrpcTransport, MemoryStore, MemoryKeys, FixedConditions, SystemClock, SystemRandomness, MemoryLedger>;

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
        clock: SystemClock,
        randomness: SystemRandomness,
        ledger: MemoryLedger::default(),
    })
}

/// A client of `task` that does not care whether its machine is charging.
pub fn client<H: Host>(host: H, task: &TaskId, task_key: [u8; 32]) -> Client<H> {
    let mut config = ClientConfig::new(vec![task.clone()], task_key);
    config.requirements = Requirements::NONE;
    Client::new(host, config)
}

/// Takes part until `rounds_over` closes. `rounds_over` counts rounds that have ended: a lost device stays away until its
/// round has.
///
/// # Errors
/// The host fails, or the device is not enrolled.
pub async fn live<H: Host>(
    index: usize,
    mut client: Client<H>,
    mut trainer: impl LocalTrainer + Send,
    behavior: Behavior,
    mut rounds_over: watch::Receiver<u64>,
    sightings: mpsc::UnboundedSender<Sighting>,
) -> anyhow::Result<()> {
    let mut random = Random::new(behavior.seed.wrapping_add(index as u64), "losses");
    let pick = |random: &mut Random| random.chance(behavior.drop).then(|| *random.pick(&LOST_AT));
    let mut lost_at = pick(&mut random);
    loop {
        rounds_over.borrow_and_update();
        let silence = Arc::new(Notify::new());
        let mut observer = {
            let (silence, cancel, sightings) = (silence.clone(), client.cancel_handle(), sightings.clone());
            move |report: Report| {
                if Some(report.phase) == lost_at {
                    match behavior.loss {
                        Loss::Silent => silence.notify_one(),
                        Loss::Told => cancel.cancel(),
                    }
                }
                // Nobody may be watching any more.
                let _ = sightings.send(Sighting::At(index, report));
            }
        };
        let outcome = tokio::select! {
            // Dropping the participation is what the end of a process does to it: no goodbye, nothing flushed.
            () = silence.notified() => None,
            outcome = client.participate(&mut trainer, &mut observer) => Some(outcome.context("a device failed")?),
        };
        match outcome {
            Some(Outcome::Left { reason, .. }) if reason.code != "cancelled" => {
                let _ = sightings.send(Sighting::Left(index, reason.code.into_owned(), reason.sentence));
                lost_at = pick(&mut random);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            None | Some(Outcome::Left { .. }) => {
                if let Some(phase) = lost_at.take() {
                    let _ = sightings.send(Sighting::Lost(index, phase));
                }
                if rounds_over.changed().await.is_err() {
                    return Ok(());
                }
            }
            Some(Outcome::Contributed(_)) => lost_at = pick(&mut random),
            Some(Outcome::Waited { retry, .. }) => {
                let spread = retry.before.saturating_sub(retry.after).mul_f64(random.unit());
                tokio::select! {
                    () = tokio::time::sleep(retry.after + spread) => {}
                    changed = rounds_over.changed() => if changed.is_err() { return Ok(()) },
                }
            }
        }
        if rounds_over.has_changed().is_err() {
            return Ok(());
        }
    }
}
