//! When an installation may ask for work again. Stored across restarts, so that restarting an app does not defeat the
//! coordinator's distribution of check-ins over time. No I/O.

use std::time::Duration;

use rand_core::Rng;
use scale_proto::time::{RetryWindow, Timestamp};
use serde::{Deserialize, Serialize};

use super::Phase;

/// Pause after the first round that the device left; it doubles with every further one, up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(6 * 60 * 60);
/// Upper bound of every pause: a clock that once ran ahead must not block a device permanently.
const FURTHEST: Duration = Duration::from_secs(9 * 60 * 60);

/// The state that is stored between two participations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pace {
    /// The earliest time of the next check-in; `None`: at once.
    next: Option<Next>,
    /// Consecutive rounds that the device left for another reason than a cancellation.
    left_in_a_row: u32,
}

/// The earliest time of the next call, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Next {
    /// When the wait was decided: reveals a clock that was set back.
    since: Timestamp,
    /// The earliest time of the next call.
    pub(super) at: Timestamp,
    /// Stable machine-readable code.
    pub(super) code: String,
    /// The reason, as a sentence for the user.
    pub(super) sentence: String,
    /// What is waited for.
    pub(super) reason: WaitReason,
}

/// What a device waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WaitReason {
    /// The next check-in.
    CheckIn,
    /// A fresh enrollment token, which only the app can bring.
    Enrollment,
    /// The next step of a stored round.
    Round {
        /// Where the round is.
        phase: Phase,
        /// When the round is lost for this device.
        lost_at: Timestamp,
    },
}

impl Pace {
    /// The wait that applies at `now`, if any.
    pub(super) fn due(&self, now: Timestamp) -> Option<&Next> {
        // Ignored if the clock is now before the decision, or if the wait is longer than any that is ever set.
        let counts = |next: &&Next| next.since <= now && now < next.at && now.until(next.at) <= FURTHEST;
        self.next.as_ref().filter(counts)
    }

    /// The coordinator has given a window: waits until a uniformly random time in it.
    pub(super) fn waited(
        &mut self,
        window: RetryWindow,
        code: &str,
        sentence: &str,
        now: Timestamp,
        rng: &mut impl Rng,
    ) {
        self.set(now.plus(within(window, rng)), code, sentence, WaitReason::CheckIn, now);
    }

    /// The round pauses for a window, whose end is when it is lost for this device.
    pub(super) fn paused(&mut self, resume: RetryWindow, phase: Phase, now: Timestamp) {
        let reason = WaitReason::Round { phase, lost_at: now.plus(resume.before) };
        self.set(now.plus(resume.after), "paused", "the round goes on later", reason, now);
    }

    /// The coordinator has refused the device token: asking it again helps only after the app has enrolled, or after the
    /// operator has restored a key.
    pub(super) fn refused(&mut self, code: &str, sentence: &str, now: Timestamp, rng: &mut impl Rng) {
        let at = self.left(None, code, sentence, now, rng);
        self.set(at, code, sentence, WaitReason::Enrollment, now);
    }

    /// The device left a round: the pause doubles each time, and half of it is random. `until`: a later time that is
    /// known to be necessary, such as the day on which a budget refills.
    pub(super) fn left(
        &mut self,
        until: Option<Timestamp>,
        code: &str,
        sentence: &str,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Timestamp {
        let longest = FIRST.saturating_mul(1 << self.left_in_a_row.min(20)).min(LONGEST);
        self.left_in_a_row = self.left_in_a_row.saturating_add(1);
        let backoff = now.plus(within(RetryWindow { after: longest / 2, before: longest }, rng));
        let at = until.map_or(backoff, |until| backoff.max(until.min(now.plus(LONGEST))));
        self.set(at, code, sentence, WaitReason::CheckIn, now);
        at
    }

    /// Removes the wait: the device has contributed, or has enrolled again.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn set(&mut self, at: Timestamp, code: &str, sentence: &str, reason: WaitReason, now: Timestamp) {
        let at = at.min(now.plus(FURTHEST));
        self.next = Some(Next { since: now, at, code: code.to_owned(), sentence: sentence.to_owned(), reason });
    }
}

/// A uniformly random time in the window, so that devices with the same window do not all call at once.
pub(super) fn within(window: RetryWindow, rng: &mut impl Rng) -> Duration {
    let span = u64::try_from(window.before.saturating_sub(window.after).as_millis()).unwrap_or(u64::MAX);
    // The upper half of a 128-bit product: uniform up to 2^-64.
    let part = (u128::from(rng.next_u64()) * (u128::from(span) + 1)) >> 64;
    window.after.saturating_add(Duration::from_millis(part as u64))
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;

    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([1; 32])
    }

    #[test]
    fn a_window_is_kept_until_it_begins() {
        let (mut pace, mut rng) = (Pace::default(), rng());
        assert_eq!(pace.due(NOON), None);
        let window = RetryWindow { after: Duration::from_secs(60), before: Duration::from_secs(120) };
        for _ in 0..100 {
            pace.waited(window, "no_round", "no round is open", NOON, &mut rng);
            let next = pace.due(NOON).expect("not yet").clone();
            assert!((60_000..=120_000).contains(&NOON.until(next.at).as_millis()), "{next:?}");
            assert_eq!((next.code.as_str(), next.reason), ("no_round", WaitReason::CheckIn));
            assert_eq!(pace.due(next.at), None);
        }
        assert_eq!(pace.due(Timestamp::from_millis(5)), None, "a clock that was set back");
    }

    #[test]
    fn leaving_again_and_again_takes_longer_until_a_round_goes_well() {
        let (mut pace, mut rng) = (Pace::default(), rng());
        let mut longest = Duration::from_secs(5);
        for _ in 0..30 {
            let at = pace.left(None, "no_examples", "there are none", NOON, &mut rng);
            let pause = NOON.until(at);
            assert!(longest / 2 <= pause && pause <= longest, "{pause:?} of {longest:?}");
            longest = (2 * longest).min(LONGEST);
        }
        pace.clear();
        let later = NOON.plus(Duration::from_secs(3600));
        assert_eq!(pace.left(Some(later), "exhausted", "used up", NOON, &mut rng), later, "the budget's day counts");
        pace.clear();
        pace.paused(RetryWindow { after: Duration::from_secs(9), before: Duration::from_secs(90) }, Phase::Keys, NOON);
        let reason = WaitReason::Round { phase: Phase::Keys, lost_at: NOON.plus(Duration::from_secs(90)) };
        assert_eq!(
            pace.due(NOON).map(|next| (next.at, next.reason)),
            Some((NOON.plus(Duration::from_secs(9)), reason))
        );
        // A clock that once ran far ahead, and a window that no coordinator should name.
        pace.waited(RetryWindow { after: Duration::MAX, before: Duration::MAX }, "no_round", "none", NOON, &mut rng);
        assert_eq!(pace.due(NOON).map(|next| next.at), Some(NOON.plus(FURTHEST)));
        let first = pace.clone();
        pace.clear();
        assert_eq!((pace.due(NOON), first.due(NOON).is_some()), (None, true));
        let far = NOON.plus(Duration::from_secs(30 * 24 * 3600));
        assert_eq!(pace.left(Some(far), "exhausted", "used up", NOON, &mut rng), NOON.plus(LONGEST));
    }
}
