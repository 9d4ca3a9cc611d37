//! What an app decides once, before its device takes part in anything.

use scale_proto::ids::TaskId;

use super::{Guardrails, Requirements};

/// What an app decides once.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// Tasks to take part in; empty means any.
    pub tasks: Vec<TaskId>,
    /// Ed25519 key that signs round configurations: pinned here, never taken from the coordinator.
    pub task_key: [u8; 32],
    /// Ed25519 key of the authority that certifies devices, which the coordinator does not run: pinned here, it keeps the
    /// device out of all rounds but those of the malicious profile under this root. `None` keeps it out of these.
    pub identity_root: Option<[u8; 32]>,
    /// Names of the model families that the trainer can build ([`scale_proto::model::Family::name`]).
    pub families: Vec<String>,
    /// The app's own limits; looser ones than the compiled ones do not count.
    pub guardrails: Guardrails,
    /// What has to hold before the device joins a round.
    pub requirements: Requirements,
}

impl ClientConfig {
    /// Every family of this version, the compiled limits, the default requirements, and no malicious profile.
    pub fn new(tasks: Vec<TaskId>, task_key: [u8; 32]) -> Self {
        Self {
            tasks,
            task_key,
            identity_root: None,
            families: ["text_bag", "mlp", "cnn"].map(String::from).to_vec(),
            guardrails: Guardrails::default(),
            requirements: Requirements::default(),
        }
    }
}
