//! From trained weights to the vectors that are summed (docs/adr/0003-what-is-summed.md), with one type per step:
//!
//! [`Trained`] → [`Update`] (finite, of the plan's size) → [`QuantizedUpdate`] (integers modulo 2^32).
//!
//! | vector | entries |
//! |---|---|
//! | `update` | `(w / W) × clip(weights after − weights before, C)` on the grid, w at most W = the plan's `max_weight` |
//! | `statistics` | w, summed loss in [`scale_proto::plan::LOSS_UNIT`]s, correct answers, examples: exact, each at most the grid S |
//!
//! The statistics are exact, so they would reveal information that noise on the update is meant to hide. In a round
//! with noise on the update, all four are therefore zero before the noise, and every device has the same weight: w = W
//! in the update, and the sum is divided by the number of survivors. In a task with an adaptive clip norm, the first of
//! the four is the clip bit instead ([`scale_privacy::adaptive`]). With noise on the gradients (DP-SGD), the four are
//! W, 0, 0, 0: values that no example can change.

mod compact;
mod statistics;

use bytes::Bytes;
use rand_core::CryptoRng;
use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_privacy::adaptive::Split;
use scale_privacy::grid;
use scale_proto::ids::Digest;
use scale_proto::plan::{Plan, STATISTICS_LEN, VECTOR_STATISTICS, VECTOR_UPDATE};
use scale_secagg::config::{Mechanism, RoundConfig, VectorSpec};
use zeroize::{Zeroize, Zeroizing};

pub use statistics::{MEAN_LOSS_MAX, Statistics};

use crate::trainer::Trained;

/// Why an update cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The trainer returned another number of weights than the model has.
    #[error("the trainer returned {got} weights for a model of {expected}")]
    Shape {
        /// Number of the model's parameters.
        expected: usize,
        /// Number of weights returned.
        got: usize,
    },
    /// A weight or the loss is NaN or infinite.
    #[error("training produced a value that is not a finite number")]
    NotFinite,
    /// The trainer reported that it used no examples.
    #[error("the update was trained on no examples")]
    NoExamples,
    /// The rounded integers exceed the norm bound, which a correct pipeline rules out.
    #[error("the update exceeds its norm bound after rounding")]
    Norm,
}

impl UpdateError {
    /// Stable machine-readable code of the cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Shape { .. } => "shape",
            Self::NotFinite => "not_finite",
            Self::NoExamples => "no_examples",
            Self::Norm => "norm",
        }
    }
}

impl From<scale_privacy::Error> for UpdateError {
    fn from(error: scale_privacy::Error) -> Self {
        match error {
            scale_privacy::Error::NotFinite { .. } => Self::NotFinite,
            // `Norm`, and any reason that a later version adds.
            _ => Self::Norm,
        }
    }
}

/// The vectors of every session that runs `plan`: names and lengths, in order.
pub fn vectors(plan: &Plan) -> Vec<VectorSpec> {
    vec![
        VectorSpec { name: VECTOR_UPDATE.into(), len: plan.model.flat_len() },
        VectorSpec { name: VECTOR_STATISTICS.into(), len: STATISTICS_LEN },
    ]
}

/// The update of one device. Every entry is finite. Wiped on drop, not printed.
pub struct Update {
    delta: Zeroizing<Vec<f32>>,
    statistics: Statistics,
    /// W: the plan's largest weight.
    max_weight: u32,
    /// Whether a round with noise reports, in the statistics, whether the update was clipped.
    clip_bit: bool,
    dp_sgd: Option<DpSgd>,
}

impl Update {
    /// The difference between `trained` and the `global` weights that it started from.
    ///
    /// # Errors
    /// [`UpdateError::Shape`], [`UpdateError::NotFinite`], [`UpdateError::NoExamples`].
    pub fn new(plan: &Plan, global: &[f32], trained: Trained) -> Result<Self, UpdateError> {
        let statistics = Statistics::new(&trained, plan.max_weight)?;
        let dp_sgd = trained.dp_sgd;
        let weights = Zeroizing::new(trained.weights);
        if weights.len() != global.len() {
            return Err(UpdateError::Shape { expected: global.len(), got: weights.len() });
        }
        let delta =
            Zeroizing::new(weights.iter().zip(global).map(|(after, before)| after - before).collect::<Vec<_>>());
        // The difference of two finite weights can overflow.
        if delta.iter().all(|entry| entry.is_finite()) {
            let clip_bit = plan.privacy.clip_range().is_some();
            Ok(Self { delta, statistics, max_weight: plan.max_weight, clip_bit, dp_sgd })
        } else {
            Err(UpdateError::NotFinite)
        }
    }

