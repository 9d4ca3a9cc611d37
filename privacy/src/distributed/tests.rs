use super::*;
use crate::reference::{close, number, table};

#[test]
fn the_cost_of_a_sum_is_the_references() {
    for row in table("distributed_discrete_gaussian") {
        let (n, dim) = (number(&row["n"]) as u32, number(&row["dim"]));
        let (variance, norm) = (number(&row["local_sigma_grid"]).powi(2), number(&row["rounded_l2"]));
        let rho = number(&row["rounds"]) * sum_rho(n, variance, norm * norm, dim);
        close(rho, number(&row["rho"]), 1e-9, &row.to_string());
        let tau = number(&row["tau"]);
        assert!((distance_to_gaussian(n, variance) - tau).abs() <= 1e-9 * tau);
    }
}

#[test]
fn the_bound_stays_above_the_exact_divergence() {
    for row in table("ddg_tau_check_1d") {
        let (n, variance) = (number(&row["n"]) as u32, number(&row["local_sigma_grid"]).powi(2));
        let bound = sum_rho(n, variance, 1.0, 1.0);
        close(bound, number(&row["rho_bound"]), 1e-9, "one dimension");
        // The exact value was computed numerically.
        assert!(bound >= number(&row["rho_exact_numeric"]) * (1.0 - 1e-12), "{row}");
    }
}

/// The trap of a grid that fits the noise but not the rounding: refused, with what would do.
#[test]
fn coarse_grids_are_refused() {
    // Eighteen units for 10^5 entries: rounding turns a promised epsilon of 8 into 144.
    let refused = Mechanism::new(18, 100_000, 16, 1000);
    assert_eq!(refused, Err(MechanismError::CoarseGrid { grid: 18, dim: 100_000, needed: 1265 }));
    assert!(Mechanism::new(1264, 100_000, 16, 1000).is_err_and(|error| error.code() == "coarse_grid"));
    assert!(Mechanism::new(1265, 100_000, 16, 1000).is_ok());
    for (dim, needed) in [(1, 4), (2, 6), (1 << 20, 4096), ((1 << 20) + 1, 4097), (1 << 36, 1 << 20)] {
        assert_eq!(grid_needed(dim), needed, "{dim} entries");
    }
    // An unchecked coarse grid really costs that much: the trap exists.
    let norm_squared = norm_bound_squared(18, 100_000) as f64;
    assert!(sum_rho(1000, 16.0, norm_squared, 1e5) * 100.0 > 75.0);
}

#[test]
fn only_honest_survivors_count() {
    assert_eq!(honest_survivors(80, 10), Ok(70));
    for (survivors, corrupt) in [(10, 10), (10, 11), (0, 0)] {
        let refused = honest_survivors(survivors, corrupt);
        assert_eq!(refused, Err(MechanismError::NoHonestSurvivor { survivors, corrupt }));
    }
    assert_eq!(local_variance(1001, 10), Ok(101), "rounded up: the sum is never below the total");
    assert_eq!(local_variance(1000, 10), Ok(100));
    assert_eq!(local_variance(3, 10), Ok(LOCAL_VARIANCE_MIN));
    assert!(local_variance(1, 0).is_err_and(|error| error.code() == "no_honest_survivor"));
    assert!(local_variance(u128::MAX, 1).is_err_and(|error| error.code() == "local_variance"));
    // Fewer honest devices bring the same noise, each a larger part.
    let of = |n| Mechanism::calibrated(4000, 1_000_000, 5.0, n).expect("fine");
    let [few, many] = [of(7), of(70)].map(|mechanism| mechanism.aggregate().expect("finite").to_f64());
    close(few, many, 1e-6, "the same protection");
    assert!(of(7).local_variance() > 9 * of(70).local_variance());
}

#[test]
fn nonsense_is_refused() {
    for (grid, dim, variance, n, code) in [
        (4, 0, 16, 1, "no_entries"),
        (4, 1, 3, 1, "local_variance"),
        (4, 1, VARIANCE_MAX + 1, 1, "local_variance"),
        (4, 1, 16, 0, "no_honest_survivor"),
    ] {
        assert!(Mechanism::new(grid, dim, variance, n).is_err_and(|error| error.code() == code), "{code}");
    }
    for bad in [f64::NAN, f64::INFINITY, -1.0] {
        assert!(Mechanism::calibrated(4, 1, bad, 1).is_err_and(|error| error.code() == "noise_multiplier"), "{bad}");
    }
    assert!(Mechanism::calibrated_alone(4000, 1_000_000, 1e6).is_err_and(|error| error.code() == "local_variance"));
}
