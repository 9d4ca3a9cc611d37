use std::convert::Infallible;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng, TryCryptoRng, TryRng};

use super::*;

fn stream(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

/// Made by a second implementation that compares exact fractions, on the ChaCha20 stream of the same seed.
#[test]
fn known_answers() {
    for (variance, expected) in [
        (1, [0, 0, -1, 1, 0, 1, -1, 0, -1, 0, 0, 0]),
        (2, [0, 0, -2, 3, 1, 0, 1, 0, 1, -1, 0, -2]),
        (100, [-4, -7, -17, -10, 8, 5, -7, 8, 2, -12, -1, 0]),
        (1_000_003, [-33, -671, -1561, -935, 91, 1794, 422, -117, -761, -244, -1092, -158]),
        (
            VARIANCE_MAX,
            [
                -2531248, -703342, -1636219, -979665, 95569, 1879954, 442857, -123568, -797280, -255665, -1144585,
                -165762,
            ],
        ),
    ] {
        let noise = DiscreteGaussian::new(variance).expect("in range");
        let mut values = [0i64; 12];
        noise.add_to(&mut values, &mut stream(7));
        assert_eq!(values, expected, "V = {variance}");
    }
}

#[test]
fn every_width_takes_the_same_noise_modulo_its_own_size() {
    let noise = DiscreteGaussian::new(1 << 20).expect("in range");
    let start = [0, 5, -5, i32::MAX, i32::MIN];
    let mut wide = start.map(i64::from);
    let mut narrow = start;
    let mut residues = start.map(|value| value as u32);
    noise.add_to(&mut wide, &mut stream(1));
    noise.add_to(&mut narrow, &mut stream(1));
    noise.add_to(&mut residues, &mut stream(1));
    assert_eq!(wide.map(|value| value as i32), narrow);
    assert_eq!(narrow.map(|value| value as u32), residues);
    assert!(wide.iter().zip(start).all(|(&value, was)| value != i64::from(was)), "{wide:?}");
}

#[test]
fn variances_out_of_range_are_refused() {
    for variance in [0, VARIANCE_MAX + 1, u64::MAX] {
        let error = DiscreteGaussian::new(variance).expect_err("out of range");
        assert_eq!((error, error.code()), (VarianceError { variance }, "variance"));
    }
    assert_eq!(DiscreteGaussian::new(12).expect("in range").variance(), 12);
}

#[test]
fn uniform_numbers_have_no_bias() {
    // 3 does not divide 2^32: the one word whose product leaves 0 < 2^32 mod 3 is drawn again.
    let mut words = Listed(vec![7 << 29, 0]);
    assert_eq!(below(3, &mut words), 2);
    assert!(words.0.is_empty(), "the word 0 was refused, and the next one used");
}

/// Hands out words from the end of the list.
struct Listed(Vec<u32>);

impl TryRng for Listed {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.pop().expect("one draw too many"))
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("the sampler draws u32 only")
    }
    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
        unreachable!("the sampler draws u32 only")
    }
}

impl TryCryptoRng for Listed {}

/// The same word for ever.
struct Stuck(u32);

impl TryRng for Stuck {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0)
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0)
    }
    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
        Ok(())
    }
}

impl TryCryptoRng for Stuck {}

#[test]
#[should_panic(expected = "repeats itself")]
fn a_stuck_stream_gives_no_noise() {
    DiscreteGaussian::new(100).expect("in range").sample(&mut Stuck(0));
}

