//! A small task for the tests of this crate.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use safetensors::tensor::{Dtype, TensorView};
use scale_privacy::distributed;
use scale_privacy::guardrails::Limits;
use scale_privacy::ledger::{Ledger, LedgerKey};
use scale_proto::ids::{Digest, ModelVersion, RoundId, TaskId};
use scale_proto::manifest::Manifest;
use scale_proto::model::{Family, ModelSpec};
use scale_proto::plan::Plan;
use scale_secagg::config::{self, Mechanism, RoundConfig};
use scale_secagg::keys::IdentityKey;
use scale_secagg::params::{Class, Profile};

use super::{Guardrails, Rules};
use crate::trainer::{Progressed, TrainError, Trained, Trainer, Training};
use crate::update;

pub(crate) mod coordinator;

pub(crate) const START_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;

pub(crate) fn task() -> TaskId {
    "digits".parse().expect("a name")
}

pub(crate) fn task_key() -> IdentityKey {
    IdentityKey::from_seed(&[77; 32])
}

/// The authority of the malicious profile.
pub(crate) fn root() -> IdentityKey {
    IdentityKey::from_seed(&[78; 32])
}

/// [`config`] in the malicious profile, under [`root`].
pub(crate) fn malicious(plan: &Plan) -> RoundConfig {
    RoundConfig { profile: Profile::Malicious, identity_root: root().public(), ..config(plan) }
}

pub(crate) fn spec() -> ModelSpec {
    ModelSpec { labels: vec!["a".into(), "b".into(), "c".into()], family: Family::Mlp { inputs: 4, hidden: vec![5] } }
}

pub(crate) fn plan() -> Plan {
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
        privacy: scale_proto::privacy::Privacy::None,
    }
}

/// Weights of the global model.
pub(crate) fn global() -> Vec<f32> {
    (0..spec().flat_len()).map(|i| (i as f32 - 20.0) / 64.0).collect()
}

/// The global model's file. Made once: its metadata has no fixed order.
pub(crate) fn file() -> Vec<u8> {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| model_file(&spec(), &global())).clone()
}

pub(crate) fn model_file(spec: &ModelSpec, weights: &[f32]) -> Vec<u8> {
    model_file_with(spec, weights, str::to_owned)
}

pub(crate) fn model_file_with(spec: &ModelSpec, weights: &[f32], rename: impl Fn(&str) -> String) -> Vec<u8> {
    let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    let mut at = 0;
    let tensors: Vec<_> = spec
        .tensors()
        .into_iter()
        .map(|tensor| {
            let end = at + 4 * tensor.len() as usize;
            let shape = tensor.shape.iter().map(|&side| side as usize).collect();
            let view = TensorView::new(Dtype::F32, shape, &bytes[at..end]).expect("shape and bytes agree");
            at = end;
            (rename(&tensor.name), view)
        })
        .collect();
    let metadata = HashMap::from([
        ("task".to_owned(), task().to_string()),
        ("version".to_owned(), "1".to_owned()),
        ("fingerprint".to_owned(), spec.fingerprint().hex()),
        ("spec".to_owned(), serde_json::to_string(spec).expect("plain data")),
    ]);
    safetensors::serialize(tensors, Some(metadata)).expect("distinct names")
}

pub(crate) fn ledger_key() -> LedgerKey {
    LedgerKey::new(&[3; 32])
}

/// A ledger that nothing was spent from, and its log.
pub(crate) fn ledger(limits: &Limits) -> (Ledger, Vec<u8>) {
    let (mut ledger, first) = Ledger::create(ledger_key(), limits, START_MS).expect("limits are budgets");
    let log = first.append().bytes.clone();
    ledger.durable(first).expect("in order");
    (ledger, log)
}

/// The same round with noise: 8 honest devices bring `noise_multiplier` times the sensitivity.
pub(crate) fn noisy(plan: &Plan, noise_multiplier: f64) -> RoundConfig {
    let config = config(plan);
    let mechanism =
        distributed::Mechanism::calibrated(config.grid, config.dim(), noise_multiplier, 8).expect("a fine grid");
    let (local_variance, n_honest) = (mechanism.local_variance(), mechanism.n_honest());
    let rho = mechanism.aggregate().expect("bounded").units();
    RoundConfig {
        mechanism: Mechanism::DistributedGaussian { local_variance, n_honest, rho },
        wire_bits: config::width_needed(config.n_hi, config.grid, local_variance).expect("narrow"),
        policy_id: "standard".into(),
        n_hi: 14,
        ..config
    }
}

/// Round 3 of the task, for 10 to 20 devices, on 2,000 grid units, open for hours from [`START_MS`].
pub(crate) fn config(plan: &Plan) -> RoundConfig {
    RoundConfig {
        task_id: task().to_string(),
        round: 3,
        server_nonce: [5; 32],
        model_digest: Digest::of(&file()).0,
        plan_digest: Digest::of(&plan.encode()).0,
        vectors: update::vectors(plan),
        wire_bits: config::width_needed(20, 2000, 0).expect("narrow"),
        clip: 1.0,
        grid: 2000,
        rotation_seed: None,
        mechanism: Mechanism::None,
        policy_id: "none".into(),
        profile: Profile::Standard,
        class: Class::Default,
        n_lo: 10,
        n_hi: 20,
        u3_min: 10,
        closing: [1, 2, 3, 4, 5].map(|stage| START_MS + stage * HOUR_MS),
        identity_root: [0; 32],
    }
}

pub(crate) fn manifest(config: &RoundConfig, plan: &Plan) -> Manifest {
    Manifest {
        round: RoundId::from_random([9; 16]),
        round_config: config.encode().into(),
        config_signature: config::sign(config, &task_key()),
        plan: plan.encode(),
        model_url: "https://models.invalid/digits-1?signature=abc".into(),
        model_bytes: file().len() as u64,
        model_version: ModelVersion(1),
    }
}

pub(crate) fn rules() -> Rules {
    Rules {
        task_key: task_key().public(),
        identity_root: None,
        tasks: vec![task()],
        families: vec!["mlp".into()],
        guardrails: Guardrails::default(),
    }
}

/// Adds `step` to every weight, and says that it saw `examples` examples.
pub(crate) struct Adder {
    pub(crate) step: f32,
    pub(crate) examples: u32,
}

impl Adder {
    pub(crate) fn result(&self, weights: &[f32]) -> Trained {
        Trained {
            weights: weights.iter().map(|weight| weight + self.step).collect(),
            weight: self.examples,
            loss_sum: f64::from(self.examples) * 0.5,
            correct: u64::from(self.examples / 2),
            examples: self.examples.into(),
            dp_sgd: None,
        }
    }
}

impl Trainer for Adder {
    fn begin<'a>(
        &'a mut self,
        _: &'a Plan,
        weights: &[f32],
        _: &[u8; 32],
    ) -> Result<Box<dyn Training + Send + 'a>, TrainError> {
        Ok(Box::new(Adding { result: self.result(weights), done: 0 }))
    }
}

/// An [`Adder`] at work: two steps.
struct Adding {
    result: Trained,
    done: u32,
}

impl Training for Adding {
    fn step(&mut self) -> Result<Progressed, TrainError> {
        self.done = 2.min(self.done + 1);
        Ok(Progressed { done: self.done, of: 2, loss: Some(0.5), over: self.done == 2 })
    }

    fn finish(self: Box<Self>) -> Result<Trained, TrainError> {
        if self.done == 0 { Err(TrainError::OutOfTime) } else { Ok(self.result) }
    }
}
