//! The Swift package, `bindings/swift`: puts it together with what is generated and built, and tests it on Linux.

mod package;
mod quick_start;
mod tests;
mod toolchain;
mod xctest;

pub(crate) use package::assemble;
pub(crate) use tests::{device, test};
pub(crate) use toolchain::toolchain;

/// The sources, from the repository's root.
const SOURCES: &str = "bindings/swift";
