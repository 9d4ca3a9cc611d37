//! Failed calls, and calls that have to wait.

use std::time::Duration;

use super::{cut, millis, owned};
use crate::answer::Wait;
use crate::check;
use crate::error::{Invalid, Problem};
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
        let retry = match (detail.retry_after_ms, detail.retry_before_ms) {
            (0, 0) => None,
            (after, before) => Some(window("retry_before_ms", after, before)?),
        };
        Ok(Self { code: detail.code, sentence: detail.sentence, retry })
    }
}

impl From<&Problem> for wire::ErrorDetail {
    fn from(problem: &Problem) -> Self {
        // Two zeros mean "does not help", so that "at once" becomes "within a millisecond".
        let (retry_after_ms, retry_before_ms) =
            problem.retry.map_or((0, 0), |retry| (millis(retry.after), millis(retry.before).max(1)));
        Self {
            code: problem.code.clone(),
            sentence: cut(&problem.sentence, limits::SENTENCE_BYTES),
            retry_after_ms,
            retry_before_ms,
        }
    }
}

owned! { Wait => wire::Wait, Problem => wire::ErrorDetail }
