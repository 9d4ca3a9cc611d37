//! What training on the device with noisy gradients costs (Abadi et al., CCS 2016), per training example.

use super::rdp::{self, Curve};
use super::zcdp::Rho;
use super::{AccountingError, Budget, ExampleLevel};

/// Most noise that [`DpSgd::calibrated`] looks for.
pub const NOISE_MULTIPLIER_MAX: f64 = 1_048_576.0;

/// Steps of DP-SGD. The noise itself is the integer kind, as everywhere: each step's sum of clipped gradients goes onto
/// the grid ([`crate::grid`]) and gets [`crate::gaussian`] noise of many grid units there. The formula is that of the
/// continuous Gaussian; for the sampled discrete one no theorem is at hand, only that the two differ by less than any
/// digit shown once the noise spans a few units.
///
/// In each step, every example joins the batch with probability `rate` by itself (a shuffled epoch is
/// something else and has no such bound), each gradient is clipped to a norm, and the batch's sum gets Gaussian noise of
/// `noise_multiplier` times that norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpSgd {
    noise_multiplier: f64,
    rate: f64,
    steps: u32,
}

impl DpSgd {
    /// `noise_multiplier`: noise over clip norm, 0 or more. `rate`: 0 to 1.
    ///
    /// # Errors
    /// [`AccountingError::NoiseMultiplier`], [`AccountingError::Rate`].
    pub fn new(noise_multiplier: f64, rate: f64, steps: u32) -> Result<Self, AccountingError> {
        rdp::check_noise_multiplier(noise_multiplier)?;
        if !(0.0..=1.0).contains(&rate) {
            return Err(AccountingError::Rate(rate));
        }
        Ok(Self { noise_multiplier, rate, steps })
    }

    /// The least noise, to nine digits, whose epsilon stays within `budget`.
    ///
    /// # Errors
    /// [`AccountingError::Rate`]; [`AccountingError::Unreachable`] if [`NOISE_MULTIPLIER_MAX`] is not enough.
    pub fn calibrated(rate: f64, steps: u32, budget: &Budget) -> Result<Self, AccountingError> {
        let fits = |z: f64| -> Result<bool, AccountingError> {
            match Self::new(z, rate, steps)?.epsilon(budget.delta()) {
                Ok(epsilon) => Ok(epsilon <= budget.epsilon()),
                // Too little noise for any bound at all.
                Err(AccountingError::Cost(_)) => Ok(false),
                Err(error) => Err(error),
            }
        };
        if fits(0.0)? {
            return Self::new(0.0, rate, steps);
        }
        let (mut low, mut high) = (0.0, 1.0);
        while !fits(high)? {
            (low, high) = (high, 2.0 * high);
            if high > NOISE_MULTIPLIER_MAX {
                return Err(AccountingError::Unreachable { epsilon: budget.epsilon() });
            }
        }
        while high - low > 1e-9 * high {
            let middle = 0.5 * (low + high);
            if fits(middle)? { high = middle } else { low = middle }
        }
        Self::new(high, rate, steps)
    }

    /// Noise over clip norm.
    pub const fn noise_multiplier(&self) -> f64 {
        self.noise_multiplier
    }

    /// Probability with which an example joins a batch.
    pub const fn rate(&self) -> f64 {
        self.rate
    }

    /// Number of steps.
    pub const fn steps(&self) -> u32 {
        self.steps
    }

    /// The cost of all steps.
    ///
    /// # Errors
    /// None for values from [`Self::new`]; the type is what the accountant gives.
    pub fn curve(&self) -> Result<Curve<ExampleLevel>, AccountingError> {
        Ok(Curve::sampled_gaussian(self.rate, self.noise_multiplier)?.times(self.steps))
    }

    /// The epsilon of all steps for one example. With every example in every batch the zCDP bound is used, the tighter
    /// one there.
    ///
    /// # Errors
    /// [`AccountingError::Delta`], [`AccountingError::Cost`] without noise.
    pub fn epsilon(&self, delta: f64) -> Result<f64, AccountingError> {
        let by_curve = self.curve()?.epsilon(delta).map(|converted| converted.epsilon);
        if self.rate < 1.0 {
            return by_curve;
        }
        let rho = Rho::<ExampleLevel>::of_gaussian(self.noise_multiplier, self.steps);
        match (by_curve, rho.and_then(|rho| rho.epsilon(delta))) {
            (Ok(by_curve), Ok(by_zcdp)) => Ok(by_curve.min(by_zcdp)),
            (by_curve, by_zcdp) => by_curve.or(by_zcdp),
        }
    }
}
