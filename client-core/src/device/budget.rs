//! The time that an app gives to one call, measured by a clock that nobody sets.

use std::time::Duration;

use crate::host::Clock;

/// When a call's budget ends, by [`Clock::steady`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget(Duration);

impl Budget {
    /// A budget that begins now.
    pub(super) fn starting(clock: &impl Clock, budget: Duration) -> Self {
        Self(clock.steady().saturating_add(budget))
    }

    /// What is left of it; zero at its end.
    pub(super) fn left(self, clock: &impl Clock) -> Duration {
        self.0.saturating_sub(clock.steady())
    }
}
