//! The values that apps give and get, in every language. Swift's and Kotlin's types are generated from them by uniffi,
//! TypeScript's by `typescript.rs`, so that they cannot differ; to JavaScript they cross as JSON.
//!
//! Names are those of the core (in camelCase where that is the custom), codes and phases are the core's own words, and times
//! are Unix milliseconds.

mod epsilon;
mod error;
mod examples;
mod options;
mod outcome;
mod progress;
mod report;
mod status;
#[cfg(test)]
mod typescript;

pub use epsilon::{Epsilon, Epsilons};
pub use error::{ErrorKind, Failure};
pub use examples::{Example, Prediction, PutSummary, Scored};
pub use options::{
    ExampleLimits, Guardrails, Installation, OwnGuardrails, Power, PrivacyCaps, PrivacyLimits, Requirements, RunOptions,
};
pub use outcome::Outcome;
pub use progress::{Phase, Progress, ProgressEvent};
pub use report::{Participation, PrivacyReport, Protection, Receipt};
pub use status::{Durability, ExampleCounts, LastRun, Missing, ModelInfo, Status};

/// Reads milliseconds that JavaScript has as any number: a fraction is cut off, and a time before 1970 is 1970.
pub(crate) fn whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let time: Option<f64> = serde::Deserialize::deserialize(deserializer)?;
    Ok(time.map(|time| time as u64))
}
