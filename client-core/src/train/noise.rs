//! Gaussian noise in bulk, from a cryptographic stream.
//!
//! The Box-Muller method with 64 random bits for a pair of numbers: 32 for the radius, 32 for the angle. The radius is
//! computed from `1 - u` if `u` is near 1, and words at either end of the range get 64 more bits, so the distribution
//! is fine-grained both in its middle and in its tails (numbers up to 11 standard deviations occur, with their correct
//! probability).
//!
//! A step needs as many numbers as the model has parameters. The code therefore consists of loops over arrays that fit
//! into the first-level cache, in 32-bit arithmetic without branches, which compilers turn into SIMD code; `pulp`
//! selects the widest instruction set at run time.
//!
//! The random bits come from `scale_secagg::prg`: the ChaCha20 keystream of RFC 8439, in an order that suits SIMD
//! registers, under a key that has no other use. Each block is used once.

use pulp::{Arch, Simd, WithSimd};
use scale_secagg::prg::{self, MaskKey, Sign};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Number of pairs generated at once: few enough for the first-level cache, many enough for the generator to be fast.
const PAIRS: usize = 1024;

/// Words closer than this to either end of the range get more bits: one pair in 2^17.
const COARSE: u32 = 1 << 14;

const WORD_BITS: i32 = 32;

/// Number of chunks in one vector of the generator. Even vectors supply the words, odd ones their additional bits.
const CHUNKS: u64 = prg::MAX_ENTRIES / (2 * PAIRS as u64);

/// A stream of standard normal numbers. Secret: with knowledge of the stream the noise can be subtracted.
pub(super) struct Noise {
    key: MaskKey,
    /// Number of chunks of the stream used so far.
    chunk: u64,
    buffers: Box<Buffers>,
    /// Number of entries of `ready` used so far.
    used: usize,
}

#[derive(Zeroize, ZeroizeOnDrop)]
struct Buffers {
    /// Radius words, then angle words.
    words: [u32; 2 * PAIRS],
    radii: [f32; PAIRS],
    /// The rest of a chunk of which callers have used only a part.
    ready: [f32; 2 * PAIRS],
}

impl Noise {
    /// `seed`: secret, must never be used twice.
    pub(super) fn new(seed: [u8; 32]) -> Self {
        let buffers = Buffers { words: [0; 2 * PAIRS], radii: [0.0; PAIRS], ready: [0.0; 2 * PAIRS] };
        Self { key: MaskKey::new(&seed), chunk: 0, buffers: Box::new(buffers), used: 2 * PAIRS }
    }

    /// Adds a normal number with the standard deviation `deviation` to each value.
    pub(super) fn add_to(&mut self, values: &mut [f32], deviation: f32) {
        if deviation == 0.0 {
            return;
        }
        let (head, rest) = values.split_at_mut(values.len().min(2 * PAIRS - self.used));
        self.add_ready(head, deviation);
        // Whole chunks are used directly, without the buffer.
        let (chunks, tail) = rest.as_chunks_mut::<{ 2 * PAIRS }>();
        for chunk in chunks {
            self.draw();
            let Buffers { words, radii, .. } = &*self.buffers;
            Arch::new().dispatch(AddNumbers { words, radii, deviation, out: chunk });
        }
        if !tail.is_empty() {
            self.draw();
            let Buffers { words, radii, ready } = &mut *self.buffers;
            ready.fill(0.0);
            Arch::new().dispatch(AddNumbers { words, radii, deviation: 1.0, out: ready });
            self.used = 0;
            self.add_ready(tail, deviation);
        }
    }

    /// Adds numbers from the buffer, which must have at least as many left as there are `values`.
    fn add_ready(&mut self, values: &mut [f32], deviation: f32) {
        for (value, normal) in values.iter_mut().zip(&self.buffers.ready[self.used..]) {
            *value += deviation * normal;
        }
        self.used += values.len();
    }

