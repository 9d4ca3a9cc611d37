//! Native devices that take part in rounds in step, and whose inputs are known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures::future::try_join_all;
use scale_secagg::config::RoundConfig;
use tokio::task::JoinHandle;

use crate::device::RawDevice;
use crate::round::plain_sum;

/// The app's side of a test is slow at times: it is started, killed and started again.
const PATIENCE: Duration = Duration::from_secs(150);
/// Bytes of a piece of an upload, as the production client has them.
const PIECE: usize = 512 << 10;

/// How long a new order waits for the end of the last one.
const ENDING: Duration = Duration::from_secs(20);

/// Rounds whose sums are remembered: those of a large model are large.
const REMEMBERED: usize = 8;

/// What the devices have put into a round together.
#[derive(Debug)]
pub(super) struct Played {
    /// The integer sum of their updates, in flattening order.
    pub(super) sum: Vec<i64>,
    /// The sum of their weights.
    pub(super) weight: i64,
    /// Configuration of the round.
    pub(super) config: RoundConfig,
    /// The largest weight of one device.
    pub(super) max_weight: u32,
}

/// Native devices of one task.
pub(super) struct Natives {
    devices: Arc<tokio::sync::Mutex<Vec<RawDevice>>>,
    seen: Arc<Mutex<Seen>>,
    playing: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    rounds: BTreeMap<u64, Arc<Played>>,
    troubles: Vec<String>,
}

impl Natives {
    pub(super) async fn enroll(url: &str, token: &str, numbers: &[u8]) -> anyhow::Result<Self> {
        let enroll = |number: &u8| RawDevice::enroll(url.to_owned(), *number, token);
        let devices = try_join_all(numbers.iter().map(enroll)).await?;
        let devices = devices.into_iter().map(|device| device.with_patience(PATIENCE, PIECE)).collect();
        Ok(Self { devices: Arc::new(tokio::sync::Mutex::new(devices)), seen: Arc::default(), playing: None })
    }

    /// Takes part in so many rounds, in the background. A round that is abandoned counts, and is a trouble. Waits for the end of
    /// rounds that were asked for before: an app knows that its own is over a moment earlier than the last device.
    pub(super) async fn play(&mut self, rounds: u32) -> anyhow::Result<()> {
        if let Some(playing) = &mut self.playing {
            let over = tokio::time::timeout(ENDING, playing).await;
            anyhow::ensure!(over.is_ok(), "these devices are in a round already");
        }
        let (devices, seen) = (self.devices.clone(), self.seen.clone());
        self.playing = Some(tokio::spawn(async move {
            let mut devices = devices.lock().await;
            for _ in 0..rounds {
                if let Err(error) = round(&mut devices, &seen).await {
                    lock(&seen).troubles.push(format!("{error:#}"));
                }
            }
        }));
        Ok(())
    }

    /// What went wrong so far.
    pub(super) fn troubles(&self) -> Vec<String> {
        lock(&self.seen).troubles.clone()
    }

    /// What the devices have put into the round with this number.
    pub(super) fn played(&self, number: u64) -> anyhow::Result<Arc<Played>> {
        lock(&self.seen).rounds.get(&number).cloned().context("the native devices were not in this round to its end")
    }
}

impl Drop for Natives {
    fn drop(&mut self) {
        if let Some(playing) = self.playing.take() {
            playing.abort();
        }
    }
}

/// One round of all of them; nobody is lost.
async fn round(devices: &mut [RawDevice], seen: &Mutex<Seen>) -> anyhow::Result<()> {
    let mut joined = try_join_all(devices.iter_mut().map(RawDevice::join)).await.context("join")?;
    let number = joined.first().context("there are no devices")?.config.round;
    let steps = devices.iter_mut().zip(&mut joined).map(|(device, joined)| async move {
        device.advertise(joined).await.context("stage 0")?;
        device.share(joined).await.context("stage 1")?;
        anyhow::ensure!(device.upload(joined, usize::MAX).await.context("stage 2")?, "an upload was not committed");
        device.survivors(joined).await.context("the survivors")?;
        device.confirm(joined).await.context("stage 3")?;
        device.reveal(joined).await.context("stage 4")
    });
    try_join_all(steps).await.with_context(|| format!("round {number}"))?;
    let (sum, weight) = plain_sum(&joined);
    let first = joined.swap_remove(0);
    let played = Played { sum, weight, config: first.config, max_weight: first.plan.max_weight };
    let rounds = &mut lock(seen).rounds;
    rounds.insert(number, Arc::new(played));
    while rounds.len() > REMEMBERED {
        rounds.pop_first();
    }
    Ok(())
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
