//! What is measured: the command line, and what follows from it.

use anyhow::ensure;
use clap::{Parser, ValueEnum};
use scale_secagg::config::{self, Mechanism, RoundConfig, VectorSpec};
use scale_secagg::params::{self, Class, GraphKind, Parameters, Profile};

/// Measures one whole round of secure aggregation: CPU time per stage, traffic, memory, and the floor that the mask
/// generator sets.
#[derive(Debug, Parser)]
#[command(name = "secagg_round", version)]
pub(crate) struct Arguments {
    /// Participants.
    #[arg(long, default_value_t = 100)]
    pub(crate) clients: u32,
    /// Entries of the vector.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) len: u64,
    /// Clients that are lost before their masked input: a fraction below 1, or a number.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) drop: f64,
    /// Shape of the graph [default: the one that the compiled table gives this cohort].
    #[arg(long, value_enum)]
    pub(crate) graph: Option<Shape>,
    /// Neighbours of each client in a sparse graph, an even number [default: the compiled table's].
    #[arg(long, requires = "threshold")]
    pub(crate) neighbours: Option<u32>,
    /// Shares that rebuild a secret [default: the compiled table's].
    #[arg(long)]
    pub(crate) threshold: Option<u32>,
    /// Clip norm in grid units, as a multiple of the square root of the number of entries: how fine the grid is.
    #[arg(long, default_value_t = 8)]
    pub(crate) grid_factor: u32,
    /// Threads of the server [default: all cores].
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Seed of keys, inputs and losses.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Prints one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// This is the child that plays the server.
    #[arg(long, hide = true)]
    pub(crate) server_side: bool,
}

/// Shape of a session's graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// Everybody is everybody's neighbour.
    Complete,
    /// A ring; neighbours are the nearest on both sides.
    Sparse,
}

/// One measurement, fully determined.
pub(crate) struct Settings {
    pub(crate) config: RoundConfig,
    pub(crate) parameters: Parameters,
    pub(crate) clients: u32,
    pub(crate) lost: u32,
    pub(crate) threads: usize,
    pub(crate) seed: u64,
}

impl Settings {
    /// Checks that the session can end with a sum.
    pub(crate) fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let n = arguments.clients;
        ensure!((params::FLOOR..=params::N_MAX).contains(&n), "--clients must be from 10 to 100,000, not {n}");
        ensure!((1..=config::VECTOR_CAP).contains(&arguments.len), "--len must be at least 1");
        let lost = match arguments.drop {
            share if (0.0..1.0).contains(&share) => (share * f64::from(n)).round() as u32,
            number if number.fract() == 0.0 && number < f64::from(n) => number as u32,
            other => anyhow::bail!("--drop must be a fraction below 1 or a number of clients below {n}, not {other}"),
        };
        ensure!(
            n - lost >= params::FLOOR,
            "of {n} clients {lost} are lost: fewer than {} inputs are left, and no sum is ever released for so few",
            params::FLOOR
        );
        let parameters = parameters(arguments)?;
        let grid = (f64::from(arguments.grid_factor) * (arguments.len as f64).sqrt()).ceil() as u32;
        let Some(wire_bits) = config::width_needed(n, grid, 0) else {
            anyhow::bail!("32 bits are too few for {n} clients on this grid: lower --grid-factor");
        };
        let config = RoundConfig {
            task_id: "measurement".into(),
            round: 1,
            server_nonce: [1; 32],
            model_digest: [2; 32],
            plan_digest: [3; 32],
            vectors: vec![VectorSpec { name: "update".into(), len: arguments.len }],
            wire_bits,
            clip: 1.0,
            grid,
            rotation_seed: None,
            mechanism: Mechanism::None,
            policy_id: "none".into(),
            profile: Profile::Standard,
            class: Class::Default,
            n_lo: n,
            n_hi: n,
            u3_min: params::FLOOR,
            closing: [10, 20, 30, 40, 50],
            identity_root: [0; 32],
        };
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = arguments.threads.unwrap_or_else(cores);
        Ok(Self { config, parameters, clients: n, lost, threads, seed: arguments.seed })
    }

    /// Entries of the vector.
    pub(crate) fn len(&self) -> u64 {
        self.config.dim()
    }
}

/// The compiled table's parameters, unless the command line chooses others.
fn parameters(arguments: &Arguments) -> anyhow::Result<Parameters> {
    let n = arguments.clients;
    let table = params::parameters(n, Profile::Standard, Class::Default)?;
    let graph = match arguments.graph {
        None if arguments.neighbours.is_some() => GraphKind::Sparse,
        None => table.graph,
        Some(Shape::Complete) => GraphKind::Complete,
        Some(Shape::Sparse) => GraphKind::Sparse,
    };
    let (k, majority) = match (graph, arguments.neighbours) {
        (GraphKind::Complete, Some(_)) => anyhow::bail!("--neighbours is for --graph sparse"),
        (GraphKind::Complete, None) => (n - 1, (n - 1 + params::corrupt(n, Class::Default)) / 2 + 1),
        (GraphKind::Sparse, Some(k)) => (k, k / 2 + 1),
        (GraphKind::Sparse, None) if table.graph == GraphKind::Sparse => (table.k, table.t),
        (GraphKind::Sparse, None) => anyhow::bail!("the table has no sparse graph for {n} clients: give --neighbours"),
    };
    let t = arguments.threshold.unwrap_or(majority);
    ensure!(k < n && (graph == GraphKind::Complete || k % 2 == 0), "--neighbours must be even and below {n}, not {k}");
    ensure!((2..=k).contains(&t), "--threshold must be from 2 to {k}, not {t}");
    // Chosen settings lose more clients than the table's window allows.
    Ok(Parameters { k, t, graph, window: n })
}
