//! Trains a plan's model on a data set in memory.

use std::sync::{Mutex, PoisonError};

use scale_privacy::accounting::Budget;
use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_proto::model::ModelSpec;
use scale_proto::plan::Plan;
use scale_proto::privacy::Privacy;

use super::dataset::{Split, split};
use super::example_privacy::PoissonSampling;
use super::stepwise::Stepwise;
use super::{Backend, Dataset, ExamplePrivacy, Prepared, build};
use crate::trainer::{TrainError, Trainer, Training};

/// Trains a plan's model on a data set in memory.
pub struct DatasetTrainer {
    dataset: Dataset,
    backend: Backend,
    /// The first examples in the input format of the last plan's model, with that model. N-grams are hashed once, not
    /// in every round.
    prepared: Option<(ModelSpec, Vec<Prepared>)>,
    /// Noise to use instead of the plan's.
    privacy: Option<ExamplePrivacy>,
    /// The last calibration, with its inputs. Cached, because the search takes tens of milliseconds and a plan is
    /// priced before it is trained.
    calibrated: Mutex<Option<(CalibrationInputs, ExamplePrivacy)>>,
}

/// The values on which the noise of a plan depends.
#[derive(Clone, Copy, PartialEq)]
struct CalibrationInputs {
    privacy: Privacy,
    batch: usize,
    steps: usize,
    examples: usize,
}

impl DatasetTrainer {
    /// Creates a trainer over these examples.
    pub fn new(dataset: Dataset, backend: Backend) -> Self {
        Self { dataset, backend, prepared: None, privacy: None, calibrated: Mutex::default() }
    }

    /// Trains with DP-SGD and this noise, regardless of the plan.
    pub fn protect(&mut self, privacy: ExamplePrivacy) {
        self.privacy = Some(privacy);
    }

    /// The local examples.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Adds examples; the next round trains on them too.
    pub fn extend(&mut self, more: Dataset) {
        self.dataset.examples.extend(more.examples);
    }

    fn split(&self, plan: &Plan) -> Split {
        split(self.dataset.examples.iter().map(|example| example.key), plan.holdout_permille)
    }

    /// The noise for training on this number of examples; `None` without.
    fn privacy(&self, plan: &Plan, examples: usize) -> Result<Option<ExamplePrivacy>, TrainError> {
        if self.privacy.is_some() {
            return Ok(self.privacy);
        }
        let inputs =
            CalibrationInputs { privacy: plan.privacy, batch: batch(plan), steps: steps(plan, examples), examples };
        // A poisoned lock is harmless: the value is only ever replaced as a whole.
        let mut last = self.calibrated.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, privacy)) = last.filter(|(of, _)| *of == inputs) {
            return Ok(Some(privacy));
        }
        let privacy = calibrated(plan, examples)?;
        *last = privacy.map(|privacy| (inputs, privacy));
        Ok(privacy)
    }
}

impl Trainer for DatasetTrainer {
    fn price(&self, plan: &Plan) -> Result<Option<DpSgd>, TrainError> {
        // Checked here too, so that the device leaves before it downloads the model.
        if self.dataset.is_empty() {
            return Err(TrainError::NoExamples);
        }
        let examples = self.split(plan).own.len();
        let privacy = self.privacy(plan, examples)?;
        privacy.map(|privacy| cost(plan, examples, privacy, steps(plan, examples))).transpose()
    }

    fn begin<'a>(
        &'a mut self,
        plan: &'a Plan,
        weights: &[f32],
        secret: &[u8; 32],
    ) -> Result<Box<dyn Training + Send + 'a>, TrainError> {
        if self.dataset.is_empty() {
            return Err(TrainError::NoExamples);
        }
        let mut learner = build(&plan.model, self.backend)?;
        learner.load(weights)?;
        let split = self.split(plan);
        let privacy = self.privacy(plan, split.own.len())?;
        if self.prepared.as_ref().is_some_and(|(spec, _)| *spec != plan.model) {
            self.prepared = None;
        }
        let (_, prepared) = self.prepared.get_or_insert_with(|| (plan.model.clone(), Vec::new()));
        Ok(Box::new(Stepwise::new(plan, learner, &self.dataset.examples, prepared, split, privacy, secret)))
    }
}

/// Largest number of examples in one step.
pub(super) fn batch(plan: &Plan) -> usize {
    plan.batch_size.max(1) as usize
}

/// Number of steps in one round over this many examples.
pub(super) fn steps(plan: &Plan, examples: usize) -> usize {
    examples.div_ceil(batch(plan)) * plan.epochs as usize
}

/// The noise that the plan's epsilon over all of its rounds requires for this number of examples; `None` if the plan
/// asks for no DP-SGD.
fn calibrated(plan: &Plan, examples: usize) -> Result<Option<ExamplePrivacy>, TrainError> {
    let Privacy::Example { epsilon, delta, rounds, clip } = plan.privacy else { return Ok(None) };
    let steps = u64::from(rounds).saturating_mul(steps(plan, examples) as u64);
    let steps = u32::try_from(steps).map_err(|_| uncountable(steps))?;
    let noise = Budget::new(epsilon, delta)
        .and_then(|budget| PoissonSampling::new(batch(plan), examples).noise_for(steps, &budget))
        .map_err(|error| TrainError::Unsupported(error.to_string()))?;
    ExamplePrivacy::new(clip, noise).map(Some)
}

/// The privacy cost of training on this many examples.
pub(super) fn cost(plan: &Plan, examples: usize, privacy: ExamplePrivacy, steps: usize) -> Result<DpSgd, TrainError> {
    let cost = u32::try_from(steps).ok();
    let cost = cost.and_then(|steps| PoissonSampling::new(batch(plan), examples).cost(privacy, steps).ok());
    cost.ok_or_else(|| uncountable(steps as u64))
}

fn uncountable(steps: u64) -> TrainError {
    TrainError::Unsupported(format!("the privacy cost of {steps} steps of DP-SGD cannot be computed"))
}

#[cfg(test)]
mod tests;
