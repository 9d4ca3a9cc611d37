//! The exact discrete Gaussian: integers only, from Canonne, Kamath and Steinke, "The Discrete Gaussian for
//! Differential Privacy" (NeurIPS 2020, arXiv 2004.00010), Algorithms 1 to 3.
//!
//! No float is touched, so nothing of Mironov's attack on low bits (CCS 2012) applies. The probability of every integer
//! `x` is `exp(-x² / 2V)` over their sum, exactly, for an ideal stream of words.
//!
//! **Time.** How many words a sample draws depends on what is drawn; over a vector of a thousand entries and more the
//! total says nothing useful about one of them. Still: no timestamp right after sampling, and no upload started by it.
//!
//! ```
//! use rand_chacha::ChaCha20Rng;
//! use rand_core::SeedableRng;
//! use scale_privacy::gaussian::DiscreteGaussian;
//!
//! let noise = DiscreteGaussian::new(1_000_000)?;
//! let mut update = vec![5u32; 1000];
//! noise.add_to(&mut update, &mut ChaCha20Rng::from_seed([7; 32])); // in production: seeded by the system
//! # Ok::<(), scale_privacy::gaussian::VarianceError>(())
//! ```

mod bernoulli;

use rand_core::CryptoRng;

use bernoulli::{exp_minus_one, exp_minus_ratio, exp_minus_wide_ratio};

/// Largest variance in grid units squared, 2^40: within it no intermediate product passes 128 bits.
pub const VARIANCE_MAX: u64 = 1 << 40;

/// Candidates end below this many scales: the chance of one beyond is e^-4096.
const WHOLE_MAX: i64 = 1 << 12;

/// Why a sampler stops the program: no noise may come from a stream that repeats itself.
const BROKEN_STREAM: &str = "the random stream repeats itself: it is not random";

/// A variance that the sampler does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a variance of {variance} is outside of 1 to {VARIANCE_MAX} grid units squared: choose another grid")]
pub struct VarianceError {
    /// What was asked for.
    pub variance: u64,
}

impl VarianceError {
    /// The stable word for the cause.
    pub const fn code(&self) -> &'static str {
        "variance"
    }
}

/// Noise of one integer variance. Cheap to make and to copy; holds no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiscreteGaussian {
    variance: u64,
    /// floor(sqrt(V)) + 1: scale of the discrete Laplace that candidates come from.
    scale: u32,
    /// 2 V scale²: denominator of the exponent that decides about a candidate.
    denominator: u128,
}

impl DiscreteGaussian {
    /// Noise of `variance` grid units squared, 1 to [`VARIANCE_MAX`].
    ///
    /// # Errors
    /// [`VarianceError`] outside of that range.
    pub const fn new(variance: u64) -> Result<Self, VarianceError> {
        if variance == 0 || variance > VARIANCE_MAX {
            return Err(VarianceError { variance });
        }
        // At most 2^20 + 1.
        let scale = variance.isqrt() as u32 + 1;
        let denominator = 2 * variance as u128 * (scale as u128 * scale as u128);
        Ok(Self { variance, scale, denominator })
    }

    /// V in grid units squared. The distribution's own variance is never above it (arXiv 2004.00010, Corollary 9).
    pub const fn variance(&self) -> u64 {
        self.variance
    }

    /// One sample (Algorithm 3). Draws `u32` words from `rng`, 12 on average.
    ///
    /// # Panics
    /// On a stream that no randomness gives, such as zeros without end: the chance is below e^-4096 otherwise.
    pub fn sample(&self, rng: &mut impl CryptoRng) -> i64 {
        loop {
            let candidate = self.laplace(rng);
            // |y| < 2^33 and scale < 2^21: the square stays below 2^108.
            let product = u128::from(candidate.unsigned_abs()) * u128::from(self.scale);
            let distance = product.abs_diff(u128::from(self.variance));
            // exp(-(|y| - V/t)² / 2V), with numerator and denominator times t².
            if self.accept(distance * distance, rng) {
                return candidate;
            }
        }
    }

    /// Adds one sample to every entry, modulo the entry's width. Uses `rng` for this alone: give it a stream of its own.
    pub fn add_to<I: GridInteger>(&self, values: &mut [I], rng: &mut impl CryptoRng) {
        for value in values {
            value.add(self.sample(rng));
        }
    }

    /// True with probability exp(-numerator / denominator), whatever the size of the ratio (Algorithm 1).
    fn accept(&self, mut numerator: u128, rng: &mut impl CryptoRng) -> bool {
        while numerator >= self.denominator {
            if !exp_minus_one(rng) {
                return false;
            }
            numerator -= self.denominator;
        }
        exp_minus_wide_ratio(numerator, self.denominator, rng)
    }

    /// A discrete Laplace sample: probability proportional to exp(-|y| / scale) (Algorithm 2 with s = 1).
    fn laplace(&self, rng: &mut impl CryptoRng) -> i64 {
        loop {
            let rest = below(self.scale, rng);
            if !exp_minus_ratio(rest, self.scale, rng) {
                continue;
            }
            let mut whole = 0i64;
            while exp_minus_one(rng) {
                whole += 1;
                assert!(whole < WHOLE_MAX, "{BROKEN_STREAM}");
            }
            let magnitude = i64::from(rest) + whole * i64::from(self.scale);
            let negative = rng.next_u32() & 1 == 1;
            // Both signs of zero are one value: keep only one of them.
            match (negative, magnitude) {
                (true, 0) => {}
                (true, _) => return -magnitude,
                (false, _) => return magnitude,
            }
        }
    }
}

/// Uniform in `0..bound`, without bias (Lemire 2019, arXiv 1805.10941, section 4). `bound` is not 0.
fn below(bound: u32, rng: &mut impl CryptoRng) -> u32 {
    // Refused with a chance below bound / 2^32, so never this often.
    for _ in 0..WHOLE_MAX {
        let product = u64::from(rng.next_u32()) * u64::from(bound);
        // The remainder is only worked out when it can matter.
        if product as u32 >= bound || product as u32 >= bound.wrapping_neg() % bound {
            return (product >> 32) as u32;
        }
    }
    panic!("{BROKEN_STREAM}");
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for i64 {}
    impl Sealed for i32 {}
    impl Sealed for u32 {}
}

/// What noise can be added to: a grid entry, or its residue modulo 2^32. Sums wrap; they are read modulo 2^bits.
pub trait GridInteger: sealed::Sealed + Copy {
    /// Adds `noise`, modulo the width of the type.
    fn add(&mut self, noise: i64);
}

impl GridInteger for i64 {
    fn add(&mut self, noise: i64) {
        *self = self.wrapping_add(noise);
    }
}

impl GridInteger for i32 {
    fn add(&mut self, noise: i64) {
        *self = self.wrapping_add(noise as i32);
    }
}

impl GridInteger for u32 {
    fn add(&mut self, noise: i64) {
        *self = self.wrapping_add(noise as u32);
    }
}

#[cfg(test)]
mod tests;
