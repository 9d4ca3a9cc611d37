//! The coordinator and eleven other devices of a session, as a function of what the twelfth has sent.
//!
//! Everything that is not the device under test is deterministic, so a world that was killed with its device is the same
//! world when both are back. What the device sends is on the disk before it is answered.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use scale_client_core::testing::{Coordinator, Device, Silence, setting};
use scale_proto::answer::StageDown;
use scale_proto::manifest::Manifest;
use scale_secagg::config::RoundConfig;

/// The others, by number: devices of the same make.
const OTHERS: std::ops::Range<u32> = 100..111;

/// One session.
#[derive(Clone, Debug)]
pub struct World {
    sent: PathBuf,
    config: RoundConfig,
}

/// One message that has left the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Stage, 0 to 4; a masked input as a whole.
    pub stage: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl World {
    /// Session number `number`, which keeps what was sent to it in `folder`. `noise`: eight honest devices bring 1.5 times
    /// the sensitivity.
    pub fn new(folder: &Path, number: u64, noise: bool) -> Self {
        let plan = setting::plan();
        let config = if noise { setting::noisy(&plan, 1.5) } else { setting::config(&plan) };
        Self { sent: folder.join(format!("sent-{number}")), config: RoundConfig { round: number, ..config } }
    }

    /// The signed round.
    pub fn manifest(&self) -> Manifest {
        setting::manifest(&self.config, &setting::plan())
    }

    /// The model's file.
    pub fn model(&self) -> Bytes {
        setting::file().into()
    }

    /// All that the device has sent, in order, again and again if it did.
    pub fn sent(&self) -> Vec<Sent> {
        let text = fs::read_to_string(&self.sent).unwrap_or_default();
        let line = |line: &str| {
            let (stage, payload) = line.split_once(' ')?;
            Some(Sent { stage: stage.parse().ok()?, payload: hex::decode(payload).ok()? })
        };
        text.lines().filter_map(line).collect()
    }

    /// Keeps a message, durably.
    ///
    /// # Errors
    /// The disk's.
    pub fn keep(&self, stage: u8, payload: &[u8]) -> anyhow::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.sent)?;
        writeln!(file, "{stage} {}", hex::encode(payload))?;
        Ok(file.sync_all()?)
    }

    /// What comes down to the device after its first message of `stage`; `None` after the last.
    ///
    /// # Errors
    /// The session refuses a message.
    pub fn answer(&self, identity: &[u8; 32], stage: u8) -> anyhow::Result<Option<StageDown>> {
        let sent = self.sent();
        let own = |stage: u8| {
            let message = sent.iter().find(|sent| sent.stage == stage);
            message.map(|sent| sent.payload.as_slice()).context("a stage was skipped")
        };
        let (manifest, file) = (self.manifest(), setting::file());
        let mut coordinator = Coordinator::new(manifest.clone(), file.clone(), OTHERS.len() + 1);
        let mut others: Vec<Device> = OTHERS.map(Device::new).collect();
        coordinator.receive(0, *identity, own(0)?)?;
        for other in &mut others {
            let keys = other.take(manifest.clone(), &file).map_err(silent)?;
            coordinator.receive(0, other.identity.public(), &keys)?;
        }
        coordinator.close()?;
        for closed in 1..=stage {
            for other in &mut others {
                let identity = other.identity.public();
                let down = coordinator.down(&identity, closed).context("nothing comes down")?;
                coordinator.receive(closed, identity, &other.answer(down).map_err(silent)?)?;
            }
            coordinator.receive(closed, *identity, own(closed)?)?;
            coordinator.close()?;
        }
        Ok(coordinator.down(identity, stage + 1))
    }
}

fn silent(silence: Silence) -> anyhow::Error {
    anyhow!("another device sends nothing: {silence:?}")
}
