//! The statistics that are summed together with the update: exact integers, only sent masked.

use scale_proto::plan::LOSS_UNIT;

use super::UpdateError;
use crate::trainer::Trained;

/// Largest mean loss that a device reports, in nats per example; larger ones are cut to it. This keeps one device with
/// an extreme loss from dominating the cohort's mean.
pub const MEAN_LOSS_MAX: f64 = 100.0;

/// Weight, summed loss, correct answers and number of examples of one device, checked for consistency.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    weight: u32,
    /// Summed loss, in [`LOSS_UNIT`]s.
    loss: u64,
    correct: u64,
    examples: u64,
}

impl Statistics {
    /// Cuts the weight to `max_weight` and the mean loss to [`MEAN_LOSS_MAX`], and rounds the loss to units.
    ///
    /// # Errors
    /// [`UpdateError::NotFinite`] if the loss is NaN or infinite; [`UpdateError::NoExamples`] for weight 0.
    pub fn new(trained: &Trained, max_weight: u32) -> Result<Self, UpdateError> {
        if !trained.loss_sum.is_finite() {
            return Err(UpdateError::NotFinite);
        }
        if trained.weight == 0 {
            return Err(UpdateError::NoExamples);
        }
        let examples = trained.examples;
        let loss_sum = trained.loss_sum.clamp(0.0, MEAN_LOSS_MAX * examples as f64);
        Ok(Self {
            weight: trained.weight.min(max_weight),
            // The conversion saturates.
            loss: (loss_sum / LOSS_UNIT).round() as u64,
            correct: trained.correct.min(examples),
            examples,
        })
    }

    /// The weight w, 1 to W.
    pub const fn weight(&self) -> u32 {
        self.weight
    }

    /// Weight, loss, correct answers, examples, each at most `grid`.
    ///
    /// If one of the last three exceeds the grid, all three are scaled down by the same factor (rounded to nearest), so
    /// the device's mean loss and accuracy are unchanged, but count as fewer examples. The weight is not scaled: a
    /// device only joins rounds in which `max_weight` is at most the grid.
    pub fn on_grid(&self, grid: u32) -> [u64; 4] {
        let cap = u64::from(grid);
        let most = self.loss.max(self.correct).max(self.examples);
        let shrink = |value: u64| {
            if most <= cap {
                return value;
            }
            let exact = u128::from(value) * u128::from(cap) + u128::from(most) / 2;
            // At most `cap`, because `value` is at most `most`.
            (exact / u128::from(most)) as u64
        };
        [u64::from(self.weight).min(cap), shrink(self.loss), shrink(self.correct), shrink(self.examples)]
    }
}

/// Measurements reveal information about the local data, so they are not printed.
impl std::fmt::Debug for Statistics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Statistics(redacted)")
    }
}
