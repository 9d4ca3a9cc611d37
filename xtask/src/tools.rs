//! Installs tools that are missing: programs from crates.io and Python's environments into the tools folder, system
//! packages through apt.

mod python;
pub(crate) mod rust;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::command;
use crate::report::clock;
use crate::workspace::tools_dir;

pub(crate) use python::PythonEnvironment;

/// A program from crates.io, in exactly one version.
pub(crate) struct CrateTool<'a> {
    pub(crate) package: &'a str,
    pub(crate) version: &'a str,
    /// The program wanted from the package.
    pub(crate) binary: &'a str,
    /// Further arguments for `cargo install`.
    pub(crate) arguments: &'a [&'a str],
    /// What it is needed for, for the person who waits.
    pub(crate) purpose: &'a str,
}

impl CrateTool<'_> {
    /// Path of the program; builds it if this version is not there yet (minutes).
    ///
    /// # Errors
    /// If the program is missing and cannot be built.
    pub(crate) fn ensure(&self) -> Result<PathBuf> {
        let tools = tools_dir();
        let root = tools.join(format!("{}-{}", self.package, self.version));
        let binary = root.join("bin").join(format!("{}{}", self.binary, std::env::consts::EXE_SUFFIX));
        if binary.is_file() {
            return Ok(binary);
        }
        println!("  installing {} {} into {} ({})", self.package, self.version, root.display(), self.purpose);
        let started = Instant::now();
        // One build folder per tool, kept until the tool is there: an interrupted build goes on where it stopped.
        let build = tools.join("build").join(self.package);
        // The publisher's own lock file first. It can name a version that the registry in use does not carry (yet).
        if let Err(error) = self.install(&root, &build, true) {
            println!("  {error:#}; trying again with the newest compatible dependencies instead of the locked ones");
            self.install(&root, &build, false)
                .with_context(|| format!("{} is needed ({}) and could not be built", self.package, self.purpose))?;
        }
        ensure!(binary.is_file(), "{} {} installed no program {}", self.package, self.version, self.binary);
        fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))?;
        println!("  installed {} in {}", self.package, clock(started.elapsed()));
        Ok(binary)
    }

    fn install(&self, root: &Path, build: &Path, locked: bool) -> Result<()> {
        let mut install = command::cargo();
        install.args(["install", self.package, "--quiet"]).args(["--version", &format!("={}", self.version)]);
        install.arg("--root").arg(root).args(self.arguments);
        if locked {
            install.arg("--locked");
        }
        install.env("CARGO_TARGET_DIR", build);
        install.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        // These tools run for seconds: time spent on optimizing them is lost.
        for (key, value) in [("OPT_LEVEL", "1"), ("LTO", "off"), ("DEBUG", "0"), ("CODEGEN_UNITS", "16")] {
            install.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
        }
        command::run(&mut install)
    }
}

/// Installs Debian packages if this process may: `missing` names what is lacking, for the person who must do it else.
///
/// # Errors
/// If apt is not there, this is not root, or apt fails.
pub(crate) fn apt_install(packages: &[&str], missing: &str) -> Result<()> {
    let names = packages.join(" ");
    if !on_path("apt-get") {
        bail!("{missing}; please install it (on Debian: {names})");
    }
    if !is_root() {
        bail!("{missing}; please run: sudo apt-get install {names}");
    }
    println!("  installing {names} with apt ({missing})");
    // Once per run is enough, and a machine without package lists can install nothing.
    static UPDATED: AtomicBool = AtomicBool::new(false);
    if !UPDATED.swap(true, Ordering::Relaxed) {
        command::run_within(Duration::from_secs(300), apt_get().args(["-qq", "update"]))?;
    }
    let mut install = apt_get();
    install.args(["-qq", "install", "--yes", "--no-install-recommends"]).args(packages);
    // A page of "unpacking"; what goes wrong is on stderr.
    command::run_within(Duration::from_secs(900), install.stdout(Stdio::null()))
}

fn apt_get() -> Command {
    let mut apt = command::command("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// True if a program of this name can be started.
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let file = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path).any(|folder| folder.join(&file).is_file())
}

/// Whether this process may do anything on this machine.
pub(crate) fn is_root() -> bool {
    let id = command::output(command::command("id").arg("-u"));
    id.is_ok_and(|id| id.trim() == "0")
}
