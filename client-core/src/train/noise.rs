//! Gaussian noise in bulk, from a cryptographic stream.
//!
//! Box and Muller's method on 64 random bits for a pair of numbers: 36 for the radius, 28 for the angle. The radius is
//! worked out from `1 - u` where `u` is near 1 and from 64 more bits where it is near 0, so neither the middle of the
//! distribution nor its tail is coarse (numbers up to 11 deviations are drawn, with their probability). Everything
//! is done on small arrays in single precision without branches, so that compilers turn it into SIMD code: a step's
//! noise has as many numbers as the model.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// Pairs that are made at once: the arrays stay in the first cache.
const PAIRS: usize = 64;

const RADIUS_BITS: u32 = 36;
const ANGLE_BITS: u32 = 25;

/// Radius words below this get more bits: one pair in 2^24.
const COARSE: u64 = 1 << (RADIUS_BITS - 24);

/// A stream of standard normal numbers. Secret: who knows the stream can take the noise off.
pub(super) struct Noise {
    random: ChaCha20Rng,
    ready: [f32; 2 * PAIRS],
    /// Numbers of `ready` that are used up.
    used: usize,
}

impl Noise {
    /// `seed`: secret, never used twice.
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self { random: ChaCha20Rng::from_seed(seed), ready: [0.0; 2 * PAIRS], used: 2 * PAIRS }
    }

    /// Adds one number of the standard deviation `deviation` to each value.
    pub(super) fn add_to(&mut self, values: &mut [f32], deviation: f32) {
        if deviation == 0.0 {
            return;
        }
        let mut rest = values;
        while !rest.is_empty() {
            if self.used == self.ready.len() {
                self.refill();
            }
            let len = rest.len().min(self.ready.len() - self.used);
            let (now, later) = rest.split_at_mut(len);
            for (value, normal) in now.iter_mut().zip(&self.ready[self.used..]) {
                *value += deviation * normal;
            }
            self.used += len;
            rest = later;
        }
    }

    fn refill(&mut self) {
        let mut bytes = [0; 8 * PAIRS];
        self.random.fill_bytes(&mut bytes);
        let mut words = [0u64; PAIRS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        pairs(&words, &mut self.ready);
        for (index, word) in words.iter().enumerate() {
            let radius = word >> (64 - RADIUS_BITS);
            if radius < COARSE {
                let old = minus_two_ln(radius).sqrt();
                let new = fine_radius(radius, self.random.next_u64());
                self.ready[index] *= new / old;
                self.ready[PAIRS + index] *= new / old;
            }
        }
        self.used = 0;
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.ready);
    }
}

/// Two independent normal numbers per word: at its index in the first and in the second half of `out`.
fn pairs(words: &[u64; PAIRS], out: &mut [f32; 2 * PAIRS]) {
    let (mut squares, mut angles) = ([0.0f32; PAIRS], [0.0f32; PAIRS]);
    for ((word, square), angle) in words.iter().zip(&mut squares).zip(&mut angles) {
        *square = minus_two_ln(word >> (64 - RADIUS_BITS));
        // The middle of a cell: an eighth of a turn in 2^25 cells.
        let cell = (word >> 3) as u32 & ((1 << ANGLE_BITS) - 1);
        *angle = (cell as i32 as f32 + 0.5) * (std::f32::consts::FRAC_PI_4 / (1u32 << ANGLE_BITS) as f32);
    }
    let (first, second) = out.split_at_mut(PAIRS);
    for index in 0..PAIRS {
        let (radius, angle, word) = (squares[index].sqrt(), angles[index], words[index] as u32);
        let (sine, cosine) = sine_and_cosine(angle);
        // Three bits choose among the eight eighths of the turn: which is which, and both signs.
        let swap = (word & 1).wrapping_neg();
        let (a, b) = ((radius * sine).to_bits(), (radius * cosine).to_bits());
        let difference = (a ^ b) & swap;
        first[index] = f32::from_bits((a ^ difference) ^ ((word >> 1) << 31));
        second[index] = f32::from_bits((b ^ difference) ^ ((word >> 2) << 31));
    }
}

