//! Training on the device: models built from a task's spec, trained by plain SGD with the FedProx term.
//!
//! | file | what |
//! |---|---|
//! | [`dataset`] | examples, as an app hands them over |
//! | [`text`] | from a line of text to rows of an embedding |
//! | [`fresh`] | the initial weights of a model |
//! | `text_bag`, `dense` | the architectures on burn |
//! | `example_privacy` | DP-SGD: [`ExamplePrivacy`], what it promises |
//! | `per_example`, `noise` | clipped gradients of single examples, and the noise on their sum |
//! | [`local`] | trains a plan on a data set: [`local::DatasetTrainer`] |
//! | `stepwise` | the same as short pieces of work, one after the other |
//!
//! [`Learner`] hides the training library: no type of burn is in a public signature, because burn changes its interface
//! with every minor release. Parameters go in and out as one flat vector in the order of
//! [`ModelSpec::tensors`], so the wire, the coordinator and every back end agree.
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

/// Which implementation computes.
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
    /// The device is always named: burn's default follows an environment variable.
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

/// One step of SGD: `w -= learning_rate * (gradient + proximal_mu * (w - anchor))`, where the anchor is what
/// [`Learner::load`] brought: the global model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepConfig {
    /// Step size, above 0; the gradient is that of the mean loss over the batch.
    pub learning_rate: f32,
    /// FedProx term (Li et al. 2020), 0 for none; `learning_rate * proximal_mu` stays below 1.
    pub proximal_mu: f32,
}

/// What a batch says about a model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Sum of the examples' cross-entropies, in nats.
    pub loss_sum: f64,
    /// Examples whose most probable class is their label.
    pub correct: u64,
}

/// An example in the form that a model reads: n-grams hashed once, sizes and label checked.
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

/// Share of a text's n-grams that a training step leaves out, at random: a categorizer must know a merchant by some of
/// its letters, and not learn its own examples by heart.
const LEFT_OUT: f64 = 0.3;

impl Prepared {
    /// The example as one training step sees it.
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
    /// Entries of the flat vector.
    fn flat_len(&self) -> usize;

    /// Replaces all weights, and makes them the anchor of the proximal term.
    ///
    /// # Errors
    /// [`TrainError::Unsupported`] if `weights` has another length than [`Learner::flat_len`]; nothing has changed.
    fn load(&mut self, weights: &[f32]) -> Result<(), TrainError>;

    /// All weights, in the order of [`ModelSpec::tensors`].
    ///
    /// # Errors
    /// [`TrainError::Failed`] if the back end cannot read its memory back.
    fn flatten(&mut self) -> Result<Vec<f32>, TrainError>;

    /// Turns an example into the model's form; done once per example, not per step.
    ///
    /// # Errors
    /// [`TrainError::Unsupported`] if the input is of another kind or size, or the label is not one of the model's.
    fn prepare(&self, example: &Example) -> Result<Prepared, TrainError>;

    /// From now on, until the next [`Learner::load`], steps are those of DP-SGD: in place of the mean gradient comes the
    /// sum of the clipped gradients and noise over the expected batch size. Weights that are read have all their noise.
    fn protect(&mut self, protection: Protection);

    /// One step on the mean loss of the batch. Returns what the batch said before the step. An empty batch does nothing;
    /// with [`Learner::protect`] it is a step of noise alone. Parts that were accumulated and not applied are forgotten.
    ///
    /// # Errors
    /// [`TrainError::Unsupported`] for impossible step sizes, [`TrainError::Failed`] from the back end.
    fn train_step(&mut self, batch: &[&Prepared], step: StepConfig) -> Result<Measured, TrainError>;

    /// Part of a step on a batch that is too large for one short piece of work: adds up the gradient of `part`. No weight
    /// changes before [`Learner::apply`]. `of`: examples of the whole batch.
    ///
    /// # Errors
    /// [`TrainError::Failed`] from the back end.
    fn accumulate(&mut self, part: &[&Prepared], of: usize) -> Result<Measured, TrainError>;

