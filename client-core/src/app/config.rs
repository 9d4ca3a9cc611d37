//! The configuration of an app.

use scale_proto::ids::TaskId;

use crate::device::{ClientConfig, Guardrails, Requirements};
use crate::examples::ExampleLimits;
use crate::train::Backend;

/// The configuration of an app, fixed before the first call.
#[derive(Clone, Debug, PartialEq)]
pub struct AppConfig {
    /// The task to take part in.
    pub task: TaskId,
    /// Ed25519 public key that signs round configurations. It is pinned here and never taken from the coordinator.
    pub task_key: [u8; 32],
    /// Ed25519 public key of the authority that certifies devices: see [`ClientConfig::identity_root`].
    pub identity_root: Option<[u8; 32]>,
    /// The app's own limits. A limit that is looser than the compiled one has no effect.
    pub guardrails: Guardrails,
    /// Conditions that must hold before the device joins a round.
    pub requirements: Requirements,
    /// Limits on the number, age and size of the stored examples.
    pub examples: ExampleLimits,
    /// Backend that trains and predicts.
    pub backend: Backend,
}

impl AppConfig {
    /// The compiled limits and the default requirements; no rounds of the malicious profile.
    pub fn new(task: TaskId, task_key: [u8; 32]) -> Self {
        Self {
            task,
            task_key,
            identity_root: None,
            guardrails: Guardrails::default(),
            requirements: Requirements::default(),
            examples: ExampleLimits::default(),
            backend: Backend::default(),
        }
    }

    pub(super) fn into_client(self) -> ClientConfig {
        ClientConfig {
            identity_root: self.identity_root,
            // Examples are lines of text: no other family can be trained on them.
            families: vec!["text_bag".to_owned()],
            guardrails: self.guardrails,
            requirements: self.requirements,
            ..ClientConfig::new(vec![self.task], self.task_key)
        }
    }
}
