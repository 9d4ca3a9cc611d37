//! The objects and functions of Swift and Kotlin. Their packages wrap them (`bindings/swift`, `bindings/kotlin`).
//!
//! | what | where |
//! |---|---|
//! | the calls of an app | [`client`] |
//! | what an app configures | [`configuration`] |
//! | one installation per folder and process, with threads of its own | `installation.rs` |
//! | what an app may bring: secrets, conditions, a listener, a log | [`callbacks`], `host.rs`, `listener.rs`, `log.rs` |
//! | why a call failed | [`error`] |
//! | the values as JSON, for React Native | [`json`] |
//!
//! An app's executor only waits: every call runs on the library's own threads. What an app brings is called from a thread that
//! may block, and may throw.

pub mod callbacks;
pub mod client;
pub mod configuration;
pub mod error;
mod host;
mod installation;
pub mod json;
mod listener;
pub mod log;
