//! Training on the device: models built from a task's spec, trained by plain SGD with the FedProx term.
//!
//! | file | what |
//! |---|---|
//! | [`dataset`] | examples, as an app supplies them |
//! | [`text`] | from a line of text to rows of an embedding |
//! | [`fresh`] | the initial weights of a model |
//! | `text_bag`, `dense` | the architectures on burn |
//! | `example_privacy` | DP-SGD: [`ExamplePrivacy`] and its guarantee |
//! | `per_example`, `noise` | clipped gradients of single examples, and the noise on their sum |
//! | [`local`] | trains a plan on a data set: [`local::DatasetTrainer`] |
//! | `stepwise` | divides this training into short pieces of work |
//!
//! [`Learner`] hides the training library: no public signature contains a type of burn, because burn changes its
//! interface with every minor release. Parameters are passed as one flat vector in the order of [`ModelSpec::tensors`],
//! which messages, the coordinator and every back end share.
//!
//! Hosts should use mimalloc or a similar allocator: a step allocates a buffer for every activation and gradient, and
//! with the system's default allocator page faults can take more time than the arithmetic.

pub mod dataset;
mod dense;
mod example_privacy;
mod fresh;
pub mod local;
mod noise;
mod per_example;
mod stepwise;
mod tensors;
pub mod text;
mod text_bag;

use std::borrow::Cow;

use scale_proto::model::{Family, ModelSpec};

pub use dataset::{Dataset, Example, Input, SharedText, example_key, is_held_out};
pub use example_privacy::{ExamplePrivacy, Protection};
pub use fresh::fresh_weights;
pub use local::DatasetTrainer;

use crate::trainer::TrainError;
use text::WeightedRow;

/// The implementation of the tensor operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// burn-flex: pure Rust on the CPU, everywhere. The default.
    #[default]
    Flex,
    /// burn-ndarray: deprecated by burn in favor of flex; kept for comparison.
    #[cfg(feature = "ndarray")]
    NdArray,
    /// burn-wgpu: the platform's GPU. Small models are slower on it than on the CPU.
    #[cfg(feature = "wgpu")]
    Wgpu,
}

impl Backend {
    /// Always chosen explicitly, because burn's default depends on an environment variable.
    fn device(self) -> burn::tensor::Device {
        match self {
            Self::Flex => burn::tensor::Device::flex(),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated)]
            Self::NdArray => burn::tensor::Device::ndarray(),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => burn::tensor::Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        }
    }

    fn on_cpu(self) -> bool {
        match self {
            Self::Flex => true,
            #[cfg(feature = "ndarray")]
            Self::NdArray => true,
            #[cfg(feature = "wgpu")]
            Self::Wgpu => false,
        }
    }
}

/// One step of SGD: `w -= learning_rate * (gradient + proximal_mu * (w - anchor))`, where the anchor is the global
/// model that was loaded with [`Learner::load`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepConfig {
    /// Step size, above 0; the gradient is that of the mean loss over the batch.
    pub learning_rate: f32,
    /// FedProx term (Li et al. 2020), 0 for none; `learning_rate * proximal_mu` stays below 1.
    pub proximal_mu: f32,
}

/// Measurements of a model on a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Sum of the cross-entropies of the examples, in nats.
    pub loss_sum: f64,
    /// Number of examples whose most probable class is their label.
    pub correct: u64,
}

/// An example in the model's input format: n-grams are hashed, sizes and label are checked.
#[derive(Clone)]
pub struct Prepared {
    features: Features,
    label: u32,
}

#[derive(Clone)]
enum Features {
    Rows(Vec<WeightedRow>),
    Dense(Vec<f32>),
}

/// Share of a text's n-grams that a training step leaves out at random. This dropout keeps a categorizer from
/// overfitting its own examples, and makes it recognize a merchant from a part of its letters.
const LEFT_OUT: f64 = 0.3;

impl Prepared {
    /// The example with some of its n-grams left out at random, for one training step.
    fn thinned(&self, random: &mut impl rand_core::Rng) -> Cow<'_, Self> {
        let Features::Rows(rows) = &self.features else { return Cow::Borrowed(self) };
        let limit = (LEFT_OUT * 2f64.powi(32)) as u32;
        let mut rows: Vec<WeightedRow> = rows.iter().filter(|_| random.next_u32() >= limit).copied().collect();
        let length = rows.iter().map(|row| row.weight * row.weight).sum::<f32>().sqrt();
        if length == 0.0 {
            return Cow::Borrowed(self);
        }
        rows.iter_mut().for_each(|row| row.weight /= length);
        Cow::Owned(Self { features: Features::Rows(rows), label: self.label })
    }
}

/// A model with its weights.
pub trait Learner {
    /// Length of the flat vector of all parameters.
    fn flat_len(&self) -> usize;

    /// Replaces all weights, and makes them the anchor of the proximal term.
    ///
    /// # Errors
    /// [`TrainError::Unsupported`] if the length of `weights` is not [`Learner::flat_len`]; nothing has changed then.
    fn load(&mut self, weights: &[f32]) -> Result<(), TrainError>;

    /// All weights, in the order of [`ModelSpec::tensors`].
    ///
    /// # Errors
    /// [`TrainError::Failed`] if the back end cannot read its memory.
    fn flatten(&mut self) -> Result<Vec<f32>, TrainError>;

    /// Converts an example to the model's input format, once per example instead of once per step.
    ///
    /// # Errors
    /// [`TrainError::Unsupported`] if the input has another kind or size, or the label is not one of the model's.
    fn prepare(&self, example: &Example) -> Result<Prepared, TrainError>;

