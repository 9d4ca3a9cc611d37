//! Federated training in one process, without coordinator or secure aggregation: for trying strategies and settings.
//! Devices train with the code of production; sums are taken in the open.

use scale_client_core::train::{Backend, Dataset, DatasetTrainer, fresh_weights};
use scale_client_core::trainer::{LocalTrainer as _, TrainError};
use scale_proto::task::{Aggregation, TaskConfig};

use crate::baseline::plan;
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
    devices: Vec<DatasetTrainer>,
    server: Server,
    weights: Vec<f32>,
    random: Random,
    round: u64,
}

impl Simulation {
    /// Devices over these data sets and a fresh model.
    pub fn new(task: TaskConfig, people: impl IntoIterator<Item = Dataset>, seed: u64) -> Self {
        let weights = fresh_weights(&task.model, seed);
        Self {
            devices: people.into_iter().map(|dataset| DatasetTrainer::new(dataset, Backend::Flex)).collect(),
            server: Server::new(task.aggregation, weights.len()),
            weights,
            random: Random::new(seed, "simulation"),
            round: 0,
            task,
        }
    }

    /// The model as it is now.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// One round: every device trains, a share of them is lost, the rest is averaged. Updates are clipped and rounded to
    /// the task's grid as on a device (without noise).
    ///
    /// # Errors
    /// The first device's that fails.
    pub fn round(&mut self, lost: f64) -> Result<Round, TrainError> {
        self.round += 1;
        let plan = plan(&self.task, self.round);
        let len = self.weights.len();
        let clip = self.task.quantisation.clip;
        let unit = clip / (f64::from(self.task.quantisation.grid_factor) * (len as f64).sqrt());
        let (mut sum, mut total, mut norms) = (vec![0.0f64; len], 0.0, Vec::new());
        let (mut loss, mut correct, mut examples, mut heaviest) = (0.0, 0, 0, 0);
        for device in &mut self.devices {
            if self.random.chance(lost) {
                continue;
            }
            let trained = device.train(&plan, &self.weights, &mut || false, &mut |_| ())?;
            let delta: Vec<f64> =
                trained.weights.iter().zip(&self.weights).map(|(new, old)| f64::from(new - old)).collect();
            let norm = delta.iter().map(|value| value * value).sum::<f64>().sqrt();
            // After clipping, a device scales by its share of the heaviest weight, so that the sum is weighted.
            let share = f64::from(trained.weight.min(plan.max_weight)) / f64::from(plan.max_weight);
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
        if total > 0.0 {
            let mean: Vec<f32> = sum.into_iter().map(|value| (value / total) as f32).collect();
            self.server.step(&mut self.weights, &mean);
        }
        let examples = (examples as f64).max(1.0);
        let (loss, accuracy) = (loss / examples, correct as f64 / examples);
        Ok(Round { number: self.round, devices: norms.len(), loss, accuracy, norms, heaviest })
    }
}

/// The server's optimiser (Reddi et al. 2021, algorithm 2, no bias correction; `v` starts at tau²).
struct Server {
    rule: Aggregation,
    momentum: Vec<f32>,
    scale: Vec<f32>,
}

impl Server {
    fn new(rule: Aggregation, len: usize) -> Self {
        let start = match rule {
            Aggregation::FedAvg { .. } | Aggregation::FedAvgM { .. } => 0.0,
            Aggregation::FedAdam { tau, .. } | Aggregation::FedYogi { tau, .. } => tau * tau,
        };
        Self { rule, momentum: vec![0.0; len], scale: vec![start; len] }
    }

    fn step(&mut self, weights: &mut [f32], mean: &[f32]) {
        for (((weight, &delta), m), v) in weights.iter_mut().zip(mean).zip(&mut self.momentum).zip(&mut self.scale) {
            match self.rule {
                Aggregation::FedAvg { learning_rate } => *weight += learning_rate * delta,
                Aggregation::FedAvgM { learning_rate, momentum } => {
                    *m = momentum * *m + delta;
                    *weight += learning_rate * *m;
                }
                Aggregation::FedAdam { learning_rate, beta1, beta2, tau } => {
                    *m = beta1 * *m + (1.0 - beta1) * delta;
                    *v = beta2 * *v + (1.0 - beta2) * delta * delta;
                    *weight += learning_rate * *m / (v.sqrt() + tau);
                }
                Aggregation::FedYogi { learning_rate, beta1, beta2, tau } => {
                    let square = delta * delta;
                    *m = beta1 * *m + (1.0 - beta1) * delta;
                    *v -= (1.0 - beta2) * square * (*v - square).signum();
                    *weight += learning_rate * *m / (v.sqrt() + tau);
                }
            }
        }
    }
}
