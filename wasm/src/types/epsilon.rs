//! Privacy costs.

use scale_client_core::device;
use serde::Serialize;

/// An upper bound on what rounds reveal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(untagged)]
pub enum Epsilon {
    /// At most this.
    AtMost(f64),
    /// The word `no_bound`, which no program mistakes for a small number.
    NoBound(NoBound),
}

/// There is no epsilon that all rounds keep to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum NoBound {
    /// The only value.
    #[serde(rename = "no_bound")]
    NoBound,
}

/// The three bounds of one or more rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
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
        epsilon.at_most().map_or(Self::NoBound(NoBound::NoBound), Self::AtMost)
    }
}

impl From<device::Epsilons> for Epsilons {
    fn from(epsilons: device::Epsilons) -> Self {
        let device::Epsilons { aggregate, local, example } = epsilons;
        Self { aggregate: aggregate.into(), local: local.into(), example: example.into() }
    }
}
