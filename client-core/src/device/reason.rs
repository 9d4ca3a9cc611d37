//! Why a device does not contribute: one stable word, and a sentence for a person. Never anything about its data.

use std::borrow::Cow;

use scale_privacy::ledger::{self, NoiseError};
use scale_proto::error::{Invalid, Problem};
use scale_proto::time::Timestamp;
use scale_secagg::error::Refusal;

use super::date::date;
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
    /// From when on coming back can help, where that is known: when a privacy budget refills.
    pub until: Option<Timestamp>,
}

impl Reason {
    /// A cause of the device's own.
    pub fn new(code: &'static str, sentence: impl Into<String>) -> Self {
        Self { code: code.into(), sentence: sentence.into(), until: None }
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
        Self { code: problem.code.into(), sentence: problem.sentence, until: None }
    }
}

/// The privacy ledger does not allow the round (C14).
impl From<ledger::Refusal> for Reason {
    fn from(refusal: ledger::Refusal) -> Self {
        let refills = match refusal {
            ledger::Refusal::Exhausted { claim, refills_ms } => Some((claim, refills_ms.map(Timestamp::from_millis))),
            _ => None,
        };
        let sentence = match refills {
            Some((claim, Some(at))) => {
                format!("the {} privacy budget of this period is used up; it refills on {}", claim.code(), date(at))
            }
            Some((claim, None)) => format!("this device's {} privacy budget is used up for good", claim.code()),
            None => refusal.to_string(),
        };
        let until = refills.and_then(|(_, until)| until);
        Self { until, ..Self::new(refusal.code(), format!("{sentence} (check C14)")) }
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
from_coded!(ModelError, TrainError, UpdateError, NoiseError);
