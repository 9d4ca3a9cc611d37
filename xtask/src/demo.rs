//! Builds the fleet of devices, which has a coordinator built in, then hands the terminal to it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::command;
use crate::report::clock;
use crate::web;
use crate::workspace::target_dir;

/// Where the fleet program lives.
pub(crate) const PACKAGE: &str = "scale-examples";
/// The program that plays many devices, and starts itself a second time as their coordinator.
pub(crate) const FLEET: &str = "fleet";
/// The package whose program an operator starts.
pub(crate) const SERVER: &str = "scale-server";
/// That program.
pub(crate) const COORDINATOR: &str = "scale-coordinator";

#[derive(Args)]
pub(crate) struct Options {
    /// A thousand devices and a small model, with noise that protects whole people instead of training examples
    #[arg(long)]
    light: bool,
    /// How many devices take part [default: 30; --light: 1050]
    #[arg(long)]
    devices: Option<u32>,
    /// How many rounds to run [default: 16; --light: 8]
    #[arg(long)]
    rounds: Option<u32>,
    /// Share of devices that drop out of each round, 0 to 0.5 [default: 0.1; --light: 0.07]
    #[arg(long)]
    drop: Option<f64>,
    /// Seed of everything that is drawn but keys and noise, so that a run can be repeated
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What devices do before anything is uploaded: example, distributed, local or none [default: example; --light:
    /// distributed]
    #[arg(long, value_name = "MODE")]
    privacy: Option<String>,
    /// What all rounds may cost a person together; mode example: one training example [default: 8; --light: 4]
    #[arg(long)]
    epsilon: Option<f64>,
    /// Write what happened in each round to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the coordinator's rows and models in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// A short run of unoptimized programs that only has to end well, as `ci` does
    #[arg(long)]
    check: bool,
    /// Take part yourself, in a browser: starts twelve devices and a site, and prints its address
    #[arg(long, conflicts_with_all = ["light", "devices", "rounds", "drop", "privacy", "epsilon", "json", "keep", "check"])]
    web: bool,
    /// Where the site listens [default: 3000 if it is free]
    #[arg(long, requires = "web")]
    port: Option<u16>,
    /// Further flags for the fleet, after `--`
    #[arg(last = true)]
    fleet: Vec<String>,
}

/// Builds, then becomes the fleet program. Returns only on failure, or after `--check`.
///
/// # Errors
/// If the program does not build or cannot be started.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.check {
        return check();
    }
    if options.web {
        return web::demo(|| build("quick"), options.port, &options.fleet);
    }
    let mut fleet = fleet(&build("quick")?, options);
    println!("  $ {}", command::shown(&fleet));
    replace(&mut fleet)
}

/// Runs a small demo, unoptimized.
///
/// # Errors
/// If the program does not build, or the demo does not end well within ten minutes.
pub(crate) fn check() -> Result<()> {
    let small = Options {
        light: false,
        devices: Some(14),
        rounds: Some(2),
        drop: None,
        seed: 1,
        privacy: None,
        epsilon: None,
        json: None,
        keep: None,
        check: true,
        web: false,
        port: None,
        fleet: vec![],
    };
    command::run_within(Duration::from_secs(600), &mut fleet(&build("dev")?, &small))
}

/// Builds the program and returns its path. The coordinator in it has no REST facade: what nobody looks at here would be
/// a fifth of the work (docs/adr/0014).
fn build(profile: &str) -> Result<PathBuf> {
    let started = std::time::Instant::now();
    println!("  building {FLEET} (profile {profile}; minutes the first time)");
    let mut cargo = command::cargo();
    cargo.args(["build", "--locked", "--profile", profile]);
    cargo.args(["--package", PACKAGE, "--bin", FLEET]);
    command::run(&mut cargo)?;
    println!("  built in {}", clock(started.elapsed()));
    let folder = target_dir().join(if profile == "dev" { "debug" } else { profile });
    Ok(folder.join(format!("{FLEET}{}", std::env::consts::EXE_SUFFIX)))
}

fn fleet(program: &Path, options: &Options) -> Command {
    let mut fleet = command::command(program);
    // Files that the person names are relative to where they are, not to the repository.
    if let Ok(here) = std::env::current_dir() {
        fleet.current_dir(here);
    }
    fleet.arg("demo");
    if options.light {
        fleet.arg("--light");
    }
    // What is not given is for the fleet to say: it knows both demos.
    let text = |number: f64| number.to_string();
    let flags = [
        ("--devices", options.devices.map(|number| number.to_string())),
        ("--rounds", options.rounds.map(|number| number.to_string())),
        ("--drop", options.drop.map(text)),
        ("--seed", Some(options.seed.to_string())),
        ("--privacy", options.privacy.clone()),
        ("--epsilon", options.epsilon.map(text)),
    ];
    for (flag, value) in flags {
        fleet.args(value.iter().flat_map(|value| [flag, value]));
    }
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
            light: true,
            devices: Some(12),
            rounds: None,
            drop: Some(0.25),
            seed: 7,
            privacy: Some("example".into()),
            epsilon: Some(4.0),
            json: Some("out.json".into()),
            keep: None,
            check: false,
            web: false,
            port: None,
            fleet: vec!["--quiet".into()],
        };
        let command = fleet(Path::new("/programs/fleet"), &options);
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
        assert_eq!(
            arguments.join(" "),
            "demo --light --devices 12 --drop 0.25 --seed 7 \
             --privacy example --epsilon 4 --json out.json --quiet"
        );
    }
}
