//! What goes wrong at the edge, and how it travels.

use crate::codes::Advice;
use crate::time::RetryWindow;

/// A wire message that is not what it should be: which field, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: {problem}")]
pub struct Invalid {
    /// The field, in the schema's spelling.
    pub field: &'static str,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Invalid {
    /// Says that `field` has `problem`.
    pub fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

/// A failed call as the other side sees it: a stable code, a sentence for a person, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence} [{code}]")]
pub struct Problem {
    /// One stable word per cause ([`crate::codes`]).
    pub code: String,
    /// What was wrong, where, and what to do.
    pub sentence: String,
    /// What a device does about it.
    pub remedy: Remedy,
}

/// What a device does about a failed call, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Send the same bytes again within the window, at the latest by the stage's signed closing time.
    Resend(RetryWindow),
    /// The round is over for this device: forget it, and check in within the window.
    CheckIn(RetryWindow),
    /// Nothing that this device can send helps: leave the round, and tell the app.
    Leave,
    /// The device's token does not open the coordinator any more: leave the round, and tell the app to bring an enrollment
    /// token. Enrolling again with the same key is the same device with a new token.
    Enroll,
}

impl Remedy {
    /// When the same device with the same token may come back; `None`: that does not help.
    pub const fn window(self) -> Option<RetryWindow> {
        match self {
            Self::Resend(window) | Self::CheckIn(window) => Some(window),
            Self::Leave | Self::Enroll => None,
        }
    }

    /// Which of the four it is.
    pub const fn advice(self) -> Advice {
        match self {
            Self::Resend(_) => Advice::Resend,
            Self::CheckIn(_) => Advice::CheckIn,
            Self::Leave => Advice::Leave,
            Self::Enroll => Advice::Enroll,
        }
    }
}
