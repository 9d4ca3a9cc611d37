//! The demos: a coordinator in a separate process, a fleet of devices, and the report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::builder::PossibleValuesParser;
use scale_client_core::device::Cancel;
use scale_client_core::host::Host;
use scale_client_core::host::native::{NativeHost, private_folder};
use scale_client_core::train::Dataset;
use scale_client_core::transport::native::{Connection, GrpcTransport};
use scale_proto::ids::TaskId;
use scale_proto::privacy::{Privacy, Target};
use scale_proto::task::{TaskConfig, Timing};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::coordinator::{CoordinatorProcess, Operator};
use super::device::{Behavior, Cores, Sighting, app, crowd_host, folder_host};
use super::joining::{ENROLLING, Joining};
use super::judge::{Judge, is_over};
use super::promise::Promise;
use super::report::{Report, RoundRow};
use super::screen::{Screen, Seen, row_line};
use crate::baseline;
use crate::chart::{Beside, Curves, draw};
use crate::demo::{self, Size};
use crate::evaluate::{Evaluator, names, statement_lines, write_model};
use crate::merchants::{self, Split};
use crate::people::{Person, people};
use crate::simulation::Simulation;

/// Name of the demo's task.
pub(super) const TASK: &str = "categorizer";
/// How long the token that enrolls devices is valid.
const TOKEN: Duration = Duration::from_secs(60 * 60);
/// Time beyond the sum of all stage times after which the demo gives up on a round.
const PATIENCE: Duration = Duration::from_secs(60);
/// Number of consecutive abandoned rounds after which the demo gives up.
const FAILURES: usize = 5;
/// Number of devices that are trained alone, for comparison.
const ALONE: usize = 3;
/// Number of devices that share one connection. The server allows 200 concurrent calls on each.
const ON_ONE_CONNECTION: usize = 100;

/// The options of the demo.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The coordinator's program [default: the coordinator that is built into this one].
    #[arg(long, value_name = "FILE")]
    pub coordinator: Option<PathBuf>,
    /// A thousand devices and a small model: enough devices to learn something despite noise that protects whole
    /// people.
    #[arg(long)]
    pub light: bool,
    /// How many devices take part; at least 13, so that a session can lose some of them [default: 30; --light: 1050].
    #[arg(long)]
    pub devices: Option<usize>,
    /// How many rounds to run [default: 16; --light: 8].
    #[arg(long)]
    pub rounds: Option<u64>,
    /// Share of the devices that drop out in every round, at a random stage, 0 to 0.5 [default: 0.1; --light: 0.07].
    #[arg(long)]
    pub drop: Option<f64>,
    /// Seed of all random choices except keys and noise, so that a run can be repeated.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What devices do before anything is uploaded: example (noise on training steps, protects one example);
    /// distributed (noise that all bring together, protects a person from who sees sums); local (from everybody); none
    /// [default: example; --light: distributed].
    #[arg(long, value_parser = PossibleValuesParser::new(Privacy::MODES), hide_possible_values = true)]
    pub privacy: Option<String>,
    /// What all rounds may cost a person (mode example: one training example) together, at delta 1e-5 [default: 8;
    /// --light: 4].
    #[arg(long)]
    pub epsilon: Option<f64>,
    /// Skip the comparisons: central training, single devices, no noise.
    #[arg(long)]
    pub no_baselines: bool,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Folder for the coordinator's data, the devices' state, model and chart; emptied first.
    #[arg(long, value_name = "DIR", default_value = "target/demo")]
    pub keep: PathBuf,
}

/// The options, with the defaults of the demo's size filled in.
struct Settings {
    size: Size,
    devices: usize,
    rounds: u64,
    drop: f64,
    seed: u64,
    privacy: Privacy,
}

impl Settings {
    fn new(options: &Options) -> anyhow::Result<Self> {
        let size = if options.light { Size::Light } else { Size::Full };
        let devices = options.devices.unwrap_or(size.devices());
        let rounds = options.rounds.unwrap_or(size.rounds());
        let drop = options.drop.unwrap_or(size.drop());
        ensure!(devices >= 13, "--devices {devices}: at least 13 are needed, so that losses leave ten");
        ensure!((0.0..=0.5).contains(&drop), "--drop {drop}: a share between 0 and 0.5");
        ensure!(rounds >= 1, "--rounds must be at least 1");
        let mode = options.privacy.as_deref().unwrap_or(size.privacy());
        let epsilon = options.epsilon.unwrap_or(size.epsilon());
        let target = Target { epsilon, delta: demo::DELTA, rounds: u32::try_from(rounds)? };
        let clip = if mode == "example" { demo::EXAMPLE_CLIP } else { 0.0 };
        let privacy = if mode == "none" { Privacy::None } else { Privacy::parse(mode, target, clip)? };
        Ok(Self { size, devices, rounds, drop, seed: options.seed, privacy })
    }
}

