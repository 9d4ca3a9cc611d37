//! Training without a model: what comes out is known beforehand.

use scale_client_core::trainer::{TrainError, Trained, Trainer, Training, in_one_step};
use scale_proto::plan::Plan;

/// Moves every weight a little.
pub struct Steady;

impl Trainer for Steady {
    fn begin<'a>(
        &'a mut self,
        _: &'a Plan,
        weights: &[f32],
        _: &[u8; 32],
    ) -> Result<Box<dyn Training + Send + 'a>, TrainError> {
        let weights = weights.iter().map(|weight| weight + 0.125).collect();
        let trained = Trained { weights, weight: 20, loss_sum: 10.0, correct: 9, examples: 20, dp_sgd: None };
        Ok(in_one_step(move || Ok(trained)))
    }
}

/// Moves the first weight by so much, and nothing else.
pub struct MovesFirst(pub f32);

impl MovesFirst {
    /// Examples that it says it has seen: as many as count at most in the tests' small task.
    pub const EXAMPLES: u32 = 50;
}

impl Trainer for MovesFirst {
    fn begin<'a>(
        &'a mut self,
        _: &'a Plan,
        weights: &[f32],
        _: &[u8; 32],
    ) -> Result<Box<dyn Training + Send + 'a>, TrainError> {
        let mut weights = weights.to_vec();
        weights[0] += self.0;
        let (weight, examples) = (Self::EXAMPLES, u64::from(Self::EXAMPLES));
        let trained = Trained { weights, weight, loss_sum: 10.0, correct: 9, examples, dp_sgd: None };
        Ok(in_one_step(move || Ok(trained)))
    }
}
