//! When rounds open, and when devices come back for them. Pure: time is a value.

use std::time::Duration;

use scale_proto::task::Schedule;
use scale_proto::time::{RetryWindow, Timestamp};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const MINUTE_MS: u64 = 60 * 1000;

/// Check-ins per second that devices are spread to: far under what one coordinator answers.
const ARRIVALS_PER_S: u64 = 50;
/// Check-ins per second of devices that are in a round and wait for its begin.
const SELECTED_PER_S: u64 = 1000;
/// Nobody is sent away for longer, so that a changed schedule is noticed the same day.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// Where no opening is in sight.
const UNKNOWN: Duration = Duration::from_secs(30);
/// Before a device asks again for a task that is finished.
const FINISHED: Duration = Duration::from_secs(4 * 60 * 60);
/// A round that opened so much later than now was opened before the clock was set back.
const AHEAD_MS: u64 = 1000;
/// Narrowest window: even a handful of devices does not come in one burst.
const NARROWEST: Duration = Duration::from_millis(500);

/// When a task's next round opens, provided that none is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It is due.
    Now,
    /// At this moment.
    At(Timestamp),
    /// Not by itself.
    Never,
}

/// The next opening of `schedule` for a task created at `created_at` whose newest round opened at `last_opened_at`.
/// Openings missed while a round was running, or while the coordinator was down, are made up for once. After the clock was
/// set back one round opens at once: whether its time had come cannot be told any more, and it puts the rows right.
pub fn next_opening(
    schedule: &Schedule,
    created_at: Timestamp,
    last_opened_at: Option<Timestamp>,
    now: Timestamp,
) -> Opening {
    match schedule {
        Schedule::WhenReady => Opening::Now,
        Schedule::Manual => Opening::Never,
        Schedule::EveryS(seconds) => {
            let every = seconds.saturating_mul(1000).max(1);
            let (created, time) = (created_at.as_millis(), now.as_millis());
            // The creation itself is the first opening. The grid goes on before it, for a clock that was set back.
            let before = created.saturating_sub(time).div_ceil(every).saturating_mul(every);
            let slot = created.saturating_sub(before) + time.saturating_sub(created) / every * every;
            due_or_next(slot, slot.saturating_add(every), last_opened_at, now)
        }
        Schedule::Times(times) => {
            let midnight = now.as_millis() / DAY_MS * DAY_MS;
            // Yesterday's to tomorrow's, so that there is one on either side of now.
            let days = [midnight.saturating_sub(DAY_MS), midnight, midnight + DAY_MS];
            let slots = || days.iter().flat_map(|day| times.iter().map(move |at| day + u64::from(at.0) * MINUTE_MS));
            let last = slots().filter(|&slot| slot <= now.as_millis()).max();
            let next = slots().filter(|&slot| slot > now.as_millis()).min();
            let (Some(last), Some(next)) = (last, next) else { return Opening::Never };
            due_or_next(last, next, last_opened_at.or(Some(created_at)), now)
        }
    }
}

fn due_or_next(slot: u64, next: u64, last_opened_at: Option<Timestamp>, now: Timestamp) -> Opening {
    match last_opened_at {
        Some(opened) if opened.as_millis() > now.as_millis().saturating_add(AHEAD_MS) => Opening::Now,
        Some(opened) if opened.as_millis() >= slot => Opening::At(Timestamp::from_millis(next)),
        _ => Opening::Now,
    }
}

/// When a device that is turned away comes back: not before the opening, and spread so widely that the `waiting` devices
/// arrive at no more than [`ARRIVALS_PER_S`]. `until_opening`: `None` when no opening is in sight.
pub fn pace(until_opening: Option<Duration>, waiting: u64) -> RetryWindow {
    let after = until_opening.unwrap_or(UNKNOWN).min(LONGEST);
    let spread = Duration::from_millis(waiting.saturating_mul(1000) / ARRIVALS_PER_S);
    let spread = spread.clamp(NARROWEST.max(after / 10), LONGEST);
    RetryWindow { after, before: after + spread }
}

/// When a device that is in a round asks again whether it begins. The `cohort` is spread as [`pace`] spreads it, but nobody
/// is away for longer than a call waits (`long_poll`): the round may begin at any moment, and its first stage ends without
/// those who are late. That is paid for with more calls, up to [`SELECTED_PER_S`] a second, which is half of a core.
pub fn pace_selected(cohort: u64, long_poll: Duration) -> RetryWindow {
    let RetryWindow { after, before } = pace(Some(Duration::from_millis(100)), cohort);
    let most = Duration::from_millis(cohort.saturating_mul(1000) / SELECTED_PER_S).max(NARROWEST);
    RetryWindow { after, before: before.min(after + long_poll.max(most)) }
}

/// When a device asks again for a task that is finished: an operator may let it go on, so some hours later, not never.
/// `crowd`: devices that ask in a minute. If all that ask at this rate come back, they arrive at no more than
/// [`ARRIVALS_PER_S`].
pub fn pace_finished(crowd: u64) -> RetryWindow {
    let minutes = FINISHED.as_secs() / 60;
    let spread = Duration::from_secs(crowd.saturating_mul(minutes) / ARRIVALS_PER_S);
    RetryWindow { after: FINISHED, before: FINISHED + spread.clamp(FINISHED, FINISHED * 6) }
}

