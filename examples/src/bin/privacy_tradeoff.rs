//! What privacy costs: accuracy against epsilon for small and large cohorts, as a table and a picture, beside what the
//! planner says before anybody trains.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use scale_examples::chart;
use scale_examples::tradeoff::{Settings, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains a toy model without noise, with noise that all devices bring together, and with noise that protects each device
/// by itself, at several epsilons; prints accuracies beside the planner's verdicts, and draws them.
///
/// The model is softmax regression on a synthetic mixture of 10 classes, 20 examples on each device, most of them of few
/// classes. Updates take the way of production: clipped, rounded to integers, exact integer noise, summed modulo 2^bits.
/// The settings are the best case for accuracy: everybody finishes every round, and nobody helps the server.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Devices per round; several sizes are separated by commas.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1000])]
    devices: Vec<u32>,
    /// Epsilons of a person over all rounds, separated by commas.
    #[arg(long, value_delimiter = ',', default_values_t = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0])]
    epsilons: Vec<f64>,
    /// Rounds; every device takes part in every one.
    #[arg(long, default_value_t = 30)]
    rounds: u32,
    /// Synthetic worlds to average over: their seeds are 1, 2, and so on.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// The delta of every epsilon: well below 1 over the number of people.
    #[arg(long, default_value_t = 1e-6)]
    delta: f64,
    /// Folder for the pictures, `privacy-tradeoff.png` and `privacy-tradeoff.svg`; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "target/privacy-tradeoff")]
    out: PathBuf,
    /// Write all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Arguments {
    fn settings(&self) -> Settings {
        let mut epsilons = self.epsilons.clone();
        epsilons.sort_by(f64::total_cmp);
        epsilons.dedup();
        let &Self { rounds, seeds, delta, .. } = self;
        Settings { devices: self.devices.clone(), epsilons, delta, rounds, seeds, shape: Default::default() }
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let settings = arguments.settings();
    // Before the work: a folder that cannot be made should not cost it.
    std::fs::create_dir_all(&arguments.out).with_context(|| format!("cannot make {}", arguments.out.display()))?;

    let start = Instant::now();
    let style = "{bar:40} {percent:>3} % of {human_len} updates, {eta} left";
    let bar = ProgressBar::new(settings.work()).with_style(ProgressStyle::with_template(style)?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let report = run(&settings, &|updates| bar.inc(updates))?;
    bar.finish_and_clear();
    print!("{}", report.text());

    let file = |name: &str| arguments.out.join(name);
    let (svg, png) = (file("privacy-tradeoff.svg"), file("privacy-tradeoff.png"));
    chart::save(&report, &svg, &png)?;
    println!("\n{:.1} s; {} and {}", start.elapsed().as_secs_f64(), png.display(), svg.display());
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.json()?).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
