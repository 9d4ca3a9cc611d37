//! Secure aggregation (SecAgg+): the server learns the sum of the devices' vectors and nothing else.
//!
//! Double masking after Bonawitz et al. (CCS 2017, Figure 4) on the sparse graphs of Bell et al. (CCS 2020), with the
//! consistency round switched on. Both halves are here, side by side. No I/O, no clock, no global randomness: messages,
//! `now` and a generator come in, messages go out.
//!
//! | step | paper | device | server |
//! |---|---|---|---|
//! | advertise keys | round 0 | [`client::advertise`] | [`server::Keys`] |
//! | share keys | round 1 | [`client::Shared`] | [`server::Shares`] |
//! | mask the input | round 2 | [`client::Masked`] | [`server::MaskedInput`] |
//! | agree on the survivors | round 3 | [`client::Agreed`] | [`server::Agreement`] |
//! | unmask the sum | round 4 | its last answer leaves no state | [`server::Unmask`] |
//!
//! Start at [`client::advertise`] and [`server::Session`]. What both sides compute for themselves, and nobody may tell
//! them: the round's hash ([`config`]), the session id ([`roster`]), neighbours and survivors ([`graph`]), threshold and
//! window limit ([`params`]). Beneath: [`keys`], the mask generator ([`prg`]), secret sharing ([`shamir`]) and the wire
//! form of vectors ([`pack`]). Refusals carry one word each ([`error`]).
#![deny(unsafe_code)]

// Unit tests share their harness with the tests in tests/, which know the crate by its name.
#[cfg(test)]
extern crate self as scale_secagg;

mod bytes;
pub mod check;
pub mod client;
pub mod config;
pub mod error;
pub mod graph;
pub mod keys;
pub mod pack;
pub mod params;
pub mod prg;
pub mod roster;
pub mod server;
pub mod shamir;
mod wipe;
