//! Devices beside an app's own, for example in a browser: they take part in rounds until this process ends.
//!
//! A round needs one device more than there are neighbors, so that it begins as soon as the app's device checks in. The
//! first rounds are trained with a stand-in at its place, so that the app does not begin with random predictions.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::builder::PossibleValuesParser;
use scale_client_core::app::App;
use scale_client_core::device::{Cancel, Cause, Outcome, RunOptions};
use scale_client_core::host::Host;
use scale_client_core::host::native::NativeHost;
use scale_client_core::transport::native::Connection;
use scale_proto::ids::TaskId;
use scale_proto::limits::COHORT_FLOOR;
use scale_proto::privacy::{Privacy, Target};
use scale_proto::task::{Cohort, TaskConfig};
use scale_proto::wire::RoundInfo;
use serde::Serialize;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::coordinator::{CoordinatorProcess, Operator};
use super::demo::{TASK, fresh_folder};
use super::device::{Behavior, Cores, Loss, Sighting, TakingTurns, folder_host};
use super::joining::{ENROLLING, Joining};
use super::judge::{Judge, is_over};
use super::promise::Promise;
use super::screen::{Screen, Seen, row_line};
use crate::demo::{self, Size};
use crate::evaluate::{Evaluator, names};
use crate::merchants;
use crate::people::people;

/// How long the token in [`Facts`] enrolls devices.
const TOKEN: Duration = Duration::from_secs(24 * 60 * 60);
/// How often the rounds are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// The options of `fleet neighbors`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The coordinator's program [default: the coordinator that is built into this one].
    #[arg(long, value_name = "FILE")]
    pub coordinator: Option<PathBuf>,
    /// How many devices take part beside the app's own; at least 10, so that their rounds go on without it.
    #[arg(long, default_value_t = 12)]
    pub devices: usize,
    /// Rounds that are trained before the address is printed, with a stand-in at the place of the app's device.
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    pub before: u64,
    /// Rounds of the task in all: the noise is sized for them, and there are no more.
    #[arg(long, default_value_t = 16)]
    pub rounds: u64,
    /// How long the neighbors wait for the app's device, in seconds; then they train a round without it.
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    pub wait: u64,
    /// Seed of all random choices except keys and noise.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What devices do before anything is uploaded: example (noise on training steps, protects one example), local or
    /// none.
    #[arg(long, default_value = "example", value_parser = PossibleValuesParser::new(["example", "local", "none"]))]
    pub privacy: String,
    /// What all rounds may cost a person (mode example: one training example) together, at delta 1e-5.
    #[arg(long, default_value_t = 8.0)]
    pub epsilon: f64,
    /// Folder for the coordinator's data and the devices' state; emptied first.
    #[arg(long, value_name = "DIR", default_value = "target/neighbors")]
    pub keep: PathBuf,
    /// Stop when standard input ends, which it does when the process that started this one ends.
    #[arg(long)]
    pub until_stdin_ends: bool,
}

impl Options {
    fn check(&self) -> anyhow::Result<()> {
        let (devices, least) = (self.devices, COHORT_FLOOR);
        let enough = u32::try_from(devices).is_ok_and(|devices| (least..1000).contains(&devices));
        ensure!(enough, "--devices {devices}: a number from {least} to 999");
        ensure!(self.before < self.rounds, "--before {}: less than --rounds, which is {}", self.before, self.rounds);
        ensure!(self.wait >= 1, "--wait must be at least 1");
        Ok(())
    }

    /// The demo's task for one device more than there are neighbors. Every one of them is waited for: the browser is
    /// the slowest, and a round without it is not the point.
    fn task(&self) -> anyhow::Result<TaskConfig> {
        let target = Target { epsilon: self.epsilon, delta: demo::DELTA, rounds: u32::try_from(self.rounds)? };
        let clip = if self.privacy == "example" { demo::EXAMPLE_CLIP } else { 0.0 };
        let privacy = if self.privacy == "none" { Privacy::None } else { Privacy::parse(&self.privacy, target, clip)? };
        let places = u32::try_from(self.devices)? + 1;
        let mut task = Size::Full.task(places, privacy);
        task.cohort = Cohort { goal: places, over_selection_permille: 1000, ..task.cohort };
        task.timing.selecting_ms = self.wait.saturating_mul(1000);
        task.max_rounds = Some(self.rounds);
        task.check().context("these options make no possible task")?;
        Ok(task)
    }
}