/// `-2 ln((word + 1/2) / 2^36)` within 3e-7 of itself, near 1 too.
fn minus_two_ln(word: u64) -> f32 {
    /// Bits of an f64's mantissa.
    const MANTISSA: u64 = (1 << 52) - 1;
    /// 2^52 as an f64 with nothing in its mantissa: `word` goes there without a conversion, which SIMD lacks.
    const SHIFT: u64 = 0x4330_0000_0000_0000;
    let uniform = f64::from_bits(SHIFT | word) - f64::from_bits(SHIFT) + 0.5;
    // uniform = 2^exponent × mantissa, with the mantissa in sqrt(1/2)..sqrt(2).
    let bits = uniform.to_bits() + (0x3ff0_0000_0000_0000 - std::f64::consts::FRAC_1_SQRT_2.to_bits());
    let exponent = (bits >> 52) as i32 - 1023 - RADIUS_BITS as i32;
    let mantissa = f64::from_bits((bits & MANTISSA) + std::f64::consts::FRAC_1_SQRT_2.to_bits());
    // Exact, so that the logarithm of a number near 1 keeps all its digits.
    -2.0 * ln_1p((mantissa - 1.0) as f32, exponent as f32)
}

/// `exponent ln 2 + ln(1 + x)` for x in sqrt(1/2) - 1..sqrt(2) - 1 (Cephes, logf.c).
fn ln_1p(x: f32, exponent: f32) -> f32 {
    const TERMS: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    let square = x * x;
    let tail = TERMS.iter().fold(0.0, |sum, term| sum * x + term);
    x + (square * x * tail - 0.5 * square) + exponent * std::f32::consts::LN_2
}

/// For angles in 0..π/4 (Cephes, sinf.c).
fn sine_and_cosine(angle: f32) -> (f32, f32) {
    let square = angle * angle;
    let sine = ((-1.951_529_6e-4 * square + 8.332_161e-3) * square - 1.666_665_5e-1) * square * angle + angle;
    let cosine = ((2.443_315_7e-5 * square - 1.388_731_6e-3) * square + 4.166_664_6e-2) * square * square;
    (sine, cosine - 0.5 * square + 1.0)
}

