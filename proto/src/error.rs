//! What goes wrong at the edge, and how it travels.

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

/// A failed call as the other side sees it: a stable code, a sentence for a person, and when coming back helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence} [{code}]")]
pub struct Problem {
    /// One stable word per cause.
    pub code: String,
    /// What was wrong, where, and what to do.
    pub sentence: String,
    /// `None`: coming back with the same call does not help.
    pub retry: Option<RetryWindow>,
}
