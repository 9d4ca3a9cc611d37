//! Ways to a coordinator. [`crate::host::Transport`] says what one has to do.
//!
//! A platform brings a [`Caller`], which makes one gRPC call and starts one download. [`Grpc`] makes a transport of it.

mod caller;
mod grpc;
#[cfg(all(feature = "native", not(target_arch = "wasm32")))]
pub mod native;

pub use caller::{Caller, RpcFailure, download_start};
pub use grpc::{Grpc, MESSAGE_BYTES};
