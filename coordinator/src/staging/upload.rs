//! One upload on its way in: how it was announced, how far it has come, what is checked once it is whole.

use ring::digest::{Context, SHA256};
use scale_proto::ids::{DeviceId, Digest, SessionId};
use scale_secagg::config::RoundConfig;
use scale_secagg::error::Refusal;
use scale_secagg::server::check_packed;

use crate::blobs::BlobError;

/// One upload as its sender announced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The session.
    pub session: SessionId,
    /// The sender.
    pub device: DeviceId,
    /// SHA-256 of the whole.
    pub digest: Digest,
    /// Bytes of the whole.
    pub total: u64,
}

/// How far an upload has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Bytes from the start, without a gap.
    Part(u64),
    /// All of it.
    Whole,
}

/// What goes wrong between a piece and a sum.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The piece reaches beyond the announced end; it changed nothing.
    #[error("the piece ends at byte {end} of {total}")]
    BeyondEnd {
        /// Where it ends.
        end: u64,
        /// Announced length.
        total: u64,
    },
    /// The whole does not have the announced digest. What was staged is gone: the upload starts again.
    #[error("the upload does not have the announced digest")]
    BadDigest,
    /// The upload came in far more pieces than it needs. What was staged is gone: the upload starts again.
    #[error("the upload came in more than {0} pieces; send larger ones")]
    TooManyPieces(usize),
    /// The protocol refuses the whole. What was staged is gone.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Not all of the upload is staged: it is not whole yet, or it has been removed since.
    #[error("only {held} of {total} bytes of the upload of device {device} are staged")]
    Missing {
        /// The sender.
        device: DeviceId,
        /// Bytes from the start, without a gap.
        held: u64,
        /// Announced length.
        total: u64,
    },
    /// The folder.
    #[error("staging: {0}")]
    Io(#[from] std::io::Error),
    /// The object store.
    #[error("{0}")]
    Blob(#[from] BlobError),
}

impl Upload {
    /// The answer about this upload when `held` bytes of it are there.
    pub(super) fn held(&self, held: u64) -> Held {
        if held >= self.total { Held::Whole } else { Held::Part(held) }
    }

    /// Where a piece ends.
    ///
    /// # Errors
    /// [`Error::BeyondEnd`].
    pub(super) fn end_of(&self, offset: u64, data: &[u8]) -> Result<u64, Error> {
        let end = offset.saturating_add(data.len() as u64);
        if end > self.total { Err(Error::BeyondEnd { end, total: self.total }) } else { Ok(end) }
    }

    /// The error when only `held` bytes are there.
    pub(super) fn missing(&self, held: u64) -> Error {
        Error::Missing { device: self.device, held, total: self.total }
    }
}

/// Looks at a whole upload in one pass, in blocks of any size: its digest, its length, and the unused bits at the end of
/// each vector.
pub(super) struct Check<'c> {
    config: &'c RoundConfig,
    context: Context,
    length: u64,
    /// Where the last byte of each vector is, ascending, and that byte once it came by.
    ends: Vec<(u64, u8)>,
    next: usize,
}

impl<'c> Check<'c> {
    pub(super) fn new(upload: &Upload, config: &'c RoundConfig) -> Self {
        let mut ends = Vec::new();
        // Only asks where the bytes are. An upload of a wrong length has none to look at; `finish` says so.
        let _ = check_packed(config, upload.total, |at| {
            ends.push((at, 0));
            Ok::<_, Refusal>(0)
        });
        Self { config, context: Context::new(&SHA256), length: 0, ends, next: 0 }
    }

    pub(super) fn push(&mut self, block: &[u8]) {
        self.context.update(block);
        let end = self.length + block.len() as u64;
        while let Some((at, byte)) = self.ends.get_mut(self.next)
            && *at < end
        {
            // The cast holds: it lies within the block.
            *byte = block[(*at - self.length) as usize];
            self.next += 1;
        }
        self.length = end;
    }

    /// # Errors
    /// [`Error::BadDigest`], [`Error::Refused`].
    pub(super) fn finish(self, upload: &Upload) -> Result<(), Error> {
        if self.length != upload.total || self.context.finish().as_ref() != upload.digest.0 {
            return Err(Error::BadDigest);
        }
        let mut bytes = self.ends.iter().map(|(_, byte)| *byte);
        check_packed(self.config, self.length, |_| Ok::<_, Error>(bytes.next().unwrap_or_default()))
    }
}

/// Whether the upload is of no use any more: its sender has to begin again, and what is staged goes.
pub(super) fn is_spoiled(result: &Result<(), Error>) -> bool {
    matches!(result, Err(Error::BadDigest | Error::Refused(_)))
}