/// The radius of a word near 0 with 64 more bits behind it.
fn fine_radius(word: u64, more: u64) -> f32 {
    let fraction = (more as f64 + 0.5) / 2f64.powi(64);
    let uniform = (word as f64 + fraction) / 2f64.powi(RADIUS_BITS as i32);
    (-2.0 * uniform.ln()).sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Φ by the complementary error function's continued series is not at hand; Abramowitz and Stegun 7.1.26 is exact to
    /// 1.5e-7, far below what these samples resolve.
    fn below(x: f64) -> f64 {
        let z = x.abs() / std::f64::consts::SQRT_2;
        let t = 1.0 / (1.0 + 0.327_591_1 * z);
        let poly =
            ((((1.061_405_429 * t - 1.453_152_027) * t + 1.421_413_741) * t - 0.284_496_736) * t + 0.254_829_592) * t;
        let tail = 0.5 * poly * (-z * z).exp();
        if x < 0.0 { tail } else { 1.0 - tail }
    }

    fn draw(len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        Noise::new([9; 32]).add_to(&mut values, 1.0);
        values
    }

    #[test]
    fn numbers_are_normal() {
        const LEN: usize = 2_000_000;
        let values = draw(LEN);
        // Chi-square over 64 cells of width 1/8 between -4 and 4, and the two tails.
        let mut counts = [0u32; 66];
        for value in &values {
            let cell = ((f64::from(*value) + 4.0) * 8.0).floor().clamp(-1.0, 64.0) as isize + 1;
            counts[cell as usize] += 1;
        }
        let edge = |cell: usize| match cell {
            0 => 0.0,
            66 => 1.0,
            _ => below((cell as f64 - 1.0) / 8.0 - 4.0),
        };
        let mut square = 0.0;
        for (cell, &count) in counts.iter().enumerate() {
            let expected = (edge(cell + 1) - edge(cell)) * LEN as f64;
            square += (f64::from(count) - expected).powi(2) / expected;
        }
        // 65 degrees of freedom: mean 65, deviation 11.4.
        assert!((20.0..111.0).contains(&square), "chi-square {square}");
        let moment = |power: i32| values.iter().map(|value| f64::from(*value).powi(power)).sum::<f64>() / LEN as f64;
        for (power, expected, deviation) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let error = (moment(power) - expected).abs();
            assert!(error < 4.5 * (deviation / LEN as f64).sqrt(), "moment {power}: {error}");
        }
    }

    /// Numbers of a pair and numbers next to each other: neither they nor their squares go together.
    #[test]
    fn numbers_are_independent() {
        let values = draw(1_000_000);
        for lag in [1, 2, PAIRS - 1, PAIRS, 2 * PAIRS] {
            let pairs = values.iter().zip(&values[lag..]);
            let (mut plain, mut squares, mut count) = (0.0, 0.0, 0.0);
            for (a, b) in pairs {
                let (a, b) = (f64::from(*a), f64::from(*b));
                plain += a * b;
                squares += (a * a - 1.0) * (b * b - 1.0) / 2.0;
                count += 1.0;
            }
            let limit = 4.5 / f64::sqrt(count);
            assert!(
                (plain / count).abs() < limit && (squares / count).abs() < 1.5 * limit,
                "lag {lag}: {plain} {squares}"
            );
        }
    }

    #[test]
    fn radii_are_exact_from_end_to_end() {
        let top = (1u64 << RADIUS_BITS) - 1;
        for word in [
            0,
            1,
            2,
            4095,
            4096,
            1 << 20,
            1 << 35,
            (1 << 35) + 1,
            48_592_000_000,
            48_593_000_000,
            top / 3,
            top - 1,
            top,
        ] {
            let share = (word as f64 + 0.5) / 2f64.powi(36);
            // ln(1 - x) for the ones near 1, where ln loses its digits.
            let exact = if share > 0.9 {
                -2.0 * (-((top - word) as f64 + 0.5) / 2f64.powi(36)).ln_1p()
            } else {
                -2.0 * share.ln()
            };
            let found = f64::from(minus_two_ln(word));
            assert!((found / exact - 1.0).abs() < 4e-7, "{word}: {found} instead of {exact}");
        }
        assert!(f64::from(fine_radius(0, 0)) > 11.6, "2^-101 is drawn with probability 2^-100");
        let joined = f64::from(fine_radius(COARSE, 1 << 63));
        assert!((joined.powi(2) / f64::from(minus_two_ln(COARSE)) - 1.0).abs() < 1e-6, "no step where more bits begin");
    }

    #[test]
    fn angles_fill_the_turn() {
        for step in 0..=100 {
            let angle = std::f32::consts::FRAC_PI_4 * step as f32 / 100.0;
            let (sine, cosine) = sine_and_cosine(angle);
            assert!((sine - angle.sin()).abs() < 2e-7 && (cosine - angle.cos()).abs() < 2e-7, "{angle}");
        }
        let mut counts = [0u32; 16];
        let values = draw(2 * PAIRS * 4000);
        for chunk in values.chunks_exact(2 * PAIRS) {
            for (x, y) in chunk[..PAIRS].iter().zip(&chunk[PAIRS..]) {
                let turn = (y.atan2(*x) / std::f32::consts::TAU + 1.0).fract();
                counts[(turn * 16.0) as usize % 16] += 1;
            }
        }
        let expected = f64::from((PAIRS * 4000) as u32) / 16.0;
        assert!(counts.iter().all(|count| (f64::from(*count) - expected).abs() < 4.5 * expected.sqrt()), "{counts:?}");
    }

    #[test]
    fn pieces_and_wholes_are_one_stream() {
        let whole = draw(1000);
        let (mut noise, mut pieces) = (Noise::new([9; 32]), vec![0.0; 1000]);
        for part in pieces.chunks_mut(37) {
            noise.add_to(part, 1.0);
        }
        assert_eq!(whole, pieces);
        let mut none = [1.0; 5];
        Noise::new([9; 32]).add_to(&mut none, 0.0);
        assert_eq!(none, [1.0; 5]);
    }
}
