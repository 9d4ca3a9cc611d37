//! What the account says of each promise: an epsilon, or that there is no bound. Never a zero in place of the latter.

use std::fmt;

use super::charge::Charge;
use super::entry::Entry;
use crate::accounting::AccountingError;
use crate::guardrails::Caps;

/// What some rounds reveal at most, for one promise.
///
/// The order is that of exposure: no bound is more than any epsilon.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Epsilon {
    /// At most this. Zero only if no round was joined.
    AtMost(f64),
    /// At least one round made no such promise, so there is no epsilon that all of them keep to.
    NoBound,
}

impl Epsilon {
    /// The epsilon, if there is one.
    pub const fn at_most(self) -> Option<f64> {
        match self {
            Self::AtMost(epsilon) => Some(epsilon),
            Self::NoBound => None,
        }
    }

    /// An epsilon that is not finite bounds nothing.
    fn of(epsilon: f64) -> Self {
        if epsilon.is_finite() { Self::AtMost(epsilon) } else { Self::NoBound }
    }

    /// What was added up, unless one round made no such promise.
    fn kept(promised: bool, epsilon: Result<f64, AccountingError>) -> Self {
        epsilon.ok().filter(|_| promised).map_or(Self::NoBound, Self::of)
    }
}

/// Two decimals, or "no bound".
impl fmt::Display for Epsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(epsilon) => write!(f, "{epsilon:.2}"),
            Self::NoBound => f.write_str("no bound"),
        }
    }
}

/// The three promises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epsilons {
    /// Of a person, against who sees only sums over enough honest devices.
    pub aggregate: Epsilon,
    /// Of a person, against who sees this device's uploads by themselves: what remains if secure aggregation fails.
    pub local: Epsilon,
    /// Of one training example, by noise on its gradients. Noise on updates makes no promise of its own for an example.
    pub example: Epsilon,
}

impl From<Caps> for Epsilons {
    fn from(caps: Caps) -> Self {
        Self {
            aggregate: Epsilon::of(caps.aggregate),
            local: Epsilon::of(caps.local),
            example: Epsilon::of(caps.example),
        }
    }
}

/// Rounds added up: what they were charged, and which promises every one of them made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Total {
    charge: Charge,
    person: bool,
    example: bool,
}

impl Total {
    /// No round.
    pub(super) const ZERO: Self = Self { charge: Charge::ZERO, person: true, example: true };

    /// With one more round, or with damage, which is charged the most that one round with noise may cost.
    #[must_use]
    pub(super) fn plus(&self, entry: &Entry) -> Self {
        let (person, example) = match entry {
            Entry::Round { reservation, .. } => (reservation.mechanism.is_some(), reservation.examples.is_some()),
            Entry::Lost { .. } => (true, true),
        };
        Self {
            charge: self.charge.plus(entry.charge()),
            person: self.person && person,
            example: self.example && example,
        }
    }

    pub(super) fn epsilons(&self, delta: f64) -> Epsilons {
        let Self { charge, person, example } = self;
        Epsilons {
            aggregate: Epsilon::kept(*person, charge.aggregate.epsilon(delta)),
            local: Epsilon::kept(*person, charge.local.epsilon(delta)),
            example: Epsilon::kept(*example, charge.example.epsilon(delta)),
        }
    }
}
