//! A coordinator in one large round.
//!
//! ```text
//! cargo run --release -p scale-benches --bin round_load -- --devices 10000 --sessions many
//! cargo run --release -p scale-benches --bin round_load -- --url http://127.0.0.1:7400 --data FOLDER --pids 17,18,19
//! ```
//!
//! The devices are the protocol's own clients without training; they share some connections and the threads that compute
//! their messages. Stage by stage all messages are computed first (but uploads, of which only some have room) and then
//! sent at a fixed rate, so that the server's time and the devices' lie side by side only as far as calls go. Both share
//! the machine. Latencies are wall time, and count only what is the server's own doing: see [`report::Calls::of`].
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod calls;
mod device;
mod floor;
mod report;
mod round;
mod server;
mod settings;
mod task;
mod watch;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use round::Run;
use server::Server;
use settings::Arguments;

fn main() -> ExitCode {
    scale_benches::coordinator::main_or(|| run(&Arguments::parse()))
}

/// Whether the round published the sum.
#[tokio::main]
async fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    settings::allow_sockets(arguments)?;
    let report = Run::new(arguments, Server::find(arguments).await?)?.run().await?;
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    Ok(report.exact)
}
