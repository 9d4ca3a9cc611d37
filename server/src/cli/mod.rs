//! The command line: `serve` runs a coordinator, `migrate`, `backup` and `restore` work on what it keeps, everything else
//! talks to one that runs.
//!
//! Exit codes: 0 done, 1 failed with a sentence on stderr, 2 not understood. With `--json` an answer is one JSON document
//! on stdout and nothing else, and a failure is one on stderr: `code` (one stable word), `sentence`, and `retry_after_ms`
//! where the same command may work later. So stdout never holds anything but an answer.

// This module owns the terminal.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod backup;
mod client;
mod commands;
mod failure;
mod folder;
mod migrate;
mod output;
#[cfg(feature = "facade")]
mod people;
mod plan;
mod serve;
mod task;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use serde::{Deserialize, Serialize};

pub use args::Cli;
use failure::Failure;

use crate::files;

/// What a running coordinator writes into its data folder.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Status {
    /// How to reach it.
    url: String,
    /// Its process.
    pid: u32,
    /// Ed25519 key that signs round configurations, hexadecimal.
    task_key: String,
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // `--help` and `--version` are no mistakes; clap prints all of them well.
        Err(error) if !error.use_stderr() || !std::env::args_os().any(|word| word == "--json") => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
        Err(error) => {
            let sentence = error.render().to_string();
            let sentence = sentence.trim().trim_start_matches("error: ");
            eprintln!("{}", Failure::new("usage", sentence).json());
            return ExitCode::from(2);
        }
    };
    if cli.writes_data_folder() {
        folder::keep_new_files_private();
    }
    let json = cli.json;
    let done = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(Failure::new("internal", format!("cannot start: {error}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", if json { failure.json() } else { format!("error: {failure}") });
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let output = match cli.command {
        args::Command::Serve(serve) => return serve::run(&serve).await,
        args::Command::Migrate(migrate) => migrate::run(&migrate).await?,
        args::Command::Backup(backup) => backup::save(&backup, cli.json).await?,
        args::Command::Restore(restore) => backup::restore(&restore, cli.json).await?,
        args::Command::Client(command) => commands::run(command).await?,
    };
    println!("{}", if cli.json { output.json() } else { output.text().to_owned() });
    Ok(())
}

/// What a running coordinator says about itself, if one has written into this folder.
fn read_status(data: &Path) -> Option<Status> {
    let text = std::fs::read(data.join(files::STATUS)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Dates for people: RFC 3339 to the second, UTC.
fn date(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    time::OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|moment| moment.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| ms.to_string())
}
