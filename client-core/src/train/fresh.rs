//! The initial weights of a model.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use scale_proto::model::{Init, ModelSpec};

/// Fills a model as [`scale_proto::model::TensorSpec::init`] says, the same for a seed on every platform.
pub fn fresh_weights(spec: &ModelSpec, seed: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut out = Vec::new();
    for tensor in spec.tensors() {
        let bound = match tensor.init {
            Init::Zero => 0.0,
            Init::Uniform { fan_in } => (6.0 / f64::from(fan_in.max(1))).sqrt(),
            Init::Embedding { dim } => 1.0 / f64::from(dim.max(1)).sqrt(),
        };
        for _ in 0..tensor.len() {
            let unit = f64::from(random.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0;
            out.push((unit * bound) as f32);
        }
    }
    out
}
