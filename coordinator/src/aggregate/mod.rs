//! From summed integers to new weights: the weighted mean of the updates and the server's optimizer. Pure.
//!
//! Sums of sessions are added as integers ([`Totals`]), divided once ([`Totals::mean`]), and handed to an [`Optimizer`]
//! (McMahan et al. 2017; Hsu et al. 2019; Reddi et al. 2021, algorithm 2). Where a task's clip norm follows the devices,
//! [`FollowingClip`] takes the next one from the same sums.

mod clip;
mod mean;
mod optimizer;

pub use clip::FollowingClip;
pub use mean::{MeanUpdate, Scale, Statistics, Totals};
pub use optimizer::Optimizer;

/// Why no model comes out of a sum. The round is abandoned; the old model stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A sum does not have the round's vectors.
    #[error("a sum has vectors of {found:?} entries, the round asks for {expected:?}")]
    Shape {
        /// Lengths found.
        found: Vec<u64>,
        /// Lengths of the round.
        expected: Vec<u64>,
    },
    /// The survivors' weights sum to nothing: there is nothing to divide by.
    #[error("the devices' weights sum to {0}; a mean needs a sum above 0")]
    NoWeight(i64),
    /// A counter in the statistics is negative, or larger than its devices could make it: some device cheated or a
    /// sum wrapped.
    #[error("the summed {what} is {value}, possible are 0 to {most}")]
    Implausible {
        /// Which counter.
        what: &'static str,
        /// Its value.
        value: i64,
        /// The largest value that honest devices could reach.
        most: i64,
    },
    /// A weight became NaN or infinite.
    #[error("entry {entry} of the new weights is not finite; the server's learning rate may be too high")]
    NotFinite {
        /// The first such entry.
        entry: usize,
    },
    /// The optimizer's stored state is for another model or optimizer.
    #[error("the optimizer's stored state does not belong to this model: {0}")]
    State(&'static str),
}

impl Error {
    /// One stable word.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Shape { .. } => "sum_shape",
            Self::NoWeight(_) => "no_weight",
            Self::Implausible { .. } => "implausible_sum",
            Self::NotFinite { .. } => "sum_not_finite",
            Self::State(_) => "optimizer_state",
        }
    }
}