    /// Generates the words and radii of the next chunk.
    fn draw(&mut self) {
        // Does not overflow: 2^31 times 2^36 numbers are never used up.
        let vector = 2 * (self.chunk / CHUNKS) as u32;
        let first = self.chunk % CHUNKS * 2 * PAIRS as u64;
        self.chunk += 1;
        let Buffers { words, radii, .. } = &mut *self.buffers;
        words.fill(0);
        prg::accumulate(words, vector, first, &[(Sign::Plus, &self.key)]);
        let (words, _) = words.split_at(PAIRS);
        if Arch::new().dispatch(FillRadii { words, radii }) {
            for (index, (&word, radius)) in words.iter().zip(radii).enumerate() {
                if is_coarse(word) {
                    let mut more = [0; 2];
                    prg::accumulate(&mut more, vector + 1, first + 2 * index as u64, &[(Sign::Plus, &self.key)]);
                    *radius = fine_radius(word, u64::from(more[0]) << 32 | u64::from(more[1]));
                }
            }
        }
    }
}

/// Converts words to radii, and reports whether any of them needs more bits.
struct FillRadii<'a> {
    words: &'a [u32],
    radii: &'a mut [f32; PAIRS],
}

impl FillRadii<'_> {
    #[inline(always)]
    fn run<M: MulAdd>(self) -> bool {
        let mut coarse = 0;
        for (&word, radius) in self.words.iter().zip(self.radii) {
            *radius = minus_two_ln::<M>(word).sqrt();
            coarse |= u32::from(is_coarse(word));
        }
        coarse != 0
    }
}

impl WithSimd for FillRadii<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        if has_fused::<S>() { self.run::<Fused>() } else { self.run::<Separate>() }
    }
}

/// Adds two independent numbers per pair of words: at its index in the first and in the second half of `out`.
struct AddNumbers<'a> {
    words: &'a [u32; 2 * PAIRS],
    radii: &'a [f32; PAIRS],
    deviation: f32,
    out: &'a mut [f32; 2 * PAIRS],
}

impl AddNumbers<'_> {
    #[inline(always)]
    fn run<M: MulAdd>(self) {
        let (first, second) = self.out.split_at_mut(PAIRS);
        let places = first.iter_mut().zip(second);
        for ((&word, &radius), (first, second)) in self.words[PAIRS..].iter().zip(self.radii).zip(places) {
            // The center of a cell: an eighth of a turn is divided into 2^29 cells.
            const CELL: f32 = std::f32::consts::FRAC_PI_4 / (1u32 << 29) as f32;
            let (sine, cosine) = sine_and_cosine::<M>(M::mul_add((word >> 3) as i32 as f32, CELL, 0.5 * CELL));
            // Three bits select one of the eight eighths of the turn: the order of sine and cosine, and both signs.
            let (a, b) = if word & 1 == 0 { (sine, cosine) } else { (cosine, sine) };
            let signed = |part: f32, sign: u32| f32::from_bits((radius * part).to_bits() ^ (sign << 31));
            // Not fused, so that callers get the same numbers when they ask for them in pieces.
            *first += self.deviation * signed(a, word >> 1);
            *second += self.deviation * signed(b, word >> 2);
        }
    }
}

impl WithSimd for AddNumbers<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if has_fused::<S>() { self.run::<Fused>() } else { self.run::<Separate>() }
    }
}

/// `a * b + c`: as one instruction where the platform has one, and never as a library call.
trait MulAdd {
    fn mul_add(a: f32, b: f32, c: f32) -> f32;
}

struct Fused;
struct Separate;

