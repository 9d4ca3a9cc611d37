use std::convert::Infallible;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng, TryCryptoRng, TryRng};

use super::*;
use crate::fit;

fn stream(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
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

fn samples(variance: u64, count: usize) -> Vec<i64> {
    let mut values = vec![0; count];
    DiscreteGaussian::new(variance).expect("in range").add_to(&mut values, &mut stream(3));
    values
}

const COUNT: usize = 2_000_000;

#[test]
fn samples_follow_the_exact_distribution_within_four_sigmas() {
    for variance in [1, 2, 10, 100, 1_000_000] {
        let distance = fit::shape(&samples(variance, COUNT), (variance as f64).sqrt());
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
    let distance = fit::shape(&rounded, 1.0);
    assert!(distance > 20.0, "rounded normal: {distance:.2} sigmas");

    // A standard deviation that is 0.5 % too small.
    let distance = fit::shape(&samples(10_000, COUNT), 100.5);
    assert!(distance > 4.0, "0.5 % too narrow: {distance:.2} sigmas");

    // A sampler that counts zero twice, as it does when Algorithm 2 forgets to drop -0.
    let mut doubled = samples(100, COUNT);
    for (index, value) in doubled.iter_mut().enumerate() {
        if index % 250 == 0 {
            *value = 0;
        }
    }
    let distance = fit::shape(&doubled, 10.0);
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
