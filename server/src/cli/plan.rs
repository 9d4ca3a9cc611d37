//! `plan`: what noise costs and whether anything is learned under it, for a task or for what flags say.

use clap::{Args, ValueEnum};
use scale_privacy::accounting::Budget;
use scale_privacy::plan::{self, Cohort, Plan, Trust};
use scale_proto::task::TaskConfig;
use scale_secagg::config::width_needed;
use scale_secagg::params::{self, Class};
use serde_json::{Value, json};

use super::Failure;
use super::args::Remote;
use super::output::{self, Output};
use scale_coordinator::noise;

/// What is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Noise that all devices bring together: protects a person from whoever sees only sums
    Distributed,
    /// Noise of each device by itself: protects a person from everybody
    Local,
    /// Noise on each training step: protects one training example
    Example,
    /// No noise, and no bound
    None,
}

/// Noise for a task.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The task: its file (see docs/task.example.toml), or the name of one that a running coordinator has. Without it
    /// the flags below describe one, and the answer names what it had to assume
    #[arg(value_name = "FILE|TASK", conflicts_with_all = ["mode", "devices", "floor", "class", "entries", "rounds", "epsilon", "delta", "batch_size", "epochs"])]
    pub(super) task: Option<String>,
    /// What devices do before anything is uploaded [default: distributed]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Most devices of one sum [default: 1000]
    #[arg(long, value_name = "N")]
    devices: Option<u32>,
    /// Fewest survivors that a sum is released for [default: four in five devices, never below 10]
    #[arg(long, value_name = "N")]
    floor: Option<u32>,
    /// Corrupt and lost devices that a session stands: default (10 % and 10 %) or paranoid (33 % and 10 %)
    #[arg(long, default_value = "default", value_parser = scale_proto::secure_aggregation::class::parse, value_name = "CLASS")]
    class: Class,
    /// Entries of an update: parameters of the model [default: 1000]
    #[arg(long, value_name = "N")]
    entries: Option<u64>,
    /// Rounds that a device may take part in [default: 100]
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// What all rounds may cost a person together; mode example: one training example
    #[arg(long, default_value_t = 8.0, value_name = "X")]
    epsilon: f64,
    /// Chance that the cost is higher; below 1 over the number of people
    #[arg(long, default_value_t = 1e-6, value_name = "X")]
    delta: f64,
    /// Mode example: training examples on a device
    #[arg(long, default_value_t = 200, value_name = "N")]
    examples: u32,
    /// Mode example: examples expected in one step
    #[arg(long, default_value_t = 32, value_name = "N")]
    batch_size: u32,
    /// Mode example: passes over the examples in a round
    #[arg(long, default_value_t = 1, value_name = "N")]
    epochs: u32,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// What was planned for: the first lines of every answer.
struct Subject {
    mode: &'static str,
    entries: u64,
    devices: u32,
    rounds: u32,
    /// What nobody has said, with the flags that say it.
    assumed: Vec<String>,
}

impl Subject {
    fn of_flags(args: &PlanArgs) -> Self {
        let mode = args.mode.unwrap_or(Mode::Distributed);
        let mut this = Self {
            mode: mode.word(),
            entries: args.entries.unwrap_or(1000),
            devices: args.devices.unwrap_or(1000),
            rounds: args.rounds.unwrap_or(100),
            assumed: Vec::new(),
        };
        let given = [
            (args.mode.is_some(), format!("mode {} (--mode)", this.mode)),
            (args.entries.is_some(), format!("a model of {} parameters (--entries)", this.entries)),
            // One device's own examples decide there.
            (args.devices.is_some() || mode == Mode::Example, format!("{} devices (--devices)", this.devices)),
            (args.rounds.is_some(), format!("{} rounds (--rounds)", this.rounds)),
        ];
        this.assumed = given.into_iter().filter(|(given, _)| !given).map(|(_, words)| words).collect();
        this
    }

    fn of_task(config: &TaskConfig) -> Self {
        Self {
            mode: config.privacy.mode(),
            entries: config.model.flat_len(),
            devices: noise::cohort(config).devices,
            rounds: config.privacy.target().map_or(0, |target| target.rounds),
            assumed: Vec::new(),
        }
    }

