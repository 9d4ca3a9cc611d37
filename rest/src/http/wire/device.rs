//! Enrollment tokens as JSON.

use scale_clock::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{self as http};
use super::{moment, moment_schema};

/// A token that enrolls one installation of the app.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct EnrollmentToken<'a> {
    /// For the SDK on the device; it is not shown again.
    #[schema(pattern = "^scale_enroll_[A-Za-z0-9_.-]+$", example = "scale_enroll_AQRvcmFu.Z2UgYmlyZA")]
    token: &'a str,
    /// When it ends.
    #[schema(schema_with = moment_schema)]
    expires_at: String,
}

impl<'a> From<&'a http::EnrollmentToken> for EnrollmentToken<'a> {
    fn from(token: &'a http::EnrollmentToken) -> Self {
        Self { token: &token.token, expires_at: moment(token.expires_at) }
    }
}

/// An enrollment token that the person was given. The token itself is not kept.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct GivenToken {
    /// When.
    #[schema(schema_with = moment_schema)]
    created_at: String,
}

impl From<Timestamp> for GivenToken {
    fn from(at: Timestamp) -> Self {
        Self { created_at: moment(at) }
    }
}
