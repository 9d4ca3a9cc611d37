//! Noise that many devices add together: the distributed discrete Gaussian (Kairouz, Liu and Steinke, ICML 2021, arXiv
//! 2102.06387, Theorem 1; docs/protocol/update.md).
//!
//! The noise counts only what honest devices that finish the round bring. Grid and noise are integers, and the norm
//! bound is that of the integers ([`norm_bound_squared`]), so the cost holds for what is really sent.
//!
//! Neighbours: a person's update, or zeros in its place. Against somebody who sees a single upload, any other update may
//! stand in its place, so the sensitivity counts twice there.

use crate::accounting::zcdp::Rho;
use crate::accounting::{AccountingError, UserLevel, outward};
use crate::gaussian::VARIANCE_MAX;
use crate::grid::norm_bound_squared;

/// Least variance of one device's noise: below two grid units of standard deviation the sum of discrete Gaussians is
/// visibly not one.
pub const LOCAL_VARIANCE_MIN: u64 = 4;

/// A setting whose noise does not protect what it claims to.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MechanismError {
    /// The grid is so coarse that rounding makes every update longer than its clip norm: much more noise, or none of
    /// the promised protection.
    #[error("{grid} grid units for the clip norm are too coarse for {dim} entries: take at least {needed}")]
    CoarseGrid {
        /// The clip norm in grid units.
        grid: u32,
        /// Entries of the update.
        dim: u64,
        /// Least grid units for so many entries.
        needed: u64,
    },
    /// The variance of one device's noise is outside of [`LOCAL_VARIANCE_MIN`] to [`VARIANCE_MAX`].
    #[error(
        "noise of variance {variance} on each device is outside of {LOCAL_VARIANCE_MIN} to {VARIANCE_MAX}: \
         choose another grid, noise or cohort"
    )]
    LocalVariance {
        /// The variance, grid units squared; `u64::MAX` stands for anything from there.
        variance: u64,
    },
    /// No honest device is certain to finish.
    #[error(
        "{survivors} survivors with {corrupt} corrupt ones among them leave no honest device, so no noise can be counted on"
    )]
    NoHonestSurvivor {
        /// Fewest devices that a sum is released for.
        survivors: u32,
        /// Devices that may work for the server.
        corrupt: u32,
    },
    /// There is nothing to protect.
    #[error("an update of no entries needs no noise")]
    NoEntries,
    /// The noise multiplier or the cost is no usable number.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
}

impl MechanismError {
    /// The stable word for the cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::CoarseGrid { .. } => "coarse_grid",
            Self::LocalVariance { .. } => "local_variance",
            Self::NoHonestSurvivor { .. } => "no_honest_survivor",
            Self::NoEntries => "no_entries",
            Self::Accounting(error) => error.code(),
        }
    }
}

/// Noise of one round, checked: grid, variance and honest devices make sense together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanism {
    grid: u32,
    dim: u64,
    local_variance: u64,
    n_honest: u32,
}

impl Mechanism {
    /// `grid`: clip norm in grid units. `dim`: entries of all vectors together. `local_variance`: of each device's
    /// noise, grid units squared. `n_honest`: from [`honest_survivors`]; 1 when a device relies on its own noise only.
    ///
    /// # Errors
    /// [`MechanismError`], any but `Accounting`.
    pub fn new(grid: u32, dim: u64, local_variance: u64, n_honest: u32) -> Result<Self, MechanismError> {
        if dim == 0 {
            return Err(MechanismError::NoEntries);
        }
        let needed = grid_needed(dim);
        if u64::from(grid) < needed {
            return Err(MechanismError::CoarseGrid { grid, dim, needed });
        }
        if !(LOCAL_VARIANCE_MIN..=VARIANCE_MAX).contains(&local_variance) {
            return Err(MechanismError::LocalVariance { variance: local_variance });
        }
        if n_honest == 0 {
            return Err(MechanismError::NoHonestSurvivor { survivors: 0, corrupt: 0 });
        }
        Ok(Self { grid, dim, local_variance, n_honest })
    }

    /// The least noise of which `n_honest` devices together bring `noise_multiplier` times the sensitivity.
    ///
    /// # Errors
    /// [`MechanismError`].
    pub fn calibrated(grid: u32, dim: u64, noise_multiplier: f64, n_honest: u32) -> Result<Self, MechanismError> {
        let total = total_variance(noise_multiplier, norm_bound_squared(grid, dim))?;
        Self::new(grid, dim, local_variance(total, n_honest)?, n_honest)
    }

    /// The least noise with which one device alone has `noise_multiplier` times its sensitivity: local mode.
    ///
    /// # Errors
    /// [`MechanismError`].
    pub fn calibrated_alone(grid: u32, dim: u64, noise_multiplier: f64) -> Result<Self, MechanismError> {
        // Any update may stand in for any other: twice the norm.
        let total = total_variance(noise_multiplier, 4 * norm_bound_squared(grid, dim))?;
        Self::new(grid, dim, local_variance(total, 1)?, 1)
    }