    /// The answer, below what it is an answer to.
    fn answer(&self, rows: &[(&'static str, String)], mut document: Value) -> Output {
        let Self { mode, entries, devices, rounds, assumed } = self;
        let mut all = Vec::new();
        if !assumed.is_empty() {
            let words = format!("{}. Nobody said so: name a task or its file, or give these flags", assumed.join(", "));
            all.push(("ASSUMED", words));
        }
        all.push((
            "planned for",
            format!("mode {mode}, {entries} parameters, sums of up to {devices} devices, {rounds} rounds"),
        ));
        all.extend_from_slice(rows);
        document["mode"] = json!(mode);
        document["entries"] = json!(entries);
        document["devices"] = json!(devices);
        document["rounds"] = json!(rounds);
        document["assumed"] = json!(assumed);
        output::figures(&all, document)
    }
}

impl Mode {
    const fn word(self) -> &'static str {
        match self {
            Self::Distributed => "distributed",
            Self::Local => "local",
            Self::Example => "example",
            Self::None => "none",
        }
    }
}

/// Plans what flags say, and says what came out.
pub(super) fn run(args: &PlanArgs) -> Result<Output, Failure> {
    let budget = Budget::new(args.epsilon, args.delta)?;
    let subject = Subject::of_flags(args);
    let trust = match args.mode.unwrap_or(Mode::Distributed) {
        Mode::Distributed => Trust::Distributed,
        Mode::Local => Trust::Local,
        Mode::Example => return on_examples(&subject, args.examples, args.batch_size, args.epochs, &budget),
        Mode::None => return Ok(without_noise()),
    };
    let floor = args.floor.unwrap_or(subject.devices.saturating_mul(4) / 5).max(params::FLOOR);
    let corrupt = params::corrupt(subject.devices, args.class);
    let cohort = Cohort { devices: subject.devices, survivors_min: floor, corrupt };
    let plan = plan::plan(trust, &cohort, subject.entries, subject.rounds, &budget, width_needed)?;
    Ok(on_updates(&subject, &plan))
}

/// Plans for a task: what the coordinator does when it is created. `args` say how many examples a device has.
pub(super) fn of(config: &TaskConfig, args: &PlanArgs) -> Result<Output, Failure> {
    let subject = Subject::of_task(config);
    match (noise::of(config)?.plan, config.privacy.target()) {
        (Some(plan), _) => Ok(on_updates(&subject, &plan)),
        (None, Some(target)) => {
            let (batch, epochs) = (config.training.batch_size, config.training.epochs);
            on_examples(&subject, args.examples, batch, epochs, &noise::budget(&target)?)
        }
        (None, None) => Ok(without_noise()),
    }
}

fn without_noise() -> Output {
    let words = "no bound: without noise there is nothing to plan. Training learns all it can, no epsilon can be claimed \
                 for anybody, and sums over enough devices are all that protects them";
    output::figures(&[("verdict", words.to_owned())], json!({ "verdict": "no_bound", "mode": "none" }))
}

fn on_updates(subject: &Subject, plan: &Plan) -> Output {
    let rows = [
        ("verdict", format!("{}: {}", plan.verdict.code(), plan.sentence)),
        ("noise to signal", format!("{:.3}", plan.noise_to_signal)),
        ("noise multiplier", format!("{:.4}", plan.noise_multiplier)),
        ("variance on a device", format!("{} grid units squared", plan.mechanism.local_variance())),
        ("grid", format!("{} units for the clip norm", plan.mechanism.grid())),
        ("bits of an entry", plan.wire_bits.to_string()),
        ("bytes of an upload", plan.upload_bytes.to_string()),
        ("honest devices assumed", plan.assumes_honest.to_string()),
        ("epsilon of the sums", format!("{:.3}", plan.epsilon_aggregate)),
        ("epsilon of an upload alone", format!("{:.0}", plan.epsilon_local)),
        ("in plain words", plan.promise()),
    ];
    let document = json!({
        "verdict": plan.verdict.code(),
        "noise_to_signal": plan.noise_to_signal,
        "noise_multiplier": plan.noise_multiplier,
        "local_variance": plan.mechanism.local_variance(),
        "grid": plan.mechanism.grid(),
        "wire_bits": plan.wire_bits,
        "upload_bytes": plan.upload_bytes,
        "assumes_honest": plan.assumes_honest,
        "epsilon_aggregate": plan.epsilon_aggregate,
        "epsilon_local": plan.epsilon_local,
        "delta": plan.delta,
        "promise": plan.promise(),
    });
    subject.answer(&rows, document)
}

fn on_examples(subject: &Subject, examples: u32, batch: u32, epochs: u32, budget: &Budget) -> Result<Output, Failure> {
    let batch = batch.clamp(1, examples.max(1));
    let steps = examples.div_ceil(batch).saturating_mul(epochs).saturating_mul(subject.rounds);
    let plan = plan::plan_examples(examples, batch, steps, subject.entries, budget)?;
    let rows = [
        ("verdict", format!("{}: {}", plan.verdict.code(), plan.sentence)),
        ("noise to signal", format!("{:.3} on one device", plan.noise_to_signal)),
        ("noise multiplier", format!("{:.4}", plan.dp_sgd.noise_multiplier())),
        ("sampling rate", format!("{:.4}", plan.dp_sgd.rate())),
        ("steps", plan.dp_sgd.steps().to_string()),
        ("examples on a device", examples.to_string()),
        ("epsilon of a person", "no bound".to_owned()),
        ("epsilon of an example", format!("{:.3} at delta {:e}", plan.epsilon, plan.delta)),
    ];
    let document = json!({
        "verdict": plan.verdict.code(),
        "noise_to_signal": plan.noise_to_signal,
        "noise_multiplier": plan.dp_sgd.noise_multiplier(),
        "rate": plan.dp_sgd.rate(),
        "steps": plan.dp_sgd.steps(),
        "examples": examples,
        "epsilon_person": "no_bound",
        "epsilon": plan.epsilon,
        "delta": plan.delta,
    });
    Ok(subject.answer(&rows, document))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use scale_proto::privacy::Privacy;

    use super::*;

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        plan: PlanArgs,
    }

