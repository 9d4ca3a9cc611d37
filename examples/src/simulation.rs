//! Federated training in one process, without coordinator or secure aggregation: for trying strategies and settings.
//! Devices train with the code of production, and the server's optimizer is the coordinator's; sums are taken in the open.

use anyhow::Context as _;
use scale_client_core::train::{Backend, Dataset, DatasetTrainer, ExamplePrivacy, fresh_weights};
use scale_client_core::trainer::{Trainer as _, run_to_end};
use scale_coordinator::aggregate::Optimizer;
use scale_coordinator::noise::{self, Noise, NoiseError};
use scale_privacy::accounting::AccountingError;
use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_proto::plan::Plan;
use scale_proto::task::TaskConfig;

use crate::random::Random;

/// What happened in one round.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// Counted from 1.
    pub number: u64,
    /// Devices in the sum.
    pub devices: usize,
    /// Mean loss of the incoming model on the devices' examples, in nats.
    pub loss: f64,
    /// Accuracy of the incoming model on the devices' examples.
    pub accuracy: f64,
    /// L2 norms of the devices' updates before clipping, in the order of the devices.
    pub norms: Vec<f64>,
    /// Largest weight of a device, in examples.
    pub heaviest: u32,
}

/// A fleet of simulated devices and the model that they share.
pub struct Simulation {
    task: TaskConfig,
    /// What the coordinator would sign.
    noise: Noise,
    devices: Vec<DatasetTrainer>,
    /// What every device has spent at the level of examples.
    spent: Vec<Option<DpSgd>>,
    server: Optimizer,
    weights: Vec<f32>,
    random: Random,
    /// Where the devices' batches and noise of DP-SGD come from.
    secrets: Random,
    round: u64,
}

impl Simulation {
    /// Devices over these data sets and a fresh model.
    ///
    /// # Errors
    /// The task's noise is not possible.
    pub fn new(task: TaskConfig, people: impl IntoIterator<Item = Dataset>, seed: u64) -> Result<Self, NoiseError> {
        let weights = fresh_weights(&task.model, seed);
        let device = |dataset| DatasetTrainer::new(dataset, Backend::Flex);
        let devices: Vec<_> = people.into_iter().map(device).collect();
        Ok(Self {
            noise: noise::of(&task)?,
            spent: vec![None; devices.len()],
            devices,
            server: Optimizer::new(task.aggregation, weights.len()),
            weights,
            random: Random::new(seed, "simulation"),
            secrets: Random::new(seed, "secrets of the devices"),
            round: 0,
            task,
        })
    }

    /// The model as it is now.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Devices train by DP-SGD with this much noise, whatever the task says about examples.
    pub fn protect(&mut self, privacy: ExamplePrivacy) {
        for device in &mut self.devices {
            device.protect(privacy);
        }
    }

    /// Largest epsilon that a device has spent on each of its examples so far; `None` without DP-SGD.
    ///
    /// # Errors
    /// [`AccountingError::Cost`] without noise.
    pub fn epsilon(&self, delta: f64) -> Result<Option<f64>, AccountingError> {
        let mut most: Option<f64> = None;
        for spent in self.spent.iter().flatten() {
            most = Some(spent.epsilon(delta)?.max(most.unwrap_or_default()));
        }
        Ok(most)
    }

    /// Smallest and largest noise multiplier of a device; empty without DP-SGD.
    pub fn noise_multipliers(&self) -> std::ops::Range<f64> {
        let all = self.spent.iter().flatten().map(DpSgd::noise_multiplier);
        let ends = all.fold((f64::INFINITY, 0.0f64), |(least, most), noise| (least.min(noise), most.max(noise)));
        ends.0..ends.1
    }

    /// One round: every device trains, a share of them is lost, the rest is averaged. Updates are clipped and rounded to
    /// the task's grid as on a device. Noise of the survivors together, if the task asks for it, is drawn once for the sum:
    /// a normal number of the same variance. With noise all devices count the same.
    ///
    /// # Errors
    /// The first device's that fails, the accountant's, the optimizer's.
    pub fn round(&mut self, lost: f64) -> anyhow::Result<Round> {
        self.round += 1;
        let plan = Plan::of(&self.task, self.round);
        let len = self.weights.len();
        let clip = self.task.quantization.clip;
        let unit = clip / f64::from(self.noise.grid);
        let variance = self.noise.mechanism.local_variance();
        let (mut sum, mut total, mut norms) = (vec![0.0f64; len], 0.0, Vec::new());
        let (mut loss, mut correct, mut examples, mut heaviest) = (0.0, 0, 0, 0);
        for (device, spent) in self.devices.iter_mut().zip(&mut self.spent) {
            if self.random.chance(lost) {
                continue;
            }
            let training = device.begin(&plan, &self.weights, &self.secrets.seed())?;
            let trained = run_to_end(training, &mut || false, &mut |_| ())?;
            let delta: Vec<f64> =
                trained.weights.iter().zip(&self.weights).map(|(new, old)| f64::from(new - old)).collect();
            let norm = delta.iter().map(|value| value * value).sum::<f64>().sqrt();
            // After clipping, a device scales by its share of the heaviest weight, so that the sum is weighted.
            let share = match trained.dp_sgd {
                None if variance > 0 => 1.0,
                None => f64::from(trained.weight.min(plan.max_weight)) / f64::from(plan.max_weight),
                Some(cost) => {
                    let before = spent.map_or(0, |spent| spent.steps());
                    let steps = before.checked_add(cost.steps()).context("a device has made more than 2^32 steps")?;
                    *spent = Some(DpSgd::new(cost.noise_multiplier(), cost.rate(), steps)?);
                    1.0
                }
            };
            let scale = (clip / norm).min(1.0) * share / unit;
            for (sum, value) in sum.iter_mut().zip(delta) {
                if value != 0.0 {
                    // Rounds up with the probability of the rest: right on average.
                    *sum += (value * scale + self.random.unit()).floor() * unit;
                }
            }
            total += share;
            norms.push(norm);
            loss += trained.loss_sum;
            correct += trained.correct;
            examples += trained.examples;
            heaviest = heaviest.max(trained.weight);
        }
        if variance > 0 {
            let deviation = unit * (variance as f64 * norms.len() as f64).sqrt();
            sum.iter_mut().for_each(|sum| *sum += deviation * self.random.normal());
        }
        if total > 0.0 {
            let mean: Vec<f32> = sum.into_iter().map(|value| (value / total) as f32).collect();
            self.server.step(&mut self.weights, &mean)?;
        }
        let examples = (examples as f64).max(1.0);
        let (loss, accuracy) = (loss / examples, correct as f64 / examples);
        Ok(Round { number: self.round, devices: norms.len(), loss, accuracy, norms, heaviest })
    }
}
