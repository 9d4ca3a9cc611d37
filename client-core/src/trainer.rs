//! The interface between a participation and a trainer: weights after local training, and measurements of the global
//! model.
//!
//! Training is divided into short steps. Between two steps the caller can check the time limit, react to a
//! cancellation, show progress and let a single-threaded platform process its events. [`run_to_end`] is for callers
//! that need none of that.

use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_proto::plan::Plan;

/// Trains a plan's model on this device's examples. `crate::train` contains an implementation with burn; an app may
/// supply another.
pub trait Trainer {
    /// The largest privacy cost that complete training can have for its examples. Called before the download, so that a
    /// device without budget neither downloads nor trains. `None` for training without noise, and for trainers that
    /// cannot tell. In either case the ledger later checks the cost that training really had.
    ///
    /// # Errors
    /// [`TrainError`] if this trainer cannot run the plan; the device then leaves the round.
    fn price(&self, plan: &Plan) -> Result<Option<DpSgd>, TrainError> {
        let _ = plan;
        Ok(None)
    }

    /// Prepares to measure `weights` and to train from them. The returned [`Training`] does the work, step by step.
    ///
    /// `weights`: the global model as one flat vector, in the order of [`scale_proto::model::ModelSpec::tensors`].
    /// `secret`: seed of the batches and the noise of DP-SGD. Fresh bytes from the host's randomness, never used twice:
    /// noise that is repeated can be subtracted.
    ///
    /// # Errors
    /// [`TrainError`]; the device then leaves the round. No information about its data has been sent.
    fn begin<'a>(
        &'a mut self,
        plan: &'a Plan,
        weights: &[f32],
        secret: &[u8; 32],
    ) -> Result<Box<dyn Training + Send + 'a>, TrainError>;
}

/// One training run in progress. Dropping it discards the result.
pub trait Training {
    /// Does one short piece of work: prepares, measures or trains on a part of the examples. With the demo's model this
    /// takes a few milliseconds, well under 50 ms on a phone. After a call has returned [`Progressed::over`] as true,
    /// further calls change nothing.
    ///
    /// # Errors
    /// [`TrainError`]; training has then ended without a result.
    fn step(&mut self) -> Result<Progressed, TrainError>;

    /// The result: after the last step, or earlier when the time is over.
    ///
    /// # Errors
    /// [`TrainError::OutOfTime`] if no training step is done yet; [`TrainError::Diverged`]; [`TrainError::Failed`] if
    /// the training library fails.
    fn finish(self: Box<Self>) -> Result<Trained, TrainError>;
}

/// The progress of a training run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progressed {
    /// Training steps done. Preparing and measuring come before the first one, and a training step on many examples
    /// takes several calls of [`Training::step`].
    pub done: u32,
    /// Training steps of the whole run.
    pub of: u32,
    /// Mean loss of the examples of the training step that has just been completed, in nats, measured before that step.
    /// `None` if this call completed no training step, and always under DP-SGD, because the loss carries no noise.
    pub loss: Option<f32>,
    /// Whether all steps are done: call [`Training::finish`] next.
    pub over: bool,
}

/// Runs steps until all are done or `stop` returns true, then finishes.
///
/// `stop`: called before each step; true means out of time or cancelled. `progress`: called after each step.
///
/// # Errors
/// Those of [`Training::step`] and [`Training::finish`].
pub fn run_to_end(
    mut training: Box<dyn Training + Send + '_>,
    stop: &mut dyn FnMut() -> bool,
    progress: &mut dyn FnMut(Progressed),
) -> Result<Trained, TrainError> {
    while !stop() {
        let progressed = training.step()?;
        progress(progressed);
        if progressed.over {
            break;
        }
    }
    training.finish()
}

/// A training run that does all of its `work` in one step: for trainers that cannot be interrupted, and for tests.
pub fn in_one_step<'a>(
    work: impl FnOnce() -> Result<Trained, TrainError> + Send + 'a,
) -> Box<dyn Training + Send + 'a> {
    Box::new(OneStep { work: Some(work), trained: None })
}

struct OneStep<W> {
    work: Option<W>,
    trained: Option<Trained>,
}

impl<W: FnOnce() -> Result<Trained, TrainError>> Training for OneStep<W> {
    fn step(&mut self) -> Result<Progressed, TrainError> {
        if let Some(work) = self.work.take() {
            self.trained = Some(work()?);
        }
        Ok(Progressed { done: u32::from(self.trained.is_some()), of: 1, loss: None, over: true })
    }

    fn finish(self: Box<Self>) -> Result<Trained, TrainError> {
        self.trained.ok_or(TrainError::OutOfTime)
    }
}

/// The result of training.
///
/// Loss, correct answers and examples are measured with the global weights, before the first training step, on this
/// device's local examples (if some are held out: on those only). Summed over a cohort they describe the quality of the
/// published model, not how closely a device has fitted its own data.
#[derive(Clone, PartialEq)]
pub struct Trained {
    /// Weights after training, in the same order and number as the global ones.
    pub weights: Vec<f32>,
    /// Number of examples trained on. The update pipeline clips it to the plan's `max_weight`.
    pub weight: u32,
    /// Sum of the losses of the measured examples, in nats.
    pub loss_sum: f64,
    /// Measured examples that the global model classifies correctly.
    pub correct: u64,
    /// Number of measured examples.
    pub examples: u64,
    /// The noise that training added to its gradients: multiplier, sampling rate and steps as they really were; `None`
    /// without noise. If it is set, the update pipeline sends neither measurements nor the number of examples, because
    /// these carry no noise.
    pub dp_sgd: Option<DpSgd>,
}

/// Weights and measurements reveal information about the local data, so they are not printed.
impl std::fmt::Debug for Trained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trained").field("weights", &self.weights.len()).finish_non_exhaustive()
    }
}

/// Why training gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The device has no examples for this task.
    #[error("there are no local examples to train on: add examples whose labels the model knows")]
    NoExamples,
    /// Training was stopped before the first training step was done.
    #[error("the time limit passed before the first training step")]
    OutOfTime,
    /// Losses or weights became NaN or infinite.
    #[error("training diverged: the task's learning rate is too high for this device's examples")]
    Diverged,
    /// This trainer cannot build the plan's model, or the examples do not fit it.
    #[error("this build cannot train the model: {0}")]
    Unsupported(String),
    /// The training library failed.
    #[error("training failed: {0}")]
    Failed(String),
}

impl TrainError {
    /// One stable word per cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoExamples => "no_examples",
            Self::OutOfTime => "out_of_time",
            Self::Diverged => "not_finite",
            Self::Unsupported(_) => "unsupported_model",
            Self::Failed(_) => "training_failed",
        }
    }
}
