//! The plan of a round over a data set.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use scale_proto::model::ModelSpec;
use scale_proto::plan::Plan;

use super::{Backend, Dataset, Learner, Measured, Prepared, StepConfig, build};
use crate::trainer::{LocalTrainer, TrainError, Trained};

/// Examples of one measuring pass; bounds its memory.
const MEASURE_BATCH: usize = 256;

/// Trains a plan's model on a data set that lies in memory.
pub struct DatasetTrainer {
    dataset: Dataset,
    backend: Backend,
    /// The data set in the form that the last plan's model reads; n-grams are hashed once, not every round.
    prepared: Option<(ModelSpec, Vec<Prepared>)>,
}

impl DatasetTrainer {
    /// A trainer over these examples.
    pub fn new(dataset: Dataset, backend: Backend) -> Self {
        Self { dataset, backend, prepared: None }
    }

    /// The local examples.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Adds examples; the next round trains on them too.
    pub fn extend(&mut self, more: Dataset) {
        self.dataset.examples.extend(more.examples);
        self.prepared = None;
    }

    fn prepare(&mut self, spec: &ModelSpec, learner: &dyn Learner) -> Result<&[Prepared], TrainError> {
        if self.prepared.as_ref().is_none_or(|(of, _)| of != spec) {
            let prepared =
                self.dataset.examples.iter().map(|example| learner.prepare(example)).collect::<Result<_, _>>()?;
            self.prepared = Some((spec.clone(), prepared));
        }
        Ok(self.prepared.as_ref().map_or(&[], |(_, prepared)| prepared))
    }
}

impl LocalTrainer for DatasetTrainer {
    fn train(
        &mut self,
        plan: &Plan,
        weights: &[f32],
        stop: &mut dyn FnMut() -> bool,
        progress: &mut dyn FnMut(u32),
    ) -> Result<Trained, TrainError> {
        if self.dataset.is_empty() {
            return Err(TrainError::NoExamples);
        }
        let mut learner = build(&plan.model, self.backend)?;
        learner.load(weights)?;
        let examples = self.prepare(&plan.model, learner.as_ref())?;
        let (mut own, held_out) = split(examples, plan.holdout_permille);
        let measured_on = if held_out.is_empty() { &own } else { &held_out };
        let global = measure(learner.as_mut(), measured_on)?;

        let step = StepConfig { learning_rate: plan.learning_rate, proximal_mu: plan.proximal_mu };
        let batch = plan.batch_size.max(1) as usize;
        let total = own.len().div_ceil(batch) * plan.epochs as usize;
        let (mut done, mut seen, examples) = (0, 0, measured_on.len() as u64);
        let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
        'training: for _ in 0..plan.epochs {
            shuffle(&mut own, &mut random);
            for part in own.chunks(batch) {
                if stop() {
                    break 'training;
                }
                let thinned: Vec<_> = part.iter().map(|example| example.thinned(&mut random)).collect();
                let thinned: Vec<&Prepared> = thinned.iter().map(AsRef::as_ref).collect();
                let before = learner.train_step(&thinned, step)?;
                if !before.loss_sum.is_finite() {
                    return Err(TrainError::Diverged);
                }
                done += 1;
                seen += part.len();
                progress((done * 1000 / total) as u32);
            }
        }
        if done == 0 {
            return Err(TrainError::OutOfTime);
        }
        let weights = learner.flatten()?;
        if weights.iter().any(|weight| !weight.is_finite()) {
            return Err(TrainError::Diverged);
        }
        let weight = u32::try_from(seen.min(own.len())).unwrap_or(u32::MAX);
        Ok(Trained { weights, weight, loss_sum: global.loss_sum, correct: global.correct, examples })
    }
}

/// Examples to train on, and examples to measure on. The same ones are held out in every round, or the model would
/// have seen them; a device with a single example trains on it.
fn split(examples: &[Prepared], holdout_permille: u32) -> (Vec<&Prepared>, Vec<&Prepared>) {
    let permille = u64::from(holdout_permille.min(500));
    let (mut own, mut held_out) = (Vec::new(), Vec::new());
    for (index, example) in examples.iter().enumerate() {
        // Spreads the held-out ones evenly: one whenever another whole example is due.
        let due = |count: usize| count as u64 * permille / 1000;
        if due(index + 1) > due(index) { held_out.push(example) } else { own.push(example) }
    }
    (own, held_out)
}

