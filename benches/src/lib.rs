//! What the measurements share: CPU clocks and memory figures.
//!
//! Every time is CPU time: it hardly changes when the machine has other work to do.

pub mod clock;
pub mod generator;
pub mod memory;
