//! The configuration of a client.

use scale_proto::ids::TaskId;

use super::{Guardrails, Requirements};

/// The configuration of a client, fixed before its first call.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// Tasks to take part in; empty means any.
    pub tasks: Vec<TaskId>,
    /// Ed25519 public key that signs round configurations. It is pinned here and never taken from the coordinator.
    pub task_key: [u8; 32],
    /// Ed25519 public key of the authority that certifies devices and that is independent of the coordinator. If set,
    /// the device joins only rounds of the malicious profile under this root; if `None`, it joins only rounds of the
    /// other profile.
    pub identity_root: Option<[u8; 32]>,
    /// Names of the model families that the trainer can build ([`scale_proto::model::Family::name`]).
    pub families: Vec<String>,
    /// The app's own limits. A limit that is looser than the compiled one has no effect.
    pub guardrails: Guardrails,
    /// Conditions that must hold before the device joins a round.
    pub requirements: Requirements,
}

impl ClientConfig {
    /// Every model family of this version, the compiled limits, the default requirements, and no rounds of the
    /// malicious profile.
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
