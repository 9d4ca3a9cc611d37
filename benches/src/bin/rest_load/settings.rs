//! What is measured: the command line, and what the machine must allow for it.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Measures the REST facade of a real coordinator: latencies of a realistic mix of calls, database time, imports, open
/// event streams.
#[derive(Debug, Parser)]
#[command(name = "rest_load", version)]
pub(crate) struct Arguments {
    /// A Postgres server on which a database of its own may be made [default: SQLite in the data folder].
    #[arg(long, value_name = "URL")]
    pub(crate) postgres: Option<String>,
    /// Transactions that are stored before anything is measured.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) transactions: u32,
    /// Whose they are.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) users: u32,
    /// Calls a second, on a fixed schedule: a slow answer delays no other call.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// Keep-alive connections.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Seconds of load.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,
    /// Event streams, each of another person's job.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) streams: u32,
    /// Measure only these.
    #[arg(long, value_delimiter = ',', value_enum)]
    pub(crate) only: Vec<Part>,
    /// Keeps the rows in this folder for the next run, and uses those that are there.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Writes the figures to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Fails when a bar is missed.
    #[arg(long)]
    pub(crate) check: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Time of the rows alone, without HTTP.
    Database,
    /// The mix.
    Load,
    /// Files of 1,000 and of 100,000 rows.
    Imports,
    /// Event streams.
    Streams,
}

impl Arguments {
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Persons that the measurement knows: those with transactions, and those with a stream.
    pub(crate) fn people(&self) -> u32 {
        self.users.max(self.streams)
    }

    /// Transactions of each person who has some.
    pub(crate) fn each(&self) -> u32 {
        self.transactions.div_ceil(self.users)
    }
}

/// Files that a process has open besides sockets of calls and streams, generously.
const OTHER_FILES: u64 = 256;

/// Lets this process and the server's open a socket for every call and stream.
pub(crate) fn allow_sockets(arguments: &Arguments) -> anyhow::Result<()> {
    let streams = if arguments.wants(Part::Streams) { arguments.streams } else { 0 };
    let needed = u64::from(arguments.connections.max(streams)) + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    ensure!(
        maximum.is_none_or(|maximum| maximum >= needed),
        "{needed} sockets are needed and this process may open {} (`ulimit -Hn`): raise that limit, or give fewer \
         --streams or --connections",
        maximum.unwrap_or_default()
    );
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("the limit of open files cannot be raised")
}
