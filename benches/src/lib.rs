//! What the measurements share: CPU clocks, memory figures, quantiles of latencies, the coordinator as a
//! child.
//!
//! Times are CPU time, which hardly changes when the machine has other work to do. Only latencies are wall time.

pub mod clock;
pub mod coordinator;
pub mod generator;
pub mod memory;
pub mod quantiles;