impl MulAdd for Fused {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

impl MulAdd for Separate {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// On x86-64 the instruction exists wherever `pulp` uses 256 bits or more.
#[inline(always)]
const fn has_fused<S: Simd>() -> bool {
    cfg!(target_arch = "aarch64") || (cfg!(target_arch = "x86_64") && S::F32_LANES >= 8)
}

#[inline(always)]
const fn is_coarse(word: u32) -> bool {
    word.wrapping_add(COARSE) < 2 * COARSE
}

/// `-2 ln((word + 1/2) / 2^32)`, with a relative error of at most 4e-7, also if the argument is near 1.
#[inline(always)]
fn minus_two_ln<M: MulAdd>(word: u32) -> f32 {
    const MANTISSA: u32 = (1 << 23) - 1;
    const SQRT_HALF: u32 = std::f32::consts::FRAC_1_SQRT_2.to_bits();
    // word + 1/2 = 2^exponent × mantissa, with the mantissa in sqrt(1/2)..sqrt(2).
    let bits = (word as f32 + 0.5).to_bits() + (1f32.to_bits() - SQRT_HALF);
    let exponent = (bits >> 23) as i32 - 127 - WORD_BITS;
    let mantissa = f32::from_bits((bits & MANTISSA) + SQRT_HALF);
    // Large words lose digits in the conversion above; their distance from 1, which is below 0.3, is exact.
    let missing = (!word as i32 as f32 + 0.5) * 0.5f32.powi(WORD_BITS);
    let x = if exponent == 0 { -missing } else { mantissa - 1.0 };
    -2.0 * ln_1p::<M>(x, exponent as f32)
}

/// `exponent ln 2 + ln(1 + x)` for x in sqrt(1/2) - 1..sqrt(2) - 1 (Cephes, logf.c).
#[inline(always)]
fn ln_1p<M: MulAdd>(x: f32, exponent: f32) -> f32 {
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
    let mut tail = 0.0;
    for term in TERMS {
        tail = M::mul_add(tail, x, term);
    }
    let small = M::mul_add(square * x, tail, -0.5 * square);
    M::mul_add(exponent, std::f32::consts::LN_2, x + small)
}

/// Sine and cosine of angles in 0..π/4 (Cephes, sinf.c).
#[inline(always)]
fn sine_and_cosine<M: MulAdd>(angle: f32) -> (f32, f32) {
    let square = angle * angle;
    let sine = M::mul_add(M::mul_add(-1.951_529_6e-4, square, 8.332_161e-3), square, -1.666_665_5e-1);
    let cosine = M::mul_add(M::mul_add(2.443_315_7e-5, square, -1.388_731_6e-3), square, 4.166_664_6e-2);
    let cosine = M::mul_add(cosine * square, square, -0.5 * square);
    (M::mul_add(sine * square, angle, angle), cosine + 1.0)
}

/// The radius of a word near either end of the range, with 64 more bits appended.
fn fine_radius(word: u32, more: u64) -> f32 {
    let fraction = (more as f64 + 0.5) / 2f64.powi(64);
    let part = |word: u32| (f64::from(word) + fraction) / 2f64.powi(WORD_BITS);
    let ln = if word < 1 << 31 { part(word).ln() } else { (-part(!word)).ln_1p() };
    (-2.0 * ln).sqrt() as f32
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
        let top = u32::MAX;
        // The last two: both sides of sqrt(1/2), where the way of calculation changes.
        let some = [0, 1, 2, 4095, 4096, 1 << 20, 1 << 31, (1 << 31) + 1, 3_037_000_320, 3_037_000_640];
        let ends = [top / 3, top - COARSE, top - 1, top];
        for word in some.into_iter().chain(ends).chain((0..1 << 20).map(|index| index << 12 | index)) {
            let share = (f64::from(word) + 0.5) / 2f64.powi(32);
            // ln(1 - x) for the ones near 1, where ln loses its digits.
            let exact = if share > 0.9 {
                -2.0 * (-(f64::from(top - word) + 0.5) / 2f64.powi(32)).ln_1p()
            } else {
                -2.0 * share.ln()
            };
            for found in [minus_two_ln::<Fused>(word), minus_two_ln::<Separate>(word)].map(f64::from) {
                assert!((found / exact - 1.0).abs() < 4e-7, "{word}: {found} instead of {exact}");
            }
        }
        assert!(f64::from(fine_radius(0, 0)) > 11.5, "2^-97 is drawn with probability 2^-96");
        assert!(f64::from(fine_radius(top, 0)) < 4e-15, "and so is the radius of 1 - 2^-97");
        for word in [COARSE, top - COARSE] {
            let joined = f64::from(fine_radius(word, 1 << 63)).powi(2);
            assert!(
                (joined / f64::from(minus_two_ln::<Separate>(word)) - 1.0).abs() < 1e-6,
                "no step where more bits begin"
            );
        }
    }

