//! The coordinator and eleven other devices of a session, as a function of what the twelfth has sent.
//!
//! Everything that is not the device under test is deterministic, so a world that was killed with its device is the same
//! world when both are back. What the device sends is on the disk before it is answered.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use scale_privacy::distributed;
use scale_proto::answer::StageDown;
use scale_proto::ids::{ModelVersion, RoundId, SessionId};
use scale_proto::manifest::Manifest;
use scale_secagg::client::{Answer, Event, Host, Participant};
use scale_secagg::config::{self, Mechanism, Policy, RoundConfig};
use scale_secagg::keys::IdentityKey;
use scale_secagg::server::{Down, Session};

use crate::liar::setting;

/// The others.
const OTHERS: u8 = 11;

/// One session.
#[derive(Clone, Debug)]
pub struct World {
    sent: PathBuf,
    config: RoundConfig,
    model: Vec<u8>,
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
        let mut config = RoundConfig { round: number, ..setting::config(u32::from(OTHERS) + 1) };
        if noise {
            let (grid, dim) = (config.grid, config.dim());
            let mechanism = distributed::Mechanism::calibrated(grid, dim, 1.5, 8).expect("a fine grid");
            let local_variance = mechanism.local_variance();
            let rho = mechanism.aggregate().expect("bounded").units();
            config.mechanism = Mechanism::DistributedGaussian { local_variance, n_honest: 8, rho };
            config.wire_bits = config::width_needed(config.n_hi, grid, local_variance).expect("narrow");
            config.policy_id = "standard".into();
        }
        Self { sent: folder.join(format!("sent-{number}")), config, model: setting::model_of(0.25) }
    }

    /// The signed round.
    pub fn manifest(&self) -> Manifest {
        Manifest {
            round: RoundId::from_random([9; 16]),
            round_config: self.config.encode().into(),
            config_signature: config::sign(&self.config, &setting::task_key()),
            plan: setting::plan().encode(),
            model_url: "https://models.invalid/1".into(),
            model_bytes: self.model.len() as u64,
            model_version: ModelVersion(1),
        }
    }

    /// The model's file.
    pub fn model(&self) -> Bytes {
        self.model.clone().into()
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
        let mut server = Session::new(self.config.clone(), []);
        let mut others: Vec<Other> = (0..OTHERS).map(Other::new).collect();
        server.receive(0, None, own(0)?)?;
        for other in &mut others {
            let up = other.begin(&self.config)?;
            server.receive(0, None, &up)?;
        }
        server.close(1)?;
        let Some(Down::Roster(form, roster)) = server.message(0) else { bail!("no roster") };
        let entry = roster.len() / (usize::from(OTHERS) + 1);
        let place = |identity: &[u8; 32]| {
            let found = roster.chunks(entry).position(|entry| entry[..32] == *identity);
            found.map(|place| place as u32).context("not in the roster")
        };
        let me = place(identity)?;
        for closed in 1..=stage {
            for other in &mut others {
                let at = place(&other.identity.public())?;
                let up = other.take(&self.config, server.message(at).context("no message")?, closed)?;
                server.receive(closed, Some(at), &up)?;
            }
            server.receive(closed, Some(me), own(closed)?)?;
            server.close(1)?;
        }
        Ok(server.message(me).map(|down| {
            let (roster, payload) = match down {
                Down::Roster(_, bytes) => (Some(form), bytes),
                Down::Bytes(bytes) => (None, bytes),
            };
            StageDown { session: SessionId::from_random([4; 16]), stage: stage + 1, payload: payload.into(), roster }
        }))
    }
}

/// The protocol's own client, with everything that it draws following from its number.
struct Other {
    identity: IdentityKey,
    rng: ChaCha20Rng,
    participant: Participant,
}

impl Other {
    fn new(number: u8) -> Self {
        Self {
            identity: IdentityKey::from_seed(&[number + 100; 32]),
            rng: ChaCha20Rng::from_seed([number; 32]),
            participant: Participant::new(),
        }
    }

    fn begin(&mut self, config: &RoundConfig) -> anyhow::Result<Vec<u8>> {
        let (bytes, signature) = (config.encode(), config::sign(config, &setting::task_key()));
        self.handle(config, Event::Config { bytes: &bytes, signature: &signature })
    }

    fn take(&mut self, config: &RoundConfig, down: Down, stage: u8) -> anyhow::Result<Vec<u8>> {
        match (down, stage) {
            (Down::Roster(form, bytes), 1) => self.handle(config, Event::Roster { form, bytes: &bytes }),
            (Down::Bytes(bytes), 2) => self.handle(config, Event::Shares(&bytes)),
            (Down::Bytes(bytes), 3) => self.handle(config, Event::Survivors(&bytes)),
            (Down::Bytes(bytes), 4) => self.handle(config, Event::Signatures(&bytes)),
            _ => bail!("another message than stage {stage} has"),
        }
    }

    fn handle(&mut self, config: &RoundConfig, event: Event<'_>) -> anyhow::Result<Vec<u8>> {
        let policy = Policy {
            task_key: setting::task_key().public(),
            model_digest: config.model_digest,
            vectors: config.vectors.clone(),
            last_round: 0,
            min_clients: 10,
            identity_root: None,
        };
        let Self { identity, rng, participant } = self;
        let mut host = Host { policy: &policy, identity, certificate: None, rng };
        match participant.handle(event, setting::START_MS, &mut host)? {
            Answer::Send(bytes) => Ok(bytes),
            Answer::InputWanted => {
                let zeros = config.vectors.iter().map(|vector| vec![0; vector.len as usize]).collect();
                Ok(participant.mask(Some(zeros))?)
            }
        }
    }
}
