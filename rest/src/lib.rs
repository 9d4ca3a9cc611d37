//! The REST facade: a person's transactions, and what training is doing.
//!
//! | step | where |
//! | --- | --- |
//! | who asks, and how often they may | [`auth`], [`limit`] |
//! | what is served, one route after another | [`http`] |
//! | what a device's training looks like to its person | [`training`] |
//! | what replicas share, when there is a Redis | [`redis`] |
//!
//! Rows live behind [`scale_records::store::Records`]; the coordinator brings the models and merges [`http::router`] into
//! its port.

#![forbid(unsafe_code)]

pub mod auth;
pub mod config;
pub mod http;
pub mod limit;
pub mod redis;
pub mod training;

pub use config::Config;
pub use http::{Api, router};