    /// Words at the ends are rare; their radii must lie where more bits put them.
    #[test]
    fn words_at_the_ends_get_more_bits() {
        let mut noise = Noise::new([9; 32]);
        let mut found = [0; 2];
        while found.contains(&0) {
            noise.draw();
            for (&word, &radius) in noise.buffers.words[..PAIRS].iter().zip(&noise.buffers.radii) {
                let own = minus_two_ln::<Fused>(word).sqrt();
                if is_coarse(word) {
                    let (least, most) = (fine_radius(word, 0), fine_radius(word, u64::MAX));
                    assert!((least.min(most)..=least.max(most)).contains(&radius) && radius != own, "{word}: {radius}");
                    found[(word >> 31) as usize] += 1;
                } else {
                    assert!((radius / own - 1.0).abs() < 4e-7, "{word}: {radius}");
                }
            }
        }
    }

    /// A vector of the generator ends: the next one has other numbers.
    #[test]
    fn streams_go_on_where_a_vector_ends() {
        let mut noise = Noise::new([9; 32]);
        let mut seen = Vec::new();
        for chunk in [0, CHUNKS - 1, CHUNKS, 2 * CHUNKS] {
            noise.chunk = chunk;
            noise.draw();
            seen.push(noise.buffers.words);
        }
        assert!((1..4).all(|index| seen[..index].iter().all(|words| *words != seen[index])));
    }

    #[test]
    fn angles_fill_the_turn() {
        for step in 0..=100 {
            let angle = std::f32::consts::FRAC_PI_4 * step as f32 / 100.0;
            for (sine, cosine) in [sine_and_cosine::<Fused>(angle), sine_and_cosine::<Separate>(angle)] {
                assert!((sine - angle.sin()).abs() < 2e-7 && (cosine - angle.cos()).abs() < 2e-7, "{angle}");
            }
        }
        let mut counts = [0u32; 16];
        let values = draw(2 * PAIRS * 250);
        for chunk in values.chunks_exact(2 * PAIRS) {
            for (x, y) in chunk[..PAIRS].iter().zip(&chunk[PAIRS..]) {
                let turn = (y.atan2(*x) / std::f32::consts::TAU + 1.0).fract();
                counts[(turn * 16.0) as usize % 16] += 1;
            }
        }
        let expected = f64::from((PAIRS * 250) as u32) / 16.0;
        assert!(counts.iter().all(|count| (f64::from(*count) - expected).abs() < 4.5 * expected.sqrt()), "{counts:?}");
    }

    #[test]
    fn pieces_and_wholes_are_one_stream() {
        // Begins, middles and ends of chunks in one piece and in several.
        const LEN: usize = 7 * PAIRS + 99;
        let whole = draw(LEN);
        let (mut noise, mut pieces) = (Noise::new([9; 32]), vec![0.0; LEN]);
        for part in pieces.chunks_mut(37) {
            noise.add_to(part, 1.0);
        }
        assert_eq!(whole, pieces);
        let mut none = [1.0; 5];
        Noise::new([9; 32]).add_to(&mut none, 0.0);
        assert_eq!(none, [1.0; 5]);
    }
}
