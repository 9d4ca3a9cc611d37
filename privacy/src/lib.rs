//! Privacy of an update: from floating point to integers under a norm bound, the noise on them, what it costs, and the
//! account that a device keeps of it. No I/O, no clock, no global randomness.
//!
//! | step | where | type afterwards |
//! |---|---|---|
//! | before joining: does this setting work, what does it promise | [`plan`] | [`plan::Plan`] |
//! | clip to the norm C, scale to the grid, round, check the integer norm | [`grid::quantize`] | `i32` |
//! | pay, within what the device allows | [`ledger::Ledger::reserve`], [`guardrails`] | [`ledger::Spend`] |
//! | add exact integer noise | [`ledger::Noised::new`], [`gaussian`] | residues modulo 2^32 |
//! | what a round costs | [`distributed`], [`accounting`] | [`ledger::Charge`] |
//!
//! Clipping is a heuristic in floating point; what holds is the bound on the integers, checked exactly after rounding and
//! again before the noise. From there on no float touches the update. Floats occur in the accountants, which round
//! towards more cost.
//!
//! Costs for a person and for a training example are different types ([`accounting::UserLevel`],
//! [`accounting::ExampleLevel`]) and are never added up.
#![forbid(unsafe_code)]

pub mod accounting;
pub mod adaptive;
pub mod distributed;
pub mod fit;
pub mod gaussian;
pub mod grid;
pub mod guardrails;
pub mod ledger;
pub mod plan;

mod error;
#[cfg(test)]
mod reference;

pub use error::Error;
