//! One small task for tests: its keys, its plan, its model and the closing times of its stages.
//!
//! Everything is a function, so that a test can change single fields and keep the rest: `RoundConfig { n_lo: 9,
//! ..config(&plan()) }`.

use std::sync::OnceLock;
use std::time::Duration;

use scale_privacy::distributed;
use scale_privacy::guardrails::Limits;
use scale_privacy::ledger::{Ledger, LedgerKey};
use scale_proto::ids::{Digest, ModelVersion, RoundId, TaskId};
use scale_proto::manifest::Manifest;
use scale_proto::model::{Family, ModelSpec};
use scale_proto::model_file;
use scale_proto::plan::Plan;
use scale_proto::privacy::Privacy;
use scale_secagg::config::{self, Mechanism, RoundConfig};
use scale_secagg::keys::IdentityKey;
use scale_secagg::params::{Class, Profile};

use crate::device::{Guardrails, Rules};
use crate::update;

/// Opening time of every round of the task, in Unix milliseconds: 2027-01-15.
pub const START_MS: u64 = 1_800_000_000_000;
/// Length of a stage in milliseconds: stage `i` closes `i + 1` times this after [`START_MS`].
pub const STAGE_MS: u64 = 3_600_000;
/// Largest norm of an update, in grid units.
pub const GRID: u32 = 2000;

/// The task's name.
pub fn task() -> TaskId {
    "digits".parse().expect("a valid name")
}

/// The key that signs the task's rounds. Apps pin its public key.
pub fn task_key() -> IdentityKey {
    IdentityKey::from_seed(&[77; 32])
}

/// The authority that certifies devices in the malicious profile.
pub fn root() -> IdentityKey {
    IdentityKey::from_seed(&[78; 32])
}

/// A perceptron of 43 parameters.
pub fn spec() -> ModelSpec {
    ModelSpec { labels: vec!["a".into(), "b".into(), "c".into()], family: Family::Mlp { inputs: 4, hidden: vec![5] } }
}

/// The plan of the task's rounds.
pub fn plan() -> Plan {
    let model = spec();
    Plan {
        fingerprint: model.fingerprint(),
        model,
        epochs: 2,
        batch_size: 8,
        learning_rate: 0.1,
        proximal_mu: 0.0,
        time_limit: Duration::from_secs(30),
        max_weight: 100,
        holdout_permille: 0,
        seed: 1,
        privacy: Privacy::None,
    }
}

/// Weights of the global model.
pub fn global() -> Vec<f32> {
    (0..spec().flat_len()).map(|i| (i as f32 - 20.0) / 64.0).collect()
}

/// The global model's file.
pub fn file() -> Vec<u8> {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| model_file(&spec(), &global())).clone()
}

/// A model file of the task, version 1.
///
/// # Panics
/// The weights do not fit the architecture, or one of them is not finite.
pub fn model_file(spec: &ModelSpec, weights: &[f32]) -> Vec<u8> {
    model_file::encode(&task(), ModelVersion(1), spec, weights).expect("finite weights of this architecture")
}

/// Round 3 of the task, for 10 to 20 devices, without noise.
pub fn config(plan: &Plan) -> RoundConfig {
    RoundConfig {
        task_id: task().to_string(),
        round: 3,
        server_nonce: [5; 32],
        model_digest: Digest::of(&file()).0,
        plan_digest: Digest::of(&plan.encode()).0,
        vectors: update::vectors(plan),
        wire_bits: width(20, GRID, 0),
        clip: 1.0,
        grid: GRID,
        rotation_seed: None,
        mechanism: Mechanism::None,
        policy_id: "none".into(),
        profile: Profile::Standard,
        class: Class::Default,
        n_lo: 10,
        n_hi: 20,
        u3_min: 10,
        closing: [1, 2, 3, 4, 5].map(|stage| START_MS + stage * STAGE_MS),
        identity_root: [0; 32],
    }
}

/// [`config()`] for at most `n_hi` devices.
pub fn config_for(n_hi: u32, plan: &Plan) -> RoundConfig {
    RoundConfig { n_hi, wire_bits: width(n_hi, GRID, 0), ..config(plan) }
}

/// [`config()`] with noise: that of 8 honest devices has a standard deviation of `noise_multiplier` times the
/// sensitivity.
pub fn noisy(plan: &Plan, noise_multiplier: f64) -> RoundConfig {
    let config = config(plan);
    let mechanism =
        distributed::Mechanism::calibrated(config.grid, config.dim(), noise_multiplier, 8).expect("a fine grid");
    let (local_variance, n_honest) = (mechanism.local_variance(), mechanism.n_honest());
    let rho = mechanism.aggregate().expect("bounded").units();
    RoundConfig {
        mechanism: Mechanism::DistributedGaussian { local_variance, n_honest, rho },
        wire_bits: width(config.n_hi, config.grid, local_variance),
        policy_id: "standard".into(),
        n_hi: 14,
        ..config
    }
}

/// [`config()`] in the malicious profile, under [`root`].
pub fn malicious(plan: &Plan) -> RoundConfig {
    RoundConfig { profile: Profile::Malicious, identity_root: root().public(), ..config(plan) }
}

fn width(n_hi: u32, grid: u32, local_variance: u64) -> u8 {
    config::width_needed(n_hi, grid, local_variance).expect("a sum of fewer than 2^32 units")
}

/// The signed round, with the model file of [`file()`].
pub fn manifest(config: &RoundConfig, plan: &Plan) -> Manifest {
    manifest_with(config, plan, &file())
}

/// The signed round, with another model file.
pub fn manifest_with(config: &RoundConfig, plan: &Plan, file: &[u8]) -> Manifest {
    Manifest {
        round: RoundId::from_random([9; 16]),
        round_config: config.encode().into(),
        config_signature: config::sign(config, &task_key()),
        plan: plan.encode(),
        model_url: "https://models.invalid/digits-1?signature=abc".into(),
        model_bytes: file.len() as u64,
        model_version: ModelVersion(1),
    }
}

/// The rules of the task's app: the compiled limits, and no rounds of the malicious profile.
pub fn rules() -> Rules {
    Rules {
        task_key: task_key().public(),
        identity_root: None,
        tasks: vec![task()],
        families: vec!["mlp".into()],
        guardrails: Guardrails::default(),
    }
}

/// Authenticates the privacy ledgers of all test devices.
pub fn ledger_key() -> LedgerKey {
    LedgerKey::new(&[3; 32])
}

/// An empty privacy ledger, and its log. `now_ms`: current time in Unix milliseconds.
///
/// # Panics
/// The limits are not valid budgets.
pub fn ledger(limits: &Limits, now_ms: u64) -> (Ledger, Vec<u8>) {
    let (mut ledger, first) = Ledger::create(ledger_key(), limits, now_ms).expect("limits are budgets");
    let log = first.append().bytes.clone();
    ledger.durable(first).expect("the first record");
    (ledger, log)
}
