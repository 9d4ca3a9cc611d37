use super::dp_sgd::DpSgd;
use super::rdp::{Curve, ORDERS};
use super::zcdp::{self, Rho};
use super::*;
use crate::reference::close;

#[test]
fn zcdp_never_says_less_than_any_order_allows() {
    // Every order gives a valid bound, so the result may lie above none of them, up to the outward margin.
    for rho in [1e-6, 0.01, 1.0, 30.0] {
        for delta in [1e-3, 1e-6, 1e-12] {
            let ours = zcdp::epsilon(rho, delta).expect("in range");
            let least = (1..200_000)
                .map(|step| 1.0 + 1e-4 * f64::from(step) * (1.0 + f64::from(step) * 1e-3))
                .map(|a: f64| a * rho + (1.0 - 1.0 / a).ln() - (a * delta).ln() / (a - 1.0))
                .fold(f64::INFINITY, f64::min);
            assert!(ours <= least.max(0.0) * (1.0 + 1e-9), "rho {rho}, delta {delta}: {ours} > {least}");
        }
    }
}

#[test]
fn rho_rounds_up_and_adds_exactly() {
    let unit = 1.0 / (1u64 << 40) as f64;
    for (rho, units) in [(0.0, 0), (unit, 1), (1.5 * unit, 2), (1e-300, 1), (1.0, 1 << 40), (0.1, 109_951_162_778)] {
        assert_eq!(Rho::<UserLevel>::round_up(rho).map(Rho::units), Ok(units), "{rho}");
    }
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e-300, 16_777_216.0] {
        let refused = Rho::<UserLevel>::round_up(bad);
        assert!(matches!(refused, Err(AccountingError::Cost(_))), "{bad}: {refused:?}");
    }
    // A float cannot hold this one: it is rounded up, never down.
    let odd = Rho::<UserLevel>::from_units((1 << 54) + 1);
    assert!(odd.to_f64() * (1u64 << 40) as f64 >= ((1u64 << 54) + 2) as f64);
    assert_eq!(Rho::<UserLevel>::MAX.plus(odd), Rho::MAX);
    assert_eq!(Rho::<UserLevel>::MAX.times(3), Rho::MAX);
    assert_eq!(Rho::<UserLevel>::ZERO.less(odd), Rho::ZERO);
}

#[test]
fn numbers_that_are_no_budget_are_refused() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0] {
        assert!(Budget::new(bad, 1e-6).is_err_and(|error| error.code() == "epsilon"), "epsilon {bad}");
        assert!(Budget::new(1.0, bad).is_err_and(|error| error.code() == "delta"), "delta {bad}");
        assert!(zcdp::epsilon(1.0, bad).is_err_and(|error| error.code() == "delta"), "delta {bad}");
        assert!(Curve::<UserLevel>::zero().epsilon(bad).is_err_and(|error| error.code() == "delta"));
    }
    assert!(Budget::new(Budget::EPSILON_MAX * 1.01, 1e-6).is_err());
    assert!(Budget::new(1.0, 1.0).is_err());
    for bad in [f64::NAN, f64::INFINITY, -0.1] {
        assert!(zcdp::epsilon(bad, 1e-6).is_err_and(|error| error.code() == "cost"), "rho {bad}");
        let refused = Curve::sampled_gaussian(0.1, bad);
        assert!(refused.is_err_and(|error| error.code() == "noise_multiplier"), "noise multiplier {bad}");
        assert!(Rho::<UserLevel>::of_gaussian(bad, 1).is_err_and(|error| error.code() == "noise_multiplier"));
        assert!(DpSgd::new(1.0, bad, 1).is_err_and(|error| error.code() == "rate"), "rate {bad}");
    }
    assert!(Curve::sampled_gaussian(1.1, 1.0).is_err_and(|error| error.code() == "rate"));
    assert!(Rho::<UserLevel>::of_gaussian(0.0, 1).is_err_and(|error| error.code() == "cost"));
}

#[test]
fn curves_compose_order_by_order() {
    let step = Curve::sampled_gaussian(0.01, 1.0).expect("in range");
    let (one, thousand) = (step.at(8).expect("kept"), step.clone().times(1000));
    assert_eq!(thousand.at(8), Some(one * 1000.0));
    assert_eq!(step.clone().plus(&step).at(8), Some(one + one));
    assert_eq!(step.at(300), None);
    let rho = Rho::<ExampleLevel>::round_up(0.25).expect("in range");
    assert_eq!(Curve::from(rho).at(1024), Some(256.0));
    assert_eq!(ORDERS.map(u64::from).iter().sum::<u64>(), (2..=256).sum::<u64>() + 320 + 384 + 512 + 768 + 1024);
    assert!(ORDERS.is_sorted());
}

#[test]
fn the_edges_of_sampling() {
    let everything = Curve::sampled_gaussian(1.0, 2.0).expect("in range");
    assert_eq!(Ok(everything), Curve::gaussian(2.0));
    assert_eq!(Curve::sampled_gaussian(0.0, 0.0).expect("in range"), Curve::zero());
    let naked = Curve::sampled_gaussian(0.5, 0.0).expect("in range");
    assert_eq!(naked.at(2), Some(f64::INFINITY));
    assert!(naked.clone().epsilon(1e-6).is_err_and(|error| error.code() == "cost"));
    assert_eq!(naked.times(0), Curve::zero());
    // Continuous at both ends.
    let nearly = Curve::sampled_gaussian(1.0 - 1e-12, 2.0).expect("in range").at(32).expect("kept");
    close(nearly, 32.0 / 8.0, 1e-9, "nearly everything");
    // A cost of 10^-16 keeps its digits: q² (e^(1/z²) - 1) at order 2.
    let tiny = Curve::sampled_gaussian(1e-8, 1.0).expect("in range").at(2).expect("kept");
    close(tiny, 1e-16 * 1f64.exp_m1(), 1e-12, "next to nothing");
}

#[test]
fn calibration_finds_the_least_noise() {
    for (rate, steps, epsilon) in [(0.01, 1000, 2.0), (0.1, 100, 8.0), (1.0, 10, 1.0)] {
        let budget = Budget::new(epsilon, 1e-6).expect("in range");
        let run = DpSgd::calibrated(rate, steps, &budget).expect("reachable");
        assert!(run.epsilon(1e-6).expect("in range") <= epsilon);
        let less = DpSgd::new(run.noise_multiplier() * (1.0 - 1e-6), rate, steps).expect("in range");
        assert!(less.epsilon(1e-6).expect("in range") > epsilon, "q {rate}, {steps} steps");
    }
    let budget = Budget::new(1.0, 1e-6).expect("in range");
    assert_eq!(DpSgd::calibrated(0.0, 10, &budget).expect("nothing to hide").noise_multiplier(), 0.0);
    assert_eq!(DpSgd::calibrated(1.0, 0, &budget).expect("nothing done").noise_multiplier(), 0.0);
    let tiny = Budget::new(1e-9, 1e-12).expect("in range");
    let refused = DpSgd::calibrated(1.0, u32::MAX, &tiny);
    assert!(refused.is_err_and(|error| error.code() == "unreachable"));
}
