//! The plan of a round over a data set.

use rand_chacha::{ChaCha8Rng, ChaCha20Rng};
use rand_core::{Rng, SeedableRng};
use scale_privacy::accounting::Budget;
use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_proto::model::ModelSpec;
use scale_proto::plan::Plan;
use scale_proto::privacy::Privacy;

use super::example_privacy::PoissonSampling;
use super::{Backend, Dataset, ExamplePrivacy, Learner, Measured, Prepared, Protection, StepConfig, build};
use crate::trainer::{LocalTrainer, TrainError, Trained};

/// Examples of one measuring pass; bounds its memory.
const MEASURE_BATCH: usize = 256;

/// Trains a plan's model on a data set that lies in memory.
pub struct DatasetTrainer {
    dataset: Dataset,
    backend: Backend,
    /// The data set in the form that the last plan's model reads; n-grams are hashed once, not every round.
    prepared: Option<(ModelSpec, Vec<Prepared>)>,
    /// In place of the plan's.
    privacy: Option<ExamplePrivacy>,
    /// Where batches and noise of DP-SGD come from.
    secret: Option<ChaCha20Rng>,
}

impl DatasetTrainer {
    /// A trainer over these examples.
    pub fn new(dataset: Dataset, backend: Backend) -> Self {
        Self { dataset, backend, prepared: None, privacy: None, secret: None }
    }

    /// Lets the trainer follow plans of [`Privacy::Example`], which it refuses otherwise: batches and noise of DP-SGD come
    /// from `seed`. Secret, from the host's [`Randomness`](crate::host::Randomness), never used twice: noise that comes
    /// again can be taken off.
    pub fn with_secret(mut self, seed: [u8; 32]) -> Self {
        self.secret = Some(ChaCha20Rng::from_seed(seed));
        self
    }

    /// Trains by DP-SGD with this much noise whatever the plan says. `seed` as for [`Self::with_secret`].
    pub fn protect(&mut self, privacy: ExamplePrivacy, seed: [u8; 32]) {
        self.privacy = Some(privacy);
        self.secret = Some(ChaCha20Rng::from_seed(seed));
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
}

/// The data set in the form that a model reads.
fn prepared<'a>(
    kept: &'a mut Option<(ModelSpec, Vec<Prepared>)>,
    dataset: &Dataset,
    spec: &ModelSpec,
    learner: &dyn Learner,
) -> Result<&'a [Prepared], TrainError> {
    if kept.as_ref().is_none_or(|(of, _)| of != spec) {
        let examples = dataset.examples.iter().map(|example| learner.prepare(example)).collect::<Result<_, _>>()?;
        *kept = Some((spec.clone(), examples));
    }
    Ok(kept.as_ref().map_or(&[], |(_, examples)| examples))
}

impl LocalTrainer for DatasetTrainer {
    fn price(&self, plan: &Plan) -> Result<Option<DpSgd>, TrainError> {
        let examples = (0..self.dataset.len()).filter(|index| !is_held_out(*index, plan.holdout_permille)).count();
        let privacy = match self.privacy {
            None => calibrated(plan, examples)?,
            own => own,
        };
        privacy.map(|privacy| cost(plan, examples, privacy, steps(plan, examples))).transpose()
    }

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
        let examples = prepared(&mut self.prepared, &self.dataset, &plan.model, learner.as_ref())?;
        let (mut own, held_out) = split(examples, plan.holdout_permille);
        let measured_on = if held_out.is_empty() { &own } else { &held_out };
        let Measured { loss_sum, correct } = measure(learner.as_mut(), measured_on)?;
        let examples = measured_on.len() as u64;
        let mut run = Run { plan, learner: learner.as_mut(), stop, progress };
        let privacy = match self.privacy {
            None => calibrated(plan, own.len())?,
            own => own,
        };
        let (weight, dp_sgd) = match (privacy, &mut self.secret) {
            (None, _) => (run.shuffled(&mut own)?, None),
            (Some(privacy), Some(random)) => {
                let (weight, cost) = run.sampled(&own, privacy, random)?;
                (weight, Some(cost))
            }
            (Some(_), None) => {
                let problem =
                    "the task protects examples by noise, and the trainer was given no secret to draw it from";
                return Err(TrainError::Unsupported(problem.into()));
            }
        };
        let weights = learner.flatten()?;
        if weights.iter().any(|weight| !weight.is_finite()) {
            return Err(TrainError::Diverged);
        }
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        Ok(Trained { weights, weight, loss_sum, correct, examples, dp_sgd })
    }
}

/// One run of a plan.
struct Run<'a> {
    plan: &'a Plan,
    learner: &'a mut dyn Learner,
    stop: &'a mut dyn FnMut() -> bool,
    progress: &'a mut dyn FnMut(u32),
}

