//! From pieces of masked inputs to durable partial sums, in the memory of one vector (docs/adr/0002).
//!
//! ```text
//! pieces ─▶ staged file ─▶ digest, padding ─▶ queue ─▶ one partial sum ─▶ blob, synced ─▶ rows: segment + committed
//! ```
//!
//! [`Staging`] holds the files; [`Adder`] is the queue and its one worker per session. The last step is the driver's:
//! one transaction that names the segment and marks its uploads. What fails before it is thrown away and added again from
//! the staged files; a blob that no row names is an orphan, deleted at the next start.

mod adder;
mod staging;
#[cfg(test)]
mod tests;

pub use adder::{Adder, Queued, Sink, add_up, segment_path, sum_segments};
pub use staging::{Held, Staging, Upload};

use scale_secagg::error::Refusal;

use crate::blobs::BlobError;

/// What goes wrong on the way into the sum.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The piece reaches beyond the announced end.
    #[error("the piece ends at byte {end} of {total}")]
    BeyondEnd {
        /// Where it ends.
        end: u64,
        /// Announced length.
        total: u64,
    },
    /// The whole does not have the announced digest. The staged file is gone: the upload starts again.
    #[error("the upload does not have the announced digest")]
    BadDigest,
    /// The protocol refuses the whole. The staged file is gone.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The data folder.
    #[error("staging: {0}")]
    Io(#[from] std::io::Error),
    /// The blob store.
    #[error("{0}")]
    Blob(#[from] BlobError),
    /// A segment that the rows name is not there, or damaged.
    #[error("partial sum {0} is missing or damaged")]
    Segment(String),
}
