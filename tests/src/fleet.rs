//! Devices that take part in round after round, whatever becomes of the coordinators, and remember what they were told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use scale_client_core::device::{Cancel, RunOptions};
use scale_proto::ids::TaskId;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::device::{Joined, RawDevice, Refusals};
use crate::phone;
use crate::trainer::MovesFirst;

/// How long a device repeats one call: longer than any server is away.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of an upload's piece: several of the tests' small model.
const PIECE: usize = 48;
/// How far the whole clients move the first weight.
pub const STEP: f32 = 0.125;
/// Devices that enroll at once.
const AT_ONCE: usize = 32;

/// One device in one round.
pub struct Part {
    /// The device's number.
    pub device: u32,
    /// The round.
    pub joined: Joined,
    /// What it knows of its upload.
    pub upload: Upload,
    /// Why it left; `None`: it went to the end.
    pub left: Option<String>,
}

impl Part {
    /// The round's id.
    pub fn round(&self) -> &Bytes {
        &self.joined.manifest.round_id
    }
}

/// What a device knows of its upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// Nothing was sent.
    None,
    /// Something was sent, and the coordinator has not said that it is part of the sum.
    Unanswered,
    /// The coordinator has said that it is part of the sum.
    Acknowledged,
}

/// How a fleet is made up.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Devices whose messages are sent one by one, and whose inputs are known to the bit.
    pub devices: u32,
    /// Whole clients beside them, with their own transport.
    pub clients: u32,
    /// Longest pause of a device before a message, drawn for each.
    pub pause: Duration,
    /// Of the pauses.
    pub seed: u64,
}

/// Devices at work.
pub struct Fleet {
    parts: Arc<Mutex<Vec<Part>>>,
    refusals: Refusals,
    stop: watch::Sender<bool>,
    devices: Vec<JoinHandle<()>>,
    clients: Vec<JoinHandle<()>>,
}

impl Fleet {
    /// Enrolls everybody and lets them go.
    ///
    /// # Errors
    /// One cannot enroll.
    pub async fn start(url: &str, token: &str, task: &TaskId, plan: &Plan) -> anyhow::Result<Self> {
        let refusals = Refusals::default();
        let mut enrolled = vec![];
        let numbers: Vec<u32> = (1..=plan.devices).collect();
        for numbers in numbers.chunks(AT_ONCE) {
            let enroll = numbers.iter().map(|&number| async move {
                let device = RawDevice::enroll_as(url.to_owned(), number, token).await?;
                anyhow::Ok((number, device))
            });
            enrolled.extend(try_join_all(enroll).await?);
        }
        let task_key = enrolled.first().map_or([0; 32], |(_, device)| *device.task_key());
        let parts = Arc::new(Mutex::new(vec![]));
        let (stop, stopped) = watch::channel(false);
        let mut devices = vec![];
        for (number, device) in enrolled {
            let device = device.with_patience(PATIENCE, PIECE).through_outages(refusals.clone())?;
            let pauses = Pauses::new(plan, number);
            devices.push(tokio::spawn(live(number, device, pauses, parts.clone(), stopped.clone())));
        }
        let mut clients = vec![];
        for number in 0..plan.clients {
            let number = u8::try_from(200 + number)?;
            let client = phone::enrolled(url.to_owned(), number, token, task, task_key).await?;
            clients.push(tokio::spawn(async move {
                let options = RunOptions { budget: Some(PATIENCE), ..RunOptions::default() };
                loop {
                    // Outages are the client's own affair; between rounds it waits as it was told.
                    let _ = client.participate(options.clone(), &mut MovesFirst(STEP), &Cancel::new(), &mut ()).await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }));
        }
        Ok(Self { parts, refusals, stop, devices, clients })
    }

    /// Lets no device join another round, waits for those that are in one, and gives what everybody remembers.
    pub async fn stop(self) -> Vec<Part> {
        self.stop.send_replace(true);
        join_all(self.devices).await;
        self.clients.iter().for_each(JoinHandle::abort);
        std::mem::take(&mut self.parts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Refusals after which devices sent the same bytes again.
    pub fn refusals(&self) -> Refusals {
        self.refusals.clone()
    }
}

async fn live(
    number: u32,
    mut device: RawDevice,
    mut pauses: Pauses,
    parts: Arc<Mutex<Vec<Part>>>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let joined = tokio::select! {
            joined = device.join() => joined,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        match joined {
            Ok(joined) => {
                let part = take_part(number, &mut device, joined, &mut pauses).await;
                parts.lock().unwrap_or_else(PoisonError::into_inner).push(part);
            }
            // The round that it was in is over, or there is none for it.
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
        if *stopped.borrow() {
            return;
        }
    }
}

/// From the keys to the last shares.
async fn take_part(number: u32, device: &mut RawDevice, joined: Joined, pauses: &mut Pauses) -> Part {
    let mut part = Part { device: number, joined, upload: Upload::None, left: None };
    let ended = async {
        let joined = &mut part.joined;
        pauses.next().await;
        device.advertise(joined).await?;
        pauses.next().await;
        device.share(joined).await?;
        pauses.next().await;
        part.upload = Upload::Unanswered;
        device.upload(joined, usize::MAX).await?;
        part.upload = Upload::Acknowledged;
        device.survivors(joined).await?;
        pauses.next().await;
        device.confirm(joined).await?;
        pauses.next().await;
        device.reveal(joined).await
    };
    part.left = ended.await.err().map(|error| format!("{error:#}"));
    part
}

/// A device's pauses before its messages.
struct Pauses {
    random: ChaCha20Rng,
    longest: Duration,
}

impl Pauses {
    fn new(plan: &Plan, number: u32) -> Self {
        let random = ChaCha20Rng::seed_from_u64(plan.seed.wrapping_mul(1 << 20).wrapping_add(number.into()));
        Self { random, longest: plan.pause }
    }

    async fn next(&mut self) {
        let pause = self.longest.mul_f64(f64::from(self.random.next_u32()) / f64::from(u32::MAX));
        tokio::time::sleep(pause).await;
    }
}
