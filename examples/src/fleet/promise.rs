//! What a run promises its people, what each of its rounds has cost them, and what the planner thinks of it.

use anyhow::Context as _;
use scale_client_core::train::{Backend, DatasetTrainer};
use scale_client_core::trainer::LocalTrainer as _;
use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_privacy::accounting::zcdp::Rho;
use scale_privacy::accounting::{Budget, UserLevel};
use scale_privacy::plan::{Cohort, Trust, plan, plan_examples};
use scale_proto::privacy::{Privacy, Target};
use scale_proto::task::TaskConfig;
use scale_secagg::config::width_needed;

use crate::baseline;
use crate::people::Person;

/// What the task's noise is worth.
pub(super) struct Promise {
    privacy: Privacy,
    cost: Cost,
    verdict: String,
}

/// What one round costs.
enum Cost {
    /// Nothing that could be counted.
    Uncounted,
    /// Training by DP-SGD, one entry for each kind of device.
    Examples(Vec<DpSgd>),
    /// Noise on updates.
    Person(Rho<UserLevel>),
}

impl Promise {
    /// # Errors
    /// The task's noise cannot be planned at all.
    pub(super) fn of(task: &TaskConfig, people: &[Person]) -> anyhow::Result<Self> {
        let Some(target) = task.privacy.target() else {
            return Ok(Self { privacy: task.privacy, cost: Cost::Uncounted, verdict: String::new() });
        };
        let (cost, verdict) = match task.privacy {
            Privacy::Example { .. } => (Cost::Examples(prices(task, people)?), on_examples(task, people, &target)?),
            _ => {
                let is_local = matches!(task.privacy, Privacy::Local { .. });
                let trust = if is_local { Trust::Local } else { Trust::Distributed };
                let all = Rho::<UserLevel>::within(&Budget::new(target.epsilon, target.delta)?);
                let a_round = Rho::from_units(all.units() / u64::from(target.rounds.max(1)));
                (Cost::Person(a_round), on_people(task, trust, &target)?)
            }
        };
        Ok(Self { privacy: task.privacy, cost, verdict })
    }

    /// What the run promises its people.
    pub(super) fn sentence(&self) -> String {
        let Some(Target { epsilon, delta, rounds }) = self.privacy.target() else {
            return "no noise; sums over at least ten people are all that leaves".to_owned();
        };
        let (noise, whom) = match self.privacy {
            Privacy::Example { .. } => ("noise on every training step".to_owned(), "one training example"),
            _ => (format!("{} noise", self.privacy.mode()), "a person"),
        };
        format!("{noise}; epsilon {epsilon} for {whom} over {rounds} rounds, delta {delta:e}")
    }

    /// What the planner says about this cohort and this model.
    pub(super) fn verdict(&self) -> &str {
        &self.verdict
    }

    /// Whether the server reads the cohort's loss.
    pub(super) fn tells_loss(&self) -> bool {
        !matches!(self.privacy, Privacy::Example { .. })
    }

    /// Epsilon of this many rounds for somebody who took part in all of them; `None` without noise.
    ///
    /// # Errors
    /// The accountant has no bound.
    pub(super) fn spent(&self, rounds: u64) -> anyhow::Result<Option<f64>> {
        let Some(Target { delta, .. }) = self.privacy.target() else { return Ok(None) };
        let epsilon = match &self.cost {
            Cost::Uncounted => return Ok(None),
            Cost::Examples(prices) => {
                let mut most: f64 = 0.0;
                for price in prices {
                    let steps = u64::from(price.steps()).saturating_mul(rounds).try_into().context("too many steps")?;
                    most = most.max(DpSgd::new(price.noise_multiplier(), price.rate(), steps)?.epsilon(delta)?);
                }
                most
            }
            Cost::Person(a_round) => {
                Rho::<UserLevel>::from_units(a_round.units().saturating_mul(rounds)).epsilon(delta)?
            }
        };
        Ok(Some(epsilon))
    }
}

/// What one round of training costs on each device, without repetitions: as the devices themselves work it out.
fn prices(task: &TaskConfig, people: &[Person]) -> anyhow::Result<Vec<DpSgd>> {
    let plan = baseline::plan(task, 0);
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

/// Noise on examples, and what noise on people would have been here.
fn on_examples(task: &TaskConfig, people: &[Person], target: &Target) -> anyhow::Result<String> {
    let fewest = people.iter().map(|person| person.statement.len()).min().unwrap_or_default();
    let (examples, batch) = (u32::try_from(fewest)?, task.training.batch_size.min(u32::try_from(fewest)?));
    let steps = examples.div_ceil(batch.max(1)) * task.training.epochs * target.rounds;
    let budget = Budget::new(target.epsilon, target.delta)?;
    let planned = plan_examples(examples, batch, steps, task.model.flat_len(), &budget)?;
    let people = on_people(task, Trust::Distributed, target)?;
    Ok(format!("For one device's {fewest} examples or more: {}\nFor whole people instead: {people}", planned.sentence))
}

/// In the best case: everybody finishes, and nobody works for the server.
fn on_people(task: &TaskConfig, trust: Trust, target: &Target) -> anyhow::Result<String> {
    let devices = task.cohort.goal;
    let cohort = Cohort { devices, survivors_min: devices, corrupt: 0 };
    let planned = plan(
        trust,
        &cohort,
        task.model.flat_len(),
        target.rounds,
        &Budget::new(target.epsilon, target.delta)?,
        width_needed,
    );
    Ok(planned.map_or_else(|error| error.to_string(), |plan| plan.sentence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::people;
    use crate::demo::{self, Size};
    use crate::merchants;

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
            let spent = |rounds| promise.spent(rounds).expect("bounded").expect("noise");
            assert!((spent(12) / epsilon - 1.0).abs() < 1e-3, "{privacy:?}: {}", spent(12));
            assert!(spent(12) <= epsilon && spent(1) < spent(6) && spent(6) < spent(12), "{privacy:?}");
        }
        assert_eq!(promise(Privacy::None).spent(12).expect("nothing to count"), None);
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
