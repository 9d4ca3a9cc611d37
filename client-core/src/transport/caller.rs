//! The interface that a platform implements for a transport: a gRPC call, and a download. Each call is one attempt; the
//! client retries.

use std::future::Future;

use bytes::Bytes;
use scale_proto::error::{Problem, Remedy};
use scale_proto::time::RetryWindow;

use crate::error::CallError;
use crate::host::{Body, DeviceToken, Download, MaybeSend, MaybeSync};

/// gRPC status codes that this crate creates itself (github.com/grpc/grpc, doc/statuscodes.md).
pub(super) const OUT_OF_RANGE: i32 = 11;

/// Makes single calls to the coordinator, by gRPC or gRPC-web, and downloads over HTTP. Must apply a timeout to calls,
/// longer than the coordinator holds a call open, and a timeout to downloads that receive no bytes.
pub trait Caller: MaybeSend + MaybeSync {
    /// Body of a running download.
    type Body: Body;

    /// Sends one message to the method at `path`, such as `/scale.fl.v1.Rounds/CheckIn`, and returns the response
    /// message, both without gRPC's frame. `token`: for the header `authorization`, see [`DeviceToken::bearer`].
    ///
    /// A response longer than [`super::MESSAGE_BYTES`] need not be read to its end.
    ///
    /// # Errors
    /// [`RpcFailure`].
    fn unary(
        &self,
        path: &'static str,
        token: Option<&DeviceToken>,
        body: Bytes,
    ) -> impl Future<Output = Result<Bytes, RpcFailure>> + MaybeSend;

    /// As [`crate::host::Transport::download`]; use [`download_start`] to interpret the response's status and headers.
    ///
    /// # Errors
    /// [`CallError`]. It must not contain the URL, which is signed and grants access like a token.
    fn download(
        &self,
        url: &str,
        from: u64,
    ) -> impl Future<Output = Result<Download<Self::Body>, CallError>> + MaybeSend;
}

/// Why a call returned no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpcFailure {
    /// The call ended with a gRPC status other than OK.
    Status {
        /// `grpc-status`.
        code: i32,
        /// `grpc-message`, decoded.
        message: String,
        /// `grpc-status-details-bin`, decoded; empty where there are none.
        details: Bytes,
    },
    /// There was no answer, or the connection broke. The text describes the failure, for logs.
    Unreachable(String),
}

/// Uses the coordinator's own code and sentence if the status contains them.
impl From<RpcFailure> for CallError {
    fn from(failure: RpcFailure) -> Self {
        let (code, message, details) = match failure {
            RpcFailure::Status { code, message, details } => (code, message, details),
            RpcFailure::Unreachable(problem) => return Self::Unreachable(problem),
        };
        if let Some(problem) = scale_proto::status::read(&details) {
            return problem.into();
        }
        let word = match code {
            3 => "invalid_argument",
            5 => "not_found",
            6 => "already_exists",
            7 => "permission_denied",
            9 => "failed_precondition",
            OUT_OF_RANGE => "out_of_range",
            12 => "unimplemented",
            16 => "unauthenticated",
            // The other codes come from proxies and broken connections; the same call may be sent again.
            code => return Self::Unreachable(format!("gRPC status {code}: {message}")),
        };
        Problem { code: word.into(), sentence: message, remedy: Remedy::Leave }.into()
    }
}

/// Interprets the status and headers of a download's response. Returns the position of the first byte of the body.
/// `status`: HTTP status; `content_range`: value of the header `Content-Range`, such as `bytes 100-199/200`; `from`:
/// the requested position.
///
/// # Errors
/// [`CallError::Unreachable`] for a temporary failure. For every other status a refusal whose remedy is another
/// check-in, because the likely cause is an expired URL.
pub fn download_start(status: u16, content_range: Option<&str>, from: u64) -> Result<u64, CallError> {
    match status {
        200 => Ok(0),
        206 => Ok(content_range.and_then(range_start).unwrap_or(from)),
        408 | 429 | 500.. => Err(CallError::Unreachable(format!("HTTP {status}"))),
        status => {
            let sentence = format!(
                "the model's URL was refused with HTTP status {status}: it may have expired, check in again for a new one"
            );
            // A check-in returns a new URL, also to a device that is already in the round.
            let remedy = Remedy::CheckIn(RetryWindow::from_millis(30_000));
            Err(Problem { code: "model_url".into(), sentence, remedy }.into())
        }
    }
}

fn range_start(content_range: &str) -> Option<u64> {
    content_range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use crate::single_thread::test;

    fn failed(code: i32, details: Bytes) -> CallError {
        RpcFailure::Status { code, message: "from a proxy".into(), details }.into()
    }

    #[test]
    fn a_status_with_details_is_the_coordinators_own_word() {
        let problem = Problem {
            code: "round_over".into(),
            sentence: "the round is over".into(),
            remedy: Remedy::CheckIn(RetryWindow::from_millis(500)),
        };
        let details = scale_proto::status::write(9, &problem).details;
        assert_eq!(failed(9, details), CallError::Refused(problem));
    }

    #[test]
    fn a_status_without_details_is_a_refusal_or_may_pass() {
        for (code, expected) in [
            (1, "unreachable"),
            (2, "unreachable"),
            (3, "invalid_argument"),
            (4, "unreachable"),
            (5, "not_found"),
            (6, "already_exists"),
            (7, "permission_denied"),
            (8, "unreachable"),
            (9, "failed_precondition"),
            (10, "unreachable"),
            (11, "out_of_range"),
            (12, "unimplemented"),
            (13, "unreachable"),
            (14, "unreachable"),
            (15, "unreachable"),
            (16, "unauthenticated"),
            (99, "unreachable"),
        ] {
            for details in [Bytes::new(), Bytes::from_static(b"\xff\xff")] {
                let error = failed(code, details);
                assert_eq!(error.code(), expected, "{code}");
                assert!(error.to_string().contains("from a proxy"), "{error}");
            }
        }
        let error = CallError::from(RpcFailure::Unreachable("connection reset".into()));
        assert_eq!(error, CallError::Unreachable("connection reset".into()));
    }

    #[test]
    fn a_download_begins_where_the_server_says() {
        for (status, content_range, expected) in [
            (200, None, Ok(0)),
            (200, Some("bytes 7-9/10"), Ok(0)),
            (206, Some("bytes 4-9/10"), Ok(4)),
            (206, Some("bytes 0-9/*"), Ok(0)),
            (206, None, Ok(7)),
            (206, Some("pages 1-2"), Ok(7)),
            (301, None, Err("model_url")),
            (403, None, Err("model_url")),
            (404, None, Err("model_url")),
            (408, None, Err("unreachable")),
            (416, None, Err("model_url")),
            (429, None, Err("unreachable")),
            (503, None, Err("unreachable")),
        ] {
            let start = download_start(status, content_range, 7);
            assert_eq!(start.as_ref().map_err(CallError::code), expected.as_ref().map_err(|code| *code), "{status}");
        }
    }
}
