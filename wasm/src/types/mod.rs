//! The values that cross to JavaScript, as JSON. The package's TypeScript types are generated from them (`typescript.rs`), so
//! that they cannot differ.
//!
//! Names are those of the core in camelCase, codes and phases are the core's own words, and times are Unix milliseconds.

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
pub use options::{ExampleLimits, Guardrails, Installation, Power, PrivacyCaps, PrivacyLimits, Requirements, Run};
pub use outcome::Outcome;
pub use progress::{Phase, Progress, ProgressEvent};
pub use report::{Participation, PrivacyReport, Protection, Receipt};
pub use status::{Durability, ExampleCounts, LastRun, Missing, ModelInfo, Status};
