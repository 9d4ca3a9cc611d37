//! Privacy costs.

use scale_client_core::device;
use serde::{Serialize, Serializer};

/// An upper bound on what rounds reveal.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "phones", derive(uniffi::Enum))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(test, ts(type = "number | \"no_bound\""))]
pub enum Epsilon {
    /// At most this.
    AtMost {
        /// The bound.
        epsilon: f64,
    },
    /// There is no epsilon that all rounds keep to.
    NoBound,
}

/// In JSON a number, or the word `no_bound`, which no program mistakes for a small number.
impl Serialize for Epsilon {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AtMost { epsilon } => serializer.serialize_f64(*epsilon),
            Self::NoBound => serializer.serialize_str("no_bound"),
        }
    }
}

/// The three bounds of one or more rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Epsilons {
    /// Of a person, against a party that sees only sums.
    pub aggregate: Epsilon,
    /// Of a person, against a party that sees this device's uploads: what remains if secure aggregation fails.
    pub local: Epsilon,
    /// Of one training example.
    pub example: Epsilon,
}

impl From<device::Epsilon> for Epsilon {
    fn from(epsilon: device::Epsilon) -> Self {
        epsilon.at_most().map_or(Self::NoBound, |epsilon| Self::AtMost { epsilon })
    }
}

impl From<device::Epsilons> for Epsilons {
    fn from(epsilons: device::Epsilons) -> Self {
        let device::Epsilons { aggregate, local, example } = epsilons;
        Self { aggregate: aggregate.into(), local: local.into(), example: example.into() }
    }
}
