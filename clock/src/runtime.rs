//! Where time comes from. Everything else takes `now` as a value or a [`SharedClock`], so that a test can move the
//! whole system by hand.
//!
//! There are two clocks. The *wall clock* says what people and devices call now; an operator or NTP may set it, forward
//! or back. The *steady clock* only counts: nobody sets it, it means nothing to others, and it begins anew when the machine
//! does. What is shown, signed or kept is wall time; how long something may still take is counted by the steady clock
//! (docs/adr/0011).

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use crate::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// The present moment by the wall clock.
    fn now(&self) -> Timestamp;

    /// The steady clock: time since a moment that is the same for the life of this process. It goes on while the machine
    /// is suspended, where the system has such a clock.
    fn steady(&self) -> Duration;

    /// Returns once the steady clock shows `until`.
    fn sleep_until(&self, until: Duration) -> Sleep;
}

/// A wait for a moment of the steady clock.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A clock that many parts hold at once.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock set before 1970 reads as the epoch: tokens and URLs then look unexpired.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    #[cfg(target_os = "linux")]
    fn steady(&self) -> Duration {
        // Since the machine started. Linux stops CLOCK_MONOTONIC, which `Instant` reads, while the machine is suspended.
        rustix::time::clock_gettime(rustix::time::ClockId::Boottime).try_into().unwrap_or_default()
    }

    #[cfg(not(target_os = "linux"))]
    fn steady(&self) -> Duration {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed()
    }

    fn sleep_until(&self, until: Duration) -> Sleep {
        let clock = *self;
        Box::pin(async move {
            // The runtime's timer counts by another clock, so it may be early.
            while clock.steady() < until {
                tokio::time::sleep(until.saturating_sub(clock.steady())).await;
            }
        })
    }
}

/// A moment on both clocks: from here on the steady one carries the wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    wall: Timestamp,
    steady: Duration,
}

impl Anchor {
    /// Now.
    pub fn at(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), steady: clock.steady() }
    }

    /// The present moment, had nobody set the wall clock since.
    pub fn now(&self, clock: &dyn Clock) -> Timestamp {
        self.wall.plus(clock.steady().saturating_sub(self.steady))
    }

    /// How far the wall clock was set since; `None`: by less than [`DISAGREEMENT`], or not at all.
    pub fn set_since(&self, clock: &dyn Clock) -> Option<Step> {
        let (wall, carried) = (clock.now(), self.now(clock));
        let step = if wall >= carried { Step::Forward(carried.until(wall)) } else { Step::Back(wall.until(carried)) };
        let (Step::Forward(by) | Step::Back(by)) = step;
        (by > DISAGREEMENT).then_some(step)
    }
}

/// The clocks may part by so much before the wall clock counts as set: more than they drift apart between two looks.
pub const DISAGREEMENT: Duration = Duration::from_secs(1);

/// How the wall clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It shows a later time than it would have.
    Forward(Duration),
    /// It shows an earlier time.
    Back(Duration),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Forward(by) => write!(f, "forward by {:.1} s", by.as_secs_f64()),
            Self::Back(by) => write!(f, "back by {:.1} s", by.as_secs_f64()),
        }
    }
}

/// A clock for tests. All clones show the same time, so a test that holds any of them moves the whole system: deadlines and
/// calls that wait alike.
#[derive(Clone, Debug, Default)]
pub struct MockClock(Arc<Hands>);

#[derive(Debug, Default)]
struct Hands {
    wall_ms: AtomicU64,
    steady_ms: AtomicU64,
    /// Told when time passes.
    moved: Notify,
}

impl MockClock {
    /// Shows `start`.
    pub fn at(start: Timestamp) -> Self {
        let clock = Self::default();
        clock.set(start);
        clock
    }

    /// Time passes.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.wall_ms.fetch_add(by, Ordering::SeqCst);
        self.0.steady_ms.fetch_add(by, Ordering::SeqCst);
        self.0.moved.notify_waiters();
    }

    /// Somebody sets the wall clock, back as well; no time passes.
    pub fn set(&self, to: Timestamp) {
        self.0.wall_ms.store(to.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for MockClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.wall_ms.load(Ordering::SeqCst))
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.0.steady_ms.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, until: Duration) -> Sleep {
        let clock = self.clone();
        Box::pin(async move {
            loop {
                let mut moved = pin!(clock.0.moved.notified());
                // From here on no movement is missed.
                moved.as_mut().enable();
                if clock.steady() >= until {
                    return;
                }
                moved.await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn an_anchor_carries_the_wall_time_and_sees_that_it_was_set() {
        let start = Timestamp::from_millis(7_200_000);
        let clock = MockClock::at(start);
        let anchor = Anchor::at(&clock);
        clock.advance(Duration::from_secs(5));
        assert_eq!((anchor.now(&clock), anchor.set_since(&clock)), (clock.now(), None));
        clock.set(Timestamp::from_millis(7_204_000));
        assert_eq!(anchor.set_since(&clock), None, "a second is drift");
        clock.set(Timestamp::from_millis(3_605_000));
        assert_eq!(anchor.now(&clock), Timestamp::from_millis(7_205_000));
        assert_eq!(anchor.set_since(&clock), Some(Step::Back(Duration::from_secs(3_600))));
        clock.set(Timestamp::from_millis(10_805_000));
        assert_eq!(anchor.set_since(&clock).map(|step| step.to_string()).as_deref(), Some("forward by 3600.0 s"));
    }

    #[tokio::test]
    async fn the_machines_steady_clock_counts_and_wakes() {
        let before = SystemClock.steady();
        SystemClock.sleep_until(before + Duration::from_millis(5)).await;
        assert!(SystemClock.steady() >= before + Duration::from_millis(5));
        SystemClock.sleep_until(before).await;
    }

    #[tokio::test]
    async fn waits_end_when_the_time_of_the_test_has_come() {
        let second = Duration::from_secs(1);
        let clock = MockClock::default();
        let mut waiting = clock.sleep_until(2 * second);
        let mut is_over = || waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(!is_over());
        clock.advance(second);
        assert!(!is_over(), "a second early");
        clock.set(Timestamp::from_millis(3_600_000));
        assert!(!is_over(), "no time has passed");
        clock.advance(second);
        assert!(is_over());
        clock.sleep_until(second).await;
    }
}
