//! Time. A moment is a value, [`Timestamp`], and most code takes `now` as one. With feature `runtime` there are the clocks
//! that tell it, one of them for tests to move by hand.

#![forbid(unsafe_code)]

#[cfg(feature = "runtime")]
mod runtime;
mod timestamp;

#[cfg(feature = "runtime")]
pub use runtime::{Anchor, Clock, DISAGREEMENT, MockClock, SharedClock, Sleep, Step, SystemClock};
pub use timestamp::Timestamp;
