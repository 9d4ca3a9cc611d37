//! A failed call on the wire of gRPC: `google.rpc.Status` in `grpc-status-details-bin`, where every gRPC library looks.
//!
//! Its details are an `ErrorDetail` of ours and, when coming back helps, a `google.rpc.RetryInfo`. The two messages of
//! google.rpc are declared here rather than taken from a crate, because browsers and phones read them without a gRPC
//! library: they are stable, and have five fields together.

use bytes::Bytes;
use prost::Message;
use prost_types::{Any, Duration};

use crate::error::Problem;
use crate::wire;

const ERROR_DETAIL: &str = "type.googleapis.com/scale.fl.v1.ErrorDetail";
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Duration>,
}

/// What a failed call carries: the message of its status, and the bytes of its details. Libraries compare both parts, so
/// they belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// `grpc-message`: [`Problem::sentence`], as long as it may be.
    pub message: String,
    /// `grpc-status-details-bin`.
    pub details: Bytes,
}

/// Writes a problem; `code` is the number of the gRPC status that it travels with.
pub fn write(code: i32, problem: &Problem) -> Failed {
    let detail = wire::ErrorDetail::from(problem);
    let message = detail.sentence.clone();
    let mut details = vec![Any { type_url: ERROR_DETAIL.to_owned(), value: detail.encode_to_vec() }];
    details.extend(problem.remedy.window().map(|window| {
        // Longer than a signed 64-bit number of seconds is for ever.
        let retry_delay = Duration::try_from(window.after).ok();
        Any { type_url: RETRY_INFO.to_owned(), value: RetryInfo { retry_delay }.encode_to_vec() }
    }));
    let status = RpcStatus { code, message: message.clone(), details };
    Failed { message, details: status.encode_to_vec().into() }
}

/// Reads a problem; `None`: these are not details of a coordinator. Earlier coordinators sent the `ErrorDetail` bare.
pub fn read(details: &[u8]) -> Option<Problem> {
    let bare = || wire::ErrorDetail::decode(details).ok();
    let detail = match RpcStatus::decode(details) {
        Ok(status) => {
            let ours = status.details.into_iter().find(|any| any.type_url.ends_with("/scale.fl.v1.ErrorDetail"));
            wire::ErrorDetail::decode(ours?.value.as_slice()).ok()
        }
        // The first field of the one is a number, that of the other a text: neither reads as the other.
        Err(_) => bare(),
    };
    Problem::try_from(detail?).ok()
}
