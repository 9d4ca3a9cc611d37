//! The one long poll: look for an answer, and look again whenever a change may have brought one.

use std::time::Duration;

use tokio::sync::watch;

use crate::context::Context;
use crate::error::Error;

/// A call that waits for a round to change, for the long-poll time at most.
pub(crate) struct LongPoll<'c> {
    context: &'c Context,
    changed: watch::Receiver<u64>,
    /// Of the steady clock.
    until: Duration,
}

impl<'c> LongPoll<'c> {
    /// Begins. What the answer depends on is looked at after this, so that no change is missed.
    pub(crate) fn begin(context: &'c Context, changed: watch::Receiver<u64>) -> Self {
        let until = context.clock.steady() + context.settings.long_poll;
        Self { context, changed, until }
    }

    /// Waits until looking again may help. `false`: the time is up, and what was found is all there is.
    ///
    /// # Errors
    /// [`Error::Stopping`].
    pub(crate) async fn again(&mut self) -> Result<bool, Error> {
        if self.context.clock.steady() >= self.until {
            return Ok(false);
        }
        tokio::select! {
            // The sender lives as long as the round, which the caller holds.
            _ = self.changed.changed() => Ok(true),
            () = self.context.clock.sleep_until(self.until) => Ok(true),
            () = self.context.stop.cancelled() => Err(Error::Stopping),
        }
    }
}
