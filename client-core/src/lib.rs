//! The device side of SCALE FL: what an app, a page or a native program runs to take part in rounds.
//!
//! | step | where | type afterwards |
//! |---|---|---|
//! | ask for work, check the manifest | [`device`] | [`device::Round`] |
//! | download and verify the model | [`download`], [`model`] | `Vec<f32>` |
//! | store the app's examples | [`examples`] | [`train::Dataset`] |
//! | train on them | [`train`], [`trainer`] | [`trainer::Trained`] |
//! | clip, scale and round to integers | [`update`] | [`update::QuantizedUpdate`] |
//! | mask, agree, unmask | `scale_secagg::client` | bytes |
//! | send, resume, retry | [`device::Client`], [`transport`] | |
//!
//! [`device::State`] is a state machine without I/O whose state is stored before any message leaves the device.
//! [`device::Client`] performs the effects that it requests, through the platform's [`host::Host`]. [`app::App`] adds
//! what every app needs: examples, the model and a status. Start at [`app::App`].
#![forbid(unsafe_code)]

pub mod app;
pub mod device;
pub mod download;
pub mod error;
pub mod examples;
pub mod host;
pub mod model;
#[cfg(all(test, target_arch = "wasm32"))]
mod single_thread;
mod storage;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod train;
pub mod trainer;
pub mod transport;
pub mod update;
