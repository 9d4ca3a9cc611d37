//! Training without a model: what comes out is known beforehand, and how long it takes.

use std::time::Duration;

use scale_client_core::trainer::{Progressed, TrainError, Trained, Trainer, Training};
use scale_proto::plan::Plan;

/// Moves the first weight, and nothing else, after so many steps.
#[derive(Clone, Copy, Debug)]
pub struct Moves {
    /// How far.
    pub by: f32,
    /// Examples that it says it has seen.
    pub examples: u32,
    /// Steps before the result; at least one.
    pub steps: u32,
    /// How long each of them keeps its thread busy.
    pub step: Duration,
    /// The platform's clock, counted from any moment.
    pub clock: fn() -> Duration,
}

struct Moving<'a> {
    moves: &'a Moves,
    weights: Vec<f32>,
    done: u32,
}

impl Trainer for Moves {
    fn begin<'a>(
        &'a mut self,
        _: &'a Plan,
        weights: &[f32],
        _: &[u8; 32],
    ) -> Result<Box<dyn Training + Send + 'a>, TrainError> {
        let mut weights = weights.to_vec();
        weights[0] += self.by;
        Ok(Box::new(Moving { moves: self, weights, done: 0 }))
    }
}

impl Training for Moving<'_> {
    fn step(&mut self) -> Result<Progressed, TrainError> {
        let end = (self.moves.clock)() + self.moves.step;
        while (self.moves.clock)() < end {
            std::hint::spin_loop();
        }
        let of = self.moves.steps.max(1);
        self.done = (self.done + 1).min(of);
        Ok(Progressed { done: self.done, of, loss: None, over: self.done == of })
    }

    fn finish(self: Box<Self>) -> Result<Trained, TrainError> {
        let (weight, examples) = (self.moves.examples, u64::from(self.moves.examples));
        Ok(Trained { weights: self.weights, weight, loss_sum: 10.0, correct: 9, examples, dp_sgd: None })
    }
}
