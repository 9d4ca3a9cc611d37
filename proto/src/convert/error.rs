//! Failed calls, and calls that have to wait.

use std::time::Duration;

use super::{cut, millis, owned};
use crate::answer::Wait;
use crate::check;
use crate::codes::{self, Advice};
use crate::error::{Invalid, Problem, Remedy};
use crate::time::RetryWindow;
use crate::{limits, wire};

/// A window from two wire fields.
fn window(field: &'static str, after_ms: u64, before_ms: u64) -> Result<RetryWindow, Invalid> {
    if before_ms < after_ms {
        return Err(Invalid::new(field, format!("{before_ms}; the window opens only after {after_ms} ms")));
    }
    Ok(RetryWindow { after: Duration::from_millis(after_ms), before: Duration::from_millis(before_ms) })
}

impl TryFrom<wire::Wait> for Wait {
    type Error = Invalid;
    fn try_from(wait: wire::Wait) -> Result<Self, Invalid> {
        check::code("code", &wait.code)?;
        check::at_most_bytes("sentence", wait.sentence.len(), limits::SENTENCE_BYTES)?;
        let retry = window("before_ms", wait.after_ms, wait.before_ms)?;
        Ok(Self { retry, code: wait.code, sentence: wait.sentence })
    }
}

impl From<&Wait> for wire::Wait {
    fn from(wait: &Wait) -> Self {
        Self {
            after_ms: millis(wait.retry.after),
            before_ms: millis(wait.retry.before),
            code: wait.code.clone(),
            sentence: cut(&wait.sentence, limits::SENTENCE_BYTES),
        }
    }
}

impl TryFrom<wire::ErrorDetail> for Problem {
    type Error = Invalid;
    fn try_from(detail: wire::ErrorDetail) -> Result<Self, Invalid> {
        check::code("code", &detail.code)?;
        check::at_most_bytes("sentence", detail.sentence.len(), limits::SENTENCE_BYTES)?;
        let known = codes::find(&detail.code).map(|code| code.advice);
        let advice = match detail.remedy() {
            wire::Remedy::Resend => Some(Advice::Resend),
            wire::Remedy::CheckIn => Some(Advice::CheckIn),
            // A coordinator that is too old to say "enroll" says "leave" in its place.
            wire::Remedy::Leave if known == Some(Advice::Enroll) => known,
            wire::Remedy::Leave => Some(Advice::Leave),
            wire::Remedy::Enroll => Some(Advice::Enroll),
            // An even older coordinator, or a remedy that this version does not know.
            wire::Remedy::Unspecified => known,
        };
        let remedy = match (advice, detail.retry_after_ms, detail.retry_before_ms) {
            (Some(Advice::Enroll), ..) => Remedy::Enroll,
            (_, 0, 0) => Remedy::Leave,
            (advice, after, before) => {
                advice.unwrap_or(Advice::Resend).within(window("retry_before_ms", after, before)?)
            }
        };
        Ok(Self { code: detail.code, sentence: detail.sentence, remedy })
    }
}

impl From<&Problem> for wire::ErrorDetail {
    fn from(problem: &Problem) -> Self {
        // Two zeros mean "waiting does not help", so that "at once" becomes "within a millisecond".
        let window = problem.remedy.window();
        let (retry_after_ms, retry_before_ms) =
            window.map_or((0, 0), |retry| (millis(retry.after), millis(retry.before).max(1)));
        let remedy = match problem.remedy.advice() {
            Advice::Resend => wire::Remedy::Resend,
            Advice::CheckIn => wire::Remedy::CheckIn,
            Advice::Leave => wire::Remedy::Leave,
            Advice::Enroll => wire::Remedy::Enroll,
        };
        Self {
            code: problem.code.clone(),
            sentence: cut(&problem.sentence, limits::SENTENCE_BYTES),
            retry_after_ms,
            retry_before_ms,
            remedy: remedy.into(),
        }
    }
}

owned! { Wait => wire::Wait, Problem => wire::ErrorDetail }
