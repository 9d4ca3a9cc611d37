//! Federated training in one process, for trying strategies and settings: a table with a line per round, then the
//! baselines.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use scale_client_core::train::ExamplePrivacy;
use scale_examples::demo::{self, Size};
use scale_examples::evaluate::{Evaluator, names, statement_lines, write_model};
use scale_examples::people::{Habits, Person, people};
use scale_examples::simulation::{Round, Simulation};
use scale_examples::{baseline, merchants};
use scale_proto::model::Family;
use scale_proto::task::{Aggregation, Privacy, TaskConfig};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains the transaction categorizer on simulated people, without a coordinator. What is not given is as in the demo.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// What is not given is as in the light demo: a thousand people and a small model.
    #[arg(long)]
    light: bool,
    /// People with a device each [default: 30; 1050 with --light].
    #[arg(long)]
    devices: Option<usize>,
    /// Rounds [default: 16; 8 with --light].
    #[arg(long)]
    rounds: Option<u64>,
    /// Share of the devices that is lost in every round, 0 to 1 [default: 0.1; 0.07 with --light].
    #[arg(long)]
    lost: Option<f64>,
    /// Seed of everything; with `--seeds`, the first one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Splits to run; the table shows means over them.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How alike people are: parameter of the Dirichlet distribution over categories.
    #[arg(long, default_value_t = Habits::default().alpha)]
    alpha: f64,
    /// Purchases at one merchant, on average [default: 24; 3 with --light].
    #[arg(long)]
    visits: Option<f64>,
    /// Share of the merchants that no device sees, 0 to 1.
    #[arg(long, default_value_t = demo::HELD_OUT)]
    held_out: f64,
    /// Rows of the embedding.
    #[arg(long)]
    buckets: Option<u32>,
    /// Columns of the embedding.
    #[arg(long)]
    dim: Option<u32>,
    /// Longest n-gram.
    #[arg(long)]
    ngram_max: Option<u32>,
    /// Passes over a device's data per round.
    #[arg(long)]
    epochs: Option<u32>,
    /// Examples of one step.
    #[arg(long)]
    batch: Option<u32>,
    /// Step size on the device.
    #[arg(long)]
    rate: Option<f32>,
    /// FedProx term.
    #[arg(long)]
    mu: Option<f32>,
    /// Server optimizer; its defaults are 1 for the rate and 0.9 for momentum.
    #[arg(long)]
    server: Option<Rule>,
    /// Step size of the server.
    #[arg(long)]
    server_rate: Option<f32>,
    /// Momentum of the server (beta1 of FedAdam and FedYogi).
    #[arg(long)]
    momentum: Option<f32>,
    /// beta2 of FedAdam and FedYogi.
    #[arg(long)]
    beta2: Option<f32>,
    /// Adaptivity of FedAdam and FedYogi.
    #[arg(long)]
    tau: Option<f32>,
    /// L2 norm to which devices clip their updates.
    #[arg(long)]
    clip: Option<f64>,
    /// Trains by DP-SGD, in the demo's private setting: L2 norm to which the gradient of every example is clipped.
    #[arg(long)]
    example_clip: Option<f32>,
    /// Noise of DP-SGD, over the norm of `--example-clip`.
    #[arg(long, requires = "example_clip", conflicts_with = "epsilon")]
    noise_multiplier: Option<f32>,
    /// Instead of `--noise-multiplier`: as much noise as keeps all rounds within this epsilon for every example.
    #[arg(long, requires = "example_clip")]
    epsilon: Option<f64>,
    /// Noise of all devices together: as much as keeps all rounds within this epsilon for every person.
    #[arg(long, conflicts_with = "example_clip")]
    person_epsilon: Option<f64>,
    /// The delta of epsilon.
    #[arg(long, default_value_t = 1e-5)]
    delta: f64,
    /// Leaves out the baselines.
    #[arg(long)]
    no_baselines: bool,
    /// Writes the model after the last round here; with `--seeds`, that of the first split.
    #[arg(long)]
    save: Option<PathBuf>,
    /// Writes the held-out merchants of the same split here, as CSV with the columns `merchant` and `category`.
    #[arg(long)]
    save_held_out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Rule {
    Fedavg,
    Fedavgm,
    Fedadam,
    Fedyogi,
}

impl Arguments {
    const fn size(&self) -> Size {
        if self.light { Size::Light } else { Size::Full }
    }

    fn devices(&self) -> usize {
        self.devices.unwrap_or(self.size().devices())
    }

    fn rounds(&self) -> u64 {
        self.rounds.unwrap_or(self.size().rounds())
    }

