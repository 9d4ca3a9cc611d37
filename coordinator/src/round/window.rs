//! How long a session's open stage waits for answers.
//!
//! A window is a bound: nobody knows beforehand how long so many devices need for so many bytes. A stage closes as soon as
//! everybody has answered; once enough have, when nothing more has come for a grace time that follows what the stage has
//! taken so far; and with too few it waits until its window ends. Every answer starts the grace anew, so a stage closes on
//! those who fell silent, not on those who are slow because their machine, their line or this coordinator is.

use std::time::Duration;

use scale_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{REPAIR_GRACE, RESTART_GRACE, SessionProgress, SessionStage};

/// Later stages may close on silence once this share of the roster has answered: more than any threshold of
/// `scale_secagg::params` asks for, and less than what is left after the losses that the thresholds are made for.
const ENOUGH: (u64, u64) = (3, 4);

/// The grace is at least the stage's age divided by this: whoever needs a quarter longer than the device before it is
/// still waited for.
const SLOWER: u32 = 4;

/// The times of an open stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When the stage opened.
    pub opened: Timestamp,
    /// It closes no later than this; never later than the signed time.
    pub latest: Timestamp,
    /// It does not close on silence before this: devices come back from a standstill.
    #[serde(default)]
    pub hold: Timestamp,
}

impl SessionProgress {
    /// Opens the stage that the session stands in: at most for `window`, and never beyond the signed time `closing`.
    pub(super) fn open_window(&mut self, now: Timestamp, window: Duration, closing: Timestamp) {
        let latest = now.plus(window).min(closing);
        self.window = Window { opened: now, latest, hold: Timestamp::default() };
        self.deadline = latest;
    }

    /// One more device has answered the open stage. `ready`: the protocol could do with these answers. `least`: shortest
    /// grace of this task.
    pub(super) fn answer_came(&mut self, floor: u32, least: Duration, ready: bool, now: Timestamp) {
        if ready {
            // More shares than needed only repair wrong ones.
            self.deadline = self.deadline.min(now.plus(REPAIR_GRACE));
        } else if self.stage != SessionStage::Unmask && self.answered_now() >= self.enough(floor) {
            self.wait_on(least, now);
        }
    }

    /// Somebody has given a sign of life: the grace begins anew.
    pub(super) fn wait_on(&mut self, least: Duration, now: Timestamp) {
        let grace = least.max(self.window.opened.until(now) / SLOWER);
        self.deadline = now.plus(grace).max(self.window.hold).min(self.window.latest);
    }

    /// The coordinator did not hear anybody for a while, or its clock was set while it was down. `window`: the stage's
    /// full one. What devices could not send is not held against them, and no time of before lies further ahead than a
    /// stage that opens now would wait.
    pub(super) fn hear_again(&mut self, now: Timestamp, window: Duration, closing: Timestamp) {
        let hold = now.plus(RESTART_GRACE.min(window));
        let within = |time: Timestamp| time.clamp(hold, now.plus(window)).min(closing);
        self.window = Window { opened: self.window.opened.min(now), latest: within(self.window.latest), hold };
        self.deadline = within(self.deadline);
    }

    /// How many answers let the open stage close on silence.
    fn enough(&self, floor: u32) -> u32 {
        let share = (u64::from(self.answered[0]) * ENOUGH.0).div_ceil(ENOUGH.1);
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        match self.stage {
            SessionStage::Keys => self.goal,
            SessionStage::Shares | SessionStage::MaskedInput => share.max(floor),
            // Who is in the sum is settled.
            _ => share,
        }
    }
}
