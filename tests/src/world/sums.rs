//! What a round has published beyond what is known.

use anyhow::Context as _;
use scale_proto::wire;
use serde_json::{Value, json};

use super::natives::Played;
use super::task::Task;
use crate::round::{recovered_sum, weights};

/// The published integer sum less the native devices' inputs, as `[index, integer]` where it is not 0: exactly what the
/// apps have put into it. One bit of a mask that is left over would show as large numbers everywhere.
///
/// `apps`: how many examples each of them says. Published weights are a mean, and a sum only with its divisor.
///
/// # Errors
/// A model is missing, or cannot be downloaded.
pub(super) async fn beyond_natives(
    task: &Task,
    round: &wire::RoundInfo,
    natives: &Played,
    models: &[wire::ModelInfo],
    apps: &[u32],
) -> anyhow::Result<Vec<Value>> {
    let spec = task.model();
    let of_version = |version: u64| models.iter().find(|model| model.version == version).context("no such model");
    let base = weights(of_version(round.base_version)?, &spec).await?;
    let new = weights(of_version(round.new_version)?, &spec).await?;
    let weight = natives.weight + apps.iter().map(|&examples| i64::from(examples)).sum::<i64>();
    let published = recovered_sum(&base, &new, &natives.config, natives.max_weight, weight);
    let beyond = published.iter().zip(&natives.sum).map(|(published, known)| published - known).enumerate();
    Ok(beyond.filter(|(_, rest)| *rest != 0).map(|(index, rest)| json!([index, rest])).collect())
}
