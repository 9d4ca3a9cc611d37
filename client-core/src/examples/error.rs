//! Why examples were not stored.

use super::{ID_BYTES, LABEL_BYTES};
use crate::error::HostError;

/// Why [`Examples::put`](super::Examples::put) failed. All variants but [`Self::Host`] mean that an example is invalid;
/// none of the call's examples was stored then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExampleError {
    /// An example has no id.
    #[error(
        "example {position} of the call, counted from 0, has an empty id: give each example an id of the app's own"
    )]
    EmptyId {
        /// Position in the call, counted from 0.
        position: usize,
    },
    /// An id is too long.
    #[error(
        "the example id that begins with {start:?} has {bytes} bytes, more than {ID_BYTES}: give a shorter one, such as a \
         hash of it"
    )]
    LongId {
        /// The start of the id.
        start: String,
        /// Length of the id in bytes.
        bytes: usize,
    },
    /// An example has no label.
    #[error("the example {id:?} has an empty label: give the name of its class")]
    EmptyLabel {
        /// Id of the example.
        id: String,
    },
    /// A label is too long.
    #[error("the example {id:?} has a label of {bytes} bytes, more than {LABEL_BYTES}: give the name of its class")]
    LongLabel {
        /// Id of the example.
        id: String,
        /// Length of the label in bytes.
        bytes: usize,
    },
    /// A text is too long.
    #[error("the example {id:?} has a text of {bytes} bytes, more than {limit}: cut it, or raise the limit")]
    LongText {
        /// Id of the example.
        id: String,
        /// Length of the text in bytes.
        bytes: usize,
        /// [`ExampleLimits::text_bytes`](super::ExampleLimits::text_bytes).
        limit: u32,
    },
    /// Storage, key store or randomness failed.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl ExampleError {
    /// Stable machine-readable code of the cause; if the platform failed, [`HostError::what`].
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EmptyId { .. } => "example_id_empty",
            Self::LongId { .. } => "example_id_too_long",
            Self::EmptyLabel { .. } => "example_label_empty",
            Self::LongLabel { .. } => "example_label_too_long",
            Self::LongText { .. } => "example_text_too_long",
            Self::Host(error) => error.what,
        }
    }
}
