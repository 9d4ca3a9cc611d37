//! A coordinator that lies, the real clients that it lies to, and the count of what it learns: which must be zero.
//!
//! [`Liar`] holds the task key, any number of made-up devices ([`puppet`]) and all bytes that a server sees. It shows
//! every victim whatever it likes, records everything ([`knowledge`]) and attacks at the end. What counts as a leak stands
//! in [`leak`]. The same lie told to [`gullible`] clients must leak: a count that never counts is worth nothing.

pub mod device;
pub mod gullible;
pub mod kernel;
pub mod knowledge;
pub mod leak;
pub mod puppet;
pub mod setting;
pub mod shown;
pub mod victim;

mod script;

pub use leak::Leak;
pub use script::{Crew, Liar, Refusal, Report};
pub use shown::Shown;
pub use victim::{Habits, Message, Victim};
