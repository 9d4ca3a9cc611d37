//! Why a device does not contribute: one stable word, and a sentence for a person. Never anything about its data.

use std::borrow::Cow;

use scale_proto::error::{Invalid, Problem};
use scale_secagg::error::Refusal;

use crate::error::ModelError;
use crate::trainer::TrainError;
use crate::update::UpdateError;

/// A cause for leaving a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// One stable word.
    pub code: Cow<'static, str>,
    /// What happened, for a person.
    pub sentence: String,
}

impl Reason {
    /// A cause of the device's own.
    pub fn new(code: &'static str, sentence: impl Into<String>) -> Self {
        Self { code: code.into(), sentence: sentence.into() }
    }
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        let check = refusal.check.map_or_else(String::new, |check| format!(" (check {check})"));
        Self::new(refusal.code(), format!("{refusal}{check}"))
    }
}

impl From<Invalid> for Reason {
    fn from(invalid: Invalid) -> Self {
        Self::new("malformed", invalid.to_string())
    }
}

impl From<Problem> for Reason {
    fn from(problem: Problem) -> Self {
        Self { code: problem.code.into(), sentence: problem.sentence }
    }
}

macro_rules! from_coded {
    ($($error:ty),*) => {$(
        impl From<$error> for Reason {
            fn from(error: $error) -> Self {
                Self::new(error.code(), error.to_string())
            }
        }
    )*};
}
from_coded!(ModelError, TrainError, UpdateError);
