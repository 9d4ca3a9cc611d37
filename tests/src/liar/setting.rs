//! One small task, as every victim of this kit knows it: what is trained, what is pinned, when things close.

use std::time::Duration;

use bytes::Bytes;
use scale_client_core::update;
use scale_proto::ids::{Digest, ModelVersion, TaskId};
use scale_proto::model_file;
use scale_proto::plan::Plan;
use scale_secagg::config::{self, Mechanism, RoundConfig};
use scale_secagg::keys::IdentityKey;
use scale_secagg::params::{Class, Profile};

use crate::round::small_model;

/// Every session of this kit opens at this moment, Unix milliseconds.
pub const START_MS: u64 = 1_800_000_000_000;
/// L2 norm of an update in grid units.
pub const GRID: u32 = 2000;

/// The task's name.
pub fn task() -> TaskId {
    // A word is a name.
    "fraud".parse().expect("a valid name")
}

/// The key that the app pins.
pub fn task_key() -> IdentityKey {
    IdentityKey::from_seed(&[201; 32])
}

/// The one plan that the task's rounds follow.
pub fn plan() -> Plan {
    let model = small_model();
    Plan {
        fingerprint: model.fingerprint(),
        model,
        epochs: 1,
        batch_size: 8,
        learning_rate: 0.1,
        proximal_mu: 0.0,
        time_limit: Duration::from_secs(30),
        max_weight: 50,
        holdout_permille: 0,
        seed: 1,
        privacy: scale_proto::privacy::Privacy::None,
    }
}

/// A model file whose weights all are `weight`.
pub fn model_of(weight: f32) -> Vec<u8> {
    let spec = small_model();
    let weights = vec![weight; spec.flat_len() as usize];
    // As many weights as the architecture has, all finite.
    model_file::encode(&task(), ModelVersion(1), &spec, &weights).expect("a model of the task")
}

/// Session number 7 of the task for 10 to `n_hi` devices: as an honest coordinator would sign it.
pub fn config(n_hi: u32) -> RoundConfig {
    let plan = plan();
    RoundConfig {
        task_id: task().to_string(),
        round: 7,
        server_nonce: [5; 32],
        model_digest: Digest::of(&model_of(0.25)).0,
        plan_digest: Digest::of(&plan.encode()).0,
        vectors: update::vectors(&plan),
        // 2^32 holds the sum of a few hundred updates many times over.
        wire_bits: config::width_needed(n_hi, GRID, 0).expect("a narrow sum"),
        clip: 1.0,
        grid: GRID,
        rotation_seed: None,
        mechanism: Mechanism::None,
        policy_id: "none".into(),
        profile: Profile::Standard,
        class: Class::Default,
        n_lo: 10,
        n_hi,
        u3_min: 10,
        closing: [1, 2, 3, 4, 5].map(|stage| START_MS + stage * 60_000),
        identity_root: [0; 32],
    }
}

/// All that a device is handed at check-in, true or not.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Canonical bytes of the configuration.
    pub config: Bytes,
    /// What stands for the task key's signature.
    pub signature: [u8; 64],
    /// The plan's bytes.
    pub plan: Bytes,
    /// What the signed URL gives.
    pub model: Vec<u8>,
}

impl Offer {
    /// Signs `config` with `key` and adds `plan` and the model `model`.
    pub fn signed(config: &RoundConfig, key: &IdentityKey, plan: &Plan, model: &[u8]) -> Self {
        Self {
            config: config.encode().into(),
            signature: config::sign(config, key),
            plan: plan.encode(),
            model: model.to_vec(),
        }
    }
}