    /// Makes the step that [`Learner::accumulate`] has collected: that of [`Learner::train_step`] on all parts together,
    /// within rounding. Without any part it is a step on an empty batch.
    ///
    /// # Errors
    /// As [`Learner::train_step`].
    fn apply(&mut self, step: StepConfig) -> Result<(), TrainError>;

    /// Measures a batch; changes nothing.
    ///
    /// # Errors
    /// [`TrainError::Failed`] from the back end.
    fn evaluate(&mut self, batch: &[&Prepared]) -> Result<Measured, TrainError>;

    /// For each input the probabilities of the classes, in the order of [`ModelSpec::labels`]. Inputs go through the model
    /// together, at most [`PREDICTED_AT_ONCE`] of them, which costs far less than one by one.
    ///
    /// # Errors
    /// As [`Learner::prepare`], and [`TrainError::Failed`] from the back end; there are no probabilities then, not even of
    /// the inputs that fit.
    fn predict_batch(&mut self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, TrainError>;

    /// [`Learner::predict_batch`] of one input.
    ///
    /// # Errors
    /// As there.
    fn predict(&mut self, input: &Input) -> Result<Vec<f32>, TrainError> {
        // One input has one answer.
        Ok(self.predict_batch(std::slice::from_ref(input))?.pop().unwrap_or_default())
    }
}

/// Inputs of one pass of [`Learner::predict_batch`]; bounds its memory.
pub const PREDICTED_AT_ONCE: usize = 256;

/// Log-probabilities `[batch, classes]` as one vector of probabilities for each of the batch.
fn probabilities(log_probabilities: &[f32], classes: u32) -> impl Iterator<Item = Vec<f32>> {
    log_probabilities.chunks_exact(classes.max(1) as usize).map(|row| row.iter().map(|log| log.exp()).collect())
}

/// Builds the model of a spec; its weights are zero until [`Learner::load`].
///
/// # Errors
/// [`TrainError::Unsupported`] for sizes that make no model.
pub fn build(spec: &ModelSpec, backend: Backend) -> Result<Box<dyn Learner + Send>, TrainError> {
    if spec.classes() == 0 {
        return Err(TrainError::Unsupported("the model has no classes".into()));
    }
    if spec.tensors().iter().any(scale_proto::model::TensorSpec::is_empty) {
        return Err(TrainError::Unsupported("one of the model's parameters has no entries".into()));
    }
    Ok(match &spec.family {
        Family::TextBag { ngram_min, ngram_max, .. } if *ngram_min == 0 || ngram_min > ngram_max => {
            return Err(TrainError::Unsupported(format!("n-grams of {ngram_min} to {ngram_max} characters")));
        }
        Family::TextBag { .. } => Box::new(text_bag::TextBag::new(spec, backend)),
        Family::Cnn { height, width, .. } if height % 4 != 0 || width % 4 != 0 => {
            return Err(TrainError::Unsupported(format!("images of {height} x {width}: sides must be multiples of 4")));
        }
        Family::Mlp { .. } | Family::Cnn { .. } => Box::new(dense::Dense::new(spec, backend)),
    })
}

/// Checks shared by every model's step.
fn check_step(step: StepConfig) -> Result<(), TrainError> {
    let StepConfig { learning_rate, proximal_mu } = step;
    let possible = learning_rate.is_finite() && learning_rate > 0.0 && proximal_mu >= 0.0;
    if possible && learning_rate * proximal_mu < 1.0 {
        return Ok(());
    }
    Err(TrainError::Unsupported(format!("learning rate {learning_rate} with proximal mu {proximal_mu}")))
}

/// Checks shared by every model's `load`.
fn check_len(weights: &[f32], wanted: usize) -> Result<(), TrainError> {
    if weights.len() == wanted {
        return Ok(());
    }
    Err(TrainError::Unsupported(format!("{} weights came, the model has {wanted}", weights.len())))
}

/// Checks shared by every model's examples.
fn check_label(label: u32, classes: u32) -> Result<(), TrainError> {
    if label < classes {
        return Ok(());
    }
    Err(TrainError::Unsupported(format!("an example has label {label}, the model has {classes} classes")))
}

#[cfg(test)]
mod tests;
