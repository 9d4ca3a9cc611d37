//! The signed round configuration: its canonical bytes and what a device checks before it trains
//! (docs/protocol/round-config.md).

use crate::bytes::{Reader, Writer};
use crate::check::Check;
use crate::error::{Reason, Refusal};
use crate::keys::{self, IdentityKey};
use crate::params::{self, Class, Profile};
use crate::roster::Certificate;

/// The one protocol number of this crate.
pub const PROTOCOL: u8 = 1;
/// The one cipher suite: CC20-L16 masks (docs/protocol/session.md).
pub const SUITE: u8 = 1;
/// Most entries of one vector.
pub const VECTOR_CAP: u64 = 1 << 36;

/// One vector of the update: the sum is taken entry by entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VectorSpec {
    /// Name from the plan, 1 to 255 bytes.
    pub name: String,
    /// Number of entries, 1 to [`VECTOR_CAP`].
    pub len: u64,
}

/// The noise that every device adds before it masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// No noise.
    None,
    /// Distributed discrete Gaussian, sized for the honest survivors only.
    DistributedGaussian {
        /// Variance of each device's noise, grid units squared.
        local_variance: u64,
        /// Honest survivors that the noise is sized for.
        n_honest: u32,
        /// zCDP cost of this round, units of 2^-40.
        rho: u64,
    },
}

impl Mechanism {
    /// Variance of each device's noise in grid units squared; 0 without noise.
    pub const fn local_variance(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::DistributedGaussian { local_variance, .. } => *local_variance,
        }
    }
}

/// Everything about one session that the task key signs. Its hash salts every key, so two devices that were shown
/// different configurations derive masks that do not cancel.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundConfig {
    /// Task, 1 to 255 bytes.
    pub task_id: String,
    /// Strictly rising number of the session within its task.
    pub round: u64,
    /// Fresh random bytes of the server.
    pub server_nonce: [u8; 32],
    /// SHA-256 of the exact model bytes that are trained on.
    pub model_digest: [u8; 32],
    /// SHA-256 of the training plan.
    pub plan_digest: [u8; 32],
    /// The update's vectors, in order; names differ.
    pub vectors: Vec<VectorSpec>,
    /// Bits per entry on the wire, 8 to 32.
    pub wire_bits: u8,
    /// L2 norm that an update is clipped to, in the model's units.
    pub clip: f64,
    /// The same norm in grid units.
    pub grid: u32,
    /// Seed of the flattening rotation; `None` without flattening.
    pub rotation_seed: Option<[u8; 32]>,
    /// Noise on the device.
    pub mechanism: Mechanism,
    /// Privacy policy that the task runs under, 1 to 255 bytes.
    pub policy_id: String,
    /// What the server is trusted with.
    pub profile: Profile,
    /// Corrupt and dropped fractions that the parameters stand.
    pub class: Class,
    /// Fewest participants of the session.
    pub n_lo: u32,
    /// Most participants of the session.
    pub n_hi: u32,
    /// Fewest survivors that a sum is released for.
    pub u3_min: u32,
    /// Latest closing times T0 to T4 of the stages, Unix milliseconds, strictly rising.
    pub closing: [u64; 5],
    /// Names the root that identities chain to; in profile M the root's Ed25519 key itself.
    pub identity_root: [u8; 32],
}

