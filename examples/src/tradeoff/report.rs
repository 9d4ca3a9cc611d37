//! What the comparison says: a table for people, JSON for programs.

use std::fmt::Write as _;

use scale_privacy::plan::Trust;
use serde::Serialize;

use super::{Cell, Group, Settings};

/// Everything that was planned and measured.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was asked for.
    pub settings: Settings,
    /// One per size of the cohort.
    pub groups: Vec<Group>,
}

/// One line of JSON. Accuracies are shares of 1.
#[derive(Debug, Serialize)]
struct Row<'a> {
    devices: u32,
    /// `none`, `distributed` or `local`.
    noise: &'static str,
    accuracy: f64,
    accuracy_deviation: f64,
    accuracy_by_seed: &'a [f64],
    #[serde(flatten)]
    planned: Option<Planned<'a>>,
}

/// The planner's part of a [`Row`]; epsilons are a person's over all rounds.
#[derive(Debug, Serialize)]
struct Planned<'a> {
    epsilon: f64,
    epsilon_aggregate: f64,
    epsilon_local: f64,
    noise_multiplier: f64,
    local_variance: u64,
    wire_bits: u8,
    noise_to_signal: f64,
    verdict: &'static str,
    sentence: &'a str,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    dim: usize,
    chance: f64,
    rounds: u32,
    seeds: u64,
    delta: f64,
    clip: f64,
    task: &'a super::toy::Shape,
    rows: Vec<Row<'a>>,
}

impl Report {
    /// The table, as a terminal shows it.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    /// Everything as JSON.
    ///
    /// # Errors
    /// None that a finished report gives.
    pub fn json(&self) -> serde_json::Result<String> {
        let Settings { rounds, seeds, delta, shape, .. } = &self.settings;
        serde_json::to_string_pretty(&Document {
            dim: shape.dim(),
            chance: shape.chance(),
            rounds: *rounds,
            seeds: *seeds,
            delta: *delta,
            clip: super::toy::CLIP,
            task: shape,
            rows: self.groups.iter().flat_map(rows).collect(),
        })
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Settings { rounds, seeds, delta, shape, .. } = &self.settings;
        writeln!(
            out,
            "{} weights, {} rounds; accuracy on {} unseen examples, mean ± standard deviation of {seeds} seed(s); guessing \
             gives {:.2}.",
            shape.dim(),
            rounds,
            shape.tests,
            shape.chance()
        )?;
        writeln!(
            out,
            "Epsilon: of a person, over all rounds, at delta {delta:e}, if everybody finishes and nobody helps the server."
        )?;
        writeln!(out, "Alone: the epsilon that is left of distributed noise against who sees a device's own uploads.")?;
        for group in &self.groups {
            let Group { devices, plain, .. } = group;
            writeln!(out, "\n{devices} devices; without noise {:.3} ± {:.3}", plain.mean(), plain.deviation())?;
            writeln!(
                out,
                "  epsilon | distributed noise  noise/signal  verdict   alone | local noise    noise/signal  verdict"
            )?;
            for (together, local) in group.series(Trust::Distributed).zip(group.series(Trust::Local)) {
                writeln!(
                    out,
                    "  {:>7} | {:<17}  {}  {:>6.0} | {}  {}",
                    together.epsilon,
                    accuracy(together),
                    verdict(together),
                    together.plan.epsilon_local,
                    accuracy(local),
                    verdict(local),
                )?;
            }
            for cell in
                [group.series(Trust::Distributed).next(), group.series(Trust::Distributed).last()].into_iter().flatten()
            {
                writeln!(out, "  The planner at epsilon {}, distributed: {}", cell.epsilon, cell.plan.sentence)?;
            }
        }
        Ok(())
    }
}

fn accuracy(cell: &Cell) -> String {
    format!("{:.3} ± {:.3}", cell.accuracy.mean(), cell.accuracy.deviation())
}

fn verdict(cell: &Cell) -> String {
    format!("{:>12.2}  {:<8}", cell.plan.noise_to_signal, cell.plan.verdict.code())
}

fn rows(group: &Group) -> impl Iterator<Item = Row<'_>> {
    let plain = (None, &group.plain);
    let noisy = group.cells.iter().map(|cell| (Some(cell), &cell.accuracy));
    std::iter::once(plain).chain(noisy).map(|(cell, accuracy)| Row {
        devices: group.devices,
        noise: match cell.map(|cell| cell.plan.trust) {
            None => "none",
            Some(Trust::Distributed) => "distributed",
            Some(Trust::Local) => "local",
        },
        accuracy: accuracy.mean(),
        accuracy_deviation: accuracy.deviation(),
        accuracy_by_seed: &accuracy.0,
        planned: cell.map(planned),
    })
}

fn planned(cell: &Cell) -> Planned<'_> {
    let Cell { epsilon, plan, .. } = cell;
    Planned {
        epsilon: *epsilon,
        epsilon_aggregate: plan.epsilon_aggregate,
        epsilon_local: plan.epsilon_local,
        noise_multiplier: plan.noise_multiplier,
        local_variance: plan.mechanism.local_variance(),
        wire_bits: plan.wire_bits,
        noise_to_signal: plan.noise_to_signal,
        verdict: plan.verdict.code(),
        sentence: &plan.sentence,
    }
}
