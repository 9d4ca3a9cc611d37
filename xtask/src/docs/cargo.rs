//! Stands in for cargo while documents are run. Everything that is not in [`TABLE`] is an error, so that no command of a
//! document is passed over.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser as _;
use serde::Deserialize;

use crate::command;
use crate::demo::{COORDINATOR, SERVER};

/// What is done in place of `cargo ARGUMENTS`, and why.
const TABLE: [(&str, Instead, &str); 4] = [
    (
        "cargo xtask …",
        Instead::Understand,
        "its flags are understood; running the tests from the tests would never end",
    ),
    (
        "cargo run -p scale-server --bin scale-coordinator -- serve …",
        Instead::Serve,
        "in the background, until its document ends",
    ),
    (
        "cargo run -p scale-server --bin scale-coordinator -- …",
        Instead::Coordinator,
        "unoptimized: a release build takes minutes",
    ),
    ("cargo run|test|bench -p …", Instead::Exist, "package and target exist; the tests build and run them"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instead {
    Understand,
    Serve,
    Coordinator,
    Exist,
}

/// Set when this program was called by the name of cargo.
const CALLED: &str = "SCALE_DOCS_CARGO";
/// How long a coordinator may take to answer.
const START: Duration = Duration::from_secs(30);

/// Puts a `cargo` into `bin` that calls this program.
pub(super) fn install(bin: &Path) -> Result<()> {
    let this = std::env::current_exe().context("this program has no path")?;
    let path = bin.join("cargo");
    super::write(&path, format!("#!/bin/sh\n{CALLED}=1 exec '{}' \"$@\"\n", this.display()).as_bytes())?;
    command::output(command::command("chmod").arg("755").arg(path)).map(drop)
}

/// The substitutions that were made, each once, with its reason.
pub(super) fn substitutions(place: &Path) -> Vec<String> {
    let made = fs::read_to_string(place.join("substitutions")).unwrap_or_default();
    let used = TABLE.iter().filter(|(pattern, ..)| made.lines().any(|line| line == *pattern));
    used.map(|(pattern, _, why)| format!("`{pattern}`: {why}")).collect()
}

/// Does what stands in for cargo, if this program was called by its name.
pub(crate) fn called_in_place_of_cargo() -> Option<ExitCode> {
    std::env::var_os(CALLED)?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    Some(match stand_in(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cargo {}: {error:#}", words.join(" "));
            ExitCode::FAILURE
        }
    })
}

fn stand_in(words: &[String]) -> Result<ExitCode> {
    let place = PathBuf::from(std::env::var_os("SCALE_DOCS").context("SCALE_DOCS is not set")?);
    let program = std::env::var_os("SCALE_DOCS_COORDINATOR").context("SCALE_DOCS_COORDINATOR is not set")?;
    let call = Call::read(words)?;
    let (pattern, instead, _) =
        TABLE.iter().find(|(_, instead, _)| *instead == call.instead).context("not in the table")?;
    writeln!(OpenOptions::new().create(true).append(true).open(place.join("substitutions"))?, "{pattern}")?;
    let mut coordinator = Command::new(&program);
    coordinator.env_remove(CALLED);
    match instead {
        Instead::Understand => {
            let words = std::iter::once("cargo xtask").chain(words[1..].iter().map(String::as_str));
            crate::Cli::try_parse_from(words)?;
        }
        Instead::Exist => call.exists()?,
        Instead::Coordinator => {
            let status = coordinator.args(call.arguments).status()?;
            return Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)));
        }
        Instead::Serve => {
            let log = File::create(place.join("serve.log"))?;
            coordinator.args(call.arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            let mut server = coordinator.spawn()?;
            writeln!(OpenOptions::new().create(true).append(true).open(place.join("servers"))?, "{}", server.id())?;
            let url = format!("http://{}", std::env::var("SCALE_LISTEN").context("SCALE_LISTEN is not set")?);
            let started = Instant::now();
            while !command::succeeds(Command::new(&program).env_remove(CALLED).args(["health", "--server", &url])) {
                if let Some(status) = server.try_wait()? {
                    bail!("ended with {status}:\n{}", crate::services::tail(&place.join("serve.log")));
                }
                ensure!(started.elapsed() < START, "does not answer at {url}");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A call of cargo, as far as documents make any.
#[derive(Debug)]
struct Call<'a> {
    instead: Instead,
    package: Option<&'a str>,
    /// Kind and name of the target, such as `bin` and `fleet`.
    target: Option<(&'static str, &'a str)>,
    /// What follows `--`.
    arguments: &'a [String],
}

impl<'a> Call<'a> {
    fn read(words: &'a [String]) -> Result<Self> {
        let (own, arguments) = match words.iter().position(|word| word == "--") {
            Some(at) => (&words[..at], &words[at + 1..]),
            None => (words, &words[..0]),
        };
        let after = |names: &[&str]| {
            let at = own.iter().position(|word| names.contains(&word.as_str()))?;
            own.get(at + 1).map(String::as_str)
        };
        let package = after(&["-p", "--package"]);
        let target = [("bin", "--bin"), ("test", "--test"), ("bench", "--bench")]
            .into_iter()
            .find_map(|(kind, flag)| Some((kind, after(&[flag])?)));
        let instead = match own.first().map(String::as_str) {
            Some("xtask") => Instead::Understand,
            Some("run") if (package, target) == (Some(SERVER), Some(("bin", COORDINATOR))) => {
                match arguments.first().map(String::as_str) {
                    Some("serve") => Instead::Serve,
                    _ => Instead::Coordinator,
                }
            }
            Some("run" | "test" | "bench") if package.is_some() => Instead::Exist,
            _ => bail!("nothing stands in for this; see the table in {}", file!()),
        };
        Ok(Self { instead, package, target, arguments })
    }

    /// # Errors
    /// If the workspace has no such package, or the package no such target.
    fn exists(&self) -> Result<()> {
        #[derive(Deserialize)]
        struct Metadata {
            packages: Vec<Package>,
        }
        #[derive(Deserialize)]
        struct Package {
            name: String,
            targets: Vec<Target>,
        }
        #[derive(Deserialize)]
        struct Target {
            name: String,
            kind: Vec<String>,
        }
        let mut metadata = command::cargo();
        metadata.env_remove(CALLED).args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
        let metadata: Metadata = serde_json::from_str(&command::output(&mut metadata)?)?;
        let name = self.package.unwrap_or_default();
        let package = metadata.packages.iter().find(|package| package.name == name);
        let package = package.with_context(|| format!("there is no package {name}"))?;
        if let Some((kind, target)) = self.target {
            let same = |found: &Target| found.name == target && found.kind.iter().any(|word| word == kind);
            ensure!(package.targets.iter().any(same), "{name} has no {kind} {target}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn every_call_has_its_row_in_the_table() {
        for (line, instead) in [
            ("xtask demo --light", Instead::Understand),
            ("xtask services cargo test -p scale-records", Instead::Understand),
            ("run --release -p scale-server --bin scale-coordinator -- serve --data x", Instead::Serve),
            ("run --release -q -p scale-server --bin scale-coordinator -- task list", Instead::Coordinator),
            ("test -p scale-proto --test golden", Instead::Exist),
            ("run --release -p scale-examples --bin evaluate -- --model x", Instead::Exist),
        ] {
            let words = words(line);
            let call = Call::read(&words).unwrap();
            assert_eq!(call.instead, instead, "{line}");
            assert_eq!(TABLE.iter().filter(|row| row.1 == instead).count(), 1);
        }
        for line in ["publish", "run", "+nightly fuzz list", ""] {
            assert!(Call::read(&words(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn packages_and_targets_are_looked_up() {
        for (line, exists) in [
            ("test -p scale-proto --test golden", true),
            ("test -p scale-proto --test no-such-test", false),
            ("run -p scale-nothing", false),
            ("run -p scale-examples --bin fleet", true),
            ("run -p scale-server --bin scale-coordinator", true),
        ] {
            let words = words(line);
            assert_eq!(Call::read(&words).unwrap().exists().is_ok(), exists, "{line}");
        }
    }
}
