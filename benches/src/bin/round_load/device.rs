//! A light device: the protocol's own client, without training. Its update is there already.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use scale_proto::wire;
use scale_secagg::client::{self, Agreed, Keyed, Masked, Shared};
use scale_secagg::config::{Policy, RoundConfig};
use scale_secagg::keys::IdentityKey;
use scale_secagg::roster::RosterForm;

/// One of them.
pub(crate) struct Device {
    pub(crate) number: usize,
    pub(crate) identity: IdentityKey,
    pub(crate) token: Arc<str>,
    /// From the roster on.
    pub(crate) session: Bytes,
    /// What goes up next.
    pub(crate) payload: Bytes,
    /// What came down last.
    pub(crate) down: Option<wire::StageDown>,
    /// The coordinator has said that the upload is part of the sum.
    pub(crate) committed: bool,
    /// Why it is out.
    pub(crate) lost: Option<String>,
    state: State,
    rng: ChaCha20Rng,
    update_seed: [u8; 32],
}

enum State {
    New,
    Keyed(Keyed),
    Shared(Shared),
    Masked(Masked),
    Agreed(Agreed),
    Done,
}

/// The round, as every device has it.
pub(crate) struct Round {
    pub(crate) id: Bytes,
    pub(crate) config: RoundConfig,
    bytes: Bytes,
    signature: Bytes,
    policy: Policy,
}

impl Round {
    /// `task_key`: what enrollment gave.
    pub(crate) fn new(manifest: &wire::Manifest, task_key: [u8; 32]) -> anyhow::Result<Self> {
        let config = RoundConfig::decode(&manifest.round_config)?;
        let policy = Policy {
            task_key,
            // The model is not looked at: nobody trains.
            model_digest: config.model_digest,
            vectors: config.vectors.clone(),
            last_round: 0,
            min_clients: 10,
            identity_root: None,
        };
        Ok(Self {
            id: manifest.round_id.clone(),
            config,
            bytes: manifest.round_config.clone(),
            signature: manifest.config_signature.clone(),
            policy,
        })
    }
}

impl Device {
    /// Keys and update follow from seed and number.
    pub(crate) fn new(seed: u64, number: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed.wrapping_mul(1 << 32).wrapping_add(number as u64));
        let mut fresh = || {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            seed
        };
        Self {
            number,
            identity: IdentityKey::from_seed(&fresh()),
            token: Arc::from(""),
            session: Bytes::new(),
            payload: Bytes::new(),
            down: None,
            committed: false,
            lost: None,
            state: State::New,
            rng: ChaCha20Rng::from_seed(fresh()),
            update_seed: fresh(),
        }
    }

    /// Small numbers of both signs.
    pub(crate) fn update(&self, entries: u64) -> impl Iterator<Item = i8> {
        let mut rng = ChaCha20Rng::from_seed(self.update_seed);
        (0..entries).map(move |_| (rng.next_u32() % 7) as i8 - 3)
    }

    /// Computes what goes up next from what came down last. A device that refuses is out.
    pub(crate) fn compute(&mut self, round: &Round) {
        if self.lost.is_none()
            && let Err(error) = self.step(round)
        {
            self.lost = Some(format!("the device refuses: {error:#}"));
        }
    }

    fn step(&mut self, round: &Round) -> anyhow::Result<()> {
        let now = now_ms();
        let down = self.down.take();
        let stage = down.as_ref().map_or(0, |down| down.stage);
        let bytes = down.as_ref().map(|down| down.payload.clone()).unwrap_or_default();
        let (state, payload) = match (std::mem::replace(&mut self.state, State::Done), stage) {
            (State::New, 0) => {
                let Round { bytes, signature, policy, .. } = round;
                let (state, payload) =
                    client::advertise(bytes, signature, policy, now, &self.identity, None, &mut self.rng)?;
                (State::Keyed(state), payload)
            }
            (State::Keyed(keyed), 1) => {
                let down = down.context("a roster")?;
                self.session = down.session_handle;
                let form = if down.sparse { RosterForm::Sparse } else { RosterForm::Complete };
                let (state, payload) = keyed.on_roster(form, &bytes, now, &mut self.rng)?;
                (State::Shared(state), payload)
            }
            (State::Shared(shared), 2) => {
                let cleared = shared.on_shares(&bytes, now)?;
                let (state, payload) = cleared.mask(self.vectors(&round.config)?)?;
                (State::Masked(state), payload)
            }
            (State::Masked(masked), 3) => {
                let (state, payload) = masked.on_survivors(&bytes, now, &self.identity)?;
                (State::Agreed(state), payload.to_vec())
            }
            (State::Agreed(agreed), 4) => (State::Done, agreed.on_signatures(&bytes, now)?),
            (_, stage) => anyhow::bail!("stage {stage} came down out of order"),
        };
        (self.state, self.payload) = (state, payload.into());
        Ok(())
    }

    /// The update, and the counters of one example.
    fn vectors(&self, config: &RoundConfig) -> anyhow::Result<Vec<Vec<u32>>> {
        ensure!(config.vectors.len() == 2, "a round has an update and its counters");
        let update = self.update(config.vectors[0].len).map(|entry| i32::from(entry) as u32).collect();
        let mut counters = vec![0; config.vectors[1].len as usize];
        // Weight, loss, correct answers, examples.
        (counters[0], counters[3]) = (1, 1);
        Ok(vec![update, counters])
    }
}

/// Lets all devices compute, on so many threads.
pub(crate) fn compute(devices: &mut [Device], round: &Round, threads: usize) {
    let each = devices.len().div_ceil(threads).max(1);
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            for part in devices.chunks_mut(each) {
                scope.spawn(|| part.iter_mut().for_each(|device| device.compute(round)));
            }
        });
    });
}

fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