/// What an app needs to take part: one line of JSON on standard output, once the first rounds are over.
#[derive(Debug, Serialize)]
struct Facts<'a> {
    url: &'a str,
    task: &'a str,
    /// 64 hexadecimal digits, which the app pins.
    task_key: String,
    enroll_token: &'a str,
}

/// Starts the coordinator and the neighbors. Ends when standard input does if it was asked to, else only by an error.
///
/// # Errors
/// A setting is out of range, a process or file fails, or a device stops.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    options.check()?;
    tokio::select! {
        result = neighborhood(options) => result,
        () = stdin_ends(), if options.until_stdin_ends => Ok(()),
    }
}

async fn neighborhood(options: &Options) -> anyhow::Result<()> {
    let config = options.task()?;
    let split = merchants::split(&merchants::embedded()?, demo::HELD_OUT, options.seed);
    // The last one is the stand-in.
    let people = people(options.devices + 1, &split.train, Size::Full.habits(), options.seed);
    let promise = Promise::of(&config, &people)?;
    let screen = Screen::new(options.rounds);

    let folder = fresh_folder(&options.keep)?;
    let program = match &options.coordinator {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("the path of this program is not known")?,
    };
    let coordinator = CoordinatorProcess::start(&program, &folder.join("coordinator")).await?;
    screen.say(&format!("Coordinator on {}, its log in {}", coordinator.url, coordinator.log().display()));
    screen.say(&format!("Privacy: {}", promise.sentence()));
    let mut operator = coordinator.operator().await?;
    operator.create_task(TASK, &config).await?;
    let enroll_token = operator.enroll_token(TOKEN).await?;
    let task: TaskId = TASK.parse()?;

    let (rounds_over, watch_rounds) = watch::channel(0);
    let (tell, sightings) = mpsc::unbounded_channel();
    let joining = Joining {
        task: task.clone(),
        task_key: coordinator.task_key,
        labels: config.model.labels.clone().into(),
        enroll_token: enroll_token.clone(),
        cores: Cores::all(),
        enrolling: Arc::new(Semaphore::new(ENROLLING)),
        behavior: Behavior { drop: 0.0, loss: Loss::Told, seed: options.seed },
        rounds_over: watch_rounds,
        tell,
    };
    let host = |name: String| folder_host(&folder.join("devices").join(name), Connection::new(&coordinator.url));
    let mut fleet = JoinSet::new();
    let (neighbors, others) = people.split_at(options.devices);
    for (index, person) in neighbors.iter().enumerate() {
        fleet.spawn(joining.clone().join(index, host(format!("{index:03}"))?, person.statement.clone()));
    }
    let stand_in = Cancel::new();
    if let (true, [person]) = (options.before > 0, others) {
        let app = joining.enroll(options.devices, host("stand-in".to_owned())?, person.statement.clone()).await?;
        fleet.spawn(stand_in_for(app, joining.cores.clone(), options.before, stand_in.clone()));
    }
    drop(joining);

    let watcher = NativeHost::open(&folder.join("watcher"), Connection::new(&coordinator.url))?;
    let watcher = super::device::app(watcher, &task, coordinator.task_key);
    watcher.enroll(&enroll_token, &Cancel::new()).await?;
    let names = Evaluator::new(&config.model, &names(&split.held_out))?;
    let mut judge = Judge { watcher, names, task, last: vec![] };
    let start = judge.score(1).await?;
    screen.say(&format!("{} devices enrolled; accuracy of the first model {:.1} %", options.devices, start * 100.0));

    let facts = Facts {
        url: &coordinator.url,
        task: TASK,
        task_key: hex::encode(coordinator.task_key),
        enroll_token: &enroll_token,
    };
    let watching = Watching { options, promise: &promise, screen: &screen, facts, stand_in };
    let result = watching.rounds(&mut operator, &mut judge, &mut fleet, sightings, &rounds_over).await;
    result.with_context(|| format!("the coordinator's log is {}", coordinator.log().display()))
}

/// Takes part in this many rounds, or until it is canceled, and leaves for good.
async fn stand_in_for<H: Host>(app: App<H>, cores: Cores, rounds: u64, cancel: Cancel) -> anyhow::Result<()> {
    let mut trainer = TakingTurns { trainer: app.trainer().await?, cores };
    let (mut contributed, mut unobserved) = (0, |_| {});
    while contributed < rounds {
        let taking_part = app.participate_with(RunOptions::default(), &mut trainer, &cancel, &mut unobserved);
        match taking_part.await.context("the stand-in failed")? {
            Outcome::Contributed(_) => contributed += 1,
            Outcome::Left { cause: Cause::Cancelled, .. } => break,
            Outcome::EnrollmentNeeded { sentence, .. } => bail!("the coordinator refuses the stand-in: {sentence}"),
            Outcome::Left { .. } | Outcome::Paused { .. } | Outcome::Waited { .. } => tokio::time::sleep(LOOK).await,
        }
    }
    Ok(())
}

