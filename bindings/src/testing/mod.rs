//! What tests of the languages need, and no release has.

mod moves;
#[cfg(feature = "phones")]
pub mod phones;
mod transcript;

pub use moves::Moves;
pub use transcript::transcript;
