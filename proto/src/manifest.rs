//! One round as a device sees it.

use bytes::Bytes;

use crate::ids::{ModelVersion, RoundId};

/// What the coordinator hands to an accepted device. Trust comes from the signature over `round_config` alone, which
/// holds the digests of the model and of `plan`; the rest is routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The round.
    pub round: RoundId,
    /// Canonical `RoundConfig` (docs/protocol/round-config.md), not yet checked.
    pub round_config: Bytes,
    /// Ed25519 by the task key.
    pub config_signature: [u8; 64],
    /// Encoded [`crate::plan::Plan`], not yet checked against the digest.
    pub plan: Bytes,
    /// Signed URL of the global model.
    pub model_url: String,
    /// Size of the model file.
    pub model_bytes: u64,
    /// Version of the global model.
    pub model_version: ModelVersion,
}
