//! Training as a sequence of short pieces of work: preparing examples, measuring the incoming model, training.
//!
//! The result depends only on the plan, the examples, the weights and the secret. One exception is rounding: a step on
//! more than [`PIECE`] examples adds up its gradient in another order than a step that is made at once.

use std::borrow::Cow;

use rand_chacha::{ChaCha8Rng, ChaCha20Rng};
use rand_core::{Rng, SeedableRng};
use scale_proto::plan::Plan;

use super::dataset::Split;
use super::example_privacy::PoissonSampling;
use super::local::{batch, cost, steps};
use super::{Example, ExamplePrivacy, Learner, Measured, Prepared, Protection, StepConfig};
use crate::trainer::{Progressed, TrainError, Trained, Training};

/// Number of examples that one piece of work prepares.
const PREPARED: usize = 128;

/// Number of examples that one piece of work measures; also limits the memory.
const MEASURED: usize = 256;

/// Largest number of examples that one piece of work trains on.
pub(super) const PIECE: usize = 256;

/// One run of a plan.
pub(super) struct Stepwise<'a> {
    plan: &'a Plan,
    learner: Box<dyn Learner + Send>,
    examples: &'a [Example],
    /// The prepared examples, from the first on. All of them are prepared before the first is measured.
    prepared: &'a mut Vec<Prepared>,
    /// Indices of the examples to train on, in the order of the epoch.
    own: Vec<usize>,
    /// Indices of the examples that the incoming model is measured on.
    measured_on: Vec<usize>,
    /// Number of these examples that are measured already.
    looked_at: usize,
    measured: Measured,
    batches: Batches,
    /// The training step in progress.
    batch: Option<Batch>,
    done: usize,
    total: usize,
    /// Number of examples in all steps so far.
    seen: usize,
}

/// The source of batches, and of the random choice of n-grams that a step leaves out.
enum Batches {
    /// Shuffled epochs. The next batch begins at `next` of the epoch.
    Shuffled { random: ChaCha8Rng, next: usize },
    /// DP-SGD with Poisson sampling. Which n-grams of an example are left out must not depend on the other examples; it
    /// is derived from the secret.
    Sampled { random: ChaCha20Rng, sampling: PoissonSampling, privacy: ExamplePrivacy },
}

/// A training step in progress.
struct Batch {
    /// Indices of its examples.
    examples: Vec<usize>,
    /// How many of them have been trained on.
    taken: usize,
    /// Measurements of these examples.
    measured: Measured,
}

impl<'a> Stepwise<'a> {
    /// `prepared`: the first examples, prepared for this plan's model. `learner`: has the global weights loaded.
    /// `split`: which examples to train on (at least one) and which to measure on.
    pub(super) fn new(
        plan: &'a Plan,
        mut learner: Box<dyn Learner + Send>,
        examples: &'a [Example],
        prepared: &'a mut Vec<Prepared>,
        split: Split,
        privacy: Option<ExamplePrivacy>,
        secret: &[u8; 32],
    ) -> Self {
        let Split { own, held_out } = split;
        let measured_on = if held_out.is_empty() { own.clone() } else { held_out };
        let batches = match privacy {
            None => Batches::Shuffled { random: ChaCha8Rng::seed_from_u64(plan.seed), next: 0 },
            Some(privacy) => {
                let sampling = PoissonSampling::new(batch(plan), own.len());
                let mut random = ChaCha20Rng::from_seed(*secret);
                // The noise gets its own random stream.
                let mut seed = [0; 32];
                random.fill_bytes(&mut seed);
                learner.protect(Protection::new(privacy, sampling.expected(own.len()), seed));
                Batches::Sampled { random, sampling, privacy }
            }
        };
        let total = steps(plan, own.len());
        Self {
            plan,
            learner,
            examples,
            prepared,
            own,
            measured_on,
            looked_at: 0,
            measured: Measured::default(),
            batches,
            batch: None,
            done: 0,
            total,
            seen: 0,
        }
    }

    fn prepare(&mut self) -> Result<(), TrainError> {
        let rest = &self.examples[self.prepared.len()..];
        for example in rest.iter().take(PREPARED) {
            self.prepared.push(self.learner.prepare(example)?);
        }
        Ok(())
    }

    fn measure(&mut self) -> Result<(), TrainError> {
        let rest = &self.measured_on[self.looked_at..];
        let part: Vec<&Prepared> = rest.iter().take(MEASURED).map(|&index| &self.prepared[index]).collect();
        let measured = self.learner.evaluate(&part)?;
        self.looked_at += part.len();
        self.measured.loss_sum += measured.loss_sum;
        self.measured.correct += measured.correct;
        if !self.measured.loss_sum.is_finite() {
            return Err(TrainError::Diverged);
        }
        Ok(())
    }