    /// From now on, until the next [`Learner::load`], steps use DP-SGD: the mean gradient is replaced by the sum of the
    /// clipped gradients and the noise, divided by the expected batch size. Weights that are read include all noise.
    fn protect(&mut self, protection: Protection);

    /// Makes one step on the mean loss of the batch. Returns the measurements of the batch before the step. An empty
    /// batch does nothing; with [`Learner::protect`] it makes a step of noise only. Accumulated gradients that were not
    /// applied are discarded.
    ///
    /// # Errors
    /// [`TrainError::Unsupported`] for invalid step sizes, [`TrainError::Failed`] from the back end.
    fn train_step(&mut self, batch: &[&Prepared], step: StepConfig) -> Result<Measured, TrainError>;

    /// Part of a step on a batch that is too large for one short piece of work: accumulates the gradient of `part`. No
    /// weight changes before [`Learner::apply`]. `of`: number of examples in the whole batch.
    ///
    /// # Errors
    /// [`TrainError::Failed`] from the back end.
    fn accumulate(&mut self, part: &[&Prepared], of: usize) -> Result<Measured, TrainError>;

    /// Makes the step with the gradient from [`Learner::accumulate`]. Apart from rounding, it equals
    /// [`Learner::train_step`] on all parts together. Without any part it is a step on an empty batch.
    ///
    /// # Errors
    /// Those of [`Learner::train_step`].
    fn apply(&mut self, step: StepConfig) -> Result<(), TrainError>;

    /// Measures the model on a batch, without changing it.
    ///
    /// # Errors
    /// [`TrainError::Failed`] from the back end.
    fn evaluate(&mut self, batch: &[&Prepared]) -> Result<Measured, TrainError>;

    /// For each input, the probabilities of the classes in the order of [`ModelSpec::labels`]. Inputs are evaluated in
    /// batches of at most [`PREDICTED_AT_ONCE`], which is much faster than one by one.
    ///
    /// # Errors
    /// Those of [`Learner::prepare`], and [`TrainError::Failed`] from the back end. One invalid input makes the whole
    /// call fail.
    fn predict_batch(&mut self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, TrainError>;

    /// [`Learner::predict_batch`] for one input.
    ///
    /// # Errors
    /// Those of [`Learner::predict_batch`].
    fn predict(&mut self, input: &Input) -> Result<Vec<f32>, TrainError> {
        // One input has exactly one result.
        Ok(self.predict_batch(std::slice::from_ref(input))?.pop().unwrap_or_default())
    }
}

/// Largest number of inputs that [`Learner::predict_batch`] evaluates at once; limits its memory.
pub const PREDICTED_AT_ONCE: usize = 256;

/// Converts log-probabilities `[batch, classes]` to one vector of probabilities per input.
fn probabilities(log_probabilities: &[f32], classes: u32) -> impl Iterator<Item = Vec<f32>> {
    log_probabilities.chunks_exact(classes.max(1) as usize).map(|row| row.iter().map(|log| log.exp()).collect())
}

/// Builds the model of a spec. Its weights are zero until [`Learner::load`].
///
/// # Errors
/// [`TrainError::Unsupported`] for sizes that this build cannot train.
pub fn build(spec: &ModelSpec, backend: Backend) -> Result<Box<dyn Learner + Send>, TrainError> {
    if spec.classes() == 0 {
        return Err(TrainError::Unsupported("the model has no classes".into()));
    }
    if spec.tensors().iter().any(scale_proto::model::TensorSpec::is_empty) {
        return Err(TrainError::Unsupported("one of the model's parameters has no entries".into()));
    }
    Ok(match &spec.family {
        Family::TextBag { ngram_min, ngram_max, .. } if *ngram_min == 0 || ngram_min > ngram_max => {
            return Err(TrainError::Unsupported(format!(
                "the model's n-grams have {ngram_min} to {ngram_max} characters, which is not a valid range"
            )));
        }
        Family::TextBag { .. } => Box::new(text_bag::TextBag::new(spec, backend)),
        Family::Cnn { height, width, .. } if height % 4 != 0 || width % 4 != 0 => {
            return Err(TrainError::Unsupported(format!(
                "the model reads images of {height} x {width}: both sides must be positive multiples of 4"
            )));
        }
        Family::Mlp { .. } | Family::Cnn { .. } => Box::new(dense::Dense::new(spec, backend)),
    })
}

/// Checks of step sizes, shared by all models.
fn check_step(step: StepConfig) -> Result<(), TrainError> {
    let StepConfig { learning_rate, proximal_mu } = step;
    let possible = learning_rate.is_finite() && learning_rate > 0.0 && proximal_mu >= 0.0;
    if possible && learning_rate * proximal_mu < 1.0 {
        return Ok(());
    }
    Err(TrainError::Unsupported(format!(
        "the learning rate {learning_rate} with proximal mu {proximal_mu} is out of range"
    )))
}

/// Check of the number of weights, shared by all models.
fn check_len(weights: &[f32], wanted: usize) -> Result<(), TrainError> {
    if weights.len() == wanted {
        return Ok(());
    }
    Err(TrainError::Unsupported(format!("{} weights were given, but the model has {wanted}", weights.len())))
}

/// Check of an example's label, shared by all models.
fn check_label(label: u32, classes: u32) -> Result<(), TrainError> {
    if label < classes {
        return Ok(());
    }
    Err(TrainError::Unsupported(format!(
        "an example has the label {label}, but the model has only {classes} classes, counted from 0"
    )))
}

#[cfg(test)]
mod tests;
