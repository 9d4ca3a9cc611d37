//! Initial weights of a model, for simulations and baselines. In a round they come from the coordinator.

use scale_proto::model::ModelSpec;
use scale_proto::model_file;

/// Initializes a model as [`scale_proto::model::TensorSpec::init`] specifies. The same seed gives the same weights on
/// every platform.
pub fn fresh_weights(spec: &ModelSpec, seed: u64) -> Vec<f32> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    model_file::initial_from(spec, bytes)
}
