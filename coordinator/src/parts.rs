//! What a coordinator is made of, and what it asks of who puts it together.

use std::sync::Arc;
use std::time::Duration;

use scale_clock::SharedClock;
use scale_proto::answer::Progress;
use scale_proto::ids::{DeviceId, RoundId};
use scale_secagg::keys::IdentityKey;

use crate::blobs::{Blobs, ModelUrls};
use crate::round::Round;
use crate::staging::Staging;
use crate::store::Store;

/// Who calls, as the token and the enrollment say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The installation.
    pub device: DeviceId,
    /// Its Ed25519 identity key.
    pub identity_key: [u8; 32],
}

/// Hears what happens in rounds, once it is kept. Called on the way of a device's call: it returns at once, and nothing of
/// a round depends on it.
pub trait Watch: std::fmt::Debug + Send + Sync {
    /// A participant has reported how far it is.
    fn progress(&self, progress: &Progress);
    /// A round is over: finished or abandoned. Not repeated after a crash in between; the rounds' rows tell.
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
    /// Uploads on their way into a partial sum.
    pub staging: Staging,
    /// Time.
    pub clock: SharedClock,
    /// Signs round configurations.
    pub task_key: Arc<IdentityKey>,
    /// Makes the URLs of models.
    pub model_urls: ModelUrls,
    /// Hears what happens in rounds.
    pub watch: Arc<dyn Watch>,
    /// The rest.
    pub settings: Settings,
}

/// What an operator may tune; the defaults are right for most.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a call waits for its stage to close before it says when to come back.
    pub long_poll: Duration,
    /// Threads that remove masks.
    pub threads: usize,
    /// Name of the privacy policy that is signed into every round.
    pub policy_id: String,
    /// Added to signed closing times for devices whose clock runs ahead.
    pub clock_slack: Duration,
    /// Open stages wait longer after nobody looked at them for more than this: devices did not reach the coordinator.
    pub standstill: Duration,
    /// Whether other processes work on the same rows and blobs.
    pub replicas: bool,
    /// How long a process that is not heard of holds its work.
    pub lease: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            long_poll: Duration::from_secs(10),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            policy_id: "none".to_owned(),
            clock_slack: Duration::from_secs(300),
            standstill: Duration::from_secs(2),
            replicas: false,
            lease: Duration::from_secs(30),
        }
    }
}
