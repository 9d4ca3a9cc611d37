//! Secure aggregation (SecAgg+): the server learns the sum of the devices' vectors and nothing else.
#![deny(unsafe_code)]

mod bytes;
pub mod error;
pub mod graph;
pub mod keys;
pub mod pack;
pub mod params;
pub mod prg;
pub mod roster;
pub mod shamir;