/// Runs the demo and returns its figures.
///
/// # Errors
/// A setting is out of range, a process or file fails, or a round does not end.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let settings = Settings::new(options)?;
    let started = Instant::now();
    let screen = Screen::new(settings.rounds);
    let world = World::new(&settings)?;
    screen.say(&world.summary(&settings));
    for line in world.promise.verdict().lines() {
        screen.say(&format!("  {line}"));
    }

    let folder = fresh_folder(&options.keep)?;
    let program = match &options.coordinator {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("the path of this program is not known")?,
    };
    let coordinator = CoordinatorProcess::start(&program, &folder.join("coordinator")).await?;
    screen.say(&format!("Coordinator on {}, its log in {}", coordinator.url, coordinator.log().display()));
    let mut operator = coordinator.operator().await?;
    operator.create_task(TASK, &world.config).await?;
    let enroll_token = operator.enroll_token(TOKEN).await?;
    let task: TaskId = TASK.parse()?;

    let (rounds_over, watch_rounds) = watch::channel(0);
    let (tell, sightings) = mpsc::unbounded_channel();
    let mut fleet = JoinSet::new();
    let joining = Joining {
        task: task.clone(),
        task_key: coordinator.task_key,
        labels: world.config.model.labels.clone().into(),
        enroll_token: enroll_token.clone(),
        cores: Cores::all(),
        enrolling: Arc::new(Semaphore::new(ENROLLING)),
        behavior: Behavior { drop: settings.drop, loss: settings.size.loss(), seed: settings.seed },
        rounds_over: watch_rounds,
        tell,
    };
    let mut shared = None;
    for (index, person) in world.people.iter().enumerate() {
        let connection = Connection::new(&coordinator.url);
        match settings.size {
            Size::Full => {
                let host = folder_host(&folder.join(format!("devices/{index:03}")), connection)?;
                fleet.spawn(joining.clone().join(index, host, person.statement.clone()));
            }
            Size::Light => {
                let transport = match &shared {
                    Some(transport) if index % ON_ONE_CONNECTION != 0 => GrpcTransport::clone(transport),
                    _ => shared.insert(GrpcTransport::new(connection)?).clone(),
                };
                fleet.spawn(joining.clone().join(index, crowd_host(transport)?, person.statement.clone()));
            }
        }
    }
    drop(joining);
    let watcher = NativeHost::open(&folder.join("watcher"), Connection::new(&coordinator.url))?;
    let watcher = app(watcher, &task, coordinator.task_key);
    watcher.enroll(&enroll_token, &Cancel::new()).await?;
    screen.say(&format!("{} devices enroll; rounds begin", settings.devices));

    let mut judge = Judge { watcher, names: world.judge(&world.names())?, task, last: vec![] };
    let accuracy_start = judge.score(1).await?;
    let patience = patience(&world.config.timing);
    let watching = Watching { settings: &settings, promise: &world.promise, screen: &screen, patience };
    let rows = watching.rounds(&mut operator, &mut judge, &mut fleet, sightings, &rounds_over).await;
    let rows = rows.with_context(|| format!("the coordinator's log is {}", coordinator.log().display()))?;
    drop(rounds_over);
    fleet.shutdown().await;
    drop(coordinator);

    let accuracy = rows.iter().rev().find(|row| row.abandoned.is_none()).map_or(accuracy_start, |row| row.accuracy);
    let Baselines { central, alone, plain } = if options.no_baselines {
        Baselines::default()
    } else {
        screen.say("Training the same model in other ways, for comparison");
        tokio::task::block_in_place(|| world.baselines(&settings))?
    };
    let accuracy_statements = world.judge(&world.lines(settings.seed))?.score(&judge.last)?.accuracy;
    let file = |name: &str| folder.join(name);
    let report = Report {
        accuracy,
        accuracy_start,
        accuracy_central: central,
        accuracy_alone: alone,
        accuracy_majority: world.majority(),
        accuracy_plain: plain,
        accuracy_statements,
        bytes_up: rows.iter().map(|row| row.bytes_up).max().unwrap_or_default(),
        seconds: started.elapsed().as_secs_f64(),
        model_file: file("model.safetensors"),
        chart_svg: file("chart.svg"),
        chart_png: file("chart.png"),
        devices: settings.devices,
        drop: settings.drop,
        privacy: settings.privacy.mode().to_owned(),
        promise: world.promise.sentence(),
        verdict: world.promise.verdict().to_owned(),
        seed: settings.seed,
        rounds: rows,
    };
    write_model(&report.model_file, &world.config.model, &judge.last)?;
    draw(&curves(&report), &report.chart_svg, &report.chart_png)?;
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    screen.end();
    Ok(report)
}

