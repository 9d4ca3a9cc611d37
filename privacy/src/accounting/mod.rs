//! What noise costs: zCDP, Rényi DP, and both as (epsilon, delta). Every result is rounded towards more cost.
//!
//! | accountant | for | where |
//! |---|---|---|
//! | zCDP, fixed point | noise on a person's whole update | [`zcdp::Rho`] |
//! | Rényi DP at integer orders | also for sampled examples | [`rdp::Curve`] |
//! | DP-SGD on the device | one training example | [`dp_sgd::DpSgd`] |
//!
//! What is protected is part of the type: a [`UserLevel`] cost never meets an [`ExampleLevel`] one.
//!
//! ```compile_fail
//! use scale_privacy::accounting::{ExampleLevel, UserLevel, zcdp::Rho};
//! let person = Rho::<UserLevel>::from_units(1);
//! let example = Rho::<ExampleLevel>::from_units(1);
//! let nonsense = person.plus(example);
//! ```

pub mod dp_sgd;
pub mod rdp;
pub mod zcdp;

use std::fmt;

mod sealed {
    pub trait Sealed {}
}

/// What neighbouring data sets differ in.
pub trait Unit: sealed::Sealed + Copy + fmt::Debug + PartialEq + 'static {
    /// The word for it in reports.
    const NAME: &'static str;
    /// How neighbours differ, as reports say it.
    const ADJACENCY: &'static str;
}

/// Everything that one person contributes to a round. Neighbours: with the person's update, or with zeros instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserLevel {}

/// One training example on one device; says nothing about the person as a whole. Neighbours: with or without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExampleLevel {}

impl sealed::Sealed for UserLevel {}
impl sealed::Sealed for ExampleLevel {}

impl Unit for UserLevel {
    const NAME: &'static str = "user";
    const ADJACENCY: &'static str = "zero-out";
}

impl Unit for ExampleLevel {
    const NAME: &'static str = "example";
    const ADJACENCY: &'static str = "add-or-remove-one";
}

/// A number that no account can be kept with.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountingError {
    /// Epsilon must be finite, above 0 and at most [`Budget::EPSILON_MAX`].
    #[error("epsilon {0} is not a budget: give a number above 0, up to {max}", max = Budget::EPSILON_MAX)]
    Epsilon(f64),
    /// Delta must lie strictly between 0 and 1.
    #[error("delta {0} is not a probability between 0 and 1: take less than 1 over the number of people")]
    Delta(f64),
    /// The noise multiplier must be finite and not negative.
    #[error("noise multiplier {0} is not a finite number of at least 0")]
    NoiseMultiplier(f64),
    /// The sampling rate must lie in 0 to 1.
    #[error("sampling rate {0} does not lie within 0 to 1")]
    Rate(f64),
    /// The cost is not finite, or beyond what the account can hold: nobody may spend that.
    #[error("a privacy cost of {0} cannot be accounted for: add noise")]
    Cost(f64),
    /// No noise multiplier up to [`dp_sgd::NOISE_MULTIPLIER_MAX`] is enough.
    #[error("no noise reaches epsilon {epsilon}: run fewer steps, or allow more")]
    Unreachable {
        /// The target.
        epsilon: f64,
    },
}

impl AccountingError {
    /// The stable word for the cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Epsilon(_) => "epsilon",
            Self::Delta(_) => "delta",
            Self::NoiseMultiplier(_) => "noise_multiplier",
            Self::Rate(_) => "rate",
            Self::Cost(_) => "cost",
            Self::Unreachable { .. } => "unreachable",
        }
    }
}

/// An (epsilon, delta) that may be spent. Both numbers are in range: neither NaN nor infinity comes this far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    epsilon: f64,
    delta: f64,
}

impl Budget {
    /// Beyond this an epsilon bounds nothing in practice.
    pub const EPSILON_MAX: f64 = 100_000.0;

    /// `epsilon`: above 0, at most [`Self::EPSILON_MAX`]. `delta`: strictly between 0 and 1.
    ///
    /// # Errors
    /// [`AccountingError::Epsilon`], [`AccountingError::Delta`]; NaN is refused as both.
    pub const fn new(epsilon: f64, delta: f64) -> Result<Self, AccountingError> {
        // Written so that NaN fails.
        if !(epsilon > 0.0 && epsilon <= Self::EPSILON_MAX) {
            return Err(AccountingError::Epsilon(epsilon));
        }
        if !(delta > 0.0 && delta < 1.0) {
            return Err(AccountingError::Delta(delta));
        }
        Ok(Self { epsilon, delta })
    }

    /// How much an outcome's probability may change, as a logarithm.
    pub const fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// The probability with which the bound may fail.
    pub const fn delta(&self) -> f64 {
        self.delta
    }
}

/// Refuses a delta outside of (0, 1).
pub(crate) fn check_delta(delta: f64) -> Result<f64, AccountingError> {
    if delta > 0.0 && delta < 1.0 { Ok(delta) } else { Err(AccountingError::Delta(delta)) }
}

/// Enlarges a bound by more than the error of the elementary functions that made it.
pub(crate) fn outward(bound: f64) -> f64 {
    bound * (1.0 + MARGIN)
}

/// 2^-42: hundreds of units in the last place, and far below anything that a person reads.
pub(crate) const MARGIN: f64 = 1.0 / (1u64 << 42) as f64;

#[cfg(test)]
mod tests;
