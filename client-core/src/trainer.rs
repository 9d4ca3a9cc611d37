//! What the runner asks of a trainer: local weights after training, and how good the global ones were.
//!
//! Training goes in short steps, so that whoever drives it can look at the time, answer a cancellation, show progress and
//! let a single-threaded platform run its events between any two of them. [`run_to_end`] drives it for callers that want
//! none of that.

use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_proto::plan::Plan;

/// Trains a plan's model on this device's examples. `crate::train` has one on burn; researchers bring their own.
pub trait Trainer {
    /// What training would cost its examples at most, if it ran to its end: asked before anything is downloaded, so that a
    /// device whose budget is used up neither downloads nor trains. `None` for training without noise, and for trainers
    /// that cannot tell; the ledger checks what training did cost all the same.
    ///
    /// # Errors
    /// [`TrainError`] if the plan cannot be followed; the device then leaves the round.
    fn price(&self, plan: &Plan) -> Result<Option<DpSgd>, TrainError> {
        let _ = plan;
        Ok(None)
    }

    /// Begins to train from `weights`, and to measure them. The work is left to the steps of what it returns.
    ///
    /// `weights`: the global model, flat, in the order of [`scale_proto::model::ModelSpec::tensors`]. `secret`: where
    /// batches and noise of DP-SGD come from. Fresh bytes of the host's randomness, never used twice: noise that comes
    /// again can be taken off.
    ///
    /// # Errors
    /// [`TrainError`]; the device then leaves the round, and nothing of its data has been sent.
    fn begin<'a>(
        &'a mut self,
        plan: &'a Plan,
        weights: &[f32],
        secret: &[u8; 32],
    ) -> Result<Box<dyn Training + Send + 'a>, TrainError>;
}

/// One training under way. Dropping it ends it; nothing is learnt then.
pub trait Training {
    /// Does one short piece of work: prepares some examples, measures some, or trains on some. With the demo's model it
    /// takes a few milliseconds, well under 50 on a phone. Once [`Progressed::over`] was true there is nothing left to do,
    /// and nothing changes any more.
    ///
    /// # Errors
    /// [`TrainError`]; the training is then over, and has learnt nothing.
    fn step(&mut self) -> Result<Progressed, TrainError>;

    /// What was learnt: at the end, or when the time is over.
    ///
    /// # Errors
    /// [`TrainError::OutOfTime`] before the first training step is done; [`TrainError::Diverged`], and what the training
    /// library says.
    fn finish(self: Box<Self>) -> Result<Trained, TrainError>;
}

/// How far a training is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progressed {
    /// Training steps that are done. Preparing and measuring come before the first one, and a step on many examples takes
    /// several pieces of work.
    pub done: u32,
    /// Training steps of the whole plan.
    pub of: u32,
    /// Mean loss, in nats, of the examples of the training step that has just been done, before that step. `None` while no
    /// training step was done, and always under DP-SGD: it has no noise there.
    pub loss: Option<f32>,
    /// Whether the plan is done: [`Training::finish`] is next.
    pub over: bool,
}

/// Steps until the plan is done or `stop` says so, then finishes.
///
/// `stop`: asked before each step; true means out of time or cancelled. `progress`: told after each step.
///
/// # Errors
/// As [`Training::step`] and [`Training::finish`].
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

/// A training that does all of its `work` in one step: for trainers that cannot stop in between, and for tests.
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

/// What training gives.
///
/// Loss, correct answers and examples are measured with the global weights, before the first step, on this device's
/// local examples (with a hold-out: on that part alone): summed over a cohort they say how good the published model is,
/// not how well a device has learnt its own data by heart.
#[derive(Clone, PartialEq)]
pub struct Trained {
    /// Weights after training, as many as came in.
    pub weights: Vec<f32>,
    /// Examples trained on. The update pipeline clips it to the plan's `max_weight`.
    pub weight: u32,
    /// Sum of the measured examples' losses, in nats.
    pub loss_sum: f64,
    /// Measured examples that the global model classifies correctly.
    pub correct: u64,
    /// Measured examples.
    pub examples: u64,
    /// Noise that training added to its gradients: multiplier, sampling rate and steps as they really were. `None`
    /// without. With it the update pipeline sends no measurement and no count of examples, which have no such noise.
    pub dp_sgd: Option<DpSgd>,
}

/// Weights and measurements tell about the local data, so they are not printed.
impl std::fmt::Debug for Trained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trained").field("weights", &self.weights.len()).finish_non_exhaustive()
    }
}

/// Why there is nothing to contribute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The device has no examples for this task.
    #[error("there are no local examples to train on")]
    NoExamples,
    /// Stopped before the first step: nothing was learnt.
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
