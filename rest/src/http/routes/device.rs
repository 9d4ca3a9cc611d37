//! A person's devices.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use scale_records::store::Granted;

use super::super::Shared;
use super::super::extract::Person;
use super::super::problem::Problem;
use super::super::wire::EnrollmentToken;
use super::json;

/// Get a token that enrolls a device
///
/// The app hands it to the SDK on the person's device, which enrolls with it at the coordinator within minutes. It enrolls
/// one installation: the same one again if an answer was lost, and no other. It says nothing about the person. There are
/// only so many a day.
#[utoipa::path(post, path = "/api/v1/devices/enrollment", tag = "devices", operation_id = "create_enrollment_token",
    responses(
        (status = 201, description = "The token; it is not shown again", body = EnrollmentToken<'_>),
        (status = 429, description = "Too many calls, or no token is left for today; `retry-after` says when to come back",
            body = super::super::problem::ProblemBody<'_>, content_type = "application/problem+json",
            headers(("retry-after" = u64, description = "Seconds until coming back helps")))))]
pub(in crate::http) async fn enroll(State(shared): State<Arc<Shared>>, person: Person) -> Result<Response, Problem> {
    let config = &shared.api.config.enrollment;
    let Some(allowance) = config.allowance() else {
        let detail = "this service gives no enrollment tokens; ask its operator for one";
        return Err(Problem::new(StatusCode::FORBIDDEN, "enrollment_off", detail));
    };
    // Before it is counted: a token that cannot be minted is not one of the day's, and one that is not given to anybody is
    // kept nowhere.
    let token = shared.api.enrollment.mint(Duration::from_secs(config.token_ttl_s))?;
    let now = shared.api.clock.now();
    match shared.api.records.grant_enrollment(person.user, allowance, now).await? {
        Granted::Now => Ok(json(StatusCode::CREATED, &EnrollmentToken::from(&token))),
        Granted::NotBefore(free) => {
            let detail = format!(
                "no enrollment token is left for today: a person gets {} in 24 hours, each for one installation; come back \
                 when retry-after says",
                allowance.most
            );
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_enrollment_tokens", detail);
            Err(problem.retry_after(now.until(free)))
        }
    }
}
