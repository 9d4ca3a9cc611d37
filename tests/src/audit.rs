//! Whether the rounds of a task were right: each one that finished published exactly the sum of inputs among which is
//! every acknowledged one, once; each one that was abandoned published nothing; and the versions follow each other.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};
use scale_proto::wire;

use crate::fleet::{Part, STEP, Upload};
use crate::process::Admin;
use crate::round::{recovered_sum, small_model, weights};
use crate::trainer::MovesFirst;

/// Uploads whose fate the device does not know: each may be in the sum or not, and all cases are tried.
const UNKNOWN_MOST: usize = 12;

/// What the rounds of a task came to, all of them right.
#[derive(Debug, Default)]
pub struct Audit {
    /// Rounds that finished with the exact sum, with their survivors, oldest first.
    pub finished: Vec<u32>,
    /// Rounds that were abandoned, by code.
    pub abandoned: BTreeMap<String, u32>,
    /// Rounds that are still open.
    pub open: u32,
    /// Uploads that were acknowledged in rounds that finished: every one is in its sum.
    pub acknowledged: u32,
    /// Uploads that are in a sum though their device was not told so.
    pub unanswered: u32,
    /// Contributions of whole clients.
    pub clients: u32,
    /// Devices that did not come to the end of a round that finished, by what they were told.
    pub left: BTreeMap<String, u32>,
}

/// Looks at every round of a task over the tests' small model.
///
/// # Errors
/// The first thing that is wrong.
pub async fn audit(admin: &mut Admin, task: &str, parts: &[Part]) -> anyhow::Result<Audit> {
    let rounds = admin.rounds(task).await?;
    let models = admin.models(task).await?;
    let by_version: BTreeMap<u64, &wire::ModelInfo> = models.iter().map(|model| (model.version, model)).collect();
    ensure!(by_version.len() == models.len(), "a version was published twice");
    let mut audit = Audit::default();
    let mut newest = models.iter().map(|model| model.version).min().context("no model")?;
    let mut published = BTreeSet::from([newest]);
    for round in &rounds {
        let name = format!("round {} ({})", round.number, round.phase);
        match round.phase.as_str() {
            "finished" => {
                ensure!(round.base_version == newest, "{name} began from version {}, not {newest}", round.base_version);
                ensure!(round.new_version > newest, "{name}: version {} after {newest}", round.new_version);
                newest = round.new_version;
                published.insert(newest);
                let model = |version| by_version.get(&version).copied().context("a model is missing");
                let base = weights(model(round.base_version)?, &small_model()).await?;
                let new = weights(model(round.new_version)?, &small_model()).await?;
                let there: Vec<&Part> = parts.iter().filter(|part| part.round() == &round.round_id).collect();
                let found = explain(&base, &new, &there, round.survivors).with_context(|| name.clone())?;
                audit.finished.push(round.survivors);
                for why in there.iter().filter_map(|part| part.left.clone()) {
                    *audit.left.entry(why).or_default() += 1;
                }
                audit.acknowledged += found.acknowledged;
                audit.unanswered += found.unanswered;
                audit.clients += found.clients;
            }
            "abandoned" => {
                let told = round.new_version != 0 || round.examples != 0 || round.loss != 0.0 || round.accuracy != 0.0;
                ensure!(!told, "{name} has published something: {round:?}");
                ensure!(models.iter().all(|model| model.round_id != round.round_id), "{name} has published a model");
                *audit.abandoned.entry(round.reason_code.clone()).or_default() += 1;
            }
            _ => audit.open += 1,
        }
    }
    let listed: BTreeSet<u64> = by_version.keys().copied().collect();
    ensure!(listed == published, "models {listed:?}, but the rounds have published {published:?}");
    Ok(audit)
}

struct Found {
    acknowledged: u32,
    unanswered: u32,
    clients: u32,
}

/// Which uploads make the published sum.
fn explain(base: &[f32], new: &[f32], there: &[&Part], survivors: u32) -> anyhow::Result<Found> {
    let first = there.first().context("nobody remembers this round")?;
    let devices: BTreeSet<u32> = there.iter().map(|part| part.device).collect();
    ensure!(devices.len() == there.len(), "a device was in this round twice");
    let known = |wanted| there.iter().filter(move |part| part.upload == wanted);
    let told: Vec<&&Part> = known(Upload::Acknowledged).collect();
    let unknown: Vec<&&Part> = known(Upload::Unanswered).collect();
    ensure!(unknown.len() <= UNKNOWN_MOST, "{} devices do not know their upload's fate", unknown.len());
    let (config, max_weight) = (&first.joined.config, first.joined.plan.max_weight);
    // What a whole client adds to the first entry, to one grid unit: it rounds at random.
    let step = f64::from(STEP) * f64::from(config.grid) * f64::from(MovesFirst::EXAMPLES) / f64::from(max_weight);
    // The simplest explanation first: nobody's but those that were told.
    for chosen in 0_u32..1 << unknown.len() {
        let picked = unknown.iter().enumerate().filter(|(bit, _)| chosen >> bit & 1 == 1).map(|(_, part)| *part);
        let inside: Vec<&Part> = told.iter().copied().chain(picked).copied().collect();
        let Some(clients) = (survivors as usize).checked_sub(inside.len()) else { continue };
        let (sum, weight) = crate::round::plain_sum(inside.iter().map(|part| &part.joined));
        let weight = weight + clients as i64 * i64::from(MovesFirst::EXAMPLES);
        let published = recovered_sum(base, new, config, max_weight, weight);
        let beyond = |index: usize| published[index] - sum.get(index).copied().unwrap_or_default();
        let by_clients = clients as i64 * step.floor() as i64..=clients as i64 * step.ceil() as i64;
        if by_clients.contains(&beyond(0)) && (1..published.len()).all(|index| beyond(index) == 0) {
            return Ok(Found {
                acknowledged: told.len() as u32,
                unanswered: chosen.count_ones(),
                clients: clients as u32,
            });
        }
    }
    bail!(
        "no sum of {} acknowledged and {} unanswered uploads makes what {survivors} survivors have published",
        told.len(),
        unknown.len()
    )
}