/// The people of the demo, their data and the model.
struct World {
    config: TaskConfig,
    split: Split,
    people: Vec<Person>,
    promise: Promise,
}

impl World {
    fn new(settings: &Settings) -> anyhow::Result<Self> {
        let &Settings { size, devices, rounds, seed, privacy, .. } = settings;
        let split = merchants::split(&merchants::embedded()?, demo::HELD_OUT, seed);
        let people = people(devices, &split.train, size.habits(), seed);
        let mut config = size.task(u32::try_from(devices)?, privacy);
        config.max_rounds = Some(rounds);
        let promise = Promise::of(&config, &people)?;
        Ok(Self { config, split, people, promise })
    }

    fn summary(&self, settings: &Settings) -> String {
        let lines: usize = self.people.iter().map(|person| person.statement.len()).sum();
        format!(
            "{} people buy from {} merchants ({lines} statement lines); {} merchants are held out\n\
             {} parameters, {} rounds, {:.0} % of the devices lost in each\n\
             Privacy: {}",
            self.people.len(),
            self.split.train.len(),
            self.split.held_out.len(),
            self.config.model.flat_len(),
            settings.rounds,
            settings.drop * 100.0,
            self.promise.sentence(),
        )
    }

    fn names(&self) -> Dataset {
        names(&self.split.held_out)
    }

    fn lines(&self, seed: u64) -> Dataset {
        statement_lines(&self.split.held_out, seed)
    }

    fn judge(&self, dataset: &Dataset) -> anyhow::Result<Evaluator> {
        Evaluator::new(&self.config.model, dataset)
    }

    /// Computes the comparisons, on two cores.
    fn baselines(&self, settings: &Settings) -> anyhow::Result<Baselines> {
        let seed = settings.seed;
        let score = |weights: &[f32]| Ok(self.judge(&self.names())?.score(weights)?.accuracy);
        std::thread::scope(|scope| {
            let central = scope.spawn(|| -> anyhow::Result<f64> {
                score(&baseline::central(&self.config, self.people.iter().map(|p| &p.statement), seed)?)
            });
            let mut alone = 0.0;
            for person in self.people.iter().take(ALONE) {
                alone += score(&baseline::alone(&self.config, &person.statement, seed)?)? / ALONE as f64;
            }
            let plain = match settings.size {
                Size::Full => None,
                Size::Light => Some(score(&self.without_noise(settings)?)?),
            };
            let central = central.join().map_err(|_| anyhow::anyhow!("the central training panicked"))??;
            Ok(Baselines { central: Some(central), alone: Some(alone), plain })
        })
    }

    /// Weights after the same rounds without noise and without secure aggregation.
    fn without_noise(&self, settings: &Settings) -> anyhow::Result<Vec<f32>> {
        let task = TaskConfig { privacy: Privacy::None, ..self.config.clone() };
        let people = self.people.iter().map(|person| person.statement.clone());
        let mut simulation = Simulation::new(task, people, settings.seed)?;
        for _ in 0..settings.rounds {
            simulation.round(settings.drop)?;
        }
        Ok(simulation.weights().to_vec())
    }

    /// Accuracy of always predicting the most frequent category.
    fn majority(&self) -> f64 {
        let mut counts = [0u32; merchants::CATEGORIES.len()];
        for example in self.people.iter().flat_map(|person| &person.statement.examples) {
            counts[example.label as usize] += 1;
        }
        let most = (0u32..).zip(counts).max_by_key(|&(_, count)| count).map(|(label, _)| label);
        let right = self.split.held_out.iter().filter(|merchant| Some(merchant.label) == most).count();
        right as f64 / self.split.held_out.len().max(1) as f64
    }
}

/// Accuracies on merchants that no device saw.
#[derive(Default)]
struct Baselines {
    /// The same model, trained centrally.
    central: Option<f64>,
    /// The same model, trained by one device alone; the mean over a few devices.
    alone: Option<f64>,
    /// The same rounds without noise; `None` if that takes too long.
    plain: Option<f64>,
}

/// Observes the rounds.
struct Watching<'a> {
    settings: &'a Settings,
    promise: &'a Promise,
    screen: &'a Screen,
    patience: Duration,
}