/// How far samples lie from a discrete Gaussian of variance `sigma²`: chi-square in standard deviations of its own
/// distribution. Tails and neighbours are merged until a bin expects max(50, n / 400) samples.
fn chi_square(samples: &[i64], sigma: f64) -> f64 {
    let reach = (sigma * 12.0).ceil() as i64 + 3;
    let weight = |x: i64| (-(x as f64).powi(2) / (2.0 * sigma * sigma)).exp();
    let total: f64 = (-reach..=reach).map(weight).sum();
    let mut counts = vec![0u32; (2 * reach + 1) as usize];
    for sample in samples {
        counts[(sample + reach) as usize] += 1;
    }
    let n = samples.len() as f64;
    let least = (n / 400.0).max(50.0);
    let mut bins: Vec<(f64, f64)> = vec![(0.0, 0.0)];
    for x in -reach..=reach {
        let bin = bins.last_mut().expect("never empty");
        bin.0 += n * weight(x) / total;
        bin.1 += f64::from(counts[(x + reach) as usize]);
        if bin.0 >= least {
            bins.push((0.0, 0.0));
        }
    }
    // What is left of the upper tail joins the bin before it.
    let (expected, seen) = bins.pop().expect("never empty");
    let last = bins.last_mut().expect("there are samples");
    (last.0, last.1) = (last.0 + expected, last.1 + seen);
    let statistic: f64 = bins.iter().map(|(expected, seen)| (seen - expected).powi(2) / expected).sum();
    let freedom = (bins.len() - 1) as f64;
    (statistic - freedom) / (2.0 * freedom).sqrt()
}

fn samples(variance: u64, count: usize) -> Vec<i64> {
    let mut values = vec![0; count];
    DiscreteGaussian::new(variance).expect("in range").add_to(&mut values, &mut stream(3));
    values
}

const COUNT: usize = 2_000_000;

#[test]
fn samples_follow_the_exact_distribution_within_four_sigmas() {
    for variance in [1, 2, 10, 100, 1_000_000] {
        let distance = chi_square(&samples(variance, COUNT), (variance as f64).sqrt());
        assert!(distance.abs() < 4.0, "V = {variance}: {distance:.2} sigmas");
    }
}

/// The same test refuses noise that is off by less than anybody would notice.
#[test]
fn the_test_has_power() {
    // A rounded continuous normal (Box and Muller) of the same variance.
    let mut rng = stream(3);
    let mut uniform = || (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.0;
    let rounded: Vec<i64> = (0..COUNT)
        .map(|_| {
            let (u, v) = (uniform(), uniform());
            ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()).round() as i64
        })
        .collect();
    let distance = chi_square(&rounded, 1.0);
    assert!(distance > 20.0, "rounded normal: {distance:.2} sigmas");

    // A standard deviation that is 0.5 % too small.
    let distance = chi_square(&samples(10_000, COUNT), 100.5);
    assert!(distance > 4.0, "0.5 % too narrow: {distance:.2} sigmas");

    // A sampler that counts zero twice, as it does when Algorithm 2 forgets to drop -0.
    let mut doubled = samples(100, COUNT);
    for (index, value) in doubled.iter_mut().enumerate() {
        if index % 250 == 0 {
            *value = 0;
        }
    }
    let distance = chi_square(&doubled, 10.0);
    assert!(distance > 4.0, "too many zeros: {distance:.2} sigmas");
}

#[test]
fn wide_noise_has_its_mean_and_variance() {
    let values = samples(VARIANCE_MAX, 200_000);
    let (n, sigma) = (values.len() as f64, (VARIANCE_MAX as f64).sqrt());
    let mean = values.iter().sum::<i64>() as f64 / n;
    let variance = values.iter().map(|&value| (value as f64).powi(2)).sum::<f64>() / n;
    // Standard errors: sigma / sqrt(n), and sigma² sqrt(2 / n).
    assert!(mean.abs() < 4.0 * sigma / n.sqrt(), "{mean}");
    assert!((variance / sigma.powi(2) - 1.0).abs() < 4.0 * (2.0 / n).sqrt(), "{variance}");
}

/// Between the grid and the mask there is no float, not even for speed.
#[test]
fn the_sampler_is_made_of_integers() {
    for source in [include_str!("mod.rs"), include_str!("bernoulli.rs")] {
        for float in ["f32", "f64", "f16", "f128"] {
            assert!(!source.contains(float), "{float} in the sampler");
        }
    }
}
