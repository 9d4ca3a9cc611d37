//! Training without examples: the result is a function of the input.

use std::sync::Arc;

use scale_privacy::accounting::dp_sgd::DpSgd;

use crate::trainer::Trained;

/// Defines how far each weight moves, and how many examples a device reports. A test knows the expected sums, because
/// [`super::Device::input`] returns the resulting integers.
#[derive(Clone)]
pub struct Training {
    step: Arc<dyn Fn(u32) -> f32 + Send + Sync>,
    examples: u32,
    dp_sgd: Option<DpSgd>,
}

impl Training {
    /// Weight `i`, counted from 0, moves by `step(i)`.
    pub fn of(examples: u32, step: impl Fn(u32) -> f32 + Send + Sync + 'static) -> Self {
        Self { step: Arc::new(step), examples, dp_sgd: None }
    }

    /// Every weight moves by the same step.
    pub fn even(step: f32, examples: u32) -> Self {
        Self::of(examples, move |_| step)
    }

    /// Every weight moves by a different step between -0.1 and 0.1, which depends on `number`.
    pub fn of_device(number: u32) -> Self {
        Self::of(10 + number % 30, move |i| (number.wrapping_mul(31).wrapping_add(i * 17) % 101) as f32 / 500.0 - 0.1)
    }

    /// The same, with noise on its gradients.
    #[must_use]
    pub fn with_noise_on_gradients(self, dp_sgd: DpSgd) -> Self {
        Self { dp_sgd: Some(dp_sgd), ..self }
    }

    /// The result of training from `weights`.
    pub fn result(&self, weights: &[f32]) -> Trained {
        Trained {
            weights: (0..).zip(weights).map(|(i, weight)| weight + (self.step)(i)).collect(),
            weight: self.examples,
            loss_sum: f64::from(self.examples) * 0.5,
            correct: u64::from(self.examples / 2),
            examples: self.examples.into(),
            dp_sgd: self.dp_sgd,
        }
    }
}
