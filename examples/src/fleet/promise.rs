//! The privacy guarantee of a run, the cost of its rounds, and the planner's verdict on the noise.

use anyhow::Context as _;
use scale_client_core::train::{Backend, DatasetTrainer};
use scale_client_core::trainer::Trainer as _;
use scale_coordinator::noise;
use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_privacy::plan::{Cohort, Plan, Trust, plan, plan_examples};
use scale_proto::privacy::{Privacy, Target};
use scale_proto::task::TaskConfig;
use scale_secagg::config::width_needed;

use crate::people::Person;

/// The privacy guarantee of the task's noise.
pub(super) struct Promise {
    privacy: Privacy,
    cost: Cost,
    verdict: String,
}

/// The privacy cost of one round.
enum Cost {
    /// No noise, so no cost can be computed.
    Uncounted,
    /// The cost of training with DP-SGD, one entry for each kind of device.
    Examples(Vec<DpSgd>),
    /// Noise on updates, as the coordinator signs it and every device checks it.
    Person(Box<Plan>),
}

/// Epsilons of a number of rounds, for a person who took part in all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spent {
    /// The epsilon of the run's guarantee: for a training example, or for a person against parties that see only sums.
    pub(super) epsilon: f64,
    /// The epsilon for a person against parties that see the device's individual uploads, which remains if secure
    /// aggregation fails; `None` without noise on updates.
    pub(super) alone: Option<f64>,
}

impl Promise {
    /// # Errors
    /// The task's noise is not possible.
    pub(super) fn of(task: &TaskConfig, people: &[Person]) -> anyhow::Result<Self> {
        let Some(target) = task.privacy.target() else {
            return Ok(Self { privacy: task.privacy, cost: Cost::Uncounted, verdict: String::new() });
        };
        let (cost, verdict) = match task.privacy {
            Privacy::Example { .. } => (Cost::Examples(prices(task, people)?), on_examples(task, people, &target)?),
            _ => {
                let plan = noise::of(task)?.plan.context("noise on updates has a plan")?;
                let verdict = format!("{} {}", plan.sentence, plan.promise());
                (Cost::Person(plan), verdict)
            }
        };
        Ok(Self { privacy: task.privacy, cost, verdict })
    }

    /// The privacy guarantee of the run, as a sentence.
    pub(super) fn sentence(&self) -> String {
        let Some(Target { epsilon, delta, rounds }) = self.privacy.target() else {
            return "no noise, so no bound for anybody; sums over at least ten devices are all that can be read"
                .to_owned();
        };
        let (noise, rest) = match self.privacy {
            Privacy::Example { .. } => ("noise on every training step".to_owned(), "; no bound for a person"),
            _ => (format!("{} noise", self.privacy.mode()), ""),
        };
        format!("{noise}; epsilon {epsilon} for {} over {rounds} rounds, delta {delta:e}{rest}", self.unit())
    }

    /// What an epsilon of this run protects.
    pub(super) fn unit(&self) -> &'static str {
        match self.privacy {
            Privacy::Example { .. } => "one training example",
            _ => "a person",
        }
    }

    /// The planner's verdict on the noise with this cohort and this model.
    pub(super) fn verdict(&self) -> &str {
        &self.verdict
    }

    /// Whether the server learns the cohort's loss.
    pub(super) fn tells_loss(&self) -> bool {
        self.privacy == Privacy::None
    }

    /// Epsilons of this many rounds for a person who took part in all of them; `None`, which means no bound, without
    /// noise.
    ///
    /// # Errors
    /// The accountant finds no bound.
    pub(super) fn spent(&self, rounds: u64) -> anyhow::Result<Option<Spent>> {
        let Some(Target { delta, .. }) = self.privacy.target() else { return Ok(None) };
        let spent = match &self.cost {
            Cost::Uncounted => return Ok(None),
            Cost::Examples(prices) => {
                let mut most: f64 = 0.0;
                for price in prices {
                    let steps = u64::from(price.steps()).saturating_mul(rounds).try_into().context("too many steps")?;
                    most = most.max(DpSgd::new(price.noise_multiplier(), price.rate(), steps)?.epsilon(delta)?);
                }
                Spent { epsilon: most, alone: None }
            }
            Cost::Person(plan) => {
                let rounds = u32::try_from(rounds).context("too many rounds")?;
                let alone = plan.rho_local.times(rounds).epsilon(delta)?;
                match plan.trust {
                    Trust::Distributed => {
                        Spent { epsilon: plan.rho_aggregate.times(rounds).epsilon(delta)?, alone: Some(alone) }
                    }
                    Trust::Local => Spent { epsilon: alone, alone: Some(alone) },
                }
            }
        };
        Ok(Some(spent))
    }
}

