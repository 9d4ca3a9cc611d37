//! The Kotlin library's tests, on the JVM, and what of it can only be compiled here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::console::Console;
use super::package::{JAR, assembled, classes};
use super::toolchain::{Compilation, Kotlin, java, joined, toolchain};
use super::{SOURCES, quick_start};
use crate::bindings::{TestRun, WORLD_VARIABLE, folder};
use crate::command;
use crate::tally::Tally;
use crate::workspace::root;

const DEVICE: &str = "io.scalefl.sdk.DeviceUnderTestKt";

/// Measures memory: in a JVM of its own, whose heap has one size from the beginning.
const MEASURED: &str = "ManyRoundsTest";
/// The program that uses the library, from the repository's root.
const EXAMPLE: &str = "examples/kotlin";

/// Compiles and runs the tests, against what [`super::assemble`] has put together for the published library and for the one of
/// the tests. With `SCALE_LONG` set: 200 participations instead of 40.
///
/// # Errors
/// If something does not compile, or a test fails, or none has the wanted text in the name of its class.
pub(crate) fn test(run: &TestRun<'_>, tally: &mut Tally) -> Result<()> {
    let tests = Tests::prepare(toolchain()?, run)?;
    let Some(only) = run.only else {
        tests.check_android(run)?;
        // The measuring run comes even if the other fails: each says something of its own.
        let all = tests.run("JUnit", java("256m").arg("-ea"), &["--exclude-classname", &pattern(MEASURED)], tally);
        return all.and(tests.measure(tally));
    };
    if MEASURED.contains(only) {
        return tests.measure(tally);
    }
    let choice = ["--include-classname", &pattern(only), "--exclude-classname", &pattern(MEASURED)];
    let chosen = tests.run("JUnit", java("256m").arg("-ea"), &choice, tally);
    chosen.with_context(|| format!("the Kotlin tests with {only:?} in the name of their class"))
}

/// A device in a process of its own, as the tests start it: its arguments follow.
///
/// # Errors
/// If the tests do not compile.
pub(crate) fn device(run: &TestRun<'_>) -> Result<Command> {
    let tests = Tests::prepare(toolchain()?, run)?;
    let own = [tests.tests.clone(), library(true), tests.kotlin.junit().to_owned()];
    let mut java = java("128m");
    java.arg("-cp").arg(joined(&own.into_iter().chain(tests.kotlin.runtime()).collect::<Vec<_>>())?).arg(DEVICE);
    Ok(java)
}

/// Classes with this text in their names.
fn pattern(text: &str) -> String {
    format!(".*\\Q{text}\\E.*")
}

/// What was compiled for the tests.
struct Tests {
    kotlin: Kotlin,
    /// Tests of the library and of the example.
    tests: PathBuf,
    /// Programs that use the published library: the quick start and the example.
    quick_start: PathBuf,
    example: PathBuf,
    /// The other side: a coordinator and native devices, in a program that takes orders.
    world: PathBuf,
}

impl Tests {
    fn prepare(kotlin: Kotlin, run: &TestRun<'_>) -> Result<Self> {
        for jar in [library(false), library(true)] {
            ensure!(jar.is_file(), "{} is not there: assemble both Kotlin libraries first", jar.display());
        }
        let made = made();
        fs::create_dir_all(&made).with_context(|| format!("cannot make {}", made.display()))?;
        let [tests, quick_start, example] = ["tests.jar", "quick-start.jar", "example.jar"].map(|name| made.join(name));
        let (sources, examples) = (root().join(SOURCES), root().join(EXAMPLE));
        let (published, testing) = (classes(false), classes(true));
        kotlin.compile(&Compilation {
            what: "the Kotlin example",
            sources: &[examples.join("src/main/kotlin")],
            classpath: std::slice::from_ref(&published),
            friend: None,
            into: &example,
        })?;
        kotlin.compile(&Compilation {
            what: "the quick start of bindings/kotlin/README.md",
            sources: &[quick_start::program(&sources.join("README.md"), &made)?],
            classpath: std::slice::from_ref(&published),
            friend: None,
            into: &quick_start,
        })?;
        kotlin.compile(&Compilation {
            what: "the Kotlin tests",
            sources: &[sources.join("core/src/test/kotlin"), examples.join("src/test/kotlin")],
            classpath: &[testing.clone(), example.clone(), kotlin.junit().to_owned()],
            friend: Some(&testing),
            into: &tests,
        })?;
        Ok(Self { kotlin, tests, quick_start, example, world: run.world.to_owned() })
    }

    /// Compiles the AAR's sources, with what was generated for Android, against stand-ins for Android's classes.
    fn check_android(&self, run: &TestRun<'_>) -> Result<()> {
        let sources = root().join(SOURCES);
        self.kotlin.compile(&Compilation {
            what: "the Android library against stand-ins for Android (no machine of ours has run it)",
            sources: &[
                sources.join("core/src/main/kotlin"),
                sources.join("android/src/main/kotlin"),
                sources.join("android/src/stubs"),
                run.library.kotlin_android.clone(),
            ],
            classpath: &[],
            friend: None,
            into: &made().join("android.jar"),
        })
    }

    /// What grows from round to round. The heap is resident from the beginning: it is not the library's.
    fn measure(&self, tally: &mut Tally) -> Result<()> {
        let mut java = java("48m");
        java.args(["-Xms48m", "-XX:+AlwaysPreTouch"]);
        self.run("memory", &mut java, &["--include-classname", &pattern(MEASURED)], tally)
    }

    /// Runs the tests that `choice` leaves.
    fn run(&self, name: &str, java: &mut Command, choice: &[&str], tally: &mut Tally) -> Result<()> {
        let path = |own: &[&Path]| {
            let own = own.iter().map(|jar| jar.to_path_buf());
            joined(&own.chain(self.kotlin.runtime()).collect::<Vec<_>>())
        };
        let (published, testing) = (library(false), library(true));
        java.arg("-cp").arg(path(&[&self.tests, &testing, &self.example, self.kotlin.junit()])?);
        java.args(["org.junit.platform.console.ConsoleLauncher", "--disable-banner", "--disable-ansi-colors"]);
        java.args(["--details=tree", "--fail-if-no-tests"]).arg("--scan-class-path").arg(&self.tests).args(choice);
        java.env(WORLD_VARIABLE, &self.world);
        java.env("SCALE_TRANSCRIPTS", root().join("bindings/tests/transcripts.txt"));
        java.env("SCALE_STATEMENT", root().join("examples/data/statement.csv"));
        java.env("SCALE_QUICK_START", path(&[&self.quick_start, &published])?);
        java.env("SCALE_EXAMPLE", path(&[&self.example, &published])?);
        let mut console = Console::default();
        let result = command::run_reading(java, |line| console.read_line(line));
        console.count(name, tally);
        result?;
        ensure!(console.passed() > 0, "no test ran");
        Ok(())
    }
}

/// The jar with classes and native library.
fn library(testing: bool) -> PathBuf {
    assembled(testing).join(JAR)
}

/// Where what only tests use is compiled to.
fn made() -> PathBuf {
    folder().join("kotlin-tests")
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_measured_class_is_there() {
        let file = root().join(SOURCES).join(format!("core/src/test/kotlin/io/scalefl/sdk/{MEASURED}.kt"));
        assert!(file.is_file(), "{}", file.display());
    }
}