    fn text(line: &str) -> Result<String, Failure> {
        let words = ["x"].into_iter().chain(line.split_whitespace());
        run(&Only::try_parse_from(words).unwrap().plan).map(|output| output.text().to_owned())
    }

    #[test]
    fn verdicts_for_few_and_for_many() {
        assert!(text("--devices 1000 --entries 1000 --rounds 30").unwrap().contains("useful"));
        assert!(text("--devices 13 --floor 10 --entries 1000 --epsilon 1").unwrap().contains("hopeless"));
        assert!(text("--mode local --devices 100").unwrap().contains("hopeless"));
        assert!(text("--mode example --entries 100 --rounds 12").unwrap().contains("sampling rate"));
        for bad in ["--epsilon 0", "--delta 2", "--rounds 0", "--devices 10 --floor 11", "--devices 1000 --floor 50"] {
            assert!(text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_nobody_said_is_named_first() {
        let assumed = text("").unwrap();
        let first = assumed.lines().next().unwrap();
        assert!(first.starts_with("ASSUMED") && first.contains("1000 parameters (--entries)"), "{assumed}");
        assert!(first.contains("1000 devices (--devices)"), "{assumed}");
        let said = text("--mode distributed --entries 262144 --devices 1000 --rounds 10").unwrap();
        assert!(!said.contains("ASSUMED") && said.contains("262144 parameters"), "{said}");
    }

    #[test]
    fn without_noise_there_is_nothing_to_plan() {
        assert!(text("--mode none").unwrap().contains("no bound: without noise"));
        assert!(text("--mode example --rounds 12").unwrap().contains("epsilon of a person    no bound"));
    }

    #[test]
    fn a_task_is_planned_as_the_coordinator_would() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/task.example.toml");
        let mut config = crate::cli::task::read(&path).unwrap();
        config.privacy = Privacy::Distributed { epsilon: 8.0, delta: 1e-6, rounds: 10 };
        let args = Only::try_parse_from(["x"]).unwrap().plan;
        let text = of(&config, &args).unwrap().text().to_owned();
        let parameters = format!("mode {}, {} parameters", config.privacy.mode(), config.model.flat_len());
        assert!(text.contains(&parameters) && !text.contains("ASSUMED"), "{text}");
    }
}
