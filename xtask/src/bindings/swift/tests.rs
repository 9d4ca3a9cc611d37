//! The Swift package's tests, and what of it can only be type-checked here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::toolchain::{Swift, toolchain};
use super::xctest::Runner;
use super::{SOURCES, package, quick_start};
use crate::bindings::{TestRun, WORLD_VARIABLE, folder};
use crate::command;
use crate::tally::Tally;
use crate::workspace::root;

const EXAMPLE: &str = "examples/swift/categorizer";

/// Measures memory: in a process of its own, in which nothing has run before.
const MEASURED: &str = "ManyRoundsTests";

/// Longest type check.
const CHECK: Duration = Duration::from_secs(300);

/// Compiles and runs every test, against what [`super::assemble`] has put together. With `SCALE_LONG` set: 200
/// participations instead of 40.
///
/// # Errors
/// If something does not compile, or a test fails.
pub(crate) fn test(run: &TestRun<'_>, tally: &mut Tally) -> Result<()> {
    let tests = Tests::prepare(toolchain()?, run.world)?;
    if let Some(only) = run.only {
        return tests
            .run("XCTest", &["--filter", only], tally)
            .with_context(|| format!("the Swift tests with {only:?}"));
    }
    let apple = tests.check_apple();
    // The measuring run comes even if others fail: each says something of its own.
    let first = tests.run("XCTest", &["--skip", MEASURED], tally);
    let second = tests.run("memory", &["--filter", MEASURED], tally);
    apple.and(first).and(second)
}

/// A device in a process of its own, as the tests start it: its arguments follow.
///
/// # Errors
/// If the tests do not compile.
pub(crate) fn device(run: &TestRun<'_>) -> Result<Command> {
    let tests = Tests::prepare(toolchain()?, run.world)?;
    let program = tests.made.join("tests/debug/device-under-test");
    ensure!(program.is_file(), "{} was not built", program.display());
    Ok(tests.swift.command(&program.to_string_lossy(), root()))
}

/// What was compiled for the tests.
struct Tests {
    swift: Swift,
    /// Where the compiler leaves what it makes.
    made: PathBuf,
    /// Programs that use the published library.
    quick_start: PathBuf,
    example: PathBuf,
    world: PathBuf,
}

impl Tests {
    fn prepare(swift: Swift, world: &Path) -> Result<Self> {
        for testing in [false, true] {
            let manifest = package::folder(testing).join("Package.swift");
            ensure!(manifest.is_file(), "{} is not there: assemble the Swift package first", manifest.display());
        }
        let made = folder().join("swift-tests");
        fs::create_dir_all(&made).with_context(|| format!("cannot make {}", made.display()))?;
        let project = made.join("YourApp");
        quick_start::project(&root().join(SOURCES).join("README.md"), &package::folder(false), &project)?;
        let (quick_start, example) = (PathBuf::new(), PathBuf::new());
        let mut tests = Self { swift, made, quick_start, example, world: world.to_owned() };
        tests.quick_start = tests.build(&project, "quick-start", "YourApp")?;
        tests.example = tests.build(&root().join(EXAMPLE), "example", "scale-categorizer")?;
        command::run(tests.package("build", &root().join(SOURCES).join("Tests"), "tests").arg("--build-tests"))?;
        Ok(tests)
    }

    /// `swift VERB` for the package in `folder`.
    fn package(&self, verb: &str, folder: &Path, name: &str) -> Command {
        let mut swift = self.swift.command("swift", folder);
        swift.args([verb, "--scratch-path"]).arg(self.made.join(name));
        swift.args(["--disable-sandbox", "--disable-automatic-resolution"]);
        swift.env("SCALE_SWIFT_PACKAGE", package::folder(name == "tests"));
        swift
    }

    /// Builds a program; its path.
    fn build(&self, folder: &Path, name: &str, program: &str) -> Result<PathBuf> {
        command::run(&mut self.package("build", folder, name))?;
        let path = self.made.join(name).join("debug").join(program);
        ensure!(path.is_file(), "{} was not built", path.display());
        Ok(path)
    }

    /// Runs the tests that `choice` leaves.
    fn run(&self, name: &str, choice: &[&str], tally: &mut Tally) -> Result<()> {
        let mut swift = self.package("test", &root().join(SOURCES).join("Tests"), "tests");
        swift.args(["--skip-build", "--disable-swift-testing"]).args(choice);
        swift.env(WORLD_VARIABLE, &self.world).env("SCALE_REPOSITORY", root());
        swift.env("SCALE_QUICK_START", &self.quick_start).env("SCALE_EXAMPLE", &self.example);
        // Tests provoke panics.
        swift.env("RUST_BACKTRACE", "0");
        let mut runner = Runner::default();
        let result = command::run_reading(&mut swift, |line| runner.read_line(line));
        runner.count(name, tally);
        result?;
        ensure!(runner.passed() > 0, "no Swift test ran");
        Ok(())
    }

    /// Type-checks what only runs on Apple's systems, against stubs of their frameworks.
    fn check_apple(&self) -> Result<()> {
        println!("  type-checking what only runs on Apple's systems, against stubs: no machine of ours has run it");
        let stubs = root().join(SOURCES).join("Tests/Stubs");
        let made = self.made.join("apple");
        fs::create_dir_all(&made).with_context(|| format!("cannot make {}", made.display()))?;
        for module in ["BackgroundTasks", "Security", "Network", "UIKit"] {
            let mut compile = self.swift.command("swiftc", &made);
            compile.args(["-emit-module", "-parse-as-library", "-swift-version", "5", "-module-name", module]);
            command::run_within(CHECK, compile.arg(stubs.join(module).with_extension("swift")))?;
        }
        let mut check = self.swift.command("swiftc", &made);
        // Everything about concurrency that the mode of Swift 6 would refuse is at least said.
        check.args(["-typecheck", "-swift-version", "5", "-strict-concurrency=complete", "-module-name", "ScaleFL"]);
        check.arg("-I").arg(&made).arg("-I").arg(package::folder(false).join("Sources/ScaleFLFFI"));
        for source in crate::stamp::files(&package::folder(false).join("Sources/ScaleFL"), &[])? {
            if source.extension().is_some_and(|extension| extension == "swift") {
                let text = fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
                let copy = made.join(source.file_name().context("a source is a file")?);
                fs::write(&copy, for_stubs(&text)).with_context(|| format!("cannot write {}", copy.display()))?;
                check.arg(copy);
            }
        }
        command::run_within(CHECK, &mut check)
    }
}

/// A source as if it were compiled for iOS, in Foundation as it is on Linux: there a dictionary is not bridged.
fn for_stubs(source: &str) -> String {
    source.replace("os(iOS)", "true").replace(" as CFDictionary", ".asCFDictionary")
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn sources_are_checked_as_if_for_ios() {
        let source = "#if canImport(UIKit) && os(iOS)\nf(query as CFDictionary)\n#endif";
        assert_eq!(for_stubs(source), "#if canImport(UIKit) && true\nf(query.asCFDictionary)\n#endif");
    }
}
