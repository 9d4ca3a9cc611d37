//! From an update in floating point to integers under a norm bound. No I/O, no clock, no global randomness.
//!
//! | step | where | type afterwards |
//! |---|---|---|
//! | clip to the norm C, scale to the grid | [`grid::to_grid`] | `f64` in grid units |
//! | round stochastically, check the integer norm | [`grid::stochastic_round`] | `i32` |
//! | both in one pass, without the vector in between | [`grid::quantise`] | `i32` |
//!
//! Clipping is a heuristic in floating point; what holds is the bound on the integers, checked exactly after rounding.
#![forbid(unsafe_code)]

pub mod grid;

mod error;

pub use error::Error;
