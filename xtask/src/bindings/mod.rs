//! The SDKs for phones, `bindings`: builds the library, generates its Swift and Kotlin sides, puts the packages together, and
//! tests them.
//!
//! Everything lands in `target/bindings`: the packages `swift`, `kotlin` and `react-native`, and below `testing` the same with
//! the library for tests. What needs Xcode or Android's tools is made where those are, and its absence is in the closing table.

mod android;
mod apple;
mod elf;
mod kotlin;
mod library;
mod mixed;
mod previous;
mod react_native;
mod size;
mod swift;
mod targets;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::api::Program;
use crate::command;
use crate::report::Report;
use crate::wasm::Choice;
use crate::workspace::{root, target_dir};
use library::{Library, Variant};

#[derive(Args)]
pub(crate) struct Options {
    /// Put the Swift package together
    #[arg(long)]
    swift: bool,
    /// Put the Kotlin library together
    #[arg(long)]
    kotlin: bool,
    /// Put the React Native module together
    #[arg(long)]
    react_native: bool,
    /// Make the XCFramework for the Swift package; needs a Mac with Xcode
    #[arg(long)]
    xcframework: bool,
    /// Make the AAR for Android; needs the Android SDK, its NDK, and Gradle
    #[arg(long)]
    aar: bool,
    /// Test what was put together
    #[arg(long)]
    test: bool,
    /// With --test: only the tests and checks that have this in their name
    #[arg(long, requires = "test", value_name = "TEXT")]
    only: Option<String>,
    /// Take the library for tests as the published one, too: half the building, where only tests are of interest
    #[arg(long, requires = "test", hide = true)]
    one_library: bool,
    /// Leave out the round in which a browser takes part, too
    #[arg(long, requires = "test")]
    without_browser: bool,
    /// Where the standard library for phones comes from, which the library is checked with
    #[arg(long, value_enum, default_value_t)]
    toolchain: Choice,
    #[command(flatten)]
    program: Program,
}

impl Options {
    /// What `test` and `ci` run.
    pub(crate) fn after_tests(without_browser: bool) -> Self {
        Self {
            swift: false,
            kotlin: false,
            react_native: false,
            xcframework: false,
            aar: false,
            test: true,
            only: None,
            one_library: false,
            without_browser,
            toolchain: Choice::default(),
            program: Program::OF_TESTS,
        }
    }

    /// Nothing asked for by name is everything.
    fn plan(&self) -> Plan {
        let named = self.swift || self.kotlin || self.react_native || self.xcframework || self.aar;
        let chosen = |name: &str| self.only.as_ref().is_some_and(|only| name.contains(only.as_str()));
        let no_language = [SIZE, TARGETS, PREVIOUS, MIXED].into_iter().any(chosen);
        let package = |asked: bool| asked || (!named && !no_language);
        let check = |name: &str| self.test && !named && (self.only.is_none() || chosen(name));
        // Long builds, which tests do not use.
        let built = |asked: bool| asked || !(named || self.test);
        Plan {
            swift: package(self.swift),
            kotlin: package(self.kotlin),
            react_native: package(self.react_native),
            xcframework: built(self.xcframework),
            aar: built(self.aar),
            size: (self.only.is_none() && !self.one_library && !self.xcframework && !self.aar) || chosen(SIZE),
            targets: check(TARGETS),
            previous: check(PREVIOUS),
            mixed: check(MIXED),
        }
    }
}

const XCFRAMEWORK: &str = "xcframework";
const AAR: &str = "aar";
const SIZE: &str = "bindings size";
const TARGETS: &str = "phone targets";
const PREVIOUS: &str = "previous release";
const MIXED: &str = "mixed round";

/// What one call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    swift: bool,
    kotlin: bool,
    react_native: bool,
    xcframework: bool,
    aar: bool,
    size: bool,
    targets: bool,
    previous: bool,
    mixed: bool,
}

impl Plan {
    /// Only then are all checks among it.
    fn is_whole_test(self) -> bool {
        self.targets && self.previous
    }

