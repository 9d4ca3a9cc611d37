//! The npm package for browsers, `wasm/package`: builds it, holds it to its budget of bytes, and tests it in Chromium.

mod browser;
mod bundle;
mod demo;
mod module;
mod sizes;
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::api::Program;
use crate::command;
use crate::node::NodePackages;
use crate::report::Report;
use crate::wasm::{self, Toolchain};
use crate::workspace::root;

pub(crate) use demo::run as demo;

/// The package, from the repository's root.
const PACKAGE: &str = "wasm/package";

const TOOLS: NodePackages<'_> =
    NodePackages { name: "web", folder: "wasm/package/tools", purpose: "they build the npm package" };

#[derive(Args)]
pub(crate) struct Options {
    /// Also build what only tests use, into target-wasm/package-testing
    #[arg(long)]
    testing: bool,
    /// Also make the tarball that npm publishes, in target-wasm
    #[arg(long)]
    pack: bool,
    /// Build everything and run every test of it in Chromium
    #[arg(long)]
    test: bool,
    /// With --test: only the test files whose path has this in it
    #[arg(long, requires = "test", value_name = "TEXT")]
    only: Option<String>,
    /// Where the compiler for wasm32 comes from
    #[arg(long, value_enum, default_value_t)]
    toolchain: wasm::Choice,
    #[command(flatten)]
    program: Program,
}

impl Options {
    /// What `test` and `ci` run.
    pub(crate) fn after_tests() -> Self {
        Self {
            testing: false,
            pack: false,
            test: true,
            only: None,
            toolchain: wasm::Choice::default(),
            program: Program::OF_TESTS,
        }
    }
}

/// Which build of the package.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// What is published.
    Published,
    /// With the exports for tests.
    Testing,
}

impl Variant {
    /// Where wasm-bindgen leaves the module and its JavaScript.
    fn glue(self) -> PathBuf {
        let name = match self {
            Self::Published => "package",
            Self::Testing => "package-testing",
        };
        root().join(wasm::TARGET_DIR).join(name)
    }

    /// Where the finished files lie.
    fn dist(self) -> PathBuf {
        match self {
            Self::Published => root().join(PACKAGE).join("dist"),
            Self::Testing => self.glue(),
        }
    }
}

/// Adds the steps; the tests do not run without the package.
pub(crate) fn steps(report: &mut Report, options: &Options) {
    let mut built = None;
    report.step("web package", || {
        let toolchain = wasm::prepare(options.toolchain)?;
        build(&toolchain, options.testing || options.test)?;
        // The tests make their own.
        if options.pack && !options.test {
            pack()?;
        }
        built = Some(toolchain);
        Ok(())
    });
    let Some(toolchain) = built else {
        report.not_run("web size and tests", "there is no package");
        return;
    };
    // What is too large can still be tested.
    report.step("web size", sizes::check);
    if options.test {
        tests::steps(report, options, &toolchain);
    }
}

/// Builds what the tests in a browser need; the variables by which they find it.
///
/// # Errors
/// If something does not build.
pub(crate) fn test_variables(program: Program) -> Result<Vec<(&'static str, String)>> {
    build(&wasm::prepare(wasm::Choice::default())?, true)?;
    tests::variables(program)
}

/// Builds the package; what is up to date stays as it is.
fn build(toolchain: &Toolchain, with_testing: bool) -> Result<()> {
    let tools = TOOLS.ensure()?;
    module::build(toolchain, Variant::Published)?;
    bundle::build(&tools, Variant::Published)?;
    if with_testing {
        module::build(toolchain, Variant::Testing)?;
        bundle::build(&tools, Variant::Testing)?;
    }
    Ok(())
}

/// Makes the tarball, as npm publishes it, and returns its path.
fn pack() -> Result<PathBuf> {
    let into = root().join(wasm::TARGET_DIR);
    let mut npm = command::command("npm");
    npm.current_dir(root().join(PACKAGE)).args(["pack", "--ignore-scripts", "--loglevel", "error"]);
    npm.arg("--pack-destination").arg(&into);
    let said = command::output(&mut npm).context("npm could not pack wasm/package")?;
    let name = said.lines().last().context("npm pack named no file")?;
    println!("  packed {}/{name}", wasm::TARGET_DIR);
    Ok(into.join(name))
}

/// How long a tool that works on the package may take.
const TOOL_LIMIT: Duration = Duration::from_secs(600);
