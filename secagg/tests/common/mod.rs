//! Devices and a server in one process: what every test of whole rounds needs.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use scale_secagg::client::{Answer, Event, Host, Participant};
use scale_secagg::config::{self, Mechanism, Policy, RoundConfig, VectorSpec};
use scale_secagg::error::Refusal;
use scale_secagg::keys::{DhSecret, IdentityKey, Secret};
use scale_secagg::params::{Class, Profile};
use scale_secagg::server::{Down, Receipt, Session, Stage};

/// Two short vectors, the smallest grid that they allow, a complete graph while `n_hi` is at most 128.
pub(crate) fn round_config(n_lo: u32, n_hi: u32, wire_bits: u8) -> RoundConfig {
    RoundConfig {
        task_id: "rounds".into(),
        round: 7,
        server_nonce: [1; 32],
        model_digest: [2; 32],
        plan_digest: [3; 32],
        vectors: vec![VectorSpec { name: "w".into(), len: 11 }, VectorSpec { name: "b".into(), len: 3 }],
        wire_bits,
        clip: 1.0,
        grid: 15,
        rotation_seed: None,
        mechanism: Mechanism::None,
        policy_id: "none".into(),
        profile: Profile::Standard,
        class: Class::Default,
        n_lo,
        n_hi,
        u3_min: 10,
        closing: [10, 20, 30, 40, 50],
        identity_root: [0; 32],
    }
}

/// The policy of a device that wants to take part under `config`.
pub(crate) fn policy(config: &RoundConfig) -> Policy {
    Policy {
        task_key: task_key().public(),
        model_digest: config.model_digest,
        vectors: config.vectors.clone(),
        last_round: config.round - 1,
        min_clients: 10,
        identity_root: None,
    }
}

fn task_key() -> IdentityKey {
    IdentityKey::from_seed(&[9; 32])
}

/// One device, its long-lived key and its update.
pub(crate) struct Device {
    pub(crate) participant: Participant,
    pub(crate) identity: IdentityKey,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) input: Vec<Vec<u32>>,
    seed: [u8; 32],
}

impl Device {
    pub(crate) fn new(config: &RoundConfig, rng: &mut impl Rng) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        Self {
            participant: Participant::new(),
            identity: IdentityKey::from_seed(&seed),
            input: input(config, rng),
            rng: ChaCha20Rng::from_seed(seed),
            seed,
        }
    }

    /// The secrets that it drew for stage 0: `a` and the channel key. Its generator gives them again.
    pub(crate) fn drawn(&self) -> (Secret, DhSecret) {
        let mut rng = ChaCha20Rng::from_seed(self.seed);
        (Secret::draw(&mut rng), DhSecret::draw(&mut rng))
    }

    /// The secret of its self mask, which it draws in stage 1.
    pub(crate) fn drawn_for_self_mask(&self) -> Secret {
        let mut rng = ChaCha20Rng::from_seed(self.seed);
        let _stage_0 = (Secret::draw(&mut rng), DhSecret::draw(&mut rng));
        Secret::draw(&mut rng)
    }

    pub(crate) fn answer(&mut self, policy: &Policy, event: Event<'_>) -> Result<Answer, Refusal> {
        let Self { participant, identity, rng, .. } = self;
        participant.handle(event, 0, &mut Host { policy, identity, certificate: None, rng })
    }

    /// Answers with bytes; brings the input when it is wanted.
    pub(crate) fn handle(&mut self, policy: &Policy, event: Event<'_>) -> Result<Vec<u8>, Refusal> {
        let answer = self.answer(policy, event)?;
        self.finish(answer)
    }

    /// Brings the input if it is wanted.
    pub(crate) fn finish(&mut self, answer: Answer) -> Result<Vec<u8>, Refusal> {
        match answer {
            Answer::Send(out) => Ok(out),
            Answer::InputWanted => self.participant.mask(Some(self.input.clone())),
        }
    }
}

/// A random update within the grid: entries in `-grid ..= grid`, as residues.
pub(crate) fn input(config: &RoundConfig, rng: &mut impl Rng) -> Vec<Vec<u32>> {
    let mut entry = || (rng.next_u32() % (2 * config.grid + 1)).wrapping_sub(config.grid);
    config.vectors.iter().map(|vector| (0..vector.len).map(|_| entry()).collect()).collect()
}

/// The sum of these inputs, with entries as signed numbers.
pub(crate) fn plain_sum<'a>(config: &RoundConfig, inputs: impl Iterator<Item = &'a Vec<Vec<u32>>>) -> Vec<Vec<i64>> {
    let mut sums: Vec<Vec<i64>> = config.vectors.iter().map(|vector| vec![0; vector.len as usize]).collect();
    for input in inputs {
        for (sum, input) in sums.iter_mut().zip(input) {
            sum.iter_mut().zip(input).for_each(|(sum, entry)| *sum += i64::from(entry.cast_signed()));
        }
    }
    sums
}

/// A configuration with its devices, before any message.
pub(crate) struct Cohort {
    pub(crate) config: RoundConfig,
    pub(crate) policy: Policy,
    pub(crate) devices: Vec<Device>,
    /// The configuration's bytes and the task key's signature.
    pub(crate) encoded: Vec<u8>,
    pub(crate) signature: [u8; 64],
}

impl Cohort {
    pub(crate) fn new(config: RoundConfig, n: usize, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let devices = (0..n).map(|_| Device::new(&config, &mut rng)).collect();
        let (policy, encoded, signature) = (policy(&config), config.encode(), config::sign(&config, &task_key()));
        Self { config, policy, devices, encoded, signature }
    }

    pub(crate) fn config_event(&self) -> Event<'_> {
        Event::Config { bytes: &self.encoded, signature: &self.signature }
    }

    pub(crate) fn handle(&mut self, device: usize, event: Event<'_>) -> Result<Vec<u8>, Refusal> {
        self.devices[device].handle(&self.policy, event)
    }

    /// Stage 0 of one device.
    pub(crate) fn advertise(&mut self, device: usize) -> Vec<u8> {
        let event = Event::Config { bytes: &self.encoded, signature: &self.signature };
        self.devices[device].handle(&self.policy, event).unwrap()
    }

    /// Stage 0 with everybody, on both sides; puts the devices into the order of the roster.
    pub(crate) fn open_session(&mut self) -> (Session, Vec<Vec<u8>>) {
        let mut server = Session::new(self.config.clone(), []);
        let messages: Vec<Vec<u8>> = (0..self.devices.len()).map(|device| self.advertise(device)).collect();
        for message in &messages {
            assert_eq!(server.receive(0, None, message), Ok(Receipt::New));
        }
        server.close(1).unwrap();
        let Stage::Shares(shares) = server.stage() else { panic!("stage 1 is open") };
        self.devices.sort_by_key(|device| shares.index_of(&device.identity.public()));
        (server, messages)
    }
}

/// What the server sent, as the device takes it.
pub(crate) fn event(stage: u8, down: &Down) -> Event<'_> {
    match (stage, down) {
        (1, Down::Roster(form, bytes)) => Event::Roster { form: *form, bytes },
        (2, Down::Bytes(bytes)) => Event::Shares(bytes),
        (3, Down::Bytes(bytes)) => Event::Survivors(bytes),
        (4, Down::Bytes(bytes)) => Event::Signatures(bytes),
        _ => panic!("stage {stage}: {down:?}"),
    }
}
