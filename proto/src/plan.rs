//! What a device trains in one round, and how. Encoded once, by the coordinator; its digest is in the signed round
//! configuration, and a device decodes the very bytes that it hashed.

use std::time::Duration;

use crate::ids::Digest;
use crate::model::ModelSpec;

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
}

/// Names of the two vectors of every session, in order (docs/adr/0003-what-is-summed.md).
pub const VECTOR_UPDATE: &str = "update";
/// Exact integers: weight, loss in [`LOSS_UNIT`]s, correct answers, examples.
pub const VECTOR_STATISTICS: &str = "statistics";
/// Entries of [`VECTOR_STATISTICS`].
pub const STATISTICS_LEN: u64 = 4;
/// One unit of the summed loss, in nats: a device sends `round(sum of its examples' losses / LOSS_UNIT)`.
pub const LOSS_UNIT: f64 = 1.0 / 16.0;