    /// Trains on one piece. Returns the batch's mean loss when this completes a training step.
    fn train(&mut self) -> Result<Option<f32>, TrainError> {
        let mut batch = self.batch.take().unwrap_or_else(|| self.draw());
        let of = batch.examples.len();
        let piece = &batch.examples[batch.taken..(batch.taken + PIECE).min(of)];
        let piece: Vec<&Prepared> = piece.iter().map(|&index| &self.prepared[index]).collect();
        let thinned = match &mut self.batches {
            Batches::Shuffled { random, .. } => thinned(&piece, random),
            Batches::Sampled { random, .. } => thinned(&piece, random),
        };
        let thinned: Vec<&Prepared> = thinned.iter().map(AsRef::as_ref).collect();
        let step = StepConfig { learning_rate: self.plan.learning_rate, proximal_mu: self.plan.proximal_mu };
        if of <= PIECE {
            batch.measured = self.learner.train_step(&thinned, step)?;
        } else {
            let measured = self.learner.accumulate(&thinned, of)?;
            batch.measured.loss_sum += measured.loss_sum;
            batch.taken += piece.len();
            if batch.taken < of {
                self.batch = Some(batch);
                return Ok(None);
            }
            self.learner.apply(step)?;
        }
        self.done += 1;
        self.seen += of;
        match self.batches {
            // Losses are not checked under DP-SGD: stopping because of a loss would reveal information about it.
            Batches::Sampled { .. } => Ok(None),
            Batches::Shuffled { .. } if !batch.measured.loss_sum.is_finite() => Err(TrainError::Diverged),
            Batches::Shuffled { .. } => Ok(Some((batch.measured.loss_sum / of.max(1) as f64) as f32)),
        }
    }

    /// Draws the examples of the next training step.
    fn draw(&mut self) -> Batch {
        let examples = match &mut self.batches {
            Batches::Shuffled { random, next } => {
                if *next == 0 {
                    shuffle(&mut self.own, random);
                }
                let end = (*next + batch(self.plan)).min(self.own.len());
                let part = self.own[*next..end].to_vec();
                *next = if end == self.own.len() { 0 } else { end };
                part
            }
            Batches::Sampled { random, sampling, .. } => {
                sampling.draw(&self.own, random).into_iter().copied().collect()
            }
        };
        Batch { examples, taken: 0, measured: Measured::default() }
    }
}

impl Training for Stepwise<'_> {
    fn step(&mut self) -> Result<Progressed, TrainError> {
        let mut loss = None;
        if self.prepared.len() < self.examples.len() {
            self.prepare()?;
        } else if self.looked_at < self.measured_on.len() {
            self.measure()?;
        } else if self.done < self.total {
            loss = self.train()?;
        }
        let count = |steps: usize| u32::try_from(steps).unwrap_or(u32::MAX);
        Ok(Progressed { done: count(self.done), of: count(self.total), loss, over: self.done == self.total })
    }

    fn finish(mut self: Box<Self>) -> Result<Trained, TrainError> {
        if self.done == 0 {
            return Err(TrainError::OutOfTime);
        }
        let own = self.own.len();
        let (weight, dp_sgd) = match self.batches {
            Batches::Shuffled { .. } => (self.seen.min(own), None),
            // The expected number: the actual one would reveal information about the sample.
            Batches::Sampled { privacy, .. } => {
                (own.min(self.done.saturating_mul(batch(self.plan))), Some(cost(self.plan, own, privacy, self.done)?))
            }
        };
        let weights = self.learner.flatten()?;
        if weights.iter().any(|weight| !weight.is_finite()) {
            return Err(TrainError::Diverged);
        }
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let Measured { loss_sum, correct } = self.measured;
        Ok(Trained { weights, weight, loss_sum, correct, examples: self.measured_on.len() as u64, dp_sgd })
    }
}

/// The examples with some of their n-grams left out at random, for one training step.
fn thinned<'a>(examples: &[&'a Prepared], random: &mut impl Rng) -> Vec<Cow<'a, Prepared>> {
    examples.iter().map(|example| example.thinned(random)).collect()
}

/// Shuffles in place (Fisher and Yates).
pub(super) fn shuffle<T>(items: &mut [T], random: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        // Below `last + 1`. The bias of the remainder is under 2^-32 for data sets of fewer than 2^32 examples.
        let other = random.next_u64() % (last as u64 + 1);
        items.swap(last, other as usize);
    }
}
