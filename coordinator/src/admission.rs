//! Whether a device would take part in a task's rounds at all, asked before the task is made (pure).
//!
//! A device checks every round for itself and stays away without a word, so a task that all of them refuse would open one
//! round after the other for nobody. Here is what the checks of this build's devices
//! (`client-core/src/device/round.rs`) find in a task's own numbers; a test holds both together
//! (`tests/tests/accepted_tasks.rs`). What an app has tightened for itself is not known here.

use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_privacy::accounting::{AccountingError, Budget};
use scale_privacy::guardrails::Limits;
use scale_privacy::ledger::{Claim, Facts, Ledger, LedgerKey, Refusal};
use scale_privacy::plan::Trust;
use scale_proto::error::Invalid;
use scale_proto::privacy::{Privacy, Target};
use scale_proto::task::TaskConfig;

use crate::noise::Noise;

/// Refuses a task that no device of this build takes part in. `noise`: the task's, as [`crate::noise::of`] has it; the
/// configuration is in its ranges already.
///
/// # Errors
/// [`Invalid`] names the setting, its value and the largest one that devices take.
pub fn check(task: &TaskConfig, noise: &Noise) -> Result<(), Invalid> {
    check_weight(task, noise)?;
    check_time(task)?;
    check_cost(task, noise)
}

/// A device's weight is a count on the grid of the update, and has to have room there.
fn check_weight(task: &TaskConfig, noise: &Noise) -> Result<(), Invalid> {
    let (weight, grid) = (task.training.max_weight, noise.grid);
    if weight <= grid {
        return Ok(());
    }
    let raise = if noise.plan.is_none() { ", or raise quantization.grid_factor" } else { "" };
    let problem = format!(
        "{weight}, but devices take part with at most {grid} here, which is the grid of a model of {} parameters; lower \
         it to {grid}{raise}",
        task.model.flat_len()
    );
    Err(Invalid::new("training.max_weight", problem))
}

/// A device that may train for longer than a round waits for it would miss every round.
fn check_time(task: &TaskConfig) -> Result<(), Invalid> {
    let (limit, window) = (task.training.time_limit_ms, task.timing.training_ms);
    if limit <= window {
        return Ok(());
    }
    let problem = format!(
        "{limit}, but a round waits for training for timing.training_ms, {window}: devices that need their time would \
         miss every round; it is at most {window}"
    );
    Err(Invalid::new("training.time_limit_ms", problem))
}

/// Every device keeps account of its privacy, and pays only so much for one round.
fn check_cost(task: &TaskConfig, noise: &Noise) -> Result<(), Invalid> {
    let Some(target) = task.privacy.target() else { return Ok(()) };
    let mut facts = Facts {
        task: "task",
        round: 1,
        policy: "none",
        trust: Trust::Distributed,
        mechanism: noise.plan.as_ref().map(|plan| plan.mechanism),
        examples: None,
    };
    if let Privacy::Example { .. } = task.privacy {
        let cost = example_round(task.training.epochs, &target)
            .map_err(|error| Invalid::new("privacy.epsilon", error.to_string()))?;
        facts.examples = Some(cost);
    }
    first_round_is_paid(&facts).map_err(|refusal| {
        let (limits, delta) = (Limits::COMPILED.round, Limits::COMPILED.delta);
        let problem = match refusal {
            Refusal::TooCostly { claim } | Refusal::Exhausted { claim, .. } => {
                let (most, whom) = match claim {
                    Claim::Aggregate => (limits.aggregate, "against who sees the sums"),
                    Claim::Local => (limits.local, "against who sees its uploads by themselves"),
                    Claim::Example => (limits.example, "for one of its examples"),
                };
                format!(
                    "{} over {} rounds costs more in one round than a device pays: its limit {whom} is {most} at delta \
                     {delta:e}; lower it, or spread it over more rounds",
                    target.epsilon, target.rounds
                )
            }
            other => other.to_string(),
        };
        Invalid::new("privacy.epsilon", problem)
    })
}

/// What a round costs an example of the device that it suits best: one whose examples fit into one step.
fn example_round(epochs: u32, target: &Target) -> Result<DpSgd, AccountingError> {
    const EVERY_EXAMPLE: f64 = 1.0;
    let budget = Budget::new(target.epsilon, target.delta)?;
    let all = DpSgd::calibrated(EVERY_EXAMPLE, epochs.saturating_mul(target.rounds), &budget)?;
    DpSgd::new(all.noise_multiplier(), EVERY_EXAMPLE, epochs)
}

/// Asks the ledger of a device that has spent nothing yet.
fn first_round_is_paid(facts: &Facts<'_>) -> Result<(), Refusal> {
    let (mut ledger, begin) = Ledger::create(LedgerKey::new(&[0; 32]), &Limits::COMPILED, 0)?;
    ledger.durable(begin)?;
    ledger.would_pay(facts, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise;
    use crate::tests::fleet;

    fn refusal(change: impl FnOnce(&mut TaskConfig)) -> Option<String> {
        let mut task = fleet::task("manual");
        change(&mut task);
        task.check().unwrap();
        check(&task, &noise::of(&task).unwrap()).err().map(|invalid| invalid.to_string())
    }

    #[test]
    fn a_weight_has_room_on_the_grid() {
        // 3 x 2 + 2 weights and 4 statistics: ceil(64 sqrt 12) = 222.
        assert_eq!(refusal(|task| task.training.max_weight = 222), None);
        let told = refusal(|task| task.training.max_weight = 223).unwrap();
        for part in ["training.max_weight", "223", "at most 222", "8 parameters", "grid_factor"] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn training_ends_within_its_window() {
        assert_eq!(refusal(|task| task.training.time_limit_ms = 60_000), None);
        let told = refusal(|task| task.training.time_limit_ms = 60_001).unwrap();
        assert!(told.contains("training.time_limit_ms") && told.contains("at most 60000"), "{told}");
    }

    #[test]
    fn a_round_is_payable() {
        let distributed = |epsilon, rounds| {
            refusal(|task| {
                // Noise on so small a model comes with a coarse grid.
                task.training.max_weight = 14;
                task.privacy = Privacy::Distributed { epsilon, delta: 1e-6, rounds };
            })
        };
        assert_eq!(distributed(3.9, 1), None);
        assert_eq!(distributed(8.0, 10), None);
        let told = distributed(8.0, 1).unwrap();
        for part in ["privacy.epsilon", "8 over 1 rounds", "is 4 at delta 1e-6", "more rounds"] {
            assert!(told.contains(part), "{told}");
        }
        let example = |epsilon, rounds| {
            refusal(|task| task.privacy = Privacy::Example { epsilon, delta: 1e-5, rounds, clip: 1.0 })
        };
        assert_eq!((example(8.0, 1), example(8.0, 12)), (None, None));
        assert!(example(60.0, 1).unwrap().contains("for one of its examples"));
    }
}
