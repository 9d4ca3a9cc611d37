//! Node.js, and packages of npm in exactly the versions of a committed lock file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::command;
use crate::report::clock;
use crate::tally::Tally;
use crate::tools::{apt_install, on_path};
use crate::workspace::{root, tools_dir};

const NPM_LIMIT: Duration = Duration::from_secs(300);

/// The packages of one `package.json` and its lock file, which name versions and digests and no registry.
pub(crate) struct NodePackages<'a> {
    /// Of the folder among the tools.
    pub(crate) name: &'a str,
    /// Where both files lie, from the repository's root.
    pub(crate) folder: &'a str,
    /// What they are needed for, for the person who waits.
    pub(crate) purpose: &'a str,
}

impl NodePackages<'_> {
    /// The folder that has them in `node_modules`; installs them if the lock file has changed since.
    ///
    /// # Errors
    /// If Node.js or npm is missing and cannot be installed, or a package cannot be had.
    pub(crate) fn ensure(&self) -> Result<PathBuf> {
        if !on_path("node") || !on_path("npm") {
            apt_install(&["nodejs", "npm"], "there is no Node.js with npm")?;
        }
        let from = root().join(self.folder);
        let into = tools_dir().join(format!("node-{}", self.name));
        // Written last: an installation that was interrupted begins again.
        let complete = into.join("complete.json");
        let lock = read(&from.join("package-lock.json"))?;
        if fs::read_to_string(&complete).is_ok_and(|installed| installed == lock) {
            return Ok(into);
        }
        println!("  installing packages of {} into {} ({})", self.folder, into.display(), self.purpose);
        let started = Instant::now();
        fs::create_dir_all(&into).with_context(|| format!("cannot make {}", into.display()))?;
        for name in ["package.json", "package-lock.json"] {
            fs::write(into.join(name), read(&from.join(name))?).with_context(|| format!("cannot write {name}"))?;
        }
        let mut npm = command::command("npm");
        npm.current_dir(&into).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]);
        command::run_within(NPM_LIMIT, &mut npm)?;
        fs::write(&complete, lock).context("cannot complete the installation")?;
        println!("  installed in {}", clock(started.elapsed()));
        Ok(into)
    }
}

/// Runs test files in Node.js's own runner, with these variables.
///
/// # Errors
/// If a test fails or none ran.
pub(crate) fn test(files: &[&str], environment: &[(&str, &str)], tally: &mut Tally) -> Result<()> {
    run_tests(command::command("node").arg("--test"), files, environment, tally)
}

/// Like [`test()`], but a file that is not done within `limit` has failed. Needs Node.js 20.11.
///
/// # Errors
/// If a test fails, none ran, or the time is over.
pub(crate) fn test_within(
    limit: Duration,
    files: &[&str],
    environment: &[(&str, &str)],
    tally: &mut Tally,
) -> Result<()> {
    let limit = format!("--test-timeout={}", limit.as_millis());
    run_tests(command::command("node").args(["--test", &limit]), files, environment, tally)
}

fn run_tests(node: &mut Command, files: &[&str], environment: &[(&str, &str)], tally: &mut Tally) -> Result<()> {
    node.args(["--test-reporter", "tap"]).args(files).envs(environment.iter().copied());
    let mut own = Tally::default();
    let result = command::run_reading(node, |line| own.read_node_line(line)).and_then(|()| {
        ensure!(own.passed() > 0, "no test ran");
        Ok(())
    });
    tally.absorb("", own);
    result
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lock file that names a registry works only where that registry does.
    #[test]
    fn lock_files_name_no_registry() {
        let listed = command::output(command::command("git").args(["ls-files", "*package-lock.json"])).unwrap();
        let locks: Vec<&str> = listed.lines().collect();
        assert!(!locks.is_empty(), "there is one for the page");
        for path in locks {
            let text = read(&root().join(path)).unwrap();
            assert!(text.contains("\"integrity\": \"sha512-") && !text.contains("\"resolved\""), "{path}");
        }
    }
}
