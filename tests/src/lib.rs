//! Whole rounds of SCALE FL against the real coordinator, in a process of its own that can be killed.
//!
//! [`process::CoordinatorProcess`] starts, kills and restarts it; [`device::RawDevice`] is a device that speaks the wire
//! and the protocol and nothing else: no training, no state machine, so that a test decides on every single message.
//! [`round::recovered_sum`] reads the integer sum back from what a round has published.

pub mod device;
pub mod process;
pub mod round;
