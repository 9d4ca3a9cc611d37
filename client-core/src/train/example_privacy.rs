//! DP-SGD (Abadi et al., CCS 2016): the influence of a single training example on the update is bounded, and hidden by
//! noise.
//!
//! In each step every example joins the batch independently, with the same small probability (Poisson sampling, as the
//! accountant assumes; shuffled epochs have no such bound). Its gradient over *all* parameters together is clipped to a
//! norm, the clipped gradients are added up, and every parameter gets Gaussian noise. The sum is divided by the
//! *expected* batch size, because the actual size would reveal information about the sample.
//!
//! ***Guarantee.** Two data sets are neighbors if one has an example where the other has one that contributes nothing,
//! so the number of examples is public. The cost of training is in [`Trained::dp_sgd`]; the costs of rounds add up. The
//! guarantee holds for the weights before they leave the device, and so for every later use of them. It protects one
//! example, not the user as a person: a shop that appears in twenty lines of a statement is protected twenty times
//! less.
//!
//! ***What else leaves the device.** Loss, correct answers and the number of examples carry no noise, so the update
//! pipeline withholds them if [`Trained::dp_sgd`] is set. A device that leaves a round because its weights overflowed
//! reveals no more than the noisy weights do; losses do not end training.
//!
//! ***Floating point.** Noise is drawn and added in floating point (`noise`), and Mironov's attack (CCS 2012) uses the
//! low bits of such sums. These sums stay on the device: weights leave it rounded at random to a much coarser grid of
//! integers. This is an argument, not a proof. The exact integer noise of `scale_privacy::gaussian` would take 107 ns
//! for every parameter in every step.
//!
//! [`Trained::dp_sgd`]: crate::trainer::Trained::dp_sgd

use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;
use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_privacy::accounting::{AccountingError, Budget};

use super::noise::Noise;
use crate::trainer::TrainError;

/// Parameters of DP-SGD, which protects training examples. Both numbers are in their valid range.
///
/// Every example's gradient, over all parameters together, is clipped to `clip`; the noise on the sum of a batch has
/// the standard deviation `noise_multiplier * clip` in every parameter. The cost of a run is in
/// [`Trained::dp_sgd`](crate::trainer::Trained::dp_sgd). The guarantee is for one example among a known number of
/// others, not for the user as a person: a shop that appears in twenty lines of a statement is protected twenty times
/// less.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExamplePrivacy {
    clip: f32,
    noise_multiplier: f32,
}

impl ExamplePrivacy {
    /// `clip`: largest L2 norm of one example's gradient, above 0. `noise_multiplier`: standard deviation of the noise
    /// divided by `clip`, at least 0; 0 only clips, without any guarantee.
    ///
    /// # Errors
    /// [`TrainError::Unsupported`] if one of the numbers is out of range.
    pub fn new(clip: f32, noise_multiplier: f32) -> Result<Self, TrainError> {
        if !(clip.is_finite() && clip > 0.0) {
            return Err(TrainError::Unsupported(format!(
                "gradients cannot be clipped to {clip}: give a number above 0"
            )));
        }
        if !(noise_multiplier.is_finite() && noise_multiplier >= 0.0 && (clip * noise_multiplier).is_finite()) {
            return Err(TrainError::Unsupported(format!(
                "the noise multiplier {noise_multiplier} is out of range: give 0 or more"
            )));
        }
        Ok(Self { clip, noise_multiplier })
    }

    /// L2 norm to which the gradient of every example is clipped.
    pub const fn clip(&self) -> f32 {
        self.clip
    }

    /// Standard deviation of the noise divided by [`Self::clip`].
    pub const fn noise_multiplier(&self) -> f32 {
        self.noise_multiplier
    }
}

/// The inputs of a [`Learner`](super::Learner) for steps of DP-SGD.
pub struct Protection {
    privacy: ExamplePrivacy,
    expected_batch: f32,
    pub(super) noise: Noise,
}

impl Protection {
    /// `expected_batch`: average number of examples in one step, above 0. `seed`: secret, from the system's randomness,
    /// never used twice.
    pub fn new(privacy: ExamplePrivacy, expected_batch: f32, seed: [u8; 32]) -> Self {
        Self { privacy, expected_batch, noise: Noise::new(seed) }
    }

    /// L2 norm to which the gradient of every example is clipped.
    pub(super) fn clip(&self) -> f32 {
        self.privacy.clip
    }

    /// Divisor of the sum of the clipped gradients.
    pub(super) fn divisor(&self) -> f32 {
        self.expected_batch
    }

