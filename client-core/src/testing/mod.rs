//! The test kit: the device that ships and a coordinator, in memory and in one thread, for this crate's tests and for those
//! of other packages (feature `testing`).
//!
//! | part | what it is |
//! |---|---|
//! | [`setting`] | one small task: keys, plan, model, signed configuration |
//! | [`Device`] | [`crate::device::State`] with everything that it looks at; its disk survives its memory |
//! | [`Coordinator`] | one session of one round around the server's half of the protocol; its log survives its memory |
//! | [`Simulation`] | devices and coordinator on one clock, driven by a list of [`Operation`]s |
//!
//! Nothing here reads a clock, opens a file or draws randomness of its own: the same calls give the same bytes. There is no
//! network, no storage engine and no training; what training gives is a function of the test's choice ([`Training`]).
//! These types panic where a test has made a mistake, and return what a device or a coordinator would answer.

mod coordinator;
mod device;
pub mod setting;
mod simulation;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
mod training;

pub use coordinator::{Coordinator, Message, session};
pub use device::{Device, Sent, Silence, effect_name};
pub use simulation::{Operation, Outcome, Simulation};
pub use training::Training;