impl RoundConfig {
    /// The canonical bytes: what is hashed and signed. [`Self::decode`] refuses them when a field is out of range.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(PROTOCOL);
        w.u8(SUITE);
        text_out(&mut w, &self.task_id);
        w.u64(self.round);
        w.put(&self.server_nonce);
        w.put(&self.model_digest);
        w.put(&self.plan_digest);
        w.u16(u16::try_from(self.vectors.len()).unwrap_or(u16::MAX));
        for vector in &self.vectors {
            text_out(&mut w, &vector.name);
            w.u64(vector.len);
        }
        w.u8(self.wire_bits);
        w.f64(self.clip);
        w.u32(self.grid);
        w.u8(u8::from(self.rotation_seed.is_some()));
        w.put(&self.rotation_seed.unwrap_or_default());
        let (mechanism, local_variance, n_honest, rho) = match self.mechanism {
            Mechanism::None => (0, 0, 0, 0),
            Mechanism::DistributedGaussian { local_variance, n_honest, rho } => (1, local_variance, n_honest, rho),
        };
        w.u8(mechanism);
        w.u64(local_variance);
        w.u32(n_honest);
        w.u64(rho);
        text_out(&mut w, &self.policy_id);
        w.u8(self.profile.into());
        w.u8(self.class.into());
        w.u32(self.n_lo);
        w.u32(self.n_hi);
        w.u32(self.u3_min);
        for time in self.closing {
            w.u64(time);
        }
        w.put(&self.identity_root);
        w.finish()
    }

    /// Reads the canonical bytes back; every rule that needs no context is checked.
    ///
    /// # Errors
    /// [`Reason::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut r = Reader::new(bytes);
        need(r.u8()? == PROTOCOL && r.u8()? == SUITE)?;
        let task_id = r.text()?.to_owned();
        let round = r.u64()?;
        let server_nonce = r.array()?;
        let model_digest = r.array()?;
        let plan_digest = r.array()?;
        let vectors = vectors(&mut r)?;
        let wire_bits = r.u8()?;
        let clip = r.f64()?;
        let grid = r.u32()?;
        need((8..=32).contains(&wire_bits) && clip.is_finite() && clip > 0.0 && grid >= 1)?;
        let flatten = r.u8()?;
        let seed: [u8; 32] = r.array()?;
        let rotation_seed = match flatten {
            0 if seed == [0; 32] => None,
            1 => Some(seed),
            _ => return Err(Reason::Malformed.into()),
        };
        let mechanism = match (r.u8()?, r.u64()?, r.u32()?, r.u64()?) {
            (0, 0, 0, 0) => Mechanism::None,
            (1, local_variance, n_honest, rho) => Mechanism::DistributedGaussian { local_variance, n_honest, rho },
            _ => return Err(Reason::Malformed.into()),
        };
        let policy_id = r.text()?.to_owned();
        let profile = Profile::try_from(r.u8()?)?;
        let class = Class::try_from(r.u8()?)?;
        let (n_lo, n_hi, u3_min) = (r.u32()?, r.u32()?, r.u32()?);
        let closing = [r.u64()?, r.u64()?, r.u64()?, r.u64()?, r.u64()?];
        need(closing.windows(2).all(|pair| pair[0] < pair[1]))?;
        let identity_root = r.array()?;
        r.finish()?;
        Ok(Self {
            task_id,
            round,
            server_nonce,
            model_digest,
            plan_digest,
            vectors,
            wire_bits,
            clip,
            grid,
            rotation_seed,
            mechanism,
            policy_id,
            profile,
            class,
            n_lo,
            n_hi,
            u3_min,
            closing,
            identity_root,
        })
    }

    /// Hash of the canonical bytes: names this configuration and salts every mask key.
    pub fn cfg(&self) -> [u8; 32] {
        cfg_of(&self.encode())
    }

    /// Entries of all vectors together.
    pub fn dim(&self) -> u64 {
        self.vectors.iter().map(|vector| vector.len).sum()
    }

    /// Fewest sharers and survivors that the session goes on with: never under [`params::FLOOR`].
    pub fn survivors_min(&self) -> u32 {
        self.u3_min.max(params::FLOOR)
    }

    /// Whether the root of this configuration certifies the identity `id_pk` until the session's last closing time.
    ///
    /// # Errors
    /// Those of [`Certificate::verify`].
    pub fn check_certificate(&self, id_pk: &[u8; 32], certificate: &Certificate) -> Result<(), Reason> {
        certificate.verify(&self.identity_root, id_pk, self.closing[4])
    }

    /// Length of one masked input in bytes: every vector packed and padded to whole bytes by itself.
    pub fn masked_input_len(&self) -> u64 {
        self.vectors.iter().map(|vector| (vector.len * u64::from(self.wire_bits)).div_ceil(8)).sum()
    }
}

/// Signs the configuration with the task key.
pub fn sign(config: &RoundConfig, task_key: &IdentityKey) -> [u8; 64] {
    task_key.sign(&statement(&config.cfg()))
}

/// What the task key signs.
fn statement(cfg: &[u8; 32]) -> [u8; 42] {
    let mut out = [0; 42];
    out[..10].copy_from_slice(b"FLSA1/task");
    out[10..].copy_from_slice(cfg);
    out
}

fn cfg_of(bytes: &[u8]) -> [u8; 32] {
    keys::hash(&[b"FLSA1/cfg", bytes])
}

/// Least wire width from 8 to 32 bits at which a sum of `n_hi` updates of norm `grid` with noise of `local_variance`
/// each cannot wrap, up to a noise tail of 8 standard deviations; `None` when 32 bits do not do
/// (docs/protocol/round-config.md).
pub fn width_needed(n_hi: u32, grid: u32, local_variance: u64) -> Option<u8> {
    (8..=32).find(|&bits| wide_enough(bits, n_hi, grid, local_variance))
}

fn wide_enough(bits: u8, n_hi: u32, grid: u32, local_variance: u64) -> bool {
    let updates = u128::from(n_hi) * (u128::from(grid) + 1);
    // The room is below 2^31 and the right side below 2^102: no product overflows.
    match (1u128 << (bits - 1)).checked_sub(updates) {
        None | Some(0) => false,
        Some(room) => room * room > 64 * u128::from(n_hi) * u128::from(local_variance),
    }
}

