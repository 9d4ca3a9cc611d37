//! Known answers of other implementations (tests/vectors/README.md), natively and in WebAssembly: what a device draws and
//! what it pays must not depend on where it runs.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_privacy::accounting::rdp::Curve;
use scale_privacy::accounting::zcdp::{self, Rho};
use scale_privacy::accounting::{Budget, UserLevel};
use scale_privacy::distributed::{Mechanism, grid_needed};
use scale_privacy::gaussian::{DiscreteGaussian, VARIANCE_MAX};

#[path = "../src/reference.rs"]
mod reference;
use reference::{close, number, rows, table};

/// Declares one test that runs natively and in wasm.
macro_rules! known_answers {
    ($($(#[$meta:meta])* fn $name:ident() $body:block)*) => {$(
        $(#[$meta])*
        #[cfg_attr(not(target_arch = "wasm32"), test)]
        #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
        fn $name() $body
    )*};
}

known_answers! {
    /// Made by a second implementation that compares exact fractions, on the ChaCha20 stream of the same seed.
    fn the_sampler_gives_these_numbers_for_this_seed() {
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
            noise.add_to(&mut values, &mut ChaCha20Rng::from_seed([7; 32]));
            assert_eq!(values, expected, "V = {variance}");
        }
    }

    fn zcdp_converts_as_two_other_implementations_do() {
        for row in table("zcdp_to_approx_dp") {
            let (rho, delta) = (number(&row["rho"]), number(&row["delta"]));
            let ours = zcdp::epsilon(rho, delta).expect("in range");
            let reference = number(&row["eps_cks20"]);
            close(ours, reference, 1e-9, &format!("rho {rho}, delta {delta}"));
            // The exact curve of the continuous Gaussian, and the classic bound that this one improves on.
            assert!(ours >= number(&row["eps_analytic_gaussian"]) && ours <= number(&row["eps_classic_bs16"]));
        }
        let opendp = serde_json::from_str(include_str!("vectors/opendp.json")).expect("JSON");
        for row in rows(&opendp) {
            let (rho, delta) = (number(&row["rho"]), number(&row["delta"]));
            let ours = zcdp::epsilon(rho, delta).expect("in range");
            close(ours, number(&row["epsilon"]), 1e-9, &format!("opendp: rho {rho}, delta {delta}"));
        }
    }

    fn calibration_agrees_for_full_participation() {
        for row in table("calibration_full_participation") {
            let budget = Budget::new(number(&row["eps"]), number(&row["delta"])).expect("in range");
            let rho = Rho::<UserLevel>::within(&budget);
            // Rounded down to 2^-40, so a small rho has fewer digits.
            let expected = number(&row["rho_total"]);
            assert!((rho.to_f64() - expected).abs() <= 1e-9 * expected + 1.0 / (1u64 << 40) as f64, "{row}");
            assert!(rho.epsilon(budget.delta()).expect("in range") <= budget.epsilon(), "{row}");
            let over = rho.plus(Rho::from_units(2 + rho.units() / 1_000_000_000));
            assert!(over.epsilon(budget.delta()).expect("in range") > budget.epsilon(), "{row}");
            let rounds = number(&row["rounds"]) as u32;
            let spent = Rho::<UserLevel>::of_gaussian(number(&row["noise_multiplier_zcdp"]), rounds).expect("in range");
            close(spent.to_f64(), expected, 1e-9, "cost of the calibrated noise");
        }
    }

    fn rdp_equals_the_reference_at_every_integer_order() {
        let mut compared = 0;
        for row in table("rdp_sampled_gaussian_one_step") {
            let (rate, z) = (number(&row["sample_rate"]), number(&row["noise_multiplier"]));
            let curve = Curve::sampled_gaussian(rate, z).expect("in range");
            let orders = row["orders"].as_array().expect("orders");
            for (order, value) in orders.iter().map(number).zip(row["rdp"].as_array().expect("values")) {
                if order.fract() != 0.0 || value.is_null() {
                    continue;
                }
                let ours = curve.at(order as u32).expect("one of the orders");
                close(ours, number(value), 1e-9, &format!("q {rate}, z {z}, order {order}"));
                compared += 1;
            }
        }
        assert!(compared > 350, "{compared} values compared");
    }

    fn dp_sgd_costs_what_the_reference_says_and_never_less_than_the_exact_loss() {
        for row in table("dpsgd_epsilon") {
            let (rate, z) = (number(&row["sample_rate"]), number(&row["noise_multiplier"]));
            let run = DpSgd::new(z, rate, number(&row["steps"]) as u32).expect("in range");
            let curve = run.curve().expect("in range");
            for at in row["by_delta"].as_array().expect("deltas") {
                let (delta, reference) = (number(&at["delta"]), number(&at["eps_rdp_integer_orders"]));
                let what = format!("q {rate}, z {z}, {} steps, delta {delta}", run.steps());
                let ours = curve.epsilon(delta).expect("in range").epsilon;
                close(ours, reference, 1e-9, &what);
                // The reference's own logarithms of factorials err by 10^-12.
                assert!(ours >= reference * (1.0 - 1e-11), "{what}: {ours} is below {reference}");
                let reported = run.epsilon(delta).expect("in range");
                let exact = number(&at["eps_pld"]);
                assert!(ours >= exact && reported >= exact, "{what}: {reported} is below the exact {exact}");
                assert!(reported <= ours, "{what}");
            }
        }
    }

    fn the_exact_loss_of_the_discrete_gaussian_stays_below_zcdp() {
        for row in table("discrete_gaussian_1d") {
            let sigma = number(&row["sigma"]);
            let rho = Rho::<UserLevel>::of_gaussian(sigma, number(&row["steps"]) as u32).expect("in range");
            for (delta, exact) in row["eps_pld"].as_object().expect("by delta") {
                let ours = rho.epsilon(delta.parse().expect("a number")).expect("in range");
                assert!(ours >= number(exact), "sigma {sigma}, delta {delta}: {ours} < {exact}");
                close(ours, number(&row["eps_zcdp"][delta]), 1e-9, "discrete Gaussian");
            }
        }
    }

    fn noise_is_made_for_the_sensitivity_after_rounding() {
        let mut exact = 0;
        for row in table("ddg_recommended_clip_grid_4sqrt_dim") {
            let (n, dim) = (number(&row["n"]) as u32, number(&row["dim"]) as u64);
            let grid = grid_needed(dim) as u32;
            let z = number(&row["noise_multiplier"]);
            let mechanism = Mechanism::calibrated(grid, dim, z, n).expect("a fine grid");
            let rho = mechanism.aggregate().expect("finite");
            assert!(rho.to_f64() <= (0.5 / (z * z)) * (1.0 + 1e-9), "{row}: {rho:?}");
            if f64::from(grid) == number(&row["clip_grid"]) {
                assert_eq!(mechanism.local_variance() as f64, number(&row["local_variance_grid"]), "{row}");
                close(rho.to_f64(), number(&row["rho_T1"]), 1e-9, "cost of a round");
                let local = mechanism.local().expect("finite").times(100).epsilon(1e-6).expect("in range");
                // The reference looks only at orders from 1.01 on, so its bound is looser where rho is huge.
                let reference = number(&row["eps_local_if_secagg_broken_T100_delta1e-6"]);
                close(local, reference, if reference < 1e4 { 1e-9 } else { 1e-4 }, "one upload alone");
                assert!(local <= reference * (1.0 + 1e-9));
                exact += 1;
            }
        }
        assert_eq!(exact, 6, "a million entries have a whole number of grid units");
    }
}
