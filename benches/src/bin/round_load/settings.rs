//! What is measured: the command line, and what the machine must allow for it.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Measures a coordinator in one large round: light devices with the real protocol and updates that are there already.
/// CPU time, memory, bytes and latencies, by stage.
#[derive(Clone, Debug, Parser)]
#[command(name = "round_load", version)]
pub(crate) struct Arguments {
    /// Devices, all in the same round.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(13..=100_000))]
    pub(crate) devices: u32,
    /// One session of everybody, or sessions of up to 128.
    #[arg(long, value_enum, default_value_t = Sessions::Many)]
    pub(crate) sessions: Sessions,
    /// Parameters of the model; an even number.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(4..=1_000_000))]
    pub(crate) entries: u32,
    /// HTTP/2 connections that the devices share.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Messages that the devices of one stage begin to send in a second; 0: all at once.
    #[arg(long, default_value_t = 500)]
    pub(crate) rate: u32,
    /// A coordinator that runs, or what stands before several [default: one of this program's own].
    #[arg(long, value_name = "URL", conflicts_with = "embedded", requires = "data")]
    pub(crate) url: Option<String>,
    /// Starts a coordinator on embedded defaults: what happens without --url.
    #[arg(long)]
    pub(crate) embedded: bool,
    /// With --url: the data folder of one of its coordinators, for the operator's token.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// With --url: the processes whose CPU time and memory are the server's.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub(crate) pids: Vec<u32>,
    /// How long the coordinator holds a call open. Its own is told so; of others it has to be known.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) long_poll_ms: u64,
    /// Threads that compute the devices' messages [default: all cores].
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Seed of keys and updates.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Prints one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a cohort divides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sessions {
    /// One, on a sparse graph.
    One,
    /// As many as it takes.
    Many,
}

impl Arguments {
    /// Threads that compute.
    pub(crate) fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
    }
}

/// Files that a process has open besides its connections, generously.
const OTHER_FILES: u64 = 256;

/// Lets this process and the server's open a socket for every connection.
pub(crate) fn allow_sockets(arguments: &Arguments) -> anyhow::Result<()> {
    let needed = u64::from(arguments.connections) + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    ensure!(
        maximum.is_none_or(|maximum| maximum >= needed),
        "{needed} sockets are needed and this process may open {} (`ulimit -Hn`): raise that limit, or give fewer \
         --connections",
        maximum.unwrap_or_default()
    );
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("the limit of open files cannot be raised")
}
