//! `plan`: what noise costs and whether anything is learned under it, without a coordinator.

use clap::{Args, ValueEnum};
use scale_privacy::accounting::Budget;
use scale_privacy::plan::{self, Cohort, Plan, Trust};
use scale_secagg::config::width_needed;
use scale_secagg::params::{self, Class};
use serde_json::json;

use super::Failure;
use super::output::{self, Output};

/// What is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Noise that all devices bring together: protects a person from who sees only sums
    Distributed,
    /// Noise of each device by itself: protects a person from everybody
    Local,
    /// Noise on each training step: protects one training example
    Example,
}

/// Noise for a task.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// What devices do before anything is uploaded
    #[arg(long, value_enum, default_value = "distributed")]
    mode: Mode,
    /// Most devices of one sum
    #[arg(long, default_value_t = 1000, value_name = "N")]
    devices: u32,
    /// Fewest survivors that a sum is released for [default: four in five devices, never below 10]
    #[arg(long, value_name = "N")]
    floor: Option<u32>,
    /// Corrupt and lost devices that a session stands: default (10 % and 10 %) or paranoid (33 % and 10 %)
    #[arg(long, default_value = "default", value_parser = scale_proto::secure_aggregation::class::parse, value_name = "CLASS")]
    class: Class,
    /// Entries of an update
    #[arg(long, default_value_t = 1000, value_name = "N")]
    entries: u64,
    /// Rounds that a device may take part in
    #[arg(long, default_value_t = 100, value_name = "N")]
    rounds: u32,
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
}

/// Plans, and says what came out.
pub(super) fn run(args: &PlanArgs) -> Result<Output, Failure> {
    let budget = Budget::new(args.epsilon, args.delta).map_err(|error| Failure::new(error.to_string()))?;
    let plan = match args.mode {
        Mode::Distributed => people(args, Trust::Distributed, &budget)?,
        Mode::Local => people(args, Trust::Local, &budget)?,
        Mode::Example => return examples(args, &budget),
    };
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
        "rounds": plan.rounds,
        "promise": plan.promise(),
    });
    Ok(output::figures(&rows, document))
}

fn people(args: &PlanArgs, trust: Trust, budget: &Budget) -> Result<Plan, Failure> {
    let floor = args.floor.unwrap_or(args.devices.saturating_mul(4) / 5).max(params::FLOOR);
    let corrupt = params::corrupt(args.devices, args.class);
    let cohort = Cohort { devices: args.devices, survivors_min: floor, corrupt };
    let planned = plan::plan(trust, &cohort, args.entries, args.rounds, budget, width_needed);
    planned.map_err(|error| Failure::new(error.to_string()))
}

fn examples(args: &PlanArgs, budget: &Budget) -> Result<Output, Failure> {
    let batch = args.batch_size.clamp(1, args.examples.max(1));
    let steps = args.examples.div_ceil(batch).saturating_mul(args.epochs).saturating_mul(args.rounds);
    let plan = plan::plan_examples(args.examples, batch, steps, args.entries, budget)
        .map_err(|error| Failure::new(error.to_string()))?;
    let rows = [
        ("verdict", format!("{}: {}", plan.verdict.code(), plan.sentence)),
        ("noise to signal", format!("{:.3} on one device", plan.noise_to_signal)),
        ("noise multiplier", format!("{:.4}", plan.dp_sgd.noise_multiplier())),
        ("sampling rate", format!("{:.4}", plan.dp_sgd.rate())),
        ("steps", plan.dp_sgd.steps().to_string()),
        ("epsilon of an example", format!("{:.3} at delta {:e}", plan.epsilon, plan.delta)),
    ];
    let document = json!({
        "verdict": plan.verdict.code(),
        "noise_to_signal": plan.noise_to_signal,
        "noise_multiplier": plan.dp_sgd.noise_multiplier(),
        "rate": plan.dp_sgd.rate(),
        "steps": plan.dp_sgd.steps(),
        "epsilon": plan.epsilon,
        "delta": plan.delta,
    });
    Ok(output::figures(&rows, document))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

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
}
