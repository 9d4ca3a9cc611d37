//! What a round is charged: whole numbers of 2^-40, rounded up.

use crate::accounting::rdp::Curve;
use crate::accounting::zcdp::Rho;
use crate::accounting::{AccountingError, ExampleLevel, UserLevel, check_delta};

/// Which promise a cost counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A person, against who sees only sums over enough honest devices.
    Aggregate,
    /// A person, against who sees the device's uploads by themselves.
    Local,
    /// One training example.
    Example,
}

impl Claim {
    /// One stable word.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Aggregate => "aggregate",
            Self::Local => "local",
            Self::Example => "example",
        }
    }
}

/// Rényi bounds of one training example at a few orders, in units of 2^-40: what the ledger adds up exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExampleCost([u64; Self::ORDERS.len()]);

impl ExampleCost {
    /// The orders that are kept. Few, because each takes its part of delta.
    pub const ORDERS: [u32; 16] = [2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 128, 256];
    /// No cost.
    pub const ZERO: Self = Self([0; Self::ORDERS.len()]);
    /// More than any cap at every order.
    pub const MAX: Self = Self([u64::MAX; Self::ORDERS.len()]);

    /// The cost of `curve`, rounded up; no bound counts as more than any cap.
    pub fn round_up(curve: &Curve<ExampleLevel>) -> Self {
        // Every order of this list is one of the curve's.
        Self::from_fn(|order| {
            let bound = curve.at(order).unwrap_or(f64::INFINITY);
            Rho::<ExampleLevel>::round_up(bound).map_or(u64::MAX, Rho::units)
        })
    }

    /// The bounds in the order of [`Self::ORDERS`].
    pub const fn units(&self) -> &[u64; Self::ORDERS.len()] {
        &self.0
    }

    /// The least epsilon of these costs at `delta`; the order may be chosen last, see [`crate::guardrails`].
    ///
    /// # Errors
    /// [`AccountingError::Delta`]; [`AccountingError::Cost`] if no order has a bound.
    pub fn epsilon(&self, delta: f64) -> Result<f64, AccountingError> {
        check_delta(delta)?;
        if *self == Self::ZERO {
            return Ok(0.0);
        }
        let delta = delta / Self::ORDERS.len() as f64;
        let bounds = Self::ORDERS.iter().zip(&self.0).filter(|(_, units)| **units != u64::MAX);
        let epsilons = bounds.map(|(&order, &units)| {
            Rho::<ExampleLevel>::from_units(units).to_f64() - crate::accounting::rdp::gain(order, delta)
        });
        let least = epsilons.fold(f64::INFINITY, f64::min);
        if least.is_finite() {
            Ok(crate::accounting::outward(least.max(0.0)))
        } else {
            Err(AccountingError::Cost(least))
        }
    }

    pub(crate) fn from_fn(units: impl Fn(u32) -> u64) -> Self {
        Self(Self::ORDERS.map(units))
    }

    pub(crate) const fn from_units(units: [u64; Self::ORDERS.len()]) -> Self {
        Self(units)
    }

    /// Whether some order stays within its cap. An order whose cap is 0 has none, except for no cost at all.
    pub(crate) fn fits(&self, cap: &Self) -> bool {
        *self == Self::ZERO || self.0.iter().zip(&cap.0).any(|(spent, cap)| *cap > 0 && spent <= cap)
    }

    fn plus(self, other: Self) -> Self {
        let mut sum = self.0;
        for (units, more) in sum.iter_mut().zip(other.0) {
            *units = units.saturating_add(more);
        }
        Self(sum)
    }
}

/// Everything that is charged at once. User-level and example-level costs stand side by side and never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// For the person, against who sees only sums.
    pub aggregate: Rho<UserLevel>,
    /// For the person, against who sees uploads by themselves.
    pub local: Rho<UserLevel>,
    /// For one training example.
    pub example: ExampleCost,
}

impl Charge {
    /// Nothing.
    pub const ZERO: Self = Self { aggregate: Rho::ZERO, local: Rho::ZERO, example: ExampleCost::ZERO };

    /// Both together; saturates beyond every cap.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            aggregate: self.aggregate.plus(other.aggregate),
            local: self.local.plus(other.local),
            example: self.example.plus(other.example),
        }
    }
}
