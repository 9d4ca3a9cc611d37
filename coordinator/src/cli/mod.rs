//! The command line: `serve` runs a coordinator, everything else talks to one that runs.
//!
//! Exit codes: 0 done, 1 failed with a sentence on stderr, 2 not understood. With `--json` one JSON document goes to
//! stdout, and nothing else.

// This module owns the terminal.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod client;
mod commands;
mod folder;
mod output;
mod people;
mod plan;
mod serve;
mod task;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use serde::{Deserialize, Serialize};

pub use args::Cli;

/// Name of the database of rounds.
const DATABASE_FILE: &str = "coordinator.sqlite3";
/// Name of the file in which a running coordinator says where it is.
const STATUS_FILE: &str = "coordinator.json";
/// Name of the file with a token for administration.
const OPERATOR_FILE: &str = "operator.token";

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

/// A command that failed, for a person.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failure(String);

impl Failure {
    fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// Anything with a sentence of its own.
macro_rules! failure_from {
    ($($error:ty),+ $(,)?) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self(error.to_string())
            }
        }
    )+};
}

failure_from!(
    crate::auth::identity::IdentityError,
    crate::auth::secrets::SecretsError,
    crate::blobs::BlobError,
    crate::config::ConfigError,
    crate::driver::Error,
    crate::facade::FacadeError,
    crate::store::StoreError,
    crate::transport::TlsError,
    scale_proto::error::Invalid,
    scale_records::store::Error,
    scale_rest::auth::DevIssuerError,
);

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` are no mistakes; clap prints all of them well.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    if cli.writes_data_folder() {
        folder::keep_new_files_private();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        args::Command::Serve(serve) => serve::run(&serve, cli.data).await,
        args::Command::Migrate(migrate) => {
            let output = people::migrate(&migrate, cli.data).await?;
            println!("{}", if cli.json { output.json() } else { output.text().to_owned() });
            Ok(())
        }
        args::Command::Client(command) => {
            let data = cli.data.unwrap_or_else(|| PathBuf::from("data"));
            commands::run(command, &cli.remote, &data, cli.json).await
        }
    }
}

/// What a running coordinator says about itself, if one has written into this folder.
fn read_status(data: &Path) -> Option<Status> {
    let text = std::fs::read(data.join(STATUS_FILE)).ok()?;
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
