//! The Kotlin library, `bindings/kotlin`: assembles it with what is generated and built, and tests it on the JVM.

mod console;
mod package;
mod quick_start;
mod tests;
mod toolchain;

pub(crate) use package::{JAR, assemble};
pub(crate) use tests::{device, test};
pub(crate) use toolchain::{Compilation, java, joined, toolchain};

/// The sources, from the repository's root.
const SOURCES: &str = "bindings/kotlin";
