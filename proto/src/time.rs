//! Time enters the system as a value; nothing here reads a clock.

use std::time::Duration;

pub use scale_clock::Timestamp;
use serde::{Deserialize, Serialize};

/// When coming back helps: not before `after`, not later than `before`, both counted from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryWindow {
    /// Earliest.
    pub after: Duration,
    /// Latest.
    pub before: Duration,
}

impl RetryWindow {
    /// Between `after` and twice that, so that devices spread out.
    pub const fn from_millis(after: u64) -> Self {
        Self { after: Duration::from_millis(after), before: Duration::from_millis(after.saturating_mul(2)) }
    }
}
