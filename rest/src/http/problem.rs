//! Failures on their way out: one type, `application/problem+json` (RFC 9457).
//!
//! A handler returns a [`Problem`]; [`super::life`] writes its body, because only there the request's id is known.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use scale_records::domain::Invalid;
use scale_records::store;
use serde::Serialize;
use utoipa::ToSchema;

use super::{EnrollmentError, ModelError};
use crate::auth::AuthError;
use crate::training;

/// What went wrong with one request.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<Fault>,
    errors_total: Option<u64>,
    retry_after: Option<Duration>,
}

/// One thing that is wrong, with the field or the line it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Fault {
    /// The field, by its name in the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub(super) field: Option<String>,
    /// The line of an imported file, counted from 1; of a JSON file, the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false, minimum = 1)]
    pub(super) line: Option<u64>,
    /// What is wrong and what would be right.
    pub(super) problem: String,
}

/// Problem details (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// Always `about:blank`: `code` says what kind of problem it is.
    #[serde(rename = "type")]
    #[schema(pattern = "^about:blank$")]
    kind: &'static str,
    /// The status in words.
    #[schema(example = "Not Found")]
    title: &'a str,
    /// The status.
    #[schema(minimum = 400, maximum = 599, example = 404)]
    status: u16,
    /// What was wrong and what to do, for a person.
    #[schema(example = "there is no such transaction")]
    detail: &'a str,
    /// A stable word for the kind of problem, for programs.
    #[schema(pattern = "^[a-z0-9_]+$", example = "not_found")]
    code: &'a str,
    /// The request's id, as in the header `x-request-id`.
    #[schema(example = "0198c2f4-5f0e-7000-8000-1f2e3d4c5b6a")]
    request_id: &'a str,
    /// What is wrong in detail, at most 100.
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    #[schema(value_type = Vec<Fault>, required = false, max_items = 100)]
    errors: &'a [Fault],
    /// How many errors there are, when not all are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false)]
    errors_total: Option<u64>,
}

impl Problem {
    /// Most faults that are listed.
    pub(super) const MAX_FAULTS: usize = 100;

    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), errors_total: None, retry_after: None }
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    pub(super) fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// The request was read, and what it says cannot be.
    pub(super) fn invalid(errors: Vec<Fault>) -> Self {
        let detail = "the request was understood, but not all of its values can be used; see errors";
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_values", detail) }
    }

    pub(super) fn too_large(most: usize) -> Self {
        let detail = format!("the body is too large; at most {most} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    }

    pub(super) fn unavailable(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(Duration::from_secs(5))
    }

    pub(super) fn internal() -> Self {
        let detail = "something went wrong here; the request's id helps to find out what";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    pub(super) fn with_faults(self, errors: Vec<Fault>, total: u64) -> Self {
        Self { errors, errors_total: Some(total), ..self }
    }

    pub(super) fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// The body, now that the request's id is known.
    pub(super) fn render(&self, request_id: &str) -> Vec<u8> {
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Unknown"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            request_id,
            errors: &self.errors,
            errors_total: self.errors_total,
        };
        // Strings and numbers always have a JSON form.
        serde_json::to_vec(&body).unwrap_or_default()
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = self.retry_after {
            // Whole seconds, rounded up: a client that waits as told is not refused again.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

impl From<Invalid> for Fault {
    fn from(invalid: Invalid) -> Self {
        Self { field: Some(invalid.field.to_owned()), line: None, problem: invalid.problem }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let status = match error {
            AuthError::Forbidden | AuthError::MfaRequired => StatusCode::FORBIDDEN,
            AuthError::KeysUnavailable => return Self::unavailable(error.code(), &error.to_string()),
            AuthError::MissingToken
            | AuthError::MalformedToken(_)
            | AuthError::BadSignature
            | AuthError::ExpiredToken
            | AuthError::NotYetValid
            | AuthError::WrongAudience
            | AuthError::WrongIssuer
            | AuthError::UnknownKey
            | AuthError::WrongAlgorithm => StatusCode::UNAUTHORIZED,
        };
        Self::new(status, error.code(), error.to_string())
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable(_) => {
                tracing::warn!(code = error.code(), %error, "a request has to wait");
                Self::unavailable(error.code(), "the database does not answer at the moment; nothing has changed")
            }
            store::Error::Full(_) => {
                tracing::error!(code = error.code(), %error, "a request could not be kept");
                Self::unavailable(error.code(), "there is no room for new rows at the moment; nothing has changed")
            }
            _ => {
                tracing::error!(code = error.code(), %error, "a request failed inside");
                Self::internal()
            }
        }
    }
}

impl From<training::Error> for Problem {
    fn from(error: training::Error) -> Self {
        match error {
            training::Error::Store(error) => error.into(),
            other => {
                tracing::error!(code = other.code(), error = %other, "a training job failed inside");
                Self::internal()
            }
        }
    }
}

impl From<ModelError> for Problem {
    fn from(error: ModelError) -> Self {
        tracing::warn!(%error, "the models cannot be read");
        Self::unavailable("storage_unavailable", "the models cannot be read at the moment")
    }
}

impl From<EnrollmentError> for Problem {
    fn from(error: EnrollmentError) -> Self {
        tracing::error!(%error, "a request failed inside");
        Self::internal()
    }
}
