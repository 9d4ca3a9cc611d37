//! A small task, and what its rounds must publish.

use anyhow::Context as _;
use scale_proto::model::{Family, ModelSpec};
use scale_proto::privacy::Privacy;
use scale_proto::wire;
use scale_secagg::config::RoundConfig;

use crate::device::Joined;

/// A perceptron of 23 parameters: rounds over it take milliseconds, and one grid unit in the sum moves a weight far more
/// than f32 rounds away, so the published weights give the integer sum back.
pub fn small_model() -> ModelSpec {
    ModelSpec { labels: vec!["no".to_owned(), "yes".to_owned()], family: Family::Mlp { inputs: 4, hidden: vec![3] } }
}

/// A task over [`small_model`] for `devices` devices, none to spare, whose later stages stay open for `stage_ms`.
pub fn small_task(devices: u32, stage_ms: u64) -> wire::TaskConfig {
    wire::TaskConfig {
        model: Some((&small_model()).into()),
        training: Some(wire::Training {
            epochs: 1,
            batch_size: 8,
            learning_rate: 0.1,
            proximal_mu: 0.0,
            time_limit_ms: 10_000,
            max_weight: 50,
            holdout_permille: 0,
        }),
        cohort: Some(wire::Cohort { goal: devices, floor: 10, over_selection_permille: 1000, session_max: 128 }),
        timing: Some(wire::Timing {
            selecting_ms: 20_000,
            training_ms: 20_000,
            grace_ms: 1_000,
            shares_ms: stage_ms,
            masked_input_ms: stage_ms,
            agreement_ms: stage_ms,
            unmask_ms: stage_ms,
        }),
        schedule: Some(wire::Schedule { kind: Some(wire::schedule::Kind::WhenReady(wire::WhenReady {})) }),
        aggregation: Some(wire::Aggregation {
            optimizer: Some(wire::aggregation::Optimizer::FedAvg(wire::FedAvg { learning_rate: 1.0 })),
        }),
        quantization: Some(wire::Quantization { clip: 1.0, grid_factor: 64 }),
        secure_aggregation: None,
        privacy: Some((&Privacy::None).into()),
        max_rounds: 0,
    }
}

/// The integer sum over the update of `survivors`, and their weights' sum.
pub fn plain_sum<'a>(survivors: impl IntoIterator<Item = &'a Joined>) -> (Vec<i64>, i64) {
    let mut sum = vec![];
    let mut weight = 0;
    for joined in survivors {
        sum.resize(joined.input[0].len(), 0);
        sum.iter_mut().zip(&joined.input[0]).for_each(|(total, entry)| *total += entry);
        weight += joined.input[1][0];
    }
    (sum, weight)
}

/// The integer sum that led from the weights `base` to the weights `new`, by plain FedAvg with learning rate 1.
pub fn recovered_sum(base: &[f32], new: &[f32], config: &RoundConfig, max_weight: u32, weight: i64) -> Vec<i64> {
    let unit = config.clip * (1.0 + 2f64.powi(-20)) / f64::from(config.grid);
    let share = weight as f64 / f64::from(max_weight);
    new.iter()
        .zip(base)
        .map(|(new, base)| ((f64::from(*new) - f64::from(*base)) * share / unit).round() as i64)
        .collect()
}

/// Downloads a model through its signed URL and reads the weights in flattening order, and the file's bytes.
///
/// # Errors
/// The URL is refused, or the file is no model of `spec`.
pub async fn weights(model: &wire::ModelInfo, spec: &ModelSpec) -> anyhow::Result<Vec<f32>> {
    let bytes = crate::process::http_get(&model.url).await?;
    anyhow::ensure!(scale_proto::ids::Digest::of(&bytes).0[..] == model.digest[..], "the digest differs");
    let file = safetensors::SafeTensors::deserialize(&bytes)?;
    let mut flat = vec![];
    for tensor in spec.tensors() {
        let view = file.tensor(&tensor.name).with_context(|| tensor.name.clone())?;
        flat.extend(view.data().chunks_exact(4).map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]])));
    }
    Ok(flat)
}
