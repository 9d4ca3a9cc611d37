//! Devices and a server in one process: what every test of the typed states needs. A device here has no order of its own, no
//! retries and no deadlines; those of the device that ships are tested where it is, in `client-core`.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{CryptoRng, Rng, SeedableRng};
use scale_secagg::client::{self, Agreed, Cleared, Keyed, Masked, Shared};
use scale_secagg::config::{self, Mechanism, Policy, RoundConfig, VectorSpec};
use scale_secagg::error::Refusal;
use scale_secagg::keys::{DhSecret, IdentityKey, Secret};
use scale_secagg::params::{Class, Profile};
use scale_secagg::roster::{Certificate, RosterForm};
use scale_secagg::server::{Down, Receipt, Session, Stage};
use zeroize::Zeroizing;

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

/// A message from the server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Message<'a> {
    /// Stage 0: the canonical configuration and the task key's signature.
    Config { bytes: &'a [u8], signature: &'a [u8] },
    /// Stage 1.
    Roster { form: RosterForm, bytes: &'a [u8] },
    /// Stage 2.
    Shares(&'a [u8]),
    /// Stage 3.
    Survivors(&'a [u8]),
    /// Stage 4.
    Signatures(&'a [u8]),
}

/// What a step may look at.
pub(crate) struct Host<'a, R> {
    pub(crate) policy: &'a Policy,
    pub(crate) now_ms: u64,
    pub(crate) identity: &'a IdentityKey,
    pub(crate) certificate: Option<&'a Certificate>,
    pub(crate) rng: &'a mut R,
}

/// Any of the states.
#[derive(Debug)]
pub(crate) enum State {
    Idle,
    Keyed(Keyed),
    Shared(Shared),
    Cleared(Cleared),
    Masked(Masked),
    Agreed(Agreed),
    /// The last answer was given, or a refusal has consumed the state.
    Over,
}

impl State {
    /// The step that this state has for the message: what the device sends then; nothing yet in stage 2. `None`, and no
    /// change, where the types have no such step.
    pub(crate) fn take<R: CryptoRng>(
        &mut self,
        message: Message<'_>,
        host: &mut Host<'_, R>,
    ) -> Option<Result<Vec<u8>, Refusal>> {
        let now_ms = host.now_ms;
        let step = match (std::mem::replace(self, Self::Over), message) {
            (Self::Idle, Message::Config { bytes, signature }) => {
                let Host { policy, identity, certificate, rng, .. } = host;
                client::advertise(bytes, signature, policy, now_ms, identity, *certificate, *rng)
                    .map(|(next, out)| (Self::Keyed(next), out))
            }
            (Self::Keyed(state), Message::Roster { form, bytes }) => {
                state.on_roster(form, bytes, now_ms, host.rng).map(|(next, out)| (Self::Shared(next), out))
            }
            (Self::Shared(state), Message::Shares(bytes)) => {
                state.on_shares(bytes, now_ms).map(|next| (Self::Cleared(next), vec![]))
            }
            (Self::Masked(state), Message::Survivors(bytes)) => state
                .on_survivors(bytes, now_ms, host.identity)
                .map(|(next, signature)| (Self::Agreed(next), signature.to_vec())),
            (Self::Agreed(state), Message::Signatures(bytes)) => {
                state.on_signatures(bytes, now_ms).map(|out| (Self::Over, out))
            }
            (state, _) => {
                *self = state;
                return None;
            }
        };
        Some(step.map(|(next, out)| {
            *self = next;
            out
        }))
    }

    /// Masks the input once the shares are open.
    pub(crate) fn mask(&mut self, input: Vec<Vec<u32>>) -> Result<Vec<u8>, Refusal> {
        let Self::Cleared(cleared) = std::mem::replace(self, Self::Over) else { panic!("no input is wanted") };
        let (masked, upload) = cleared.mask(input)?;
        *self = Self::Masked(masked);
        Ok(upload)
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// The state's bytes; `None` where nothing is kept.
    pub(crate) fn snapshot(&self) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Idle | Self::Over => None,
            Self::Keyed(state) => Some(state.snapshot()),
            Self::Shared(state) => Some(state.snapshot()),
            Self::Cleared(state) => Some(state.snapshot()),
            Self::Masked(state) => Some(state.snapshot()),
            Self::Agreed(state) => Some(state.snapshot()),
        }
    }

    /// A state of the same kind from bytes.
    pub(crate) fn read(&self, bytes: &[u8]) -> Result<Self, Refusal> {
        match self {
            Self::Idle => Ok(Self::Idle),
            Self::Over => Ok(Self::Over),
            Self::Keyed(_) => Keyed::restore(bytes).map(Self::Keyed),
            Self::Shared(_) => Shared::restore(bytes).map(Self::Shared),
            Self::Cleared(_) => Cleared::restore(bytes).map(Self::Cleared),
            Self::Masked(_) => Masked::restore(bytes).map(Self::Masked),
            Self::Agreed(_) => Agreed::restore(bytes).map(Self::Agreed),
        }
    }

    /// The same state as a restart gives it.
    pub(crate) fn restored(&self) -> Self {
        let snapshot = self.snapshot().unwrap_or_default();
        let restored = self.read(&snapshot).expect("its own snapshot");
        assert_eq!(restored.snapshot().unwrap_or_default(), snapshot);
        restored
    }
}

/// One device, its long-lived key and its update.
pub(crate) struct Device {
    pub(crate) state: State,
    pub(crate) identity: IdentityKey,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) now_ms: u64,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) input: Vec<Vec<u32>>,
    /// The generator before its first word.
    unused: ChaCha20Rng,
}

