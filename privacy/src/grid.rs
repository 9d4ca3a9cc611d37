//! The integer grid (docs/protocol/update.md): clip, scale, and conditional stochastic rounding
//! (Kairouz, Liu and Steinke 2021).
//!
//! Every step is fixed to the bit: sums run from the first entry to the last in `f64`, nothing is fused, and each entry
//! draws exactly one `u64` per attempt. Two implementations with the same stream give the same integers.

use rand_core::Rng;

use crate::Error;

/// Attempts at rounding before the entries are truncated towards zero.
pub const ATTEMPTS: u32 = 16;

/// The clip norm is taken this much larger before scaling, so that float error cannot push a vector over its bound.
const SHRINK: f64 = 1.0 + 1.0 / (1u64 << 20) as f64;

/// 2^53: a draw's top 53 bits, below `frac × 2^53`, round up.
const UNIT: f64 = (1u64 << 53) as f64;

/// Integers on the grid, and how they came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rounded {
    /// The entries, in grid units; their squares sum to at most [`norm_bound_squared`].
    pub values: Vec<i32>,
    /// Attempts used, 1 to [`ATTEMPTS`].
    pub attempts: u32,
    /// Whether every attempt was refused and the entries were truncated towards zero.
    pub truncated: bool,
}

/// Largest sum of squares that `dim` rounded entries may have: floor(D2²) = S² + S + floor((d + isqrt(4d)) / 4).
///
/// `grid`: S, the clip norm in grid units. The bound is the paper's with beta = e^-1/2, where its second term is always
/// the smaller one.
pub fn norm_bound_squared(grid: u32, dim: u64) -> u128 {
    let (grid, dim) = (u128::from(grid), u128::from(dim));
    grid * grid + grid + (dim + (4 * dim).isqrt()) / 4
}

/// Clips `x` to the L2 norm `clip` and scales it so that `clip` becomes `grid` units. Returns the same length.
///
/// `clip`: above 0 and finite (the round configuration's decoder guarantees it).
///
/// # Errors
/// [`Error::NotFinite`] if an entry is NaN or infinite.
pub fn to_grid(x: &[f32], clip: f64, grid: u32) -> Result<Vec<f64>, Error> {
    let factor = grid_factor(x, clip, grid)?;
    Ok(x.iter().map(|&entry| f64::from(entry) * factor).collect())
}

/// Rounds `z`, in grid units, to integers: up with probability of the fractional part, again if the integer norm exceeds
/// [`norm_bound_squared`], and after [`ATTEMPTS`] refusals towards zero.
///
/// Draws `z.len()` words from `rng` per attempt, also for whole numbers.
///
/// # Errors
/// [`Error::NotFinite`] for NaN and infinity, before anything is drawn; [`Error::Norm`] if even the truncated entries
/// exceed the bound.
pub fn stochastic_round(z: &[f64], grid: u32, rng: &mut impl Rng) -> Result<Rounded, Error> {
    if let Some(index) = z.iter().position(|entry| !entry.is_finite()) {
        return Err(Error::NotFinite { index });
    }
    round(z.len(), grid, rng, || z.iter().copied())
}

/// [`to_grid`] and [`stochastic_round`] in one, bit for bit; holds no vector beside the result.
///
/// # Errors
/// Those of [`to_grid`] and [`stochastic_round`].
pub fn quantize(x: &[f32], clip: f64, grid: u32, rng: &mut impl Rng) -> Result<Rounded, Error> {
    let factor = grid_factor(x, clip, grid)?;
    round(x.len(), grid, rng, || x.iter().map(|&entry| f64::from(entry) * factor))
}

/// What an entry is multiplied with: S / (max(C, norm) × (1 + 2^-20)).
fn grid_factor(x: &[f32], clip: f64, grid: u32) -> Result<f64, Error> {
    if let Some(index) = x.iter().position(|entry| !entry.is_finite()) {
        return Err(Error::NotFinite { index });
    }
    // One after the other: another order of additions gives another last bit.
    let sum = x.iter().fold(0.0, |sum, &entry| sum + f64::from(entry) * f64::from(entry));
    Ok(f64::from(grid) / (clip.max(sum.sqrt()) * SHRINK))
}

