//! Many devices in one process: the demo, and neighbors for a device in an app.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use scale_examples::fleet::{demo, neighbors};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A fleet of simulated people with real devices: each has its own identity, data, store and connection.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a coordinator of its own, trains for some rounds, and shows what came of it.
    Demo(demo::Options),
    /// Starts a coordinator of its own and devices that take part beside an app's, in a browser for one, until it is ended.
    Neighbors(neighbors::Options),
    /// The coordinator that is built into this program: what `demo` starts, with the coordinator's own flags.
    #[command(disable_help_flag = true)]
    Serve {
        #[arg(hide = true, allow_hyphen_values = true, trailing_var_arg = true)]
        flags: Vec<String>,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Demo(options) => show(async {
            println!("\n{}", demo::run(&options).await?.text());
            Ok(())
        }),
        Command::Neighbors(options) => show(neighbors::run(&options)),
        // Reads the command line by itself.
        Command::Serve { .. } => scale_server::cli::main(),
    }
}

/// Runs a fleet to its end.
#[tokio::main]
async fn show(fleet: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SCALE_LOG").unwrap_or_else(|_| "error".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match fleet.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
