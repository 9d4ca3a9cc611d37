//! What a device trains in one round, and how. Encoded once, by the coordinator; its digest is in the signed round
//! configuration, and a device decodes the very bytes that it hashed.

use std::time::Duration;

use crate::check;
use crate::error::Invalid;
use crate::ids::Digest;
use crate::limits;
use crate::model::ModelSpec;
use crate::privacy::Privacy;
use crate::task::TaskConfig;

/// The training plan of one round.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The architecture and its classes.
    pub model: ModelSpec,
    /// [`ModelSpec::fingerprint`] as the coordinator computed it.
    pub fingerprint: Digest,
    /// Passes over the local examples, 1 to 100.
    pub epochs: u32,
    /// Examples of one step, at least 1.
    pub batch_size: u32,
    /// Step size, above 0.
    pub learning_rate: f32,
    /// FedProx proximal term (Li et al. 2020); 0 is plain FedAvg.
    pub proximal_mu: f32,
    /// Longest training time on the device.
    pub time_limit: Duration,
    /// A device's weight (its example count) is clipped to this, at least 1.
    pub max_weight: u32,
    /// Share of local examples kept for measuring, in thousandths, 0 to 500.
    pub holdout_permille: u32,
    /// Seeds shuffling, so that a round can be run again.
    pub seed: u64,
    /// Noise on the device.
    pub privacy: Privacy,
}

impl Plan {
    /// The plan of one round of a task. `seed` seeds shuffling.
    pub fn of(task: &TaskConfig, seed: u64) -> Self {
        Self {
            model: task.model.clone(),
            fingerprint: task.model.fingerprint(),
            epochs: task.training.epochs,
            batch_size: task.training.batch_size,
            learning_rate: task.training.learning_rate,
            proximal_mu: task.training.proximal_mu,
            time_limit: Duration::from_millis(task.training.time_limit_ms),
            max_weight: task.training.max_weight,
            holdout_permille: task.training.holdout_permille,
            seed,
            privacy: task.privacy,
        }
    }

    /// Whether a device could follow this plan. [`Plan::decode`] has checked it already.
    ///
    /// # Errors
    /// [`Invalid`] names the first field that is out of its range.
    pub fn check(&self) -> Result<(), Invalid> {
        self.model.check()?;
        let expected = self.model.fingerprint();
        if self.fingerprint != expected {
            let problem = format!("{}; this model flattens to {expected}", self.fingerprint);
            return Err(Invalid::new("fingerprint", problem));
        }
        check::within("epochs", self.epochs, 1..=100)?;
        check::at_least_one("batch_size", self.batch_size)?;
        check::positive("learning_rate", self.learning_rate.into())?;
        check::not_negative("proximal_mu", self.proximal_mu.into())?;
        check::within("time_limit_ms", self.time_limit.as_millis(), 1..=u128::from(limits::TRAINING_MS))?;
        check::at_least_one("max_weight", self.max_weight)?;
        check::within("holdout_permille", self.holdout_permille, 0..=500)?;
        self.privacy.check()
    }
}

/// Names of the two vectors of every session, in order (docs/adr/0003-what-is-summed.md).
pub const VECTOR_UPDATE: &str = "update";
/// Exact integers: weight, loss in [`LOSS_UNIT`]s, correct answers, examples.
pub const VECTOR_STATISTICS: &str = "statistics";
/// Entries of [`VECTOR_STATISTICS`].
pub const STATISTICS_LEN: u64 = 4;
/// One unit of the summed loss, in nats: a device sends `round(sum of its examples' losses / LOSS_UNIT)`.
pub const LOSS_UNIT: f64 = 1.0 / 16.0;