/// The costs of one round of training, as the devices compute them, without duplicates.
fn prices(task: &TaskConfig, people: &[Person]) -> anyhow::Result<Vec<DpSgd>> {
    let plan = scale_proto::plan::Plan::of(task, 0);
    let mut prices: Vec<DpSgd> = Vec::new();
    for person in people {
        let price = DatasetTrainer::new(person.statement.clone(), Backend::Flex).price(&plan)?;
        let price = price.context("a device would train without noise")?;
        if !prices.contains(&price) {
            prices.push(price);
        }
    }
    Ok(prices)
}

/// The planner's verdict on noise for examples, compared with noise for people.
fn on_examples(task: &TaskConfig, people: &[Person], target: &Target) -> anyhow::Result<String> {
    let fewest = people.iter().map(|person| person.statement.len()).min().unwrap_or_default();
    let (examples, batch) = (u32::try_from(fewest)?, task.training.batch_size.min(u32::try_from(fewest)?));
    let steps = examples.div_ceil(batch.max(1)) * task.training.epochs * target.rounds;
    let budget = noise::budget(target)?;
    let planned = plan_examples(examples, batch, steps, task.model.flat_len(), &budget)?;
    let people = on_people(task, target)?;
    Ok(format!("For one device's {fewest} examples or more: {}\nFor whole people instead: {people}", planned.sentence))
}

/// The planner's verdict on noise of all devices together, in the best case: all devices finish, and none colludes with
/// the server.
fn on_people(task: &TaskConfig, target: &Target) -> anyhow::Result<String> {
    let devices = task.cohort.goal;
    let cohort = Cohort { devices, survivors_min: devices, corrupt: 0 };
    let budget = noise::budget(target)?;
    let planned = plan(Trust::Distributed, &cohort, noise::dim(task), target.rounds, &budget, width_needed);
    Ok(planned.map_or_else(|error| error.to_string(), |plan| plan.sentence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{self, Size};
    use crate::merchants;
    use crate::people::people;

    fn promise(privacy: Privacy) -> Promise {
        let merchants = merchants::embedded().expect("the data is in the repository");
        let people = people(30, &merchants, Size::Full.habits(), 1);
        Promise::of(&Size::Full.task(30, privacy), &people).expect("can be planned")
    }

    #[test]
    fn all_rounds_together_cost_what_was_promised() {
        let (epsilon, delta, rounds) = (Size::Full.epsilon(), demo::DELTA, 12);
        let modes = [
            Privacy::Example { epsilon, delta, rounds, clip: demo::EXAMPLE_CLIP },
            Privacy::Distributed { epsilon, delta, rounds },
            Privacy::Local { epsilon, delta, rounds },
        ];
        for privacy in modes {
            let promise = promise(privacy);
            let spent = |rounds| promise.spent(rounds).expect("bounded").expect("noise").epsilon;
            assert!((spent(12) / epsilon - 1.0).abs() < 1e-3, "{privacy:?}: {}", spent(12));
            assert!(spent(12) <= epsilon && spent(1) < spent(6) && spent(6) < spent(12), "{privacy:?}");
        }
        assert_eq!(promise(Privacy::None).spent(12).expect("nothing to count"), None);
        for (privacy, words) in [(Privacy::None, "no bound for anybody"), (modes[0], "no bound for a person")] {
            let sentence = promise(privacy).sentence();
            assert!(sentence.contains(words), "{sentence}");
        }
    }

    #[test]
    fn a_thousand_devices_with_a_small_model_are_told_both_epsilons() {
        let (epsilon, delta, rounds) = (Size::Light.epsilon(), demo::DELTA, Size::Light.rounds() as u32);
        let task = Size::Light.task(Size::Light.devices() as u32, Privacy::Distributed { epsilon, delta, rounds });
        let promise = Promise::of(&task, &[]).expect("can be planned");
        assert!(promise.verdict().starts_with("Training can work"), "{}", promise.verdict());
        let spent = promise.spent(rounds.into()).expect("bounded").expect("noise");
        assert!(spent.epsilon <= epsilon && spent.epsilon > 0.99 * epsilon, "{spent:?}");
        assert!(spent.alone.is_some_and(|alone| alone > 100.0), "{spent:?}");
    }

    #[test]
    fn the_planner_warns_of_noise_that_drowns_the_model() {
        let (epsilon, delta, rounds) = (Size::Full.epsilon(), demo::DELTA, 12);
        let example = promise(Privacy::Example { epsilon, delta, rounds, clip: demo::EXAMPLE_CLIP });
        assert!(example.verdict().contains("Training can work"), "{}", example.verdict());
        assert!(example.verdict().contains("For whole people instead: Training cannot work"), "{}", example.verdict());
        assert!(!example.tells_loss());
        let distributed = promise(Privacy::Distributed { epsilon, delta, rounds });
        assert!(distributed.verdict().contains("cannot work"), "{}", distributed.verdict());
    }
}