fn round<Z: Iterator<Item = f64>>(
    len: usize,
    grid: u32,
    rng: &mut impl Rng,
    entries: impl Fn() -> Z,
) -> Result<Rounded, Error> {
    let bound = norm_bound_squared(grid, len as u64);
    let mut values = vec![0; len];
    for attempts in 1..=ATTEMPTS {
        let norm = fill(&mut values, entries(), |entry| {
            let low = entry.floor();
            let up = ((rng.next_u64() >> 11) as f64) < (entry - low) * UNIT;
            // Saturates; such a value is far outside every bound that `i32` entries can meet, see `fill`.
            low as i64 + i64::from(up)
        });
        if norm <= bound {
            return Ok(Rounded { values, attempts, truncated: false });
        }
    }
    let norm = fill(&mut values, entries(), |entry| entry as i64);
    if norm <= bound { Ok(Rounded { values, attempts: ATTEMPTS, truncated: true }) } else { Err(Error::Norm) }
}

/// Writes every entry as an integer and returns the sum of their squares; `u128::MAX` once one does not fit `i32`.
fn fill(values: &mut [i32], entries: impl Iterator<Item = f64>, mut integer: impl FnMut(f64) -> i64) -> u128 {
    let mut norm = 0u128;
    for (slot, entry) in values.iter_mut().zip(entries) {
        let value = integer(entry);
        match i32::try_from(value) {
            Ok(small) => {
                *slot = small;
                norm = norm.saturating_add(u128::from(value.unsigned_abs().pow(2)));
            }
            // No early return: the stream must go on where the next attempt expects it.
            Err(_) => norm = u128::MAX,
        }
    }
    norm
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use rand_chacha::ChaCha20Rng;
    use rand_core::{SeedableRng, TryRng};

    use super::*;

    /// Hands out the listed words, then panics: a test sees every draw.
    struct Words(std::collections::VecDeque<u64>);

    impl Words {
        fn new(words: &[u64]) -> Self {
            Self(words.iter().copied().collect())
        }
    }

    impl TryRng for Words {
        type Error = Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            unreachable!("the grid draws u64 only")
        }
        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            Ok(self.0.pop_front().expect("one draw too many"))
        }
        fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
            unreachable!("the grid draws u64 only")
        }
    }

    fn norm(values: &[i32]) -> u128 {
        values.iter().map(|&v| u128::from(u64::from(v.unsigned_abs()).pow(2))).sum()
    }

    #[test]
    fn the_documented_bound() {
        for (grid, dim, bound) in [
            (4, 1, 20),
            (8, 4, 74),
            (8, 3, 73),
            (12, 9, 159),
            (127, 1000, 16521),
            (4096, 1 << 20, 17_043_968),
            (u32::MAX, 68_719_476_736, 18_446_744_086_594_584_576),
        ] {
            assert_eq!(norm_bound_squared(grid, dim), bound, "S = {grid}, d = {dim}");
        }
    }

    #[test]
    fn rounding_follows_the_draws() {
        let high = u64::MAX;
        for (name, z, draws, values, attempts, truncated) in [
            ("49 + 25 is the bound", vec![6.5, 4.6, 0.0, 0.0], vec![0; 4], vec![7, 5, 0, 0], 1, false),
            (
                "75 is one too many",
                vec![6.5, 4.6, 0.1, 0.0],
                vec![0, 0, 0, 0, high, high, high, high],
                vec![6, 4, 0, 0],
                2,
                false,
            ),
            ("whole numbers draw too", vec![1.0, -2.0, 0.0, -0.0], vec![0; 4], vec![1, -2, 0, 0], 1, false),
            ("up is towards plus infinity", vec![-0.25, -3.75], vec![0, 1 << 62], vec![0, -4], 1, false),
            ("the low eleven bits do not matter", vec![0.5, 0.5], vec![(1 << 63) - 1, 1 << 63], vec![1, 0], 1, false),
            (
                "sixteen refusals",
                vec![6.5, -4.4, 0.1, -0.9],
                [0, high, 0, high].repeat(16),
                vec![6, -4, 0, 0],
                16,
                true,
            ),
        ] {
            let got = stochastic_round(&z, 8, &mut Words::new(&draws)).expect(name);
            assert_eq!(got, Rounded { values, attempts, truncated }, "{name}");
        }
    }

    #[test]
    fn an_exhausted_attempt_leaves_the_stream_in_step() {
        // One entry far outside i32 refuses every attempt, yet each attempt draws for every entry.
        let mut rng = Words::new(&[0; 33]);
        assert_eq!(stochastic_round(&[1e18, 0.5], 8, &mut rng), Err(Error::Norm));
        assert_eq!(rng.0.len(), 1, "32 draws for 16 attempts at 2 entries");
    }

    #[test]
    fn refuses_what_is_not_finite_before_drawing() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let x = [0.5, bad, 0.25];
            assert_eq!(to_grid(&x, 1.0, 8), Err(Error::NotFinite { index: 1 }));
            assert_eq!(quantize(&x, 1.0, 8, &mut Words::new(&[])), Err(Error::NotFinite { index: 1 }));
            let z = x.map(f64::from);
            assert_eq!(stochastic_round(&z, 8, &mut Words::new(&[])), Err(Error::NotFinite { index: 1 }));
        }
        assert_eq!(Error::NotFinite { index: 1 }.code(), "not_finite");
        assert_eq!(Error::Norm.code(), "norm");
    }

    #[test]
    fn the_largest_floats_are_clipped() {
        let rounded = quantize(&[f32::MAX; 100], 1.0, 640, &mut ChaCha20Rng::from_seed([1; 32])).expect("finite");
        assert!(rounded.values.iter().all(|&v| v == 63 || v == 64), "{:?}", rounded.values);
        assert!(norm(&rounded.values) <= norm_bound_squared(640, 100));
    }

    #[test]
    fn a_short_vector_keeps_its_length_and_zero_stays_zero() {
        assert_eq!(to_grid(&[0.0; 5], 1.0, 9), Ok(vec![0.0; 5]));
        assert_eq!(to_grid(&[], 1.0, 9), Ok(vec![]));
        let z = to_grid(&[3.0, 4.0], 10.0, 100).expect("finite");
        assert!((z[0] - 30.0).abs() < 1e-4 && (z[1] - 40.0).abs() < 1e-4, "{z:?}");
    }

    #[test]
    fn rounding_is_unbiased() {
        let z = vec![0.3; 100_000];
        let rounded = stochastic_round(&z, 100_000, &mut ChaCha20Rng::from_seed([7; 32])).expect("in bound");
        let ups: i64 = rounded.values.iter().map(|&v| i64::from(v)).sum();
        // Binomial(100,000, 0.3): standard deviation 145; the seed is fixed, 4 of them leave room for another stream.
        assert!((ups - 30_000).abs() < 580, "{ups} of 30,000");
    }

    #[cfg(not(target_arch = "wasm32"))]
    mod properties {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            /// The integer bound holds for every input, and every entry moved by less than one unit.
            #[test]
            fn bound_and_distance(
                x in proptest::collection::vec(-1e6f32..1e6, 1..200),
                clip in 1e-3f64..1e4,
                factor in 4u32..64,
                seed: [u8; 32],
            ) {
                let grid = (factor as f64 * (x.len() as f64).sqrt()).ceil() as u32;
                let rounded = quantize(&x, clip, grid, &mut ChaCha20Rng::from_seed(seed)).unwrap();
                prop_assert!(norm(&rounded.values) <= norm_bound_squared(grid, x.len() as u64));
                let z = to_grid(&x, clip, grid).unwrap();
                for (&value, &exact) in rounded.values.iter().zip(&z) {
                    prop_assert!((f64::from(value) - exact).abs() < 1.0);
                }
            }

            /// One pass equals two passes, to the bit.
            #[test]
            fn streaming_changes_nothing(x in proptest::collection::vec(any::<f32>(), 0..100), seed: [u8; 32]) {
                let one = quantize(&x, 1.5, 64, &mut ChaCha20Rng::from_seed(seed));
                let two = to_grid(&x, 1.5, 64)
                    .and_then(|z| stochastic_round(&z, 64, &mut ChaCha20Rng::from_seed(seed)));
                prop_assert_eq!(one, two);
            }
        }
    }
}