    /// Clips, weights, scales and rounds the update for the session of `config`.
    ///
    /// `rng`: a separate stream, not the one for keys. One word is drawn per entry and attempt.
    ///
    /// # Errors
    /// [`UpdateError::Norm`].
    pub fn quantize(self, config: &RoundConfig, rng: &mut impl CryptoRng) -> Result<QuantizedUpdate, UpdateError> {
        let Self { mut delta, statistics, max_weight, clip_bit, dp_sgd } = self;
        let norm = delta.iter().fold(0.0, |sum, &entry| sum + f64::from(entry) * f64::from(entry)).sqrt();
        let whole = config.grid;
        // Converted to residues modulo 2^32.
        let exact = |statistics: [u64; 4]| statistics.map(|entry| entry as u32);
        let (weight, statistics, grid) = match (config.mechanism, dp_sgd) {
            (Mechanism::None, None) => (statistics.weight(), exact(statistics.on_grid(whole)), whole),
            (Mechanism::None, Some(_)) => (max_weight, [max_weight, 0, 0, 0], whole),
            (Mechanism::DistributedGaussian { .. }, _) if clip_bit => {
                let split = Split::of(whole);
                (max_weight, [split.bit(norm <= config.clip) as u32, 0, 0, 0], split.update())
            }
            (Mechanism::DistributedGaussian { .. }, _) => (max_weight, [0; STATISTICS_LEN as usize], whole),
        };
        let clip = (config.clip / norm.max(config.clip)).min(1.0);
        let factor = clip * f64::from(weight) / f64::from(max_weight);
        for entry in delta.iter_mut() {
            *entry = (f64::from(*entry) * factor) as f32;
        }
        let mut rounded = grid::quantize(&delta, config.clip, grid, rng)?;
        let update = Zeroizing::new(rounded.values.iter().map(|&value| value as u32).collect::<Vec<_>>());
        rounded.values.zeroize();
        Ok(QuantizedUpdate::new(&update, &statistics, dp_sgd))
    }
}

/// Length in bytes of the serialized noise on gradients: a flag whether there is any, multiplier and rate as f64, steps
/// as u32.
const DP_SGD_BYTES: usize = 21;

fn encode_dp_sgd(dp_sgd: Option<DpSgd>) -> [u8; DP_SGD_BYTES] {
    let mut out = [0; DP_SGD_BYTES];
    if let Some(dp_sgd) = dp_sgd {
        out[0] = 1;
        out[1..9].copy_from_slice(&dp_sgd.noise_multiplier().to_le_bytes());
        out[9..17].copy_from_slice(&dp_sgd.rate().to_le_bytes());
        out[17..].copy_from_slice(&dp_sgd.steps().to_le_bytes());
    }
    out
}

/// Parses it; `None` for invalid bytes.
fn decode_dp_sgd(bytes: &[u8; DP_SGD_BYTES]) -> Option<Option<DpSgd>> {
    let (flag, rest) = bytes.split_first()?;
    let (multiplier, rest) = rest.split_first_chunk()?;
    let (rate, steps) = rest.split_first_chunk()?;
    match (
        flag,
        DpSgd::new(
            f64::from_le_bytes(*multiplier),
            f64::from_le_bytes(*rate),
            u32::from_le_bytes(steps.try_into().ok()?),
        ),
    ) {
        (0, _) => (*bytes == [0; DP_SGD_BYTES]).then_some(None),
        (1, Ok(dp_sgd)) => Some(Some(dp_sgd)),
        _ => None,
    }
}

impl std::fmt::Debug for Update {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Update").field("entries", &self.delta.len()).finish_non_exhaustive()
    }
}

/// The update as integers modulo 2^32, one vector per entry of [`vectors`], in the compact form in which it is stored
/// until it is masked. Wiped when the last copy is dropped, not printed.
///
/// ```text
/// noise on gradients ‖ statistics, each u32 ‖ the update, compact
/// ```
#[derive(Clone)]
pub struct QuantizedUpdate {
    bytes: Bytes,
    digest: Digest,
    len: usize,
    dp_sgd: Option<DpSgd>,
}

/// Number of bytes before the update.
const HEAD_BYTES: usize = DP_SGD_BYTES + 4 * STATISTICS_LEN as usize;

impl QuantizedUpdate {
    fn new(update: &[u32], statistics: &[u32; STATISTICS_LEN as usize], dp_sgd: Option<DpSgd>) -> Self {
        let mut head = Zeroizing::new([0; HEAD_BYTES]);
        head[..DP_SGD_BYTES].copy_from_slice(&encode_dp_sgd(dp_sgd));
        for (slot, entry) in head[DP_SGD_BYTES..].chunks_exact_mut(4).zip(statistics) {
            slot.copy_from_slice(&entry.to_le_bytes());
        }
        let bytes = compact::write(&*head, update);
        let digest = Digest::of(&bytes);
        Self { bytes: Bytes::from_owner(bytes), digest, len: update.len(), dp_sgd }
    }

    /// Restores an update from [`Self::bytes`]; `None` unless it is one of `len` entries.
    pub(crate) fn restore(bytes: Bytes, len: usize) -> Option<Self> {
        let dp_sgd = decode_dp_sgd(bytes.first_chunk()?)?;
        let digest = Digest::of(&bytes);
        let update = Self { bytes, digest, len, dp_sgd };
        update.read().map(|mut vectors| vectors.zeroize())?;
        Some(update)
    }

    /// The bytes to store. They are secret.
    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of [`Self::bytes`].
    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    /// The noise that training added to its gradients; `None` without.
    pub(crate) const fn dp_sgd(&self) -> Option<DpSgd> {
        self.dp_sgd
    }

    /// The vectors, to be masked.
    pub fn into_vectors(self) -> Vec<Vec<u32>> {
        // Written by `Self::new`, or validated by `restore`.
        self.read().expect("an update that was checked when it was made")
    }

    fn read(&self) -> Option<Vec<Vec<u32>>> {
        let (head, update) = self.bytes.split_first_chunk::<HEAD_BYTES>()?;
        let (entries, _) = head[DP_SGD_BYTES..].as_chunks::<4>();
        let statistics = entries.iter().map(|entry| u32::from_le_bytes(*entry)).collect();
        Some(vec![compact::read(update, self.len)?, statistics])
    }
}

impl std::fmt::Debug for QuantizedUpdate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("QuantizedUpdate(redacted)")
    }
}

#[cfg(test)]
mod tests;