/// Observes the rounds.
struct Watching<'a> {
    options: &'a Options,
    promise: &'a Promise,
    screen: &'a Screen,
    facts: Facts<'a>,
    stand_in: Cancel,
}

impl Watching<'_> {
    /// Shows every round that ends, and tells the app's address once the first ones are over. Ends by an error only.
    async fn rounds<H: Host>(
        &self,
        operator: &mut Operator,
        judge: &mut Judge<H>,
        fleet: &mut JoinSet<anyhow::Result<()>>,
        mut sightings: mpsc::UnboundedReceiver<Sighting>,
        rounds_over: &watch::Sender<u64>,
    ) -> anyhow::Result<()> {
        let Self { options, screen, .. } = *self;
        let mut seen = Seen::new(options.devices);
        let mut progress = Seats::default();
        let mut tick = tokio::time::interval(LOOK);
        self.tell_when_ready(&mut progress)?;
        loop {
            tokio::select! {
                Some(sighting) = sightings.recv() => seen.take(sighting, screen),
                Some(ended) = fleet.join_next() => {
                    ended.map_err(anyhow::Error::from).flatten().context("a device stopped")?;
                }
                _ = tick.tick() => {
                    screen.show(progress.finished, &seen.line());
                    let rounds = operator.rounds(TASK).await?;
                    let skipped = usize::try_from(progress.over)?;
                    for round in rounds.iter().filter(|round| is_over(round)).skip(skipped) {
                        progress.count(round);
                        let row = judge.row(progress.over, round, self.promise).await?;
                        screen.say(&row_line(&row, self.promise.unit()));
                        rounds_over.send_replace(progress.over);
                        self.tell_when_ready(&mut progress)?;
                        if progress.finished == options.rounds {
                            screen.say("All rounds that the noise was sized for are over: the model stays as it is.");
                        }
                    }
                }
            }
        }
    }

    fn tell_when_ready(&self, progress: &mut Seats) -> anyhow::Result<()> {
        if progress.finished >= self.options.before && !progress.told {
            progress.told = true;
            self.stand_in.cancel();
            say_facts(&self.facts)?;
            let devices = self.options.devices;
            self.screen.say(&format!("{devices} devices wait; the next round begins when one more device checks in"));
        }
        Ok(())
    }
}

/// What has happened so far.
#[derive(Default)]
struct Seats {
    /// Rounds that have ended, well or not.
    over: u64,
    /// Those that have published a model.
    finished: u64,
    /// Whether the app's address has been printed.
    told: bool,
}

impl Seats {
    fn count(&mut self, round: &RoundInfo) {
        self.over += 1;
        self.finished += u64::from(round.phase == "finished");
    }
}

#[allow(clippy::print_stdout, reason = "the line that the parent process reads")]
fn say_facts(facts: &Facts<'_>) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(facts)?);
    Ok(())
}

/// Returns when standard input has ended.
async fn stdin_ends() {
    let (mut stdin, mut bytes) = (tokio::io::stdin(), [0; 256]);
    // What is written to it is of no interest; an error is an end too.
    while stdin.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        options: Options,
    }

    fn options(flags: &[&str]) -> Options {
        Program::parse_from(["neighbors"].iter().chain(flags)).options
    }

    #[test]
    fn a_round_begins_with_one_device_more_than_there_are_neighbors() {
        for (flags, places) in
            [(&[][..], 13), (&["--devices", "10"], 11), (&["--devices", "40", "--privacy", "none"], 41)]
        {
            let options = options(flags);
            options.check().unwrap();
            let task = options.task().unwrap();
            assert_eq!((task.cohort.goal, task.cohort.over_selection_permille), (places, 1000));
            assert!(task.cohort.floor < places, "the neighbors alone can end a round");
            assert_eq!(task.max_rounds, Some(options.rounds));
        }
    }

    #[test]
    fn impossible_numbers_are_named() {
        for flags in [["--devices", "9"], ["--before", "16"], ["--wait", "0"]] {
            let error = options(&flags).check().unwrap_err().to_string();
            assert!(error.contains(flags[0]), "{error}");
        }
    }
}
