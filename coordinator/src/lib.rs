//! The coordinator of SCALE FL: rounds, their storage, and the gRPC services. A process that serves it is made by
//! `scale-server`.
//!
//! The pure middle is [`round`], [`aggregate`] and [`schedule`]: no runtime, no sockets, no SQL, no clock. The rooms of
//! [`coordinator`] perform what it decides, one transaction at a time; [`grpc`] only converts.

mod admin;
pub mod admission;
pub mod aggregate;
mod clockwork;
mod context;
pub mod coordinator;
mod effects;
mod error;
mod group;
mod intake;
pub mod noise;
mod parts;
pub mod registry;
pub mod round;
mod rounds;
pub mod rows;
pub mod schedule;
mod selection;
pub mod spent;
#[cfg(test)]
pub(crate) mod tests;
mod wait;

// The outer half: storage, tokens, the gRPC services.
pub mod auth;
pub mod backup;
pub mod blobs;
pub mod grpc;
pub mod staging;
pub mod store;

pub use admin::{ModelInfo, ModelWatch, RoundInfo, SessionInfo, TaskInfo};
pub use coordinator::Coordinator;
pub use error::{Class, Error};
pub use parts::{Caller, Parts, Settings, Watch};