    fn task(&self) -> TaskConfig {
        let mut task = self.size().task(self.devices() as u32, self.privacy());
        if let Some(clip) = self.example_clip {
            // How devices train under noise of any size.
            let privacy = Privacy::Example { epsilon: 1.0, delta: self.delta, rounds: 1, clip };
            task.training = self.size().training(privacy);
        }
        if let Family::TextBag { buckets, dim, ngram_max, .. } = &mut task.model.family {
            *buckets = self.buckets.unwrap_or(*buckets);
            *dim = self.dim.unwrap_or(*dim);
            *ngram_max = self.ngram_max.unwrap_or(*ngram_max);
        }
        let training = &mut task.training;
        training.epochs = self.epochs.unwrap_or(training.epochs);
        training.batch_size = self.batch.unwrap_or(training.batch_size);
        training.learning_rate = self.rate.unwrap_or(training.learning_rate);
        training.proximal_mu = self.mu.unwrap_or(training.proximal_mu);
        task.quantization.clip = self.clip.unwrap_or(task.quantization.clip);
        task.aggregation = self.aggregation(task.aggregation);
        task
    }

    fn habits(&self) -> Habits {
        let habits = self.size().habits();
        Habits { alpha: self.alpha, visits: self.visits.unwrap_or(habits.visits), ..habits }
    }

    fn privacy(&self) -> Privacy {
        let (delta, rounds) = (self.delta, u32::try_from(self.rounds()).unwrap_or(u32::MAX));
        match (self.person_epsilon, self.epsilon, self.example_clip) {
            (Some(epsilon), ..) => Privacy::Distributed { epsilon, delta, rounds },
            (None, Some(epsilon), Some(clip)) => Privacy::Example { epsilon, delta, rounds, clip },
            _ => Privacy::None,
        }
    }

    /// Noise that is given as a multiplier, in place of an epsilon; without either, gradients are clipped only.
    fn example_privacy(&self) -> anyhow::Result<Option<ExamplePrivacy>> {
        match (self.example_clip, self.epsilon) {
            (Some(clip), None) => Ok(Some(ExamplePrivacy::new(clip, self.noise_multiplier.unwrap_or_default())?)),
            _ => Ok(None),
        }
    }

    fn aggregation(&self, demo: Aggregation) -> Aggregation {
        let (rule, rate, momentum, beta2, tau) = match demo {
            Aggregation::FedAvg { learning_rate } => (Rule::Fedavg, learning_rate, 0.9, 0.99, 1e-3),
            Aggregation::FedAvgM { learning_rate, momentum } => (Rule::Fedavgm, learning_rate, momentum, 0.99, 1e-3),
            Aggregation::FedAdam { learning_rate, beta1, beta2, tau } => {
                (Rule::Fedadam, learning_rate, beta1, beta2, tau)
            }
            Aggregation::FedYogi { learning_rate, beta1, beta2, tau } => {
                (Rule::Fedyogi, learning_rate, beta1, beta2, tau)
            }
        };
        let beta2 = self.beta2.unwrap_or(beta2);
        let tau = self.tau.unwrap_or(tau);
        let learning_rate = self.server_rate.unwrap_or(rate);
        let beta1 = self.momentum.unwrap_or(momentum);
        match self.server.unwrap_or(rule) {
            Rule::Fedavg => Aggregation::FedAvg { learning_rate: self.server_rate.unwrap_or(1.0) },
            Rule::Fedavgm => Aggregation::FedAvgM {
                learning_rate: self.server_rate.unwrap_or(1.0),
                momentum: self.momentum.unwrap_or(0.9),
            },
            Rule::Fedadam => Aggregation::FedAdam { learning_rate, beta1, beta2, tau },
            Rule::Fedyogi => Aggregation::FedYogi { learning_rate, beta1, beta2, tau },
        }
    }
}

/// Sums over the seeds.
#[derive(Clone, Default)]
struct Row {
    loss: f64,
    local: f64,
    names: f64,
    lines: f64,
    devices: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let task = arguments.task();
    let all = merchants::embedded()?;
    let mut rows = vec![Row::default(); arguments.rounds() as usize];
    let (mut central, mut alone, mut norms, mut heaviest) = ([0.0; 2], [0.0; 2], Vec::new(), 0);
    let (mut federated_time, mut baseline_time) = (0.0, 0.0);