impl Run<'_> {
    /// Shuffled epochs. Returns how many examples were seen.
    fn shuffled(&mut self, own: &mut [&Prepared]) -> Result<usize, TrainError> {
        let (batch, total) = (batch(self.plan), steps(self.plan, own.len()));
        let (mut done, mut seen) = (0, 0);
        let mut random = ChaCha8Rng::seed_from_u64(self.plan.seed);
        'training: for _ in 0..self.plan.epochs {
            shuffle(own, &mut random);
            for part in own.chunks(batch) {
                if (self.stop)() {
                    break 'training;
                }
                if !self.step(part, &mut random)?.loss_sum.is_finite() {
                    return Err(TrainError::Diverged);
                }
                done += 1;
                seen += part.len();
                (self.progress)((done * 1000 / total) as u32);
            }
        }
        if done == 0 { Err(TrainError::OutOfTime) } else { Ok(seen.min(own.len())) }
    }

    /// Steps of DP-SGD, as many as without. Returns how many examples were seen, as expected beforehand, and what the
    /// steps cost.
    fn sampled(
        &mut self,
        own: &[&Prepared],
        privacy: ExamplePrivacy,
        random: &mut ChaCha20Rng,
    ) -> Result<(usize, DpSgd), TrainError> {
        let sampling = PoissonSampling::new(batch(self.plan), own.len());
        // The noise has a stream of its own; the next round goes on where this one ends, however it ends.
        let mut seed = [0; 32];
        random.fill_bytes(&mut seed);
        self.learner.protect(Protection::new(privacy, sampling.expected(own.len()), seed));
        let (mut done, total) = (0, steps(self.plan, own.len()));
        while done < total && !(self.stop)() {
            let part: Vec<&Prepared> = sampling.draw(own, random).into_iter().copied().collect();
            // What one example loses of its n-grams must not depend on who else is there: the stream is secret, too.
            // Losses may be as they like: a step that ends here because of one would tell about it.
            self.step(&part, random)?;
            done += 1;
            (self.progress)((done * 1000 / total) as u32);
        }
        if done == 0 {
            return Err(TrainError::OutOfTime);
        }
        let cost = cost(self.plan, own.len(), privacy, done)?;
        Ok((own.len().min(done.saturating_mul(batch(self.plan))), cost))
    }

    fn step(&mut self, part: &[&Prepared], random: &mut impl Rng) -> Result<Measured, TrainError> {
        let step = StepConfig { learning_rate: self.plan.learning_rate, proximal_mu: self.plan.proximal_mu };
        let thinned: Vec<_> = part.iter().map(|example| example.thinned(random)).collect();
        let thinned: Vec<&Prepared> = thinned.iter().map(AsRef::as_ref).collect();
        self.learner.train_step(&thinned, step)
    }
}

fn batch(plan: &Plan) -> usize {
    plan.batch_size.max(1) as usize
}

/// Steps of one round over this many examples.
fn steps(plan: &Plan, examples: usize) -> usize {
    examples.div_ceil(batch(plan)) * plan.epochs as usize
}

/// What the plan asks for: as much noise as this number of examples needs for the epsilon of all its rounds.
fn calibrated(plan: &Plan, examples: usize) -> Result<Option<ExamplePrivacy>, TrainError> {
    let Privacy::Example { epsilon, delta, rounds, clip } = plan.privacy else { return Ok(None) };
    let steps = u64::from(rounds).saturating_mul(steps(plan, examples) as u64);
    let steps = u32::try_from(steps).map_err(|_| uncountable(steps))?;
    let noise = Budget::new(epsilon, delta)
        .and_then(|budget| PoissonSampling::new(batch(plan), examples).noise_for(steps, &budget))
        .map_err(|error| TrainError::Unsupported(error.to_string()))?;
    ExamplePrivacy::new(clip, noise).map(Some)
}

/// What this many steps over this many examples cost.
fn cost(plan: &Plan, examples: usize, privacy: ExamplePrivacy, steps: usize) -> Result<DpSgd, TrainError> {
    let cost = u32::try_from(steps).ok();
    let cost = cost.and_then(|steps| PoissonSampling::new(batch(plan), examples).cost(privacy, steps).ok());
    cost.ok_or_else(|| uncountable(steps as u64))
}

fn uncountable(steps: u64) -> TrainError {
    TrainError::Unsupported(format!("{steps} steps of DP-SGD cannot be accounted for"))
}

/// Examples to train on, and examples to measure on. The same ones are held out in every round, or the model would
/// have seen them; a device with a single example trains on it.
fn split(examples: &[Prepared], holdout_permille: u32) -> (Vec<&Prepared>, Vec<&Prepared>) {
    let (mut own, mut held_out) = (Vec::new(), Vec::new());
    for (index, example) in examples.iter().enumerate() {
        if is_held_out(index, holdout_permille) { held_out.push(example) } else { own.push(example) }
    }
    (own, held_out)
}

