//! Shared parts of the example programs.

pub mod baseline;
pub mod chart;
pub mod demo;
pub mod evaluate;
pub mod fleet;
pub mod merchants;
pub mod people;
pub mod random;
pub mod simulation;
pub mod statements;
pub mod tradeoff;
