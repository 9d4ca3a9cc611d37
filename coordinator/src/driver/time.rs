//! The time of a round, and whether the coordinator was there all the time.
//!
//! A round keeps the wall time of its opening and counts on by the steady clock: whoever sets the wall clock neither
//! shortens nor lengthens an open stage. Only while devices are selected does a round follow the wall clock, because the
//! closing times that it will sign are judged by the devices' own clocks.

use std::sync::Mutex;
use std::time::Duration;

use super::live::{Inner, State, guard, is_selecting};
use crate::clock::Anchor;
use scale_proto::time::Timestamp;

/// Time between two looks at the clocks.
pub(super) const BEAT: Duration = Duration::from_millis(500);

/// Notices that the process stood still: it was stopped, the machine slept, or others had all of its processors.
#[derive(Debug)]
pub(super) struct Pulse {
    limit: Duration,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    at: Duration,
    standstills: u64,
}

impl Pulse {
    /// `limit`: a pause of so much more than [`BEAT`] is a standstill. `now`: of the steady clock.
    pub(super) fn new(limit: Duration, now: Duration) -> Self {
        Self { limit, last: Mutex::new(Last { at: now, standstills: 0 }) }
    }

    /// The process runs at this moment of the steady clock. Returns the standstills up to now.
    pub(super) fn beat(&self, now: Duration) -> u64 {
        let mut last = guard(&self.last);
        let pause = now.saturating_sub(last.at).saturating_sub(BEAT);
        if pause > self.limit {
            last.standstills += 1;
            tracing::warn!(
                "this process stood still for {:.1} s; open stages wait longer, because devices did not reach it",
                pause.as_secs_f64()
            );
        }
        last.at = last.at.max(now);
        last.standstills
    }
}

/// What a round's time makes of the two clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundTime {
    anchor: Anchor,
    /// Standstills of the process that the round knows of.
    standstills: u64,
}

impl RoundTime {
    /// Begins with the wall clock's time.
    pub(super) fn begin(inner: &Inner) -> Self {
        Self { anchor: Anchor::at(&*inner.clock), standstills: inner.standstills() }
    }

    /// The present moment.
    pub(super) fn now(&self, inner: &Inner) -> Timestamp {
        self.anchor.now(&*inner.clock)
    }
}

impl State {
    /// The present moment as the round counts it.
    pub(super) fn now(&self, inner: &Inner) -> Timestamp {
        self.time.now(inner)
    }

    /// The time to go on with, if the round has to hear [`crate::round::Event::Resumed`] first.
    pub(super) fn resumed(&self, inner: &Inner) -> Option<RoundTime> {
        let follows = is_selecting(&self.round) && self.time.anchor.set_since(&*inner.clock).is_some();
        let standstills = inner.standstills();
        let anchor = if follows { Anchor::at(&*inner.clock) } else { self.time.anchor };
        (follows || standstills != self.time.standstills).then_some(RoundTime { anchor, standstills })
    }

    /// Goes on with this time; when members were last seen is told in it from now on.
    pub(super) fn set_time(&mut self, inner: &Inner, time: RoundTime) {
        let (before, now) = (self.now(inner), time.now(inner));
        for member in self.members.values_mut() {
            let ago = member.seen_at.until(before).as_millis();
            let seen_at = now.as_millis().saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX));
            member.seen_at = Timestamp::from_millis(seen_at);
        }
        self.time = time;
    }
}

impl Inner {
    /// Standstills of the process up to now.
    fn standstills(&self) -> u64 {
        self.pulse.beat(self.clock.steady())
    }

    /// Looks at both clocks until the coordinator stops.
    pub(super) async fn watch_clocks(&self) {
        let mut anchor = Anchor::at(&*self.clock);
        let mut standstills = self.standstills();
        while !self.stop.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(BEAT) => {}
                () = self.stop.cancelled() => return,
            }
            let step = anchor.set_since(&*self.clock);
            if let Some(step) = step {
                tracing::warn!(
                    "the system's clock was set {step}; open rounds go on by the steady clock, and devices whose clocks \
                     differ from this one's by more than rounds.clock_slack_s may refuse the next ones"
                );
            }
            // What drifts between two looks is nobody's step.
            anchor = Anchor::at(&*self.clock);
            let before = std::mem::replace(&mut standstills, self.standstills());
            if step.is_some() || before != standstills {
                self.alarm.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_counts_standstills() {
        let at = Duration::from_millis;
        let pulse = Pulse::new(at(2_000), at(10_000));
        for (now, standstills) in
            [(10_500, 0), (12_900, 0), (15_400, 0), (17_901, 1), (18_000, 1), (40_000, 2), (39_000, 2)]
        {
            assert_eq!(pulse.beat(at(now)), standstills, "at {now}");
        }
    }
}