    /// Standard deviation of the noise on the sum of the clipped gradients.
    pub(super) fn deviation(&self) -> f32 {
        self.privacy.noise_multiplier * self.privacy.clip
    }
}

impl std::fmt::Debug for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Protection").field("privacy", &self.privacy).finish_non_exhaustive()
    }
}

/// Poisson sampling of batches: every example joins independently, with the same probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PoissonSampling {
    rate: f64,
}

impl PoissonSampling {
    /// Batches of `batch` of `examples` examples on average; of all examples if there are not more.
    pub(super) fn new(batch: usize, examples: usize) -> Self {
        Self { rate: (batch as f64 / examples.max(1) as f64).min(1.0) }
    }

    /// Average number of examples in one step.
    pub(super) fn expected(self, examples: usize) -> f32 {
        (self.rate * examples as f64) as f32
    }

    /// Draws one batch. `random` must be secret: the privacy bound assumes that the batches are unknown.
    pub(super) fn draw<'a, T>(self, examples: &'a [T], random: &mut ChaCha20Rng) -> Vec<&'a T> {
        // A resolution of 2^-53, that of the accountant's rate, which is an f64.
        let limit = (self.rate * (1u64 << 53) as f64) as u64;
        examples.iter().filter(|_| random.next_u64() >> 11 < limit).collect()
    }

    /// The smallest noise multiplier for which `steps` steps stay within `budget`.
    pub(super) fn noise_for(self, steps: u32, budget: &Budget) -> Result<f32, AccountingError> {
        // Rounded up to the next f32, because a smaller one would exceed the budget.
        Ok((DpSgd::calibrated(self.rate, steps, budget)?.noise_multiplier() as f32).next_up())
    }

    /// The privacy cost of `steps` steps.
    pub(super) fn cost(self, privacy: ExamplePrivacy, steps: u32) -> Result<DpSgd, AccountingError> {
        DpSgd::new(privacy.noise_multiplier.into(), self.rate, steps)
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn impossible_settings_are_refused() {
        for (clip, noise) in
            [(0.0, 1.0), (-1.0, 1.0), (f32::NAN, 1.0), (f32::INFINITY, 1.0), (1.0, -0.1), (1.0, f32::NAN)]
        {
            assert!(ExamplePrivacy::new(clip, noise).is_err(), "{clip} {noise}");
        }
        assert!(ExamplePrivacy::new(1e30, 1e30).is_err(), "their product overflows");
        assert!(ExamplePrivacy::new(0.5, 0.0).is_ok());
    }

    /// Inclusion is binomial, and of two examples independent.
    #[test]
    fn examples_join_by_themselves() {
        const DRAWS: usize = 40_000;
        let sampling = PoissonSampling::new(3, 10);
        assert_eq!(sampling.expected(10), 3.0);
        let mut random = ChaCha20Rng::from_seed([1; 32]);
        let items: Vec<usize> = (0..10).collect();
        let (mut joined, mut both, mut sizes) = ([0usize; 10], 0usize, [0usize; 11]);
        for _ in 0..DRAWS {
            let drawn = sampling.draw(&items, &mut random);
            drawn.iter().for_each(|item| joined[**item] += 1);
            both += usize::from(drawn.contains(&&2) && drawn.contains(&&7));
            sizes[drawn.len()] += 1;
        }
        let near = |count: usize, probability: f64| {
            let expected = probability * DRAWS as f64;
            let deviation = (expected * (1.0 - probability)).sqrt();
            assert!((count as f64 - expected).abs() < 4.5 * deviation, "{count} instead of {expected}");
        };
        joined.iter().for_each(|count| near(*count, 0.3));
        near(both, 0.09);
        // Sizes differ, down to empty batches: those of shuffled epochs would not.
        near(sizes[0], 0.7f64.powi(10));
        near(sizes[3], 120.0 * 0.3f64.powi(3) * 0.7f64.powi(7));
    }

    #[test]
    fn a_batch_of_everything_takes_everything() {
        let sampling = PoissonSampling::new(64, 10);
        let drawn = sampling.draw(&[1, 2, 3], &mut ChaCha20Rng::from_seed([1; 32])).len();
        assert_eq!((drawn, sampling.rate, sampling.expected(10)), (3, 1.0, 10.0));
        let cost = sampling.cost(ExamplePrivacy::new(2.0, 1.5).expect("in range"), 7).expect("in range");
        assert_eq!((cost.rate(), cost.noise_multiplier(), cost.steps()), (1.0, 1.5, 7));
    }
}
