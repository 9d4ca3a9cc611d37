//! Virtual environments of Python, with packages in exactly the versions of a requirements file.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::apt_install;
use crate::command;
use crate::report::clock;
use crate::workspace::tools_dir;

const PIP_LIMIT: Duration = Duration::from_secs(600);

/// One environment in the tools folder.
pub(crate) struct PythonEnvironment<'a> {
    /// Of the folder among the tools.
    pub(crate) name: &'a str,
    /// Text of the requirements file: every package in one version.
    pub(crate) requirements: &'a str,
    /// What it is needed for, for the person who waits.
    pub(crate) purpose: &'a str,
}

impl PythonEnvironment<'_> {
    /// The folder of its programs, `python` among them; makes the environment if the requirements have changed since.
    ///
    /// # Errors
    /// If Python is missing and cannot be installed, or a package cannot be had.
    pub(crate) fn ensure(&self) -> Result<PathBuf> {
        let root = tools_dir().join(format!("python-{}", self.name));
        let programs = root.join("bin");
        // Written last: an installation that was interrupted begins again.
        let complete = root.join("requirements.txt");
        if fs::read_to_string(&complete).is_ok_and(|installed| installed == self.requirements) {
            return Ok(programs);
        }
        let python = || command::command("python3");
        if !command::succeeds(python().args(["-c", "import ensurepip, venv"])) {
            apt_install(&["python3-venv"], "Python has no virtual environments")?;
        }
        println!("  installing Python packages into {} ({})", root.display(), self.purpose);
        let started = Instant::now();
        let wanted = tools_dir().join(format!("python-{}.txt", self.name));
        fs::create_dir_all(tools_dir()).context("cannot make the tools folder")?;
        fs::write(&wanted, self.requirements).with_context(|| format!("cannot write {}", wanted.display()))?;
        command::run_within(PIP_LIMIT, python().args(["-m", "venv", "--clear"]).arg(&root))?;
        let mut pip = command::command(programs.join("python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&wanted);
        command::run_within(PIP_LIMIT, &mut pip)?;
        fs::rename(&wanted, &complete).context("cannot complete the installation")?;
        println!("  installed in {}", clock(started.elapsed()));
        Ok(programs)
    }
}