impl Device {
    pub(crate) fn new(config: &RoundConfig, rng: &mut impl Rng) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        Self::with(IdentityKey::from_seed(&seed), ChaCha20Rng::from_seed(seed), input(config, rng))
    }

    pub(crate) fn with(identity: IdentityKey, rng: ChaCha20Rng, input: Vec<Vec<u32>>) -> Self {
        let unused = rng.clone();
        Self { state: State::Idle, identity, certificate: None, now_ms: 0, rng, input, unused }
    }

    /// The secrets that it drew for stage 0: `a` and the channel key. Its generator gives them again.
    pub(crate) fn drawn(&self) -> (Secret, DhSecret) {
        let mut rng = self.unused.clone();
        (Secret::draw(&mut rng), DhSecret::draw(&mut rng))
    }

    /// The secret of its self mask, which it draws in stage 1.
    pub(crate) fn drawn_for_self_mask(&self) -> Secret {
        let mut rng = self.unused.clone();
        let _stage_0 = (Secret::draw(&mut rng), DhSecret::draw(&mut rng));
        Secret::draw(&mut rng)
    }

    /// As [`State::take`].
    pub(crate) fn take(&mut self, policy: &Policy, message: Message<'_>) -> Option<Result<Vec<u8>, Refusal>> {
        let Self { state, identity, certificate, now_ms, rng, .. } = self;
        let host = &mut Host { policy, now_ms: *now_ms, identity, certificate: certificate.as_ref(), rng };
        state.take(message, host)
    }

    /// Answers with bytes; brings the input in stage 2.
    pub(crate) fn handle(&mut self, policy: &Policy, message: Message<'_>) -> Result<Vec<u8>, Refusal> {
        let sent = self.take(policy, message).unwrap_or_else(|| panic!("{message:?} in state {:?}", self.state))?;
        if matches!(self.state, State::Cleared(_)) { self.state.mask(self.input.clone()) } else { Ok(sent) }
    }

    /// The device is killed and comes back with its snapshot.
    pub(crate) fn restart(&mut self) {
        self.state = self.state.restored();
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

    pub(crate) fn signed_config(&self) -> Message<'_> {
        Message::Config { bytes: &self.encoded, signature: &self.signature }
    }

    pub(crate) fn handle(&mut self, device: usize, message: Message<'_>) -> Result<Vec<u8>, Refusal> {
        self.devices[device].handle(&self.policy, message)
    }

    /// Stage 0 of one device.
    pub(crate) fn advertise(&mut self, device: usize) -> Vec<u8> {
        let message = Message::Config { bytes: &self.encoded, signature: &self.signature };
        self.devices[device].handle(&self.policy, message).unwrap()
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
pub(crate) fn opens(stage: u8, down: &Down) -> Message<'_> {
    match (stage, down) {
        (1, Down::Roster(form, bytes)) => Message::Roster { form: *form, bytes },
        (2, Down::Bytes(bytes)) => Message::Shares(bytes),
        (3, Down::Bytes(bytes)) => Message::Survivors(bytes),
        (4, Down::Bytes(bytes)) => Message::Signatures(bytes),
        _ => panic!("stage {stage}: {down:?}"),
    }
}
