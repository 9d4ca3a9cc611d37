//! Builds the coordinator and the fleet of devices, then hands the terminal to the fleet.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::command;
use crate::report::clock;
use crate::workspace::root;

/// Where the fleet program lives.
pub(crate) const PACKAGE: &str = "scale-examples";
/// The program that starts a coordinator and plays many devices.
pub(crate) const FLEET: &str = "fleet";
const COORDINATOR: &str = "scale-coordinator";

#[derive(Args)]
pub(crate) struct Options {
    /// How many devices take part
    #[arg(long, default_value_t = 30)]
    devices: u32,
    /// How many rounds to run
    #[arg(long, default_value_t = 16)]
    rounds: u32,
    /// Share of devices that drop out of each round, 0 to 1
    #[arg(long, default_value_t = 0.1)]
    drop: f64,
    /// Seed of everything that is drawn, so that a run can be repeated
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What devices do before anything is uploaded: example, distributed, local or none
    #[arg(long, value_name = "MODE", default_value = "example")]
    privacy: String,
    /// What all rounds may cost a person together; mode example: one training example
    #[arg(long, default_value_t = 8.0)]
    epsilon: f64,
    /// Write what happened in each round to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the coordinator's rows and models in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// A short run of unoptimised programs that only has to end well, as `ci` does
    #[arg(long)]
    check: bool,
    /// Further flags for the fleet, after `--`
    #[arg(last = true)]
    fleet: Vec<String>,
}

/// Builds, then becomes the fleet program. Returns only on failure, or after `--check`.
///
/// # Errors
/// If a program does not build or cannot be started.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.check {
        return check();
    }
    let mut fleet = fleet(&build("release")?, options);
    println!("  $ {}", command::shown(&fleet));
    replace(&mut fleet)
}

/// Runs a small demo with the programs that the tests have built anyway.
///
/// # Errors
/// If a program does not build, or the demo does not end well within ten minutes.
pub(crate) fn check() -> Result<()> {
    let small = Options {
        devices: 14,
        rounds: 2,
        drop: 0.1,
        seed: 1,
        privacy: "example".into(),
        epsilon: 8.0,
        json: None,
        keep: None,
        check: true,
        fleet: vec![],
    };
    command::run_within(Duration::from_secs(600), &mut fleet(&build("dev")?, &small))
}

/// Builds both programs and returns their folder.
fn build(profile: &str) -> Result<PathBuf> {
    let started = std::time::Instant::now();
    println!("  building {COORDINATOR} and {FLEET} (profile {profile}; minutes the first time)");
    let mut cargo = command::cargo();
    cargo.args(["build", "--locked", "--profile", profile]);
    cargo.args(["--package", COORDINATOR, "--package", PACKAGE, "--bin", COORDINATOR, "--bin", FLEET]);
    command::run(&mut cargo)?;
    println!("  built in {}", clock(started.elapsed()));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir));
    Ok(target.join(if profile == "dev" { "debug" } else { profile }))
}

fn fleet(programs: &std::path::Path, options: &Options) -> Command {
    let program = |name: &str| programs.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let mut fleet = command::command(program(FLEET));
    // Files that the person names are relative to where they are, not to the repository.
    if let Ok(here) = std::env::current_dir() {
        fleet.current_dir(here);
    }
    fleet.arg("demo").arg("--coordinator").arg(program(COORDINATOR));
    fleet.args(["--devices", &options.devices.to_string(), "--rounds", &options.rounds.to_string()]);
    fleet.args(["--drop", &options.drop.to_string(), "--seed", &options.seed.to_string()]);
    fleet.args(["--privacy", &options.privacy, "--epsilon", &options.epsilon.to_string()]);
    if let Some(file) = &options.json {
        fleet.arg("--json").arg(file);
    }
    if let Some(folder) = &options.keep {
        fleet.arg("--keep").arg(folder);
    }
    fleet.args(&options.fleet);
    fleet
}

/// The fleet takes this process's place: signals and the exit status are its own.
#[cfg(unix)]
fn replace(fleet: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    Err(fleet.exec()).context("cannot start the fleet")
}

#[cfg(not(unix))]
fn replace(fleet: &mut Command) -> Result<()> {
    command::run(fleet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_reach_the_fleet() {
        let options = Options {
            devices: 12,
            rounds: 3,
            drop: 0.25,
            seed: 7,
            privacy: "example".into(),
            epsilon: 4.0,
            json: Some("out.json".into()),
            keep: None,
            check: false,
            fleet: vec!["--quiet".into()],
        };
        let command = fleet(std::path::Path::new("/programs"), &options);
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
        assert_eq!(
            arguments.join(" "),
            "demo --coordinator /programs/scale-coordinator --devices 12 --rounds 3 --drop 0.25 --seed 7 \
             --privacy example --epsilon 4 --json out.json --quiet"
        );
    }
}
