//! Transports to a coordinator, which implement [`crate::host::Transport`].
//!
//! A platform implements a [`Caller`], which makes one gRPC call or starts one download. [`Grpc`] builds a transport on
//! it.

mod caller;
mod grpc;
#[cfg(all(feature = "native", not(target_arch = "wasm32")))]
pub mod native;

pub use caller::{Caller, RpcFailure, download_start};
pub use grpc::{Grpc, MESSAGE_BYTES};