    println!(
        "{} devices, {} parameters, {:?}, {} epochs, batch {}, rate {}, mu {}",
        arguments.devices(),
        task.model.flat_len(),
        task.aggregation,
        task.training.epochs,
        task.training.batch_size,
        task.training.learning_rate,
        task.training.proximal_mu
    );
    for seed in arguments.seed..arguments.seed + arguments.seeds {
        let split = merchants::split(&all, arguments.held_out, seed);
        let habits = arguments.habits();
        let people = people(arguments.devices(), &split.train, habits, seed);
        if let (Some(path), true) = (&arguments.save_held_out, seed == arguments.seed) {
            save_merchants(path, &split.held_out)?;
        }
        describe(&people, split.train.len());
        let mut on_names = Evaluator::new(&task.model, &names(&split.held_out))?;
        let mut on_lines = Evaluator::new(&task.model, &statement_lines(&split.held_out, seed))?;

        let mut simulation = Simulation::new(task.clone(), people.iter().map(|person| person.statement.clone()), seed)?;
        if let Some(privacy) = arguments.example_privacy()? {
            simulation.protect(privacy);
        }
        let bar = ProgressBar::new(arguments.rounds())
            .with_style(ProgressStyle::with_template("seed {prefix} {bar:30} round {pos}/{len}  names {msg}")?);
        bar.set_prefix(seed.to_string());
        for row in &mut rows {
            let start = Instant::now();
            let Round { devices, loss, accuracy, norms: own, heaviest: most, .. } =
                simulation.round(arguments.lost.unwrap_or(arguments.size().drop()))?;
            federated_time += start.elapsed().as_secs_f64();
            norms.extend(own);
            heaviest = heaviest.max(most);
            let (names, lines) = (on_names.score(simulation.weights())?, on_lines.score(simulation.weights())?);
            row.loss += loss;
            row.local += accuracy;
            row.names += names.accuracy;
            row.lines += lines.accuracy;
            row.devices += devices;
            bar.set_message(format!("{:.4}", names.accuracy));
            bar.inc(1);
        }
        bar.finish_and_clear();
        match simulation.epsilon(arguments.delta) {
            Ok(None) => {}
            Ok(Some(epsilon)) => {
                let noise = simulation.noise_multipliers();
                println!(
                    "seed {seed}: epsilon {epsilon:.3} per example at delta {:e}, noise multiplier {:.3} to {:.3}",
                    arguments.delta, noise.start, noise.end
                );
            }
            Err(error) => println!("no epsilon per example, seed {seed}: {error}"),
        }
        if let (Some(path), true) = (&arguments.save, seed == arguments.seed) {
            write_model(path, &task.model, simulation.weights())?;
        }
        if !arguments.no_baselines {
            let start = Instant::now();
            let weights = baseline::central(&task, people.iter().map(|person| &person.statement), seed)?;
            central[0] += on_names.score(&weights)?.accuracy;
            central[1] += on_lines.score(&weights)?.accuracy;
            for person in people.iter().take(3) {
                let weights = baseline::alone(&task, &person.statement, seed)?;
                alone[0] += on_names.score(&weights)?.accuracy / 3.0;
                alone[1] += on_lines.score(&weights)?.accuracy / 3.0;
            }
            baseline_time += start.elapsed().as_secs_f64();
        }
    }

    let seeds = arguments.seeds as f64;
    println!("\nround  devices    loss  local acc.   held-out names  held-out lines");
    for (index, row) in rows.iter().enumerate() {
        println!(
            "{:>5}  {:>7.1}  {:>6.3}  {:>10.3}   {:>14.4}  {:>14.4}",
            index + 1,
            row.devices as f64 / seeds,
            row.loss / seeds,
            row.local / seeds,
            row.names / seeds,
            row.lines / seeds
        );
    }
    if !arguments.no_baselines {
        println!("central                              {:>14.4}  {:>14.4}", central[0] / seeds, central[1] / seeds);
        println!("alone (mean of 3)                    {:>14.4}  {:>14.4}", alone[0] / seeds, alone[1] / seeds);
    }
    norms.sort_by(f64::total_cmp);
    let at = |share: f64| norms.get(((norms.len() as f64 - 1.0) * share) as usize).copied().unwrap_or_default();
    println!(
        "\nnorms of updates: median {:.3}, 99th percentile {:.3}, largest {:.3}; heaviest device {heaviest} examples",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    println!("per seed: rounds {:.1} s, baselines {:.1} s", federated_time / seeds, baseline_time / seeds);
    Ok(())
}

/// How much the people see.
fn describe(people: &[Person], merchants: usize) {
    let mut seen = vec![false; merchants];
    people.iter().flat_map(|person| &person.merchants).for_each(|&index| seen[index] = true);
    let lines: usize = people.iter().map(|person| person.statement.len()).sum();
    let covered = seen.iter().filter(|seen| **seen).count();
    println!("{} people, {lines} purchases at {covered} of {merchants} merchants", people.len());
}

fn save_merchants(path: &std::path::Path, merchants: &[merchants::Merchant]) -> anyhow::Result<()> {
    let mut file = csv::Writer::from_path(path)?;
    file.write_record(["merchant", "category"])?;
    for merchant in merchants {
        file.write_record([&merchant.name, &merchant.category])?;
    }
    Ok(file.flush()?)
}
