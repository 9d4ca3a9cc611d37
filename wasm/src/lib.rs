//! The device for browsers: [`scale_client_core::app::App`] as WebAssembly, for the worker of the npm package
//! `@scale-fl/web` (`wasm/package`).
//!
//! | what | where |
//! |---|---|
//! | the calls of the app, as JavaScript sees them | `client.rs` |
//! | the values that cross, and the errors | [`scale_fl_sdk::types`] |
//! | what the browser provides: an object of the worker, and the core's traits over it | `platform.rs`, `host/` |
//! | gRPC-web's frames | [`grpc_web`] |
//!
//! There is no rule of its own in here: it converts types and awaits promises. Everything that touches the browser
//! (IndexedDB, WebCrypto, Web Locks, fetch) is TypeScript, in `wasm/package/src/worker`.
#![forbid(unsafe_code)]

pub mod grpc_web;

#[cfg(target_arch = "wasm32")]
mod client;
#[cfg(target_arch = "wasm32")]
mod host;
#[cfg(target_arch = "wasm32")]
mod log;
#[cfg(target_arch = "wasm32")]
mod platform;
#[cfg(all(feature = "testing", target_arch = "wasm32"))]
mod testing;

#[cfg(target_arch = "wasm32")]
pub use client::{Client, Stop};
#[cfg(target_arch = "wasm32")]
pub use platform::Platform;
