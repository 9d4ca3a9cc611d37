//! How a device reacts when a call fails or is refused: it pauses and sends again, waits for another check-in, or
//! leaves.

use std::time::Duration;

use scale_proto::answer::Wait;
use scale_proto::error::{Problem, Remedy};
use scale_proto::time::RetryWindow;

use super::super::pace::within;
use super::super::{Cause, Effect};
use super::{Env, State, Step};

/// Number of check-ins without an answer after which the device gives up for now.
const CHECK_IN_ATTEMPTS: u32 = 3;
/// Pause after the first call without an answer; it doubles up to [`BACKOFF_MAX`].
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

impl State {
    /// Waits until a random time in the window, at most until the deadline.
    pub(super) fn pause(self, retry: RetryWindow, env: &mut Env<'_>) -> Step {
        let wake = env.now.plus(within(retry, env.keys));
        let wake = self.deadline().map_or(wake, |deadline| wake.min(deadline));
        (self, vec![Effect::WakeAt(wake)])
    }

    pub(super) fn on_broken(self, attempt: u32, env: &mut Env<'_>) -> Step {
        if matches!(self, Self::Idle) && attempt >= CHECK_IN_ATTEMPTS {
            let retry = RetryWindow::from_millis(5 * 60 * 1000);
            let sentence = "the coordinator cannot be reached".to_owned();
            return (Self::Waited(Wait { retry, code: "unreachable".into(), sentence }), vec![]);
        }
        let after = BACKOFF.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(BACKOFF_MAX);
        self.pause(RetryWindow { after: after / 2, before: after }, env)
    }

    pub(super) fn on_refused(self, problem: Problem, env: &mut Env<'_>) -> Step {
        match problem.remedy {
            Remedy::Resend(retry) if !matches!(self, Self::Idle) => self.pause(retry, env),
            Remedy::Resend(retry) | Remedy::CheckIn(retry) => {
                let forget = self.round().map(|_| Effect::DeleteSnapshot);
                let Problem { code, sentence, .. } = problem;
                (Self::Waited(Wait { retry, code, sentence }), forget.into_iter().collect())
            }
            // `Enroll` does not get here from a `Client`, which first asks the app for a new token and keeps the round.
            Remedy::Leave | Remedy::Enroll => self.leave(Cause::Refused(problem)),
        }
    }
}