#[cfg(test)]
mod tests {
    use scale_proto::task::MinuteOfDay;

    use super::*;

    const HOUR_MS: u64 = 60 * MINUTE_MS;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn who_is_selected_is_never_away_for_longer_than_a_call_waits() {
        let long_poll = Duration::from_secs(10);
        for (cohort, spread) in [(10, 500), (100, 2_000), (10_000, 10_000)] {
            let RetryWindow { after, before } = pace_selected(cohort, long_poll);
            assert_eq!(before - after, Duration::from_millis(spread), "{cohort} devices");
        }
        assert_eq!(
            pace_selected(30_000, long_poll).before,
            Duration::from_millis(30_100),
            "they would be too many at once"
        );
        assert!(pace_selected(10, Duration::ZERO).before > pace_selected(10, Duration::ZERO).after);
    }

    #[test]
    fn openings() {
        let every = Schedule::EveryS(3600);
        let times = Schedule::Times(vec![MinuteOfDay(22 * 60), MinuteOfDay(6 * 60 + 30)]);
        let (created, day) = (1_000, 10 * DAY_MS);
        for (name, schedule, created, last, now, expected) in [
            ("when ready is always due", &Schedule::WhenReady, created, Some(5_000), 6_000, Opening::Now),
            ("manual never is", &Schedule::Manual, created, None, 6_000, Opening::Never),
            ("every: at creation", &every, created, None, created, Opening::Now),
            ("every: between slots", &every, created, Some(created), 2_000, Opening::At(at(created + HOUR_MS))),
            ("every: next slot reached", &every, created, Some(created), created + HOUR_MS, Opening::Now),
            (
                "every: late opening keeps the grid",
                &every,
                created,
                Some(created + HOUR_MS + 900),
                created + HOUR_MS + 901,
                Opening::At(at(created + 2 * HOUR_MS)),
            ),
            (
                "every: missed ones are made up for",
                &every,
                created,
                Some(created),
                created + 5 * HOUR_MS + 7,
                Opening::Now,
            ),
            ("every: a clock behind the creation", &every, created, None, 500, Opening::Now),
            (
                "every: the clock was set back behind the last opening",
                &every,
                created,
                Some(created + 2 * HOUR_MS),
                created + HOUR_MS,
                Opening::Now,
            ),
            (
                "every: and behind the creation, after one more opening",
                &every,
                day,
                Some(day - HOUR_MS / 2),
                day - HOUR_MS / 2 + 1,
                Opening::At(at(day)),
            ),
            ("times: the clock was set back", &times, day, Some(day + 23 * HOUR_MS), day + 22 * HOUR_MS, Opening::Now),
            (
                "times: later today",
                &times,
                day,
                None,
                day + HOUR_MS,
                Opening::At(at(day + 6 * HOUR_MS + 30 * MINUTE_MS)),
            ),
            ("times: reached", &times, day, None, day + 7 * HOUR_MS, Opening::Now),
            (
                "times: done, tonight",
                &times,
                day,
                Some(day + 7 * HOUR_MS),
                day + 8 * HOUR_MS,
                Opening::At(at(day + 22 * HOUR_MS)),
            ),
            (
                "times: tomorrow morning",
                &times,
                day,
                Some(day + 22 * HOUR_MS),
                day + 23 * HOUR_MS,
                Opening::At(at(day + DAY_MS + 6 * HOUR_MS + 30 * MINUTE_MS)),
            ),
            ("times: yesterday's slot, created before it", &times, day - 3 * HOUR_MS, None, day + 60, Opening::Now),
            (
                "times: created after the last slot",
                &times,
                day + 7 * HOUR_MS,
                None,
                day + 8 * HOUR_MS,
                Opening::At(at(day + 22 * HOUR_MS)),
            ),
            ("times: none given", &Schedule::Times(vec![]), day, None, day, Opening::Never),
        ] {
            let found = next_opening(schedule, at(created), last.map(at), at(now));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn windows_spread_with_the_crowd() {
        let near = Duration::from_secs(1);
        let few = pace(Some(near), 10);
        let many = pace(Some(near), 10_000);
        assert_eq!(few, RetryWindow { after: near, before: near + NARROWEST });
        assert_eq!(many.before, near + Duration::from_secs(200), "10,000 devices at 50 a second");
        assert_eq!(pace(None, 0).after, UNKNOWN);
        assert_eq!(pace(Some(Duration::from_secs(1 << 40)), u64::MAX).before, LONGEST * 2);
    }

    #[test]
    fn a_finished_task_is_asked_for_hours_later_and_not_by_everybody_at_once() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let (few, many) = (pace_finished(1), pace_finished(6_000));
        assert_eq!(few, RetryWindow { after: hours(4), before: hours(8) });
        assert_eq!(many.before, hours(12), "100 a second would be back: spread over eight hours they are 50");
        assert_eq!(pace_finished(u64::MAX).before, hours(28), "at most a day more");
    }
}
