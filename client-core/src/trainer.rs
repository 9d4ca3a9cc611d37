//! What the runner asks of a trainer: local weights after training, and how good the global ones were.

use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_proto::plan::Plan;

/// Trains the plan's model on this device's examples. `crate::train` has one on burn; researchers bring their own.
///
/// A call runs to its end on the thread that called it: give a client a thread (a Web Worker in a browser) of its own.
pub trait LocalTrainer {
    /// What [`Self::train`] would cost its training examples at most, if it ran to its end: asked before anything is
    /// downloaded, so that a device whose budget is used up neither downloads nor trains. `None` for training without
    /// noise, and for trainers that cannot tell; the ledger checks what training did cost all the same.
    ///
    /// # Errors
    /// [`TrainError`] if the plan cannot be followed; the device then leaves the round.
    fn price(&self, plan: &Plan) -> Result<Option<DpSgd>, TrainError> {
        let _ = plan;
        Ok(None)
    }

    /// Trains from `weights` and measures them.
    ///
    /// `weights`: the global model, flat, in the order of [`scale_proto::model::ModelSpec::tensors`]. `stop`: asked
    /// between steps; true means out of time or cancelled, and the trainer returns what it has at once. `progress`:
    /// told how much of the plan is done, in thousandths, not falling.
    ///
    /// # Errors
    /// [`TrainError`]; the device then leaves the round, and nothing of its data has been sent.
    fn train(
        &mut self,
        plan: &Plan,
        weights: &[f32],
        stop: &mut dyn FnMut() -> bool,
        progress: &mut dyn FnMut(u32),
    ) -> Result<Trained, TrainError>;
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
