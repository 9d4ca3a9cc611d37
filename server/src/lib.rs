//! The process that serves SCALE FL: what an operator starts, configures and asks.
//!
//! Everything comes together here and nothing is decided: rounds are the business of [`scale_coordinator`], people's rows
//! and their API that of `scale_records` and `scale_rest`.
//!
//! | step | where |
//! | --- | --- |
//! | the command line | [`cli`] |
//! | a file of settings | [`config`] |
//! | the parts, put together | `cli/serve.rs` |
//! | one port for all of them | [`transport`] |
//! | people's API in its place | `facade` |

pub mod cli;
pub mod config;
#[cfg(feature = "facade")]
pub mod facade;
pub mod files;
pub mod transport;
