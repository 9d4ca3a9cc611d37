//! Zero-concentrated differential privacy (Bun and Steinke, TCC 2016): costs add up, also when each was chosen after
//! seeing the sums before it (Feldman and Zrnic, NeurIPS 2021), as long as the cap was fixed first.

use std::fmt;
use std::marker::PhantomData;

use super::{AccountingError, Budget, MARGIN, Unit, check_delta, outward};

/// Units of [`Rho`] in 1: 2^40.
const ONE: f64 = (1u64 << 40) as f64;

/// A zCDP cost as a whole number of 2^-40: sums are exact, in any order. Made by rounding up.
pub struct Rho<U: Unit> {
    units: u64,
    unit: PhantomData<U>,
}

impl<U: Unit> Rho<U> {
    /// No cost.
    pub const ZERO: Self = Self::from_units(0);
    /// More than any cap.
    pub const MAX: Self = Self::from_units(u64::MAX);

    /// `units`: in 2^-40, as in round configurations.
    pub const fn from_units(units: u64) -> Self {
        Self { units, unit: PhantomData }
    }

    /// The least cost that is not below `rho`.
    ///
    /// # Errors
    /// [`AccountingError::Cost`] for NaN, a negative number, and 2^24 or more.
    pub fn round_up(rho: f64) -> Result<Self, AccountingError> {
        // Scaling by a power of two is exact. Written so that NaN fails.
        let units = (rho * ONE).ceil();
        if rho >= 0.0 && units < u64::MAX as f64 {
            Ok(Self::from_units(units as u64))
        } else {
            Err(AccountingError::Cost(rho))
        }
    }

    /// `rounds` releases of a sum with Gaussian noise of `noise_multiplier` times its sensitivity: rounds / 2z²
    /// (Bun and Steinke 2016, Proposition 6; for the discrete Gaussian arXiv 2004.00010, Theorem 4).
    ///
    /// # Errors
    /// [`AccountingError::NoiseMultiplier`], and [`AccountingError::Cost`] if there is next to no noise.
    pub fn of_gaussian(noise_multiplier: f64, rounds: u32) -> Result<Self, AccountingError> {
        if !(noise_multiplier >= 0.0 && noise_multiplier.is_finite()) {
            return Err(AccountingError::NoiseMultiplier(noise_multiplier));
        }
        Self::round_up(outward(f64::from(rounds) / (2.0 * noise_multiplier * noise_multiplier)))
    }

    /// The largest cost that `budget` covers.
    pub fn within(budget: &Budget) -> Self {
        let rho = largest(budget.epsilon(), budget.delta());
        // Downwards: the float is below 2^24 by `Budget::EPSILON_MAX`, and truncation only lowers it.
        Self::from_units((rho * ONE) as u64)
    }

    /// The cost in units of 2^-40.
    pub const fn units(self) -> u64 {
        self.units
    }

    /// The cost as a float that is not below it.
    pub fn to_f64(self) -> f64 {
        let near = self.units as f64;
        (if near as u64 >= self.units { near } else { near.next_up() }) / ONE
    }

    /// Both costs together; stays at [`Self::MAX`] once there.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self::from_units(self.units.saturating_add(other.units))
    }

    /// This cost `times` over; stays at [`Self::MAX`] once there.
    #[must_use]
    pub const fn times(self, times: u32) -> Self {
        Self::from_units(self.units.saturating_mul(times as u64))
    }

    /// What is left of this cap after `spent`; zero if nothing is.
    #[must_use]
    pub const fn less(self, spent: Self) -> Self {
        Self::from_units(self.units.saturating_sub(spent.units))
    }

    /// The epsilon of this cost at `delta`, see [`epsilon`].
    ///
    /// # Errors
    /// [`AccountingError::Delta`].
    pub fn epsilon(self, delta: f64) -> Result<f64, AccountingError> {
        epsilon(self.to_f64(), delta)
    }
}

// By hand: a derive would ask the same of `U`.
impl<U: Unit> Clone for Rho<U> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<U: Unit> Copy for Rho<U> {}
impl<U: Unit> PartialEq for Rho<U> {
    fn eq(&self, other: &Self) -> bool {
        self.units == other.units
    }
}
impl<U: Unit> Eq for Rho<U> {}
impl<U: Unit> PartialOrd for Rho<U> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<U: Unit> Ord for Rho<U> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.units.cmp(&other.units)
    }
}
impl<U: Unit> fmt::Debug for Rho<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rho<{}>({})", U::NAME, self.units as f64 / ONE)
    }
}

/// The least epsilon that `rho`-zCDP gives at `delta`: min over a > 1 of
/// `a rho + ln(1 - 1/a) - ln(a delta) / (a - 1)`, floor 0 (arXiv 2004.00010, Corollary 13).
///
/// # Errors
/// [`AccountingError::Delta`], and [`AccountingError::Cost`] for a rho that is negative or not finite.
pub fn epsilon(rho: f64, delta: f64) -> Result<f64, AccountingError> {
    check_delta(delta)?;
    if !(rho >= 0.0 && rho.is_finite()) {
        return Err(AccountingError::Cost(rho));
    }
    if rho == 0.0 {
        return Ok(0.0);
    }
    let log = -delta.ln();
    // The derivative is rho + ln(a delta) / (a - 1)²: it changes its sign once, from minus to plus, for b = a - 1
    // below sqrt(ln(1/delta) / rho) and below 1/delta. Every b gives a valid bound; the root gives the least one.
    let (mut low, mut high) = (0.0f64, (log / rho).sqrt().min(1.0 / delta));
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if rho * middle * middle < log - middle.ln_1p() { low = middle } else { high = middle }
    }
    let (a, b) = (1.0 + high, high);
    // ln(1 - 1/a) = ln(b / a).
    let bound = a * rho + (b / a).ln() + (log - high.ln_1p()) / b;
    Ok(outward(bound.max(0.0)))
}

/// The largest rho whose [`epsilon`] is at most `epsilon_max`; 0 if there is none.
///
/// At a given a the bound allows `g(a) = (epsilon - ln(1 - 1/a) + ln(a delta) / (a - 1)) / a`, so the answer is the
/// maximum of g. It has one: the bound is quasiconvex in a, and its derivative there, `g(a) + ln(a delta) / (a - 1)²`,
/// has the sign that g' has not.
fn largest(epsilon_max: f64, delta: f64) -> f64 {
    let log = -delta.ln();
    let rho = |b: f64| (epsilon_max + (1.0 / b).ln_1p() - (log - b.ln_1p()) / b) / (1.0 + b);
    // In logarithms: the root lies anywhere between these, by many powers of ten.
    let (mut low, mut high) = ((1e-6f64).ln(), log);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        let b = middle.exp();
        if rho(b) * b * b < log - b.ln_1p() { low = middle } else { high = middle }
    }
    // Less by more than `outward` adds to the epsilon, which grows at least as the root of rho.
    (rho(high.exp()) * (1.0 - 4.0 * MARGIN)).max(0.0)
}
