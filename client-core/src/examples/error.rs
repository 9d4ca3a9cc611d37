//! Why examples were not stored.

use super::{ID_BYTES, LABEL_BYTES};
use crate::error::HostError;

/// Why [`Examples::put`](super::Examples::put) failed. All but [`Self::Host`] say that an example is not as it must be; then
/// none of the call's examples was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExampleError {
    /// An example has no id.
    #[error("example {position} of the call, counted from 0, has an empty id: give each the app's own name for it")]
    EmptyId {
        /// Where in the call, counted from 0.
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
        /// Bytes of the id.
        bytes: usize,
    },
    /// An example has no label.
    #[error("the example {id:?} has an empty label: give the name of its class")]
    EmptyLabel {
        /// Its id.
        id: String,
    },
    /// A label is too long.
    #[error("the example {id:?} has a label of {bytes} bytes, more than {LABEL_BYTES}: give the name of its class")]
    LongLabel {
        /// Its id.
        id: String,
        /// Bytes of the label.
        bytes: usize,
    },
    /// A text is too long.
    #[error("the example {id:?} has a text of {bytes} bytes, more than {limit}: cut it, or raise the limit")]
    LongText {
        /// Its id.
        id: String,
        /// Bytes of the text.
        bytes: usize,
        /// [`ExampleLimits::text_bytes`](super::ExampleLimits::text_bytes).
        limit: u32,
    },
    /// The platform failed.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl ExampleError {
    /// One stable word per cause; the platform's own where that has failed.
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
