//! What an app decides once.

use scale_proto::ids::TaskId;

use crate::device::{ClientConfig, Guardrails, Requirements};
use crate::examples::ExampleLimits;
use crate::train::Backend;

/// What an app decides once, before its device takes part in anything.
#[derive(Clone, Debug, PartialEq)]
pub struct AppConfig {
    /// The task: what is classified.
    pub task: TaskId,
    /// Ed25519 key that signs round configurations: pinned here, never taken from the coordinator.
    pub task_key: [u8; 32],
    /// Ed25519 key of the authority that certifies devices: see [`ClientConfig::identity_root`].
    pub identity_root: Option<[u8; 32]>,
    /// The app's own limits; looser ones than the compiled ones do not count.
    pub guardrails: Guardrails,
    /// What has to hold before the device joins a round.
    pub requirements: Requirements,
    /// How many examples are kept, how long and how large.
    pub examples: ExampleLimits,
    /// What computes.
    pub backend: Backend,
}

impl AppConfig {
    /// The compiled limits and the usual requirements; no malicious profile.
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
