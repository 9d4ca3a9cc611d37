//! The part of one device in one round.
//!
//! ```mermaid
//! stateDiagram-v2
//!     Idle --> Joined: manifest checked
//!     Joined --> Training: model verified
//!     Training --> Trained: update is finite, on the grid
//!     Trained --> Keyed: round number remembered, AdvertiseKeys
//!     Keyed --> Shared: roster checked, ShareKeys
//!     Shared --> Paying: shares opened, cost reserved in the privacy ledger
//!     Paying --> Releasing: reservation durable, noise added, update masked and stored
//!     Releasing --> Masked: its digest durable in the privacy ledger, upload
//!     Masked --> Agreed: survivors checked, signature
//!     Agreed --> Revealing: signatures checked, shares
//!     Revealing --> Done: accepted
//!     Idle --> Waited: no round now
//! Keyed --> Waited: the round has ended, check in again
//! Joined --> Left: a failed check, a deadline, the host
//! ```
//!
//! [`State`] decides and [`Client`] performs. A state is stored, sealed, before any message that it sends leaves the
//! device. A device that is killed at any moment therefore sends the same bytes again, never two different masked
//! inputs or two different survivor statements. The privacy cost is reserved before noise is drawn, and the digest of a
//! masked input is in the ledger before the input is sent (`payload.rs`).

mod activity;
mod budget;
mod cancel;
mod cause;
mod client;
mod config;
mod date;
mod enrollment;
mod event;
mod guardrails;
mod history;
mod ledger_store;
mod noise;
mod observe;
mod pace;
mod payload;
mod report;
mod requirements;
mod round;
mod run;
mod snapshot;
mod state;
mod stored;
mod upload;

pub use cancel::Cancel;
pub use cause::{Cause, Guardrail};
pub use client::{Client, Outcome, RunOptions};
pub use config::ClientConfig;
pub use event::{Effect, Event, Outgoing, TrainingInput};
pub use guardrails::{Guardrails, ROUNDS_PER_DAY, Rules, WithoutNoise};
pub use history::History;
pub use observe::{Observer, Phase, Progress, ProgressEvent, Sparingly};
pub use payload::{Paying, Payload, Releasing, Sealed};
pub use report::{Participation, PrivacyReport, Protection, Receipt};
pub use requirements::{Condition, Power, Requirements};
pub use round::Round;
pub use scale_privacy::guardrails::{Caps as PrivacyCaps, Limits as PrivacyLimits};
pub use scale_privacy::ledger::{Epsilon, Epsilons};
pub use snapshot::{Part, Snapshot, Unreadable};
pub use state::{Contribution, Env, State, Step};

#[cfg(test)]
pub(crate) mod fixtures;