impl Watching<'_> {
    /// Follows the rounds until enough of them have published a model.
    async fn rounds<H: Host>(
        &self,
        operator: &mut Operator,
        judge: &mut Judge<H>,
        fleet: &mut JoinSet<anyhow::Result<()>>,
        mut sightings: mpsc::UnboundedReceiver<Sighting>,
        rounds_over: &watch::Sender<u64>,
    ) -> anyhow::Result<Vec<RoundRow>> {
        let Self { settings, screen, patience, .. } = *self;
        let mut rows: Vec<RoundRow> = vec![];
        let mut seen = Seen::new(settings.devices);
        let mut last_change = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                Some(sighting) = sightings.recv() => seen.take(sighting, screen),
                Some(ended) = fleet.join_next() => bail!("a device stopped: {:?}", ended.map_err(anyhow::Error::from).flatten()),
                _ = tick.tick() => {
                    let finished = rows.iter().filter(|row| row.abandoned.is_none()).count() as u64;
                    screen.show(finished, &seen.line());
                    let rounds = operator.rounds(TASK).await?;
                    for round in rounds.iter().filter(|round| is_over(round)).skip(rows.len()) {
                        let row = judge.row(rows.len() as u64 + 1, round, self.promise).await?;
                        screen.say(&row_line(&row, self.promise.unit()));
                        rows.push(row);
                        rounds_over.send_replace(rows.len() as u64);
                        let failed = rows.iter().rev().take_while(|row| row.abandoned.is_some()).count();
                        ensure!(failed < FAILURES, "{failed} rounds in a row were abandoned");
                        last_change = Instant::now();
                    }
                    if rows.iter().filter(|row| row.abandoned.is_none()).count() as u64 >= settings.rounds {
                        return Ok(rows);
                    }
                    ensure!(last_change.elapsed() < patience, "no round has ended for {patience:?}; devices: {}", seen.line());
                }
            }
        }
    }
}

/// How long the end of a round is waited for.
fn patience(timing: &Timing) -> Duration {
    let before = Duration::from_millis(timing.selecting_ms + timing.training_ms);
    before + timing.stages().iter().sum::<Duration>() + PATIENCE
}

fn curves(report: &Report) -> Curves {
    let finished = || report.rounds.iter().filter(|row| row.abandoned.is_none());
    Curves {
        title: format!(
            "{} devices learn to categorize transactions; {:.0} % of them lost in every round",
            report.devices,
            report.drop * 100.0
        ),
        accuracy: std::iter::once(report.accuracy_start).chain(finished().map(|row| row.accuracy)).collect(),
        beside: beside(finished, &report.privacy),
        central: report.accuracy_central,
        alone: report.accuracy_alone,
        plain: report.accuracy_plain,
    }
}

/// The loss; where devices keep it to themselves, what is spent. A run without a bound has no curve of epsilons.
fn beside<'a, I: Iterator<Item = &'a RoundRow>>(finished: impl Fn() -> I, mode: &str) -> Beside {
    // The loss of round r is measured on the model that round r started from.
    let loss = finished().enumerate().filter_map(|(round, row)| Some((round as f64, row.loss?)));
    let spent = finished().enumerate().filter_map(|(round, row)| Some((round as f64 + 1.0, row.epsilon?)));
    let loss: Vec<_> = loss.collect();
    let spent: Vec<_> = spent.collect();
    if loss.is_empty() && !spent.is_empty() {
        let points = std::iter::once((0.0, 0.0)).chain(spent).collect();
        let unit = if mode == "example" { "one training example" } else { "a person" };
        Beside { caption: format!("epsilon of {unit} (at most), delta {:e}", demo::DELTA), points }
    } else {
        Beside { caption: "loss on the devices' examples (from the sum)".into(), points: loss }
    }
}

/// An empty folder, with its full path. What the last demo left there goes.
pub(super) fn fresh_folder(path: &Path) -> anyhow::Result<PathBuf> {
    let marker = path.join(".scale-demo");
    if path.exists() {
        let empty = path.read_dir().with_context(|| format!("cannot read {}", path.display()))?.next().is_none();
        ensure!(empty || marker.exists(), "{} is not empty and no demo made it; choose another --keep", path.display());
        std::fs::remove_dir_all(path).with_context(|| format!("cannot empty {}", path.display()))?;
    }
    private_folder(path).with_context(|| format!("cannot create {}", path.display()))?;
    std::fs::write(&marker, "made by the demo; it may be deleted\n")?;
    Ok(path.canonicalize()?)
}
