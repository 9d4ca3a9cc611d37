//! Why an update was refused.

/// An update that must not be sent. Nothing has left the device by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// NaN or infinity: training diverged, or the model file was damaged. Leave the round.
    #[error("entry {index} of the update is not a finite number: leave this round, and lower the learning rate")]
    NotFinite {
        /// Position of the first such entry.
        index: usize,
    },
    /// Even truncated towards zero the integers exceed the bound: the input was not scaled to this grid.
    #[error("the update exceeds its norm bound after rounding: scale it to the grid first")]
    Norm,
}

impl Error {
    /// The stable word for the cause, as in the protocol's list of reasons.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFinite { .. } => "not_finite",
            Self::Norm => "norm",
        }
    }
}
