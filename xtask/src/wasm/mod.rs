//! The device crates on WebAssembly: they must build without threads, clock or file system, and the protocol must
//! compute the same bytes there as everywhere else.

pub(crate) mod debian;
mod toolchain;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::command;
use crate::lockfile::Lockfile;
use crate::report::Report;
use crate::tally::Tally;
use crate::tools::{self, CrateTool};
use crate::workspace;

pub(crate) use toolchain::{Choice, Toolchain};

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Apart from `target/`: another compiler may build it, and neither build waits for the other's lock.
pub(crate) const TARGET_DIR: &str = "target-wasm";

/// What a browser loads, with default features: `native` of scale-client-core stays off.
const PACKAGES: &[&str] = &["scale-secagg", "scale-privacy", "scale-proto", "scale-client-core"];

/// Optimized in the development profile for the sake of native tests; nothing here runs them.
const NOT_RUN_HERE: &[&str] =
    &["burn-flex", "burn-tensor", "burn-autodiff", "gemm", "gemm-common", "gemm-f32", "macerator"];

/// Tests that run in Node.js: of a package, the target that these arguments name.
type Target = (&'static str, &'static [&'static str]);

/// Of scale-client-core these are the device's machine and the client around it, on a host in memory.
const TESTS: &[Target] = &[
    ("scale-secagg", &["--test", "vectors"]),
    ("scale-privacy", &["--test", "known_answers"]),
    ("scale-client-core", &["--lib"]),
];

/// Says what noise costs; run optimized.
const SPEED: Target = ("scale-secagg", &["--test", "wasm_speed"]);

#[derive(Args)]
pub(crate) struct Options {
    /// Only see that the crates compile; run nothing
    #[arg(long)]
    check_only: bool,
    /// Also say what a sample of noise costs in Node.js, with optimized code
    #[arg(long, conflicts_with = "check_only")]
    speed: bool,
    /// Where the compiler for wasm32 comes from
    #[arg(long, value_enum, default_value_t)]
    toolchain: Choice,
}

impl Options {
    /// What `test` and `ci` run.
    pub(crate) fn everything() -> Self {
        Self { check_only: false, speed: false, toolchain: Choice::default() }
    }
}

/// Adds the wasm steps; later ones do not run without the toolchain.
pub(crate) fn steps(report: &mut Report, options: &Options) {
    let mut toolchain = None;
    report.step("wasm toolchain", || {
        toolchain = Some(prepare(options.toolchain)?);
        Ok(())
    });
    let Some(toolchain) = toolchain else { return };
    let verb = if options.check_only { "check" } else { "build" };
    report.step("wasm build", || {
        let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
        command::run(development(verb, &toolchain).args(["--lib"]).args(packages))
    });
    if !options.check_only {
        report.test_step("wasm tests", |tally| {
            let node = Node::ensure()?;
            tests(&toolchain, &node.environment(), "wasm: ", tally)
        });
    }
    if options.speed {
        report.step("wasm speed", || speed(&toolchain));
    }
}

/// Everything that compiles for the target, installed if it is missing.
///
/// # Errors
/// If something is missing and cannot be installed.
pub(crate) fn prepare(choice: Choice) -> Result<Toolchain> {
    let toolchain = toolchain::ensure(choice)?;
    ensure_clang()?;
    Ok(toolchain)
}

/// Prints what noise costs.
fn speed(toolchain: &Toolchain) -> Result<()> {
    let (runner, node) = (bindgen(TEST_RUNNER)?, Node::ensure()?);
    command::run(test(toolchain, &runner, &node.environment(), &SPEED).args(["--release", "--", "--nocapture"]))
}

/// The command that runs one test target where `environment` tells the runner to.
fn test(toolchain: &Toolchain, runner: &Path, environment: &Environment, (package, target): &Target) -> Command {
    let mut cargo = development("test", toolchain);
    cargo.args(["--package", package]).args(*target);
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner);
    // The runner's own limit is 20 s for all tests of a file together.
    cargo.env("WASM_BINDGEN_TEST_TIMEOUT", "600");
    cargo.envs(environment.iter().map(|(name, value)| (name, value)));
    cargo
}

/// What the test runner reads from its environment.
pub(crate) type Environment = [(&'static str, String)];

/// Runs the tests, in Node.js or in a browser; `mark` tells which in the tally.
///
/// # Errors
/// If a test fails or a target ran none.
pub(crate) fn tests(toolchain: &Toolchain, environment: &Environment, mark: &str, tally: &mut Tally) -> Result<()> {
    let runner = bindgen(TEST_RUNNER)?;
    let mut result = Ok(());
    let mut wasm = Tally::default();
    for target in TESTS {
        let mut cargo = test(toolchain, &runner, environment, target);
        let mut one = Tally::default();
        let ran = command::run_reading(&mut cargo, |line| one.read_line(line)).and_then(|()| {
            let (package, arguments) = target;
            ensure!(
                one.passed() > 0,
                "{package} ran no test of {arguments:?}: is everything in it left out on wasm32?"
            );
            Ok(())
        });
        result = result.and(ran);
        wasm.absorb(mark, one);
    }
    tally.absorb("", wasm);
    result
}

/// A cargo command for the target. Compiler flags come from `.cargo/config.toml`, so that a plain
/// `cargo build --target wasm32-unknown-unknown` builds the same.
pub(crate) fn cargo(verb: &str, toolchain: &Toolchain) -> Command {
    let mut cargo = command::cargo();
    cargo.args([verb, "--locked", "--target", TARGET, "--target-dir", TARGET_DIR]);
    // Would replace the flags of the configuration file.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.env("CARGO_INCREMENTAL", "0");
    toolchain.configure(&mut cargo);
    cargo
}

/// The same in the development profile.
fn development(verb: &str, toolchain: &Toolchain) -> Command {
    let mut cargo = cargo(verb, toolchain);
    // Line tables are of no use in Node.js and cost a third of the build.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
    for package in NOT_RUN_HERE {
        cargo.args(["--config", &format!("profile.dev.package.{package}.opt-level=0")]);
    }
    cargo
}

/// ring compiles C for wasm32: gcc has no back end for it, and GNU ar writes archives that the linker cannot index.
fn ensure_clang() -> Result<()> {
    let compiles = || {
        let mut clang = command::command("clang");
        let check = ["--target=wasm32-unknown-unknown", "-fsyntax-only", "-x", "c", "/dev/null"];
        command::succeeds(clang.args(check)) && command::succeeds(command::command("llvm-ar").arg("--version"))
    };
    if !compiles() {
        tools::apt_install(&["clang", "llvm"], "ring's C code needs llvm-ar and a clang that knows wasm32")?;
        ensure!(compiles(), "clang and llvm were installed and still cannot compile for wasm32");
    }
    println!("  C compiler: {}", first_line_of("clang", "--version")?);
    Ok(())
}

fn first_line_of(program: &str, argument: &str) -> Result<String> {
    let text = command::output(command::command(program).arg(argument))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

const TEST_RUNNER: &str = "wasm-bindgen-test-runner";

/// A program of wasm-bindgen, which must be of the very version that the code links.
///
/// # Errors
/// If it is missing and cannot be built.
pub(crate) fn bindgen(program: &str) -> Result<PathBuf> {
    let lock = Lockfile::read(workspace::root())?;
    let [version] = lock.versions("wasm-bindgen")[..] else {
        bail!("Cargo.lock must hold exactly one version of wasm-bindgen");
    };
    let tool = CrateTool {
        package: "wasm-bindgen-cli",
        version,
        binary: program,
        arguments: &[],
        purpose: "WebAssembly for JavaScript, same version as in Cargo.lock",
    };
    tool.ensure()
}

/// A Node.js that runs the tests.
struct Node {
    major: u32,
}

impl Node {
    /// The oldest with WebAssembly SIMD.
    const OLDEST: u32 = 18;

    /// # Errors
    /// If there is none and none can be installed, or it is too old.
    fn ensure() -> Result<Self> {
        if !tools::on_path("node") {
            tools::apt_install(&["nodejs"], "the wasm tests run in Node.js")?;
        }
        let version = first_line_of("node", "--version")?;
        let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
        let major = major.with_context(|| format!("`node --version` says {version:?}"))?;
        ensure!(major >= Self::OLDEST, "Node.js {version} is too old, {} or newer is needed", Self::OLDEST);
        println!("  Node.js {version}");
        Ok(Self { major })
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        // Before Node.js 19 `crypto.getRandomValues` was there only on request.
        let on_request = (self.major < 19).then(|| ("NODE_ARGS", "--experimental-global-webcrypto".to_owned()));
        on_request.into_iter().collect()
    }
}
