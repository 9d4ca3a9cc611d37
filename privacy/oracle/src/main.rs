//! Prints the table `privacy/tests/vectors/opendp.json`:
//! `cargo run --manifest-path privacy/oracle/Cargo.toml > privacy/tests/vectors/opendp.json`
//!
//! Its tests compare opendp with this project's code directly, samplers included:
//! `cargo test --manifest-path privacy/oracle/Cargo.toml`
#![forbid(unsafe_code)]

use opendp::combinators::ConcentratedMeasure;
use opendp::measures::ZeroConcentratedDivergence;

/// Costs from next to nothing to far too much.
const RHOS: [f64; 15] = [1e-4, 0.001, 0.01, 0.0243, 0.05, 0.1, 0.25, 0.5, 1.0, 1.05236, 2.0, 5.0, 10.0, 50.0, 500.0];
/// Probabilities that the bound may fail with.
const DELTAS: [f64; 5] = [1e-3, 1e-5, 1e-6, 1e-8, 1e-10];

fn main() {
    let row =
        |(rho, delta)| format!(" {{\"rho\": {rho:?}, \"delta\": {delta:?}, \"epsilon\": {:?}}}", epsilon(rho, delta));
    let pairs = RHOS.into_iter().flat_map(|rho| DELTAS.map(|delta| (rho, delta)));
    println!("[\n{}\n]", pairs.map(row).collect::<Vec<_>>().join(",\n"));
}

/// opendp's epsilon of `rho`-zCDP at `delta`.
fn epsilon(rho: f64, delta: f64) -> f64 {
    let profile = <ZeroConcentratedDivergence as ConcentratedMeasure>::convert(rho).expect("a cost");
    profile.epsilon(delta).expect("a probability")
}

#[cfg(test)]
mod tests {
    use opendp::domains::{AtomDomain, VectorDomain};
    use opendp::measurements::make_gaussian;
    use opendp::metrics::L2Distance;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use scale_privacy::accounting::zcdp::{self, Rho};
    use scale_privacy::accounting::{Budget, UserLevel};
    use scale_privacy::gaussian::DiscreteGaussian;

    use super::*;

    fn close(ours: f64, theirs: f64) {
        assert!((ours - theirs).abs() <= 1e-9 * theirs, "{ours} is not {theirs}");
    }

    #[test]
    fn conversions_agree() {
        for rho in RHOS {
            for delta in DELTAS {
                close(zcdp::epsilon(rho, delta).expect("in range"), epsilon(rho, delta));
            }
        }
    }

    #[test]
    fn calibrated_noise_has_the_same_cost() {
        for (target, delta, rounds) in [(0.5, 1e-5, 1), (2.0, 1e-6, 30), (8.0, 1e-6, 100), (10.0, 1e-8, 1000)] {
            let budget = Budget::new(target, delta).expect("in range");
            let rho = Rho::<UserLevel>::within(&budget).to_f64();
            let scale = (f64::from(rounds) / (2.0 * rho)).sqrt();
            let mechanism = make_gaussian(
                VectorDomain::new(AtomDomain::<i64>::default()),
                L2Distance::<f64>::default(),
                scale,
                None,
            )
            .expect("a scale");
            let once = mechanism.map(&1.0).expect("a sensitivity");
            // Ours is kept in 2^-40, rounded down.
            assert!((once * f64::from(rounds) - rho).abs() <= 1e-9 * rho);
            close(epsilon(once * f64::from(rounds), delta), target);
        }
    }

    /// The same distribution by two samplers: chi-square of two samples, in standard deviations. Opendp draws from the
    /// operating system, so the outcome is another one at every run: equal samplers are 6 apart once in some 500,000 runs.
    /// The control, of 5 % more noise, is expected at 49 (the sample's size times the square of the variances' relative
    /// difference, over 4 and over the statistic's deviation), give or take 5.
    #[test]
    fn samplers_agree() {
        let count = 200_000;
        let sample = |variance: u64| {
            let mut values = vec![0i64; count];
            let noise = DiscreteGaussian::new(variance).expect("in range");
            noise.add_to(&mut values, &mut ChaCha20Rng::from_seed([5; 32]));
            values
        };
        let mechanism =
            make_gaussian(VectorDomain::new(AtomDomain::<i64>::default()), L2Distance::<f64>::default(), 10.0, None)
                .expect("a scale");
        let theirs = mechanism.invoke(&vec![0; count]).expect("samples");
        let same = distance(&sample(100), &theirs);
        assert!(same < 6.0, "{same} sigmas");
        let other = distance(&sample(110), &theirs);
        assert!(other > 6.0, "{other} sigmas: the test has no power");
    }

    /// Chi-square of two samples of equal size over -25 ..= 25 and the tails.
    fn distance(a: &[i64], b: &[i64]) -> f64 {
        let bins = |sample: &[i64]| {
            let mut bins = [0f64; 53];
            for value in sample {
                bins[(value.clamp(&-26, &26) + 26) as usize] += 1.0;
            }
            bins
        };
        let (a, b) = (bins(a), bins(b));
        let statistic: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2) / (a + b)).sum();
        (statistic - 52.0) / 104f64.sqrt()
    }
}
