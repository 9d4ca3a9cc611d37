//! Failures on their way out, as gRPC statuses.
//!
//! Each carries a stable code and a sentence, as `ErrorDetail` in its details; the code and the earliest return are
//! metadata too, for clients that do not read details ([`scale_proto::status`]).

use axum::response::Response;
use http::{HeaderValue, header};
use scale_proto::error::{Invalid, Problem, Remedy};
use scale_proto::status::{Failed, write};
use scale_proto::time::RetryWindow;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::auth::{EnrollError, TokenError};

/// Metadata: the stable code.
pub const ERROR_CODE: &str = "scale-error-code";
/// Metadata: the earliest useful return, in milliseconds.
pub const RETRY_AFTER_MS: &str = "retry-after-ms";

/// A failed call as a gRPC status.
pub fn status(code: Code, problem: &Problem) -> Status {
    let mut metadata = MetadataMap::new();
    if let Ok(value) = MetadataValue::try_from(problem.code.as_str()) {
        metadata.insert(ERROR_CODE, value);
    }
    if let Some(retry) = problem.remedy.window() {
        let after = u64::try_from(retry.after.as_millis()).unwrap_or(u64::MAX);
        metadata.insert(RETRY_AFTER_MS, MetadataValue::from(after));
    }
    let Failed { message, details } = write(code.into(), problem);
    Status::with_details_and_metadata(code, message, details, metadata)
}

/// A failed call that coming back does not help.
pub(super) fn refusal(code: Code, word: &str, sentence: impl Into<String>) -> Status {
    status(code, &Problem { code: word.to_owned(), sentence: sentence.into(), remedy: Remedy::Leave })
}

/// A bug of ours, which the log names: the same call may work later.
pub(super) fn internal() -> Status {
    let sentence = "the coordinator has a problem of its own; come back later".to_owned();
    let remedy = Remedy::Resend(RetryWindow::from_millis(30_000));
    status(Code::Internal, &Problem { code: "internal".to_owned(), sentence, remedy })
}

/// A message that is not what it should be.
pub(super) fn invalid(invalid: &Invalid) -> Status {
    if invalid.field == "protocol" {
        return refusal(Code::FailedPrecondition, "unsupported_protocol", invalid.to_string());
    }
    refusal(Code::InvalidArgument, "invalid_argument", invalid.to_string())
}

/// What the coordinator says, as a status.
pub(super) fn of_error(error: &crate::Error) -> Status {
    use crate::Class;
    if let crate::Error::Invalid(field) = error {
        return invalid(field);
    }
    let code = match error.class() {
        Class::Invalid => Code::InvalidArgument,
        Class::NotFound => Code::NotFound,
        Class::Permission => Code::PermissionDenied,
        Class::Precondition => Code::FailedPrecondition,
        Class::Aborted => Code::Aborted,
        Class::Unavailable => Code::Unavailable,
        Class::Exhausted => Code::ResourceExhausted,
        Class::Internal => {
            tracing::error!(code = error.code(), %error, "a call failed inside");
            Code::Internal
        }
    };
    if matches!(code, Code::Unavailable | Code::ResourceExhausted) {
        tracing::warn!(code = error.code(), %error, "a call has to wait");
    }
    status(code, &error.problem())
}

/// A token that does not open the door.
pub(super) fn token(error: &TokenError) -> Status {
    let (code, remedy) = match error {
        TokenError::WrongKind { .. } => (Code::PermissionDenied, Remedy::Leave),
        TokenError::Missing(_) | TokenError::Bad | TokenError::Expired => (Code::Unauthenticated, Remedy::Enroll),
    };
    status(code, &Problem { code: error.code().to_owned(), sentence: error.to_string(), remedy })
}

/// A failed enrollment.
pub(super) fn enrollment(error: &EnrollError) -> Status {
    match error {
        EnrollError::Token(error) => token(error),
        EnrollError::Used => {
            let (code, sentence) = (error.code().to_owned(), error.to_string());
            status(Code::PermissionDenied, &Problem { code, sentence, remedy: Remedy::Enroll })
        }
        EnrollError::Signature => refusal(Code::PermissionDenied, error.code(), error.to_string()),
        EnrollError::Store(_) | EnrollError::Randomness(_) => {
            tracing::warn!(code = error.code(), %error, "an enrollment failed inside");
            let full = error.code() == "storage_full";
            let sentence = "the coordinator's storage does not answer at the moment; come back later";
            let problem = Problem {
                code: error.code().to_owned(),
                sentence: sentence.to_owned(),
                remedy: Remedy::Resend(RetryWindow::from_millis(5_000)),
            };
            status(if full { Code::ResourceExhausted } else { Code::Unavailable }, &problem)
        }
    }
}

/// No service of this name is served here. The answer is of the caller's `kind` of gRPC (gRPC itself, or gRPC-web).
pub fn unknown_service(kind: HeaderValue) -> Response {
    let sentence = "this coordinator has no such gRPC service; proto/scale/fl/v1/fl.proto lists those it has";
    let mut response = refusal(Code::Unimplemented, "unknown_method", sentence).into_http();
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use scale_proto::codes;

    use super::*;
    use crate::auth::Kind;

    #[test]
    fn an_enrollment_that_is_refused_says_what_the_table_says() {
        for error in [EnrollError::Used, EnrollError::Signature] {
            let said = scale_proto::status::read(enrollment(&error).details()).unwrap();
            assert_eq!(said.code, error.code());
            assert_eq!(Some(said.remedy.advice()), codes::find(error.code()).map(|code| code.advice), "{error:?}");
        }
    }

    #[test]
    fn what_is_said_about_a_token_is_what_the_table_says() {
        let wrong = TokenError::WrongKind { wanted: Kind::Device, got: Kind::Enroll };
        for error in [TokenError::Missing(Kind::Device), TokenError::Bad, TokenError::Expired, wrong] {
            let said = scale_proto::status::read(token(&error).details()).unwrap();
            assert_eq!(said.code, error.code());
            assert_eq!(Some(said.remedy.advice()), codes::find(error.code()).map(|code| code.advice), "{error:?}");
        }
    }
}
