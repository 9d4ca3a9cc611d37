//! The React Native module, `bindings/react-native`: puts the package together, and tests what of it runs without a phone.

mod native;
mod package;
mod tests;

pub(crate) use package::assemble;
pub(crate) use tests::test;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bindings::folder;
use crate::command;
use crate::node::NodePackages;

/// The sources, from the repository's root.
const SOURCES: &str = "bindings/react-native";

/// How long a tool that works on the package may take.
const TOOL_LIMIT: Duration = Duration::from_secs(300);

/// TypeScript's compiler and esbuild: those of the npm package for browsers.
const BUILDERS: NodePackages<'_> =
    NodePackages { name: "web", folder: "wasm/package/tools", purpose: "they build npm packages" };

/// Expo's and React Native's own types, and their compiler.
const CHECKERS: NodePackages<'_> = NodePackages {
    name: "react-native",
    folder: "bindings/react-native/tools",
    purpose: "the React Native module is checked with Expo's and React Native's own types and tools",
};

/// Where everything of this package is made.
fn made() -> PathBuf {
    folder().join("react-native")
}

/// Compiles a project of TypeScript, in strict mode.
///
/// # Errors
/// If it does not pass the type checker.
fn typescript(project: &str) -> Result<()> {
    let mut tsc = command::command("node");
    tsc.arg(BUILDERS.ensure()?.join("node_modules/typescript/bin/tsc")).arg("--project").arg(made().join(project));
    command::run_within(TOOL_LIMIT, &mut tsc).with_context(|| format!("{project} does not pass the type checker"))
}
