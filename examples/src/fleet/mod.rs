//! Many devices in one process, each with its own identity, data, store and connection, against a real coordinator.

pub mod coordinator;
pub mod demo;
pub mod device;
mod joining;
mod judge;
pub mod neighbors;
mod promise;
pub mod report;
mod screen;
