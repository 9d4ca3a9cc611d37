//! The coordinator of SCALE FL.
//!
//! The pure middle is [`round`], [`aggregate`] and [`schedule`]: no runtime, no sockets, no SQL, no clock. [`driver`]
//! performs what it decides, one transaction at a time; [`transport`] only converts.

pub mod accumulate;
pub mod admission;
pub mod aggregate;
pub mod driver;
pub mod noise;
pub mod registry;
pub mod round;
pub mod rows;
pub mod schedule;
pub mod spent;

// The outer half: storage, tokens, sockets, configuration.
pub mod auth;
pub mod blobs;
pub mod cli;
pub mod clock;
pub mod config;
#[cfg(feature = "facade")]
pub mod facade;
pub mod files;
pub mod store;
pub mod transport;