/// Spreads the held-out examples evenly: one whenever another whole example is due.
fn is_held_out(index: usize, holdout_permille: u32) -> bool {
    let due = |count: usize| count as u64 * u64::from(holdout_permille.min(500)) / 1000;
    due(index + 1) > due(index)
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
            privacy: Privacy::None,
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

    fn protected(noise_multiplier: f32, seed: u8) -> DatasetTrainer {
        let mut trainer = DatasetTrainer::new(shops(), Backend::Flex);
        trainer.protect(ExamplePrivacy::new(1.0, noise_multiplier).expect("in range"), [seed; 32]);
        trainer
    }

    #[test]
    fn dp_sgd_says_what_it_cost() {
        let plan = plan();
        let weights = fresh_weights(&plan.model, 1);
        let plain = run(&mut DatasetTrainer::new(shops(), Backend::Flex), &plan, &weights).expect("trains");
        assert_eq!(plain.dp_sgd, None);
        let trained = run(&mut protected(1.5, 1), &plan, &weights).expect("trains");
        // Three epochs of three steps, 4 of 10 examples in each on average.
        let cost = trained.dp_sgd.expect("there is a cost");
        assert_eq!((cost.noise_multiplier(), cost.rate(), cost.steps()), (1.5, 0.4, 9));
        assert_eq!(protected(1.5, 1).price(&plan), Ok(Some(cost)), "as was said before");
        assert_eq!(DatasetTrainer::new(shops(), Backend::Flex).price(&plan), Ok(None));
        assert_eq!((trained.weight, trained.examples, trained.loss_sum), (10, 10, plain.loss_sum));
        assert!(trained.weights.iter().zip(&weights).all(|(after, before)| after != before), "noise is everywhere");

        let mut asked = 0;
        let mut stop = || {
            asked += 1;
            asked > 2
        };
        let early = protected(1.5, 1).train(&plan, &weights, &mut stop, &mut |_| ()).expect("two steps");
        assert_eq!((early.dp_sgd.expect("a cost").steps(), early.weight), (2, 8), "what was done is what is paid");
        let never = protected(1.5, 1).train(&plan, &weights, &mut || true, &mut |_| ());
        assert_eq!(never.expect_err("no step"), TrainError::OutOfTime);
    }

    #[test]
    fn dp_sgd_keeps_the_plans_epsilon() {
        let privacy = Privacy::Example { epsilon: 3.0, delta: 1e-5, rounds: 4, clip: 0.5 };
        let plan = Plan { privacy, ..plan() };
        let weights = fresh_weights(&plan.model, 1);
        let trainer = || DatasetTrainer::new(shops(), Backend::Flex);
        let refused = run(&mut trainer(), &plan, &weights).expect_err("there is no secret");
        assert!(matches!(refused, TrainError::Unsupported(_)), "{refused}");
        let cost = run(&mut trainer().with_secret([1; 32]), &plan, &weights).expect("trains").dp_sgd.expect("a cost");
        let rounds = |rounds: u32| {
            let all = DpSgd::new(cost.noise_multiplier(), cost.rate(), cost.steps() * rounds).expect("in range");
            all.epsilon(1e-5).expect("there is noise")
        };
        assert_eq!(trainer().price(&plan), Ok(Some(cost)), "known before anything is trained");
        let less = Plan { holdout_permille: 300, ..plan.clone() };
        let trained = run(&mut trainer().with_secret([1; 32]), &less, &weights).expect("trains").dp_sgd;
        assert!(trained.is_some_and(|less| less != cost), "fewer examples");
        assert_eq!(trainer().price(&less), Ok(trained), "what is held out costs nothing");
        assert!(rounds(4) <= 3.0 && rounds(4) > 2.999 && rounds(5) > 3.0, "{}", rounds(4));
    }

    #[test]
    fn dp_sgd_never_repeats_its_noise() {
        let plan = plan();
        let weights = fresh_weights(&plan.model, 1);
        let mut trainer = protected(1.0, 1);
        let [one, two] = [(); 2].map(|()| run(&mut trainer, &plan, &weights).expect("trains"));
        assert!(one == run(&mut protected(1.0, 1), &plan, &weights).expect("trains"), "the seed decides");
        assert!(one != run(&mut protected(1.0, 2), &plan, &weights).expect("trains"));
        // The same plan and weights again: noise and batches are new.
        let same = one.weights.iter().zip(&two.weights).filter(|(a, b)| a == b).count();
        assert!(same < weights.len() / 1000, "{same} weights moved alike");
    }

    #[test]
    fn dp_sgd_learns() {
        let plan = Plan { epochs: 40, ..plan() };
        let mut weights = fresh_weights(&plan.model, 1);
        let mut trainer = protected(0.05, 1);
        for _ in 0..2 {
            weights = run(&mut trainer, &plan, &weights).expect("trains").weights;
        }
        let last = run(&mut trainer, &plan, &weights).expect("trains");
        assert!(last.correct == 10 && last.loss_sum < 4.0, "{} nats", last.loss_sum);
    }
}
