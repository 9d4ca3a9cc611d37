//! Accuracy against epsilon: what the noise that protects a person costs, for small and large cohorts.
//!
//! A toy task ([`toy`]) is trained in one process without noise, with noise that all devices bring together, and with
//! noise that protects each device by itself; updates go through the integers of production (`path.rs`), and the noise is
//! the planner's ([`scale_privacy::plan`]). [`run`] does it, [`Report`] shows the result beside the planner's verdicts.

mod path;
pub mod picture;
pub mod report;
pub mod toy;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, ensure};
use scale_privacy::accounting::Budget;
use scale_privacy::plan::{Cohort, Plan, PlanError, Trust, plan};
use scale_secagg::config::width_needed;

use crate::random::Random;
use path::{Path, Sum};
pub use report::Report;
use toy::{Shape, World};

/// What is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Sizes of the cohort.
    pub devices: Vec<u32>,
    /// Epsilons of a person over all rounds.
    pub epsilons: Vec<f64>,
    /// The delta of every epsilon.
    pub delta: f64,
    /// Rounds; every device takes part in every one.
    pub rounds: u32,
    /// Worlds to average over, from seed 1.
    pub seeds: u64,
    /// The learning task.
    pub shape: Shape,
}

/// One cohort.
#[derive(Clone, Debug)]
pub struct Group {
    /// Devices in every round.
    pub devices: u32,
    /// Without noise.
    pub plain: Accuracy,
    /// With noise: distributed and local, in the order of the epsilons.
    pub cells: Vec<Cell>,
}

/// One cohort with one noise.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The epsilon that was asked for.
    pub epsilon: f64,
    /// What the planner said before anything was trained; the noise is the plan's.
    pub plan: Plan,
    /// What came of it.
    pub accuracy: Accuracy,
}

/// Accuracies on examples that no device saw, shares of 1, one per seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Accuracy(pub Vec<f64>);

impl Accuracy {
    /// Over the seeds; 0 without any.
    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len().max(1) as f64
    }

    /// Standard deviation between seeds; 0 for fewer than two.
    pub fn deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.0.iter().map(|value| (value - mean).powi(2)).sum();
        (squares / self.0.len().saturating_sub(1).max(1) as f64).sqrt()
    }
}

impl Group {
    /// The cells of one kind of noise, by epsilon.
    pub fn series(&self, trust: Trust) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(move |cell| cell.plan.trust == trust)
    }
}

impl Settings {
    /// Device rounds that [`run`] trains, all series and seeds together.
    pub fn work(&self) -> u64 {
        let devices: u64 = self.devices.iter().copied().map(u64::from).sum();
        let series = 1 + 2 * self.epsilons.len() as u64;
        devices * series * u64::from(self.rounds) * self.seeds
    }
}

/// Trains everything, on all cores. `progress` is told how many device rounds are done since the last call.
///
/// # Errors
/// A setting is out of range, or the planner refuses one; nothing has been trained then.
pub fn run(settings: &Settings, progress: &(dyn Fn(u64) + Sync)) -> anyhow::Result<Report> {
    let cohorts = plans(settings)?;
    let most = settings.devices.iter().copied().max().unwrap_or_default();
    let worlds: Vec<World> =
        (1..=settings.seeds).map(|seed| World::new(settings.shape.clone(), most as usize, seed)).collect();

    let mut jobs = Vec::new();
    for (devices, plans) in &cohorts {
        let series = std::iter::once(None).chain(plans.iter().map(|(_, plan)| Some(plan)));
        jobs.extend(
            series.flat_map(|plan| worlds.iter().zip(1..).map(move |(world, seed)| (*devices, plan, world, seed))),
        );
    }
    // The largest cohorts first: a long job at the end would leave the other cores idle.
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(jobs[index].0));
    let mut accuracies = in_parallel(&order, |&index| {
        let (devices, plan, world, seed) = jobs[index];
        let variance = plan.map(|plan| plan.mechanism.local_variance());
        // The same randomness whatever else is compared.
        let random = Random::new(seed, &format!("{devices} devices, {variance:?}"));
        let path = Path::new(plan, devices, world.shape().dim(), toy::CLIP, random)?;
        Ok((index, train(world, devices, settings.rounds, path, progress)?))
    })
    .into_iter()
    .collect::<anyhow::Result<Vec<_>>>()?;
    accuracies.sort_by_key(|&(index, _)| index);

    let mut seeds = accuracies.chunks(worlds.len()).map(|seeds| Accuracy(seeds.iter().map(|seed| seed.1).collect()));
    // `jobs` holds the series of every cohort in this order, each with all seeds.
    let mut next = || seeds.next().expect("every series was trained");
    let groups = cohorts.into_iter().map(|(devices, plans)| Group {
        devices,
        plain: next(),
        cells: plans.into_iter().map(|(epsilon, plan)| Cell { epsilon, plan, accuracy: next() }).collect(),
    });
    Ok(Report { groups: groups.collect(), settings: settings.clone() })
}

type Planned = (f64, Plan);

/// The planner's answers for every cohort.
fn plans(settings: &Settings) -> anyhow::Result<Vec<(u32, Vec<Planned>)>> {
    let Settings { devices, epsilons, delta, rounds, seeds, shape } = settings;
    ensure!(!devices.is_empty() && !devices.contains(&0), "give at least one cohort, of at least one device");
    ensure!(!epsilons.is_empty(), "give at least one epsilon");
    ensure!(*seeds > 0, "give at least one seed");
    let cohort = |devices: u32| {
        let mut plans = Vec::new();
        for trust in [Trust::Distributed, Trust::Local] {
            for &epsilon in epsilons {
                let plan = planned(trust, devices, shape.dim(), *rounds, &Budget::new(epsilon, *delta)?)
                    .with_context(|| format!("no plan for {devices} devices at epsilon {epsilon}, {trust:?}"))?;
                plans.push((epsilon, plan));
            }
        }
        Ok((devices, plans))
    };
    devices.iter().copied().map(cohort).collect()
}

/// The plan in the best case: everybody finishes every round, and nobody works for the server.
fn planned(trust: Trust, devices: u32, dim: usize, rounds: u32, budget: &Budget) -> Result<Plan, PlanError> {
    let cohort = Cohort { devices, survivors_min: devices, corrupt: 0 };
    plan(trust, &cohort, dim as u64, rounds, budget, width_needed)
}

/// Federated averaging over the first `devices` of `world`; returns the last model's accuracy.
fn train(
    world: &World,
    devices: u32,
    rounds: u32,
    mut path: Path,
    progress: &(dyn Fn(u64) + Sync),
) -> anyhow::Result<f64> {
    let mut weights = world.fresh();
    for _ in 0..rounds {
        let mut sum = Sum::new(weights.len());
        for device in 0..devices as usize {
            path.add(&mut sum, &world.train(device, &weights))?;
        }
        weights.iter_mut().zip(path.mean(&sum)).for_each(|(weight, update)| *weight += update);
        progress(devices.into());
    }
    Ok(world.accuracy(&weights))
}

/// Runs `work` on every job, on all cores, in order; the results are in any order.
fn in_parallel<J: Sync, T: Send>(jobs: &[J], work: impl Fn(&J) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let one_after_the_other = || {
        let take = || jobs.get(next.fetch_add(1, Ordering::Relaxed));
        std::iter::from_fn(take).map(&work).collect::<Vec<T>>()
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores.min(jobs.len())).map(|_| scope.spawn(one_after_the_other)).collect();
        // A panic in a job is a bug and goes on here.
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

#[cfg(test)]
mod tests;
