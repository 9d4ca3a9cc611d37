//! The test kit: the production state machine of a device, and a coordinator, in memory and in one thread, for the
//! tests of this crate and of others (feature `testing`).
//!
//! | part | what it is |
//! |---|---|
//! | [`setting`] | one small task: keys, plan, model, signed configuration |
//! | [`inputs`] | uploads of masked inputs with the values that they carry |
//! | [`Device`] | [`crate::device::State`] with its environment; its storage survives restarts |
//! | [`Coordinator`] | one session of one round with the server's part of the protocol; its log survives restarts |
//! | [`Simulation`] | devices and coordinator on one clock, driven by a list of [`Operation`]s |
//!
//! Nothing here reads a clock, opens a file or draws randomness of its own, so the same calls give the same bytes.
//! There is no network, no storage engine and no training; the result of training is a function that the test chooses
//! ([`Training`]). These types panic if a test uses them wrongly, and otherwise return what a device or a coordinator
//! would answer.

mod coordinator;
mod device;
pub mod inputs;
pub mod setting;
mod simulation;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
mod training;

pub use coordinator::{Coordinator, Message, session};
pub use device::{Device, Sent, Silence, effect_name};
pub use simulation::{Operation, Outcome, Simulation};
pub use training::Training;
