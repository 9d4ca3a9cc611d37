//! One device's way through one round.
//!
//! ```mermaid
//! stateDiagram-v2
//!     Idle --> Joined: manifest checked
//!     Joined --> Training: model verified
//!     Training --> Trained: update is finite
//!     Trained --> Keyed: round number remembered, AdvertiseKeys
//!     Keyed --> Shared: roster checked, ShareKeys
//!     Shared --> Masked: shares opened, update masked, upload
//!     Masked --> Agreed: survivors checked, signature
//!     Agreed --> Revealing: signatures checked, shares
//!     Revealing --> Done: accepted
//!     Idle --> Waited: no round now
//!     Joined --> Left: a check, a deadline, the host
//! ```
//!
//! [`State`] decides and [`Client`] performs. A state is stored, sealed, before anything that it sends leaves the device,
//! so a device that is killed at any moment sends the same bytes again: never two masked inputs, never two statements.

mod cancel;
mod guardrails;
mod history;
mod observe;
mod reason;
mod round;
mod runner;
mod snapshot;
mod state;

pub use cancel::CancelHandle;
pub use guardrails::{Guardrails, ROUNDS_PER_DAY, Rules};
pub use history::History;
pub use observe::{Observer, Phase, Report};
pub use reason::Reason;
pub use round::Round;
pub use runner::{Client, ClientConfig, Outcome, Requirements};
pub use snapshot::Unreadable;
pub use state::{Contribution, Effect, Env, Event, Outgoing, State, Step};

#[cfg(test)]
pub(crate) mod fixtures;
