//! The kit's small task, as every victim knows it, and what a victim is handed at check-in.

use bytes::Bytes;
use scale_client_core::testing::setting;
use scale_proto::ids::Digest;
use scale_proto::manifest::Manifest;
use scale_proto::plan::Plan;
use scale_secagg::config::{self, RoundConfig};
use scale_secagg::keys::IdentityKey;

pub use scale_client_core::testing::setting::{GRID, START_MS, plan, task_key};

/// A model file whose weights all are `weight`.
pub fn model_of(weight: f32) -> Vec<u8> {
    let spec = setting::spec();
    setting::model_file(&spec, &vec![weight; spec.flat_len() as usize])
}

/// A round of the task for 10 to `n_hi` devices, with the model [`model_of`] 0.25: as an honest coordinator would sign it.
pub fn config(n_hi: u32) -> RoundConfig {
    RoundConfig { model_digest: Digest::of(&model_of(0.25)).0, ..setting::config_for(n_hi, &plan()) }
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

    /// As a device takes it.
    pub fn manifest(&self) -> Manifest {
        Manifest {
            round_config: self.config.clone(),
            config_signature: self.signature,
            plan: self.plan.clone(),
            model_bytes: self.model.len() as u64,
            ..setting::manifest(&config(20), &plan())
        }
    }
}