fn measure(learner: &mut dyn Learner, examples: &[&Prepared]) -> Result<Measured, TrainError> {
    let mut sum = Measured::default();
    for part in examples.chunks(MEASURE_BATCH) {
        let part = learner.evaluate(part)?;
        sum.loss_sum += part.loss_sum;
        sum.correct += part.correct;
    }
    if !sum.loss_sum.is_finite() {
        return Err(TrainError::Diverged);
    }
    Ok(sum)
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], random: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        // Below `last + 1`; the bias of the remainder is under 2^-32 for any data set that fits a device.
        let other = random.next_u64() % (last as u64 + 1);
        items.swap(last, other as usize);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use scale_proto::model::Family;

    use super::*;
    use crate::train::fresh_weights;

    fn plan() -> Plan {
        let model = ModelSpec {
            labels: ["dining", "fuel"].map(String::from).to_vec(),
            family: Family::TextBag { buckets: 512, dim: 4, ngram_min: 2, ngram_max: 4 },
        };
        Plan {
            fingerprint: model.fingerprint(),
            model,
            epochs: 3,
            batch_size: 4,
            learning_rate: 0.5,
            proximal_mu: 0.0,
            time_limit: Duration::from_secs(30),
            max_weight: 100,
            holdout_permille: 0,
            seed: 5,
        }
    }

    fn shops() -> Dataset {
        let mut out = Dataset::default();
        for place in ["Rome", "Oslo", "Bern", "Cork", "Lima"] {
            out.push_text(format!("CAFE {place}"), 0);
            out.push_text(format!("PETROL {place}"), 1);
        }
        out
    }

    fn run(trainer: &mut DatasetTrainer, plan: &Plan, weights: &[f32]) -> Result<Trained, TrainError> {
        trainer.train(plan, weights, &mut || false, &mut |_| ())
    }

    #[test]
    fn learns_and_measures_the_incoming_model() {
        let plan = plan();
        let mut trainer = DatasetTrainer::new(shops(), Backend::Flex);
        let mut weights = fresh_weights(&plan.model, 1);
        let mut told = Vec::new();
        let first = trainer.train(&plan, &weights, &mut || false, &mut |part| told.push(part)).expect("trains");
        // A fresh model knows nothing: the bias is zero, and so is the table.
        assert!((first.loss_sum - 10.0 * 2f64.ln()).abs() < 1e-4);
        assert_eq!((first.weight, first.examples, first.correct), (10, 10, 5));
        assert!(told.is_sorted() && told.len() == 9 && told.last() == Some(&1000), "{told:?}");
        for _ in 0..6 {
            weights = run(&mut trainer, &plan, &weights).expect("trains").weights;
        }
        let last = run(&mut trainer, &plan, &weights).expect("trains");
        assert!(last.correct == 10 && last.loss_sum < first.loss_sum / 2.0, "{} nats", last.loss_sum);
    }

    #[test]
    fn a_seed_decides_everything() {
        let plan = plan();
        let weights = fresh_weights(&plan.model, 1);
        let train =
            |plan: &Plan| run(&mut DatasetTrainer::new(shops(), Backend::Flex), plan, &weights).expect("trains");
        assert!(train(&plan) == train(&plan));
        assert!(train(&plan).weights != train(&Plan { seed: 6, ..plan.clone() }).weights);
        // A trainer that is used again does what a new one does.
        let mut used = DatasetTrainer::new(shops(), Backend::Flex);
        run(&mut used, &Plan { epochs: 1, ..plan.clone() }, &weights).expect("trains");
        assert!(run(&mut used, &plan, &weights).expect("trains") == train(&plan));
    }

    #[test]
    fn out_of_time_contributes_what_it_has() {
        let plan = plan();
        let weights = fresh_weights(&plan.model, 1);
        let until = |steps: usize| {
            let mut asked = 0;
            let mut stop = || {
                asked += 1;
                asked > steps
            };
            DatasetTrainer::new(shops(), Backend::Flex).train(&plan, &weights, &mut stop, &mut |_| ())
        };
        assert_eq!(until(0).expect_err("nothing was learnt"), TrainError::OutOfTime);
        let early = until(2).expect("two batches are a contribution");
        assert_eq!(early.weight, 8, "two batches of four were seen");
        assert!(early.weights != weights);
        assert_eq!(until(4).expect("more than one pass").weight, 10);
    }

    #[test]
    fn held_out_examples_measure_and_do_not_train() {
        let plan = Plan { holdout_permille: 200, epochs: 1, batch_size: 1, ..plan() };
        let weights = fresh_weights(&plan.model, 1);
        let mut steps = 0;
        let mut trainer = DatasetTrainer::new(shops(), Backend::Flex);
        let trained = trainer.train(&plan, &weights, &mut || false, &mut |_| steps += 1).expect("trains");
        assert_eq!((trained.examples, trained.weight, steps), (2, 8, 8));
        let mut one = Dataset::default();
        one.push_text("cafe", 0);
        let alone = run(&mut DatasetTrainer::new(one, Backend::Flex), &plan, &weights).expect("trains");
        assert_eq!((alone.examples, alone.weight), (1, 1), "a single example trains, and measures the incoming model");
    }

    #[test]
    fn says_why_there_is_nothing() {
        let plan = plan();
        let weights = fresh_weights(&plan.model, 1);
        let mut empty = DatasetTrainer::new(Dataset::default(), Backend::Flex);
        assert_eq!(run(&mut empty, &plan, &weights).expect_err("no examples"), TrainError::NoExamples);
        let mut trainer = DatasetTrainer::new(shops(), Backend::Flex);
        assert!(matches!(run(&mut trainer, &plan, &weights[1..]), Err(TrainError::Unsupported(_))));
        let wild = Plan { learning_rate: 1e30, ..plan.clone() };
        assert_eq!(run(&mut trainer, &wild, &weights).expect_err("diverges"), TrainError::Diverged);
        let mut foreign = shops();
        foreign.push_text("bank", 2);
        let refused = run(&mut DatasetTrainer::new(foreign, Backend::Flex), &plan, &weights);
        assert!(matches!(refused, Err(TrainError::Unsupported(_))));
    }
}