    /// Clip norm in grid units.
    pub const fn grid(&self) -> u32 {
        self.grid
    }

    /// Entries of all vectors together.
    pub const fn dim(&self) -> u64 {
        self.dim
    }

    /// Variance of each device's noise, grid units squared.
    pub const fn local_variance(&self) -> u64 {
        self.local_variance
    }

    /// Devices whose noise counts.
    pub const fn n_honest(&self) -> u32 {
        self.n_honest
    }

    /// The largest sum of squares of one update on the grid: the squared sensitivity D2².
    pub fn norm_bound_squared(&self) -> u128 {
        norm_bound_squared(self.grid, self.dim)
    }

    /// What a round costs against somebody who sees only the sum over at least `n_honest` honest updates.
    ///
    /// # Errors
    /// [`MechanismError::Accounting`] if the cost is too large to be accounted for.
    pub fn aggregate(&self) -> Result<Rho<UserLevel>, MechanismError> {
        let norm_squared = self.norm_bound_squared() as f64;
        let rho = sum_rho(self.n_honest, self.local_variance as f64, norm_squared, self.dim as f64);
        Ok(Rho::round_up(outward(rho))?)
    }

    /// What a round costs against somebody who sees this device's upload by itself: (2 D2)² / 2V.
    ///
    /// # Errors
    /// [`MechanismError::Accounting`] if the cost is too large to be accounted for.
    pub fn local(&self) -> Result<Rho<UserLevel>, MechanismError> {
        let rho = 2.0 * self.norm_bound_squared() as f64 / self.local_variance as f64;
        Ok(Rho::round_up(outward(rho))?)
    }
}

/// Devices whose noise is certain to be in the sum: the fewest survivors less those that may be corrupt.
///
/// # Errors
/// [`MechanismError::NoHonestSurvivor`].
pub fn honest_survivors(survivors: u32, corrupt: u32) -> Result<u32, MechanismError> {
    match survivors.checked_sub(corrupt) {
        Some(honest @ 1..) => Ok(honest),
        _ => Err(MechanismError::NoHonestSurvivor { survivors, corrupt }),
    }
}

/// The coarsest grid that is allowed: 4 sqrt(dim) units for the clip norm, rounded up. Rounding then lengthens an update
/// by less than 1 %.
pub fn grid_needed(dim: u64) -> u64 {
    // ceil(sqrt(16 d)); 16 d is up to 2^68.
    let square = 16 * u128::from(dim);
    let root = square.isqrt();
    (root + u128::from(root * root < square)) as u64
}

/// Variance of the noise in the sum, grid units squared: z² D2², rounded up.
///
/// # Errors
/// [`MechanismError::Accounting`] for a multiplier that is negative or not finite.
pub fn total_variance(noise_multiplier: f64, norm_bound_squared: u128) -> Result<u128, MechanismError> {
    let total = noise_multiplier * noise_multiplier * norm_bound_squared as f64;
    if noise_multiplier >= 0.0 && total.is_finite() {
        Ok(total.ceil() as u128)
    } else {
        Err(AccountingError::NoiseMultiplier(noise_multiplier).into())
    }
}

/// Each device's part of `total`: the honest ones alone bring all of it, however many others drop out.
///
/// # Errors
/// [`MechanismError::NoHonestSurvivor`] for 0 devices; [`MechanismError::LocalVariance`] if it does not fit.
pub fn local_variance(total: u128, n_honest: u32) -> Result<u64, MechanismError> {
    if n_honest == 0 {
        return Err(MechanismError::NoHonestSurvivor { survivors: 0, corrupt: 0 });
    }
    let variance = total.div_ceil(n_honest.into()).max(LOCAL_VARIANCE_MIN.into());
    u64::try_from(variance).map_err(|_| MechanismError::LocalVariance { variance: u64::MAX })
}

/// rho of one sum of `n` discrete Gaussians of variance `variance`, for vectors of squared norm `norm_squared`.
fn sum_rho(n: u32, variance: f64, norm_squared: f64, dim: f64) -> f64 {
    let tau = distance_to_gaussian(n, variance);
    let signal = norm_squared / (f64::from(n) * variance);
    let separate = signal + tau * dim / 2.0;
    let together = (signal.sqrt() + tau * dim.sqrt()).powi(2);
    0.5 * separate.min(together)
}

/// tau: how far the sum of `n` discrete Gaussians is from one (arXiv 2102.06387, Theorem 1).
fn distance_to_gaussian(n: u32, variance: f64) -> f64 {
    let scale = -2.0 * std::f64::consts::PI.powi(2) * variance;
    let terms = (1..n).map(|k| (scale * f64::from(k) / f64::from(k + 1)).exp());
    10.0 * terms.sum::<f64>()
}

#[cfg(test)]
mod tests;
