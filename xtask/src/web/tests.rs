//! The package's tests in Chromium: the core's, those of `wasm/tests`, and the story of `examples/web`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::demo::{Demo, Neighbors};
use super::{Options, PACKAGE, Variant, browser, demo, pack};
use crate::api::Program;
use crate::node::{self, NodePackages};
use crate::report::Report;
use crate::services::Folder;
use crate::stamp::files;
use crate::wasm::{TARGET_DIR, Toolchain};
use crate::workspace::{root, target_dir};
use crate::{command, page};

/// Test files of the package itself, from the repository's root.
const OF_PACKAGE: &str = "wasm/tests";
/// Test files that need the web demo to run.
const OF_DEMO: &str = "examples/web/tests";
const ENDING: &str = ".test.mjs";
/// A browser that hangs keeps its test file running.
const FILE_LIMIT: Duration = Duration::from_secs(900);

/// TensorFlow.js, which the speed is compared with, and playwright-core.
const COMPARED: NodePackages<'_> =
    NodePackages { name: "web-tests", folder: "wasm/tests/speed", purpose: "they drive and measure Chromium" };

/// Adds a step for every test file.
pub(super) fn steps(report: &mut Report, options: &Options, toolchain: &Toolchain) {
    match &options.only {
        None => report.test_step("web core", |tally| browser::test(toolchain, &page::ensure_chromium()?, tally)),
        Some(_) => report.not_run("web core", "--only"),
    }
    let mut found = Vec::new();
    let mut environment = None;
    report.step("web test world", || {
        found = test_files(options.only.as_deref())?;
        environment = Some(Environment::prepare(options.program, page::ensure_chromium()?)?);
        Ok(())
    });
    let Some(environment) = environment else { return };
    let (of_demo, of_package): (Vec<_>, Vec<_>) = found.iter().partition(|file| file.starts_with(OF_DEMO));
    for file in of_package {
        report.test_step(step_name(file), |tally| {
            node::test_within(FILE_LIMIT, &[file.as_str()], &environment.variables(), tally)
        });
    }
    if of_demo.is_empty() {
        return;
    }
    let mut running = None;
    report.step("web demo", || {
        running = Some(environment.demo()?);
        Ok(())
    });
    // The demo is dropped before the folder that it writes into.
    let Some((_folder, demo)) = running else { return };
    for file in of_demo {
        report.test_step(step_name(file), |tally| {
            let mut variables = environment.variables();
            variables.push(("SCALE_WEB_URL", demo.url.as_str()));
            node::test_within(FILE_LIMIT, &[file.as_str()], &variables, tally).with_context(|| demo.last_words())
        });
    }
}

/// Every test file whose path has `only` in it, from the repository's root.
fn test_files(only: Option<&str>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in [OF_PACKAGE, OF_DEMO] {
        for path in files(&root().join(folder), &["node_modules"])? {
            let path = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            if path.ends_with(ENDING) && only.is_none_or(|only| path.contains(only)) {
                found.push(path);
            }
        }
    }
    ensure!(!found.is_empty(), "no test file in {OF_PACKAGE} or {OF_DEMO} has {only:?} in its path");
    Ok(found)
}

/// `web storage` for `wasm/tests/storage.test.mjs`.
fn step_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    format!("web {}", name.strip_suffix(ENDING).unwrap_or(name))
}

/// The variables by which the test files find what they need; builds it.
///
/// # Errors
/// If something does not build.
pub(super) fn variables(program: Program) -> Result<Vec<(&'static str, String)>> {
    Ok(Environment::prepare(program, page::ensure_chromium()?)?.variables)
}

/// What the test files find in variables.
struct Environment {
    variables: Vec<(&'static str, String)>,
    fleet: PathBuf,
}

impl Environment {
    /// Builds and installs what the tests need apart from the package.
    fn prepare(program: Program, chromium: String) -> Result<Self> {
        let packages = COMPARED.ensure()?;
        let (world, fleet) = programs(program)?;
        let tarball = pack()?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let variables = vec![
            ("SCALE_WEB_PACKAGE", text(&root().join(PACKAGE))),
            ("SCALE_WEB_TARBALL", text(&tarball)),
            ("SCALE_WASM_TESTING", text(&Variant::Testing.dist())),
            ("SCALE_WASM_PARITY_REFERENCE", text(&parity_reference()?)),
            ("SCALE_WORLD", text(&world)),
            ("SCALE_PAGE_PACKAGES", text(&packages)),
            ("SCALE_PAGE_CHROMIUM", chromium),
        ];
        Ok(Self { variables, fleet })
    }

    fn variables(&self) -> Vec<(&str, &str)> {
        self.variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// Starts the web demo. It stops when it is dropped; its folder goes after it.
    fn demo(&self) -> Result<(Folder, Demo)> {
        demo::build_site()?;
        let folder = Folder::new(None)?;
        let neighbors = Neighbors::start(&self.fleet, &folder.path.join("fleet"), &[], Some(&folder.path))?;
        let demo = Demo::start(neighbors, None, &folder.path)?;
        Ok((folder, demo))
    }
}

/// The native programs that tests start: the other side of `wasm/tests`, and the fleet.
fn programs(program: Program) -> Result<(PathBuf, PathBuf)> {
    if program.is_of_tests() {
        program.build()?;
    } else {
        for what in [["--package", "scale-tests", "--bins"], ["--package", "scale-examples", "--bin=fleet"]] {
            command::run(command::cargo().args(["build", "--locked"]).args(what))?;
        }
    }
    let folder = target_dir().join("debug");
    let [world, fleet] =
        ["world-under-test", "fleet"].map(|name| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)));
    for built in [&world, &fleet] {
        ensure!(built.is_file(), "{} was not built", built.display());
    }
    Ok((world, fleet))
}

/// What training comes to natively, which a browser's results are compared with.
fn parity_reference() -> Result<PathBuf> {
    let file = root().join(TARGET_DIR).join("parity.json");
    let mut cargo = command::cargo();
    cargo.args(["test", "--locked", "--package", "scale-wasm", "--test", "parity"]);
    command::run(cargo.env("SCALE_WASM_PARITY_REFERENCE", &file))?;
    Ok(file)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn test_files_are_found_and_named() {
        let all = test_files(None).unwrap();
        assert!(all.iter().any(|file| file.starts_with(OF_PACKAGE)), "{all:?}");
        assert!(all.iter().all(|file| file.ends_with(ENDING) && !file.contains("node_modules")), "{all:?}");
        let one = test_files(Some(&all[0])).unwrap();
        assert_eq!(one, all[..1]);
        assert!(test_files(Some("no such file")).unwrap_err().to_string().contains("no such file"));
        assert_eq!(step_name("wasm/tests/speed/speed.test.mjs"), "web speed");
    }
}