/// What a device knows by itself when a configuration arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Ed25519 key of the task, pinned by the host.
    pub task_key: [u8; 32],
    /// SHA-256 of the model bytes that the device trains on.
    pub model_digest: [u8; 32],
    /// Vectors of the plan that the device runs.
    pub vectors: Vec<VectorSpec>,
    /// Highest session number of this task that the device ever joined; durable.
    pub last_round: u64,
    /// Fewest participants that the host accepts; values under [`params::FLOOR`] count as the floor.
    pub min_clients: u32,
    /// Ed25519 key of the authority that certifies devices, pinned by the host: takes part in profile M under this root
    /// only, and asks for everybody's certificate. A configuration of profile S would not do: there a coordinator may make
    /// devices up. `None` asks for no certificate; profile M then promises no more than profile S.
    pub identity_root: Option<[u8; 32]>,
}

impl Policy {
    /// The larger of the compiled floor and the host's own minimum.
    pub fn floor(&self) -> u32 {
        self.min_clients.max(params::FLOOR)
    }

    /// Whether every device of a session under `config` has to show a certificate.
    pub fn demands_certificates(&self, config: &RoundConfig) -> bool {
        config.profile == Profile::Malicious && self.identity_root.is_some()
    }

    /// No way round the pinned root, neither by another one nor by a profile without certificates.
    fn trusts_root_of(&self, config: &RoundConfig) -> bool {
        self.identity_root.is_none_or(|root| config.profile == Profile::Malicious && config.identity_root == root)
    }
}

/// Everything a device verifies before it trains, in the order of docs/protocol/round-config.md. Returns the decoded
/// configuration.
///
/// `now_ms`: Unix milliseconds.
///
/// # Errors
/// `malformed`; C01 to C05, C26, C13 and C25.
pub fn check(bytes: &[u8], signature: &[u8], policy: &Policy, now_ms: u64) -> Result<RoundConfig, Refusal> {
    let config = RoundConfig::decode(bytes)?;
    let require = |holds: bool, check, reason| if holds { Ok(()) } else { Err(Refusal::by(check, reason)) };

    let signed = keys::verify(&policy.task_key, &statement(&cfg_of(bytes)), signature);
    require(signed, Check::C01, Reason::ConfigSignature)?;
    require(config.model_digest == policy.model_digest, Check::C02, Reason::ModelDigest)?;
    require(config.round > policy.last_round, Check::C03, Reason::RoundNotNewer)?;
    let floor = policy.floor();
    require(config.n_lo >= floor && config.u3_min >= floor, Check::C04, Reason::CohortFloor)?;
    require(within_policy(&config) && policy.trusts_root_of(&config), Check::C05, Reason::Policy)?;
    require(config.vectors == policy.vectors, Check::C26, Reason::Plan)?;
    require(grid_fine_enough(&config), Check::C13, Reason::Width)?;
    // The width of flattened vectors would follow another formula; no coordinator asks for it.
    let wide = config.rotation_seed.is_some()
        || wide_enough(config.wire_bits, config.n_hi, config.grid, config.mechanism.local_variance());
    require(wide, Check::C13, Reason::Width)?;
    require(now_ms < config.closing[0], Check::C25, Reason::Deadline)?;
    Ok(config)
}

/// Cohort bounds, and noise that is sized for the honest survivors.
fn within_policy(config: &RoundConfig) -> bool {
    let cap = match config.profile {
        Profile::Malicious => params::MALICIOUS_UP_TO,
        Profile::Standard => params::N_MAX,
    };
    let bounds = config.u3_min <= config.n_lo && config.n_lo <= config.n_hi && config.n_hi <= cap;
    let noise = match config.mechanism {
        Mechanism::None => true,
        Mechanism::DistributedGaussian { local_variance, n_honest, .. } => {
            let corrupt = u64::from(params::corrupt(config.n_hi, config.class));
            n_honest >= 1 && u64::from(n_honest) + corrupt <= u64::from(config.u3_min) && local_variance >= 4
        }
    };
    bounds && noise
}

/// S >= 4 sqrt(d), so that rounding inflates the sensitivity by under 1 %.
fn grid_fine_enough(config: &RoundConfig) -> bool {
    u128::from(config.grid).pow(2) >= 16 * u128::from(config.dim())
}

fn need(holds: bool) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Reason::Malformed.into()) }
}

/// A text that is empty or too long gets a length that every decoder refuses.
fn text_out(w: &mut Writer, text: &str) {
    if w.text(text).is_err() {
        w.u16(u16::MAX).put(text.as_bytes());
    }
}

fn vectors(r: &mut Reader<'_>) -> Result<Vec<VectorSpec>, Refusal> {
    let count = r.u16()?;
    need(count >= 1)?;
    let mut vectors = Vec::new();
    for _ in 0..count {
        let name = r.text()?.to_owned();
        let len = r.u64()?;
        need((1..=VECTOR_CAP).contains(&len))?;
        vectors.push(VectorSpec { name, len });
    }
    let mut names: Vec<&str> = vectors.iter().map(|vector| vector.name.as_str()).collect();
    names.sort_unstable();
    need(names.windows(2).all(|pair| pair[0] != pair[1]))?;
    Ok(vectors)
}
