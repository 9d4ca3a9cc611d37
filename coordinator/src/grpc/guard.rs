//! Who may call what, decided before a body is read; and a word of ours in every refusal that the gRPC library makes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt as _;
use http::header;
use scale_proto::error::{Problem, Remedy};
use scale_proto::time::RetryWindow;
use tonic::{Code, Status};

use super::problem;
use crate::auth::{Authority, Kind, TokenError};
use scale_clock::SharedClock;

/// Longest time until a call is answered. Stage calls wait some seconds for their stage and then say when to ask again,
/// and an operator may send a model over a slow line.
const ANSWER: Duration = Duration::from_secs(120);

/// Longest time that a caller without a token may go on sending on one stream. Tools ask reflection a few questions.
const OPEN_STREAM: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Guard {
    pub(super) authority: Arc<Authority>,
    pub(super) clock: SharedClock,
}

pub(super) async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    if let Err(error) = guard.admit(&mut request) {
        return problem::token(&error).into_http();
    }
    if request.uri().path().starts_with("/grpc.reflection.") {
        request = request.map(ending_soon);
    }
    match tokio::time::timeout(ANSWER, next.run(request)).await {
        Ok(response) => explained(response),
        Err(_) => {
            let problem = Problem {
                code: "timeout".to_owned(),
                sentence: "the call took too long; send it again".to_owned(),
                remedy: Remedy::Resend(RetryWindow::from_millis(1000)),
            };
            problem::status(Code::DeadlineExceeded, &problem).into_http()
        }
    }
}

impl Guard {
    /// Checks the token that the path asks for; a device's calls learn which device it is.
    fn admit(&self, request: &mut Request) -> Result<(), TokenError> {
        let now = self.clock.now();
        match door(request.uri().path()) {
            None => Ok(()),
            Some(Kind::Device) => {
                let caller = self.authority.check_device(bearer(request), now)?;
                request.extensions_mut().insert(caller);
                Ok(())
            }
            Some(Kind::Operator) => self.authority.check_operator(bearer(request), now),
            Some(Kind::Enroll) => self.authority.check_enroll(bearer(request), now).map(drop),
        }
    }
}

/// A body that ends after [`OPEN_STREAM`], as if its sender had ended it: the service then ends its answer in good order.
fn ending_soon(body: Body) -> Body {
    Body::from_stream(body.into_data_stream().take_until(Box::pin(tokio::time::sleep(OPEN_STREAM))))
}

/// The token that a path asks for. An enrollment token is in the message; every service that is not listed needs an
/// operator's, so that a new one is not open by accident.
fn door(path: &str) -> Option<Kind> {
    let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    match service {
        "scale.fl.v1.Enrollment"
        | "grpc.health.v1.Health"
        | "grpc.reflection.v1.ServerReflection"
        | "grpc.reflection.v1alpha.ServerReflection" => None,
        "scale.fl.v1.Rounds" | "scale.fl.v1.Models" => Some(Kind::Device),
        _ => Some(Kind::Operator),
    }
}

/// The bearer token of a request; empty when there is none.
fn bearer(request: &Request) -> &str {
    let value = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => "",
    }
}

/// Gives a refusal of the gRPC library a code and a sentence: too long, not protobuf, no such method.
fn explained(response: Response) -> Response {
    if response.headers().contains_key(problem::ERROR_CODE) {
        return response;
    }
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    let replacement = match status.code() {
        Code::OutOfRange => problem::refusal(
            Code::ResourceExhausted,
            "message_too_large",
            format!("the message is larger than this call takes ({})", status.message()),
        ),
        Code::Internal if status.message().contains("decode") => problem::refusal(
            Code::InvalidArgument,
            "invalid_argument",
            format!("the message is not of its protobuf type ({})", status.message()),
        ),
        Code::Unimplemented => problem::refusal(
            Code::Unimplemented,
            "unknown_method",
            "this coordinator has no such method, or not in this form; proto/scale/fl/v1/fl.proto lists those it has",
        ),
        _ => return response,
    };
    replacement.into_http()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_its_door_and_an_unknown_one_is_shut() {
        assert_eq!(door("/scale.fl.v1.Enrollment/Enroll"), None);
        assert_eq!(door("/scale.fl.v1.Rounds/CheckIn"), Some(Kind::Device));
        assert_eq!(door("/scale.fl.v1.Models/GetManifest"), Some(Kind::Device));
        assert_eq!(door("/scale.fl.v1.Admin/CreateTask"), Some(Kind::Operator));
        assert_eq!(door("/grpc.health.v1.Health/Check"), None);
        assert_eq!(door("/scale.fl.v1.Brandnew/Call"), Some(Kind::Operator));
        assert_eq!(door(""), Some(Kind::Operator));
    }
}
