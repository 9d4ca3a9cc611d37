//! What apps see of the device: the same values in every language, and the objects of Swift and Kotlin.
//!
//! | what | where |
//! |---|---|
//! | values and errors, as Swift, Kotlin and TypeScript have them | [`types`] |
//! | a line of the log, as platforms show it | [`log_line`] |
//! | the calls of an app, for Swift and Kotlin | [`phones`] |
//!
//! There is no rule of its own in here: [`scale_client_core::app::App`] has them all. Swift's and Kotlin's sources are
//! generated from this crate by uniffi (`cargo xtask bindings`); the browser's binding is `wasm`, over the same types.

pub mod log_line;
#[cfg(feature = "phones")]
pub mod phones;
#[cfg(feature = "testing")]
pub mod testing;
pub mod types;

#[cfg(feature = "phones")]
uniffi::setup_scaffolding!("scale_fl");
