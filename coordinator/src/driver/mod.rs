//! Performs what the round machine decides: rows, blobs, cryptography, timers.
//!
//! Every call of a device goes the same way: the protocol's state checks the message, one transaction stores it together
//! with what [`Round::handle`](crate::round::Round::handle) made of it, and after the commit the waiting calls are woken. A crash before the
//! commit leaves nothing, a crash after it loses nothing: sessions are replayed from their messages, and effects follow
//! from the rows again.
//!
//! | file | holds |
//! |---|---|
//! | `live.rs` | what is in memory: open rounds, sessions, wakers; replay |
//! | `step.rs` | one step of a round, in one transaction |
//! | `training.rs` | the signed configuration, and who is in which session |
//! | `check_in.rs` | selection, pace steering, manifests, leaving |
//! | `stages.rs` | stages 0, 1, 3 and 4 |
//! | `upload.rs` | stage 2 |
//! | `perform.rs` | effects |
//! | `timer.rs` | start, schedules, deadlines |
//! | `time.rs` | the time of a round, and standstills of the process |
//! | `models.rs` | models for devices |
//! | `admin.rs` | tasks, rounds and models for operators |

mod admin;
mod check_in;
mod error;
mod live;
mod models;
mod perform;
mod stages;
mod step;
#[cfg(test)]
pub(crate) mod tests;
mod time;
mod timer;
mod training;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use scale_proto::answer::Progress;
use scale_proto::ids::{DeviceId, RoundId};
use scale_secagg::keys::IdentityKey;

use crate::blobs::Blobs;
use crate::clock::SharedClock;
use crate::round::Round;
use crate::store::Store;

pub use admin::{ModelInfo, RoundInfo, SessionInfo, TaskInfo};
pub use error::{Class, Error};
pub use models::ModelWatch;

/// Who calls, as the token and the enrollment say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The installation.
    pub device: DeviceId,
    /// Its Ed25519 identity key.
    pub identity_key: [u8; 32],
}

/// Makes the signed URL of a model's blob.
pub type ModelUrl = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Hears what happens in rounds, once it is kept. Called on the way of a device's call: it returns at once, and nothing of
/// a round depends on it.
pub trait Watch: std::fmt::Debug + Send + Sync {
    /// A participant has reported how far it is.
    fn progress(&self, progress: &Progress);
    /// A round is over: finished or abandoned. Not repeated after a crash in between; [`Coordinator::get_round`] tells.
    fn round_over(&self, id: RoundId, round: &Round);
}

/// Nobody listens.
impl Watch for () {
    fn progress(&self, _: &Progress) {}
    fn round_over(&self, _: RoundId, _: &Round) {}
}

/// What a coordinator is made of.
pub struct Parts {
    /// Rows.
    pub store: Store,
    /// Models and partial sums.
    pub blobs: Blobs,
    /// Time.
    pub clock: SharedClock,
    /// Signs round configurations.
    pub task_key: Arc<IdentityKey>,
    /// Makes signed URLs of models.
    pub model_url: ModelUrl,
    /// Hears what happens in rounds.
    pub watch: Arc<dyn Watch>,
    /// The rest.
    pub settings: Settings,
}

/// What an operator may tune; the defaults are right for most.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Uploads are staged below this folder.
    pub staging: PathBuf,
    /// How long a call waits for its stage to close before it says when to come back.
    pub long_poll: Duration,
    /// Threads that remove masks.
    pub threads: usize,
    /// Name of the privacy policy that is signed into every round.
    pub policy_id: String,
    /// Added to signed closing times for devices whose clock runs ahead.
    pub clock_slack: Duration,
    /// Open stages wait longer after this process stood still for more than this.
    pub standstill: Duration,
}

impl Settings {
    /// The defaults, staging below `folder`.
    pub fn new(staging: PathBuf) -> Self {
        Self {
            staging,
            long_poll: Duration::from_secs(10),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            policy_id: "none".to_owned(),
            clock_slack: Duration::from_secs(300),
            standstill: Duration::from_secs(2),
        }
    }
}

/// Handle to the one coordinator of a process; clones are cheap and mean the same one.
#[derive(Clone)]
pub struct Coordinator(Arc<live::Inner>);
