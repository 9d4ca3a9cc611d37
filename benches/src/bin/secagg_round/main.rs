//! One whole round of secure aggregation, with its costs per stage.
//!
//! ```text
//! cargo run --release -p scale-benches --bin secagg_round -- --clients 100 --len 1000000 --drop 10
//! ```
//!
//! The clients run one after the other in this process, the server in a child, so that its memory and its CPU time are
//! its own. All times are CPU times without the pipe between the two. Clients that are lost have shared their keys and
//! send no masked input: the expensive kind.
#![allow(clippy::print_stdout)]

mod clients;
mod link;
mod report;
mod server;
mod settings;

use std::process::{Command, Stdio};

use anyhow::Context;
use clap::Parser;

use clients::Clients;
use link::Link;
use report::Report;
use settings::{Arguments, Settings};

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let settings = Settings::new(&arguments)?;
    if arguments.server_side {
        return server::serve(&settings);
    }
    let program = std::env::current_exe().context("the path of this program is not known")?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg("--server-side")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("the server's process could not be started")?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let mut link = Link::new(output.context("no pipe")?, input.context("no pipe")?);

    let before = scale_benches::generator::bytes_per_second();
    let mut clients = Clients::new(&settings);
    let outcome = clients.run(&mut link);
    drop(link);
    let status = child.wait()?;
    let (server, sum) = outcome.with_context(|| format!("the server ended with {status}"))?;
    // The machine may have been busy the first time.
    let generator = before.max(scale_benches::generator::bytes_per_second());

    let report = Report::new(&settings, &clients, server, generator, sum == clients.plain_sum());
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?)
    } else {
        println!("{report}")
    }
    anyhow::ensure!(report.sum_ok, "the sum is not the sum of the inputs");
    Ok(())
}
