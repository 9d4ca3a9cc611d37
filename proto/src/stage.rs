//! Stage messages: a handle that routes, and a payload that the protocol reads.

use bytes::Bytes;

use crate::ids::{Digest, SessionId};

/// What a device sends in stages 0, 1, 3 and 4. `handle` is a round's id in stage 0 and a session's afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageUp<Handle> {
    /// Where it belongs.
    pub handle: Handle,
    /// Canonical bytes of the protocol.
    pub payload: Bytes,
}

/// One piece of a masked input (stage 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadPiece {
    /// Where it belongs.
    pub session: SessionId,
    /// Position of the first byte of `data` in the whole.
    pub offset: u64,
    /// Bytes of the whole.
    pub total: u64,
    /// SHA-256 of the whole.
    pub digest: Digest,
    /// The piece; empty asks how far the upload has come.
    pub data: Bytes,
}