    fn needs_library(self) -> bool {
        self.swift || self.kotlin || self.react_native || self.xcframework || self.aar || self.size || self.mixed
    }
}

/// What the tests of each language take.
pub(crate) struct TestRun<'a> {
    /// The build for tests.
    pub(crate) library: &'a Library,
    /// The program with a coordinator and other devices, which tests find by [`WORLD_VARIABLE`].
    pub(crate) world: &'a Path,
    /// Only tests with this in their name.
    pub(crate) only: Option<&'a str>,
}

/// Names the program with a coordinator and other devices to tests; set by a person, it is used in place of this tree's.
pub(crate) const WORLD_VARIABLE: &str = "SCALE_WORLD";

/// Where everything lands. Not where cargo builds: another tree's commands may share that with this one's.
pub(crate) fn folder() -> PathBuf {
    root().join("target/bindings")
}

/// What is built first.
struct Built {
    published: Library,
    /// With `--test`.
    testing: Option<Testing>,
}

struct Testing {
    library: Library,
    world: PathBuf,
}

impl Built {
    fn new(options: &Options) -> Result<Self> {
        let generator = library::generator(options.program)?;
        let published = if options.one_library { Variant::Testing } else { Variant::Published };
        let published = Library::build(published, &generator)?;
        let testing = match options.test {
            true => {
                Some(Testing { library: Library::build(Variant::Testing, &generator)?, world: world(options.program)? })
            }
            false => None,
        };
        Ok(Self { published, testing })
    }
}

/// Adds the steps.
pub(crate) fn steps(report: &mut Report, options: &Options) {
    let mut plan = options.plan();
    refuse(report, options, &mut plan);
    if plan.needs_library() {
        let mut built = None;
        report.step("bindings library", || {
            built = Some(Built::new(options)?);
            Ok(())
        });
        match built {
            Some(built) => packages(report, options, plan, &built),
            None => report.not_run("packages and their tests", "there is no library"),
        }
    }
    if plan.targets {
        report.step(TARGETS, || targets::check(options.toolchain));
    }
    if plan.previous {
        report.test_step(PREVIOUS, |tally| {
            previous::test(&world(options.program)?, &library::generator(options.program)?, tally)
        });
    }
}

fn packages(report: &mut Report, options: &Options, plan: Plan, Built { published, testing }: &Built) {
    if plan.size {
        report.step(SIZE, || size::check(published, testing.as_ref().map(|testing| &testing.library)));
    }
    if plan.swift || plan.xcframework {
        report.step("swift package", || swift::assemble(published, false).map(drop));
    }
    if plan.kotlin || plan.aar {
        report.step("kotlin package", || kotlin::assemble(published, false).map(drop));
    }
    platform_packages(report, plan, published);
    // Its tarball holds the XCFramework, where there is one.
    if plan.react_native {
        report.step("react native package", || react_native::assemble(published).map(drop));
    }
    if let Some(Testing { library, world }) = testing {
        let run = TestRun { library, world, only: options.only.as_deref() };
        if plan.swift {
            report.test_step("swift tests", |tally| {
                swift::assemble(library, true)?;
                swift::test(&run, tally)
            });
        }
        if plan.kotlin {
            report.test_step("kotlin tests", |tally| {
                kotlin::assemble(library, true)?;
                kotlin::test(&run, tally)
            });
        }
        if plan.mixed && !options.without_browser {
            report.test_step(MIXED, |tally| {
                // What is up to date stays as it is.
                swift::assemble(published, false)?;
                swift::assemble(library, true)?;
                kotlin::assemble(published, false)?;
                kotlin::assemble(library, true)?;
                mixed::test(&run, options.program, tally)
            });
        } else if plan.mixed {
            report.not_run(MIXED, "it needs the package for browsers");
        }
        if plan.react_native {
            report.test_step("react native tests", |tally| react_native::test(&run, tally));
        }
    }
}

/// What only some machines can make.
fn platform_packages(report: &mut Report, plan: Plan, published: &Library) {
    for (name, planned, missing) in
        [(XCFRAMEWORK, plan.xcframework, apple::missing()), (AAR, plan.aar, android::missing())]
    {
        match missing {
            Some(missing) if planned || plan.is_whole_test() => report.not_run(name, &missing),
            None if plan.is_whole_test() => {
                report.not_run(name, "no test uses it, and it takes long: ask for it by name")
            }
            None if planned && name == AAR => report.step(name, android::build),
            None if planned => report.step(name, || apple::build(published)),
            _ => {}
        }
    }
}

/// What was asked for by name and cannot be made here is a failure, before anything is built.
fn refuse(report: &mut Report, options: &Options, plan: &mut Plan) {
    for (name, asked, planned, missing) in [
        (XCFRAMEWORK, options.xcframework, &mut plan.xcframework, apple::missing()),
        (AAR, options.aar, &mut plan.aar, android::missing()),
    ] {
        if let Some(missing) = missing.filter(|_| asked) {
            report.step(name, || bail!("{missing}; the release workflow makes it, too: .github/workflows/release.yml"));
            *planned = false;
        }
    }
}

/// The coordinator and the other devices of every test.
fn world(program: Program) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(WORLD_VARIABLE).filter(|path| !path.is_empty()) {
        println!("  using {} as {WORLD_VARIABLE} says", Path::new(&path).display());
        return Ok(path.into());
    }
    if !program.is_of_tests() {
        let mut cargo = command::cargo();
        command::run(cargo.args(["build", "--locked", "--package", "scale-tests", "--bins"]))?;
    }
    let world = target_dir().join("debug").join(format!("world-under-test{}", std::env::consts::EXE_SUFFIX));
    ensure!(world.is_file(), "{} was not built", world.display());
    Ok(world)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(change: impl FnOnce(&mut Options)) -> Plan {
        let mut options = Options { test: false, ..Options::after_tests(false) };
        change(&mut options);
        options.plan()
    }

    #[test]
    fn nothing_by_name_is_everything() {
        let built = plan(|_| {});
        assert!(built.swift && built.kotlin && built.xcframework && built.aar && built.size, "{built:?}");
        assert!(!built.targets && !built.previous, "these are tests: {built:?}");
        let tested = Options::after_tests(false).plan();
        assert!(
            tested.swift && tested.kotlin && tested.react_native && tested.size && tested.targets && tested.previous,
            "{tested:?}"
        );
        assert!(!tested.xcframework && !tested.aar, "no test uses them: {tested:?}");
    }

    #[test]
    fn what_is_named_comes_alone() {
        let swift = plan(|options| options.swift = true);
        let nothing = Plan {
            swift: false,
            kotlin: false,
            react_native: false,
            xcframework: false,
            aar: false,
            size: false,
            targets: false,
            previous: false,
            mixed: false,
        };
        assert_eq!(swift, Plan { swift: true, size: true, ..nothing });
        let aar = plan(|options| options.aar = true);
        assert_eq!(aar, Plan { aar: true, ..nothing });
        let previous = plan(|options| (options.test, options.only) = (true, Some("previous".into())));
        assert_eq!(previous, Plan { previous: true, ..nothing });
        let one = plan(|options| (options.test, options.kotlin, options.only) = (true, true, Some("RoundTest".into())));
        assert_eq!(one, Plan { kotlin: true, ..nothing });
    }

    #[test]
    fn the_release_workflow_calls_commands_that_there_are() {
        use clap::Parser as _;

        let workflow = std::fs::read_to_string(root().join(".github/workflows/release.yml")).unwrap();
        let commands = workflow.lines().filter_map(|line| line.split_once("run: cargo xtask "));
        let commands: Vec<&str> = commands.map(|(_, arguments)| arguments).collect();
        assert_eq!(commands.len(), 3, "{commands:?}");
        for command in commands {
            let words = std::iter::once("xtask").chain(command.split(' '));
            assert!(crate::Cli::try_parse_from(words).is_ok(), "cargo xtask {command}");
        }
    }
}
