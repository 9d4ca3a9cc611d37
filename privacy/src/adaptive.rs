//! A clip norm that follows the devices (Andrew, Thakkar, McMahan and Ramaswamy, NeurIPS 2021, arXiv 1905.03871): each
//! round says what share of the updates was not clipped, and the next round's norm goes up or down until that is half.
//!
//! A device says so in one more masked entry: +B if its update was no longer than the clip norm, -B if it was. That entry
//! needs a share of the norm and noise of its own; both come from the round's one mechanism, which bounds and noises all
//! entries together. Of the clip norm S, [`Split`] leaves S' to the update, B² + S'² <= S²: what a round costs does not
//! change, and the update's noise grows by 5 %, as if the paper's z_delta = (z^-2 - (2 sigma_b)^-2)^(-1/2) were 1.05 z.
//!
//! The next norm is computed from the noised sum alone: that costs nothing more.

/// Updates that are to be shorter than the clip norm: the median.
pub const TARGET_SHARE: f64 = 0.5;
/// How fast the norm follows.
pub const RATE: f64 = 0.2;
/// Fewest survivors of a round whose clip norm may follow.
pub const SURVIVORS_MIN: u32 = 250;
/// Largest standard deviation of the share that the noise may cause.
pub const DEVIATION_MAX: f64 = 0.05;

/// Noise of one update over that of an undivided norm: 1.05 = 21 / 20, so the clip bit has 1 - (20 / 21)² = 41 / 441 of the
/// squared norm.
const BIT: (u64, u64) = (41, 441);

/// The norm S of a round's grid, divided between the update and the clip bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    whole: u32,
    update: u32,
    bit: u32,
}

/// Too few survivors, or too much noise, for the share of short updates to say anything.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "of {survivors} survivors the share of updates within the clip norm is known to {:.1} % under this noise; a norm that \
     follows it needs at least {SURVIVORS_MIN} survivors and {:.0} %: raise the cohort's floor, or fix the clip norm",
    100.0 * deviation, 100.0 * DEVIATION_MAX
)]
pub struct TooUncertain {
    /// Fewest survivors.
    pub survivors: u32,
    /// Standard deviation of the share.
    pub deviation: f64,
}

impl Split {
    /// Divides `grid` units, rounding down.
    pub fn of(grid: u32) -> Self {
        let square = u64::from(grid).pow(2);
        let (part, whole) = BIT;
        let root = |square: u128| square.isqrt() as u32;
        let bit = root(u128::from(square) * u128::from(part) / u128::from(whole));
        // At most `grid`, as its square is.
        let update = root(u128::from(square - u64::from(bit).pow(2)));
        Self { whole: grid, update, bit }
    }

    /// S': the clip norm of the update, in grid units.
    pub const fn update(&self) -> u32 {
        self.update
    }

    /// What a device adds to the entry: `short` if its update was not longer than the clip norm.
    pub fn bit(&self, short: bool) -> i64 {
        if short { self.bit.into() } else { -i64::from(self.bit) }
    }

    /// Noise of the update over what it would be without a clip bit.
    pub fn noise_factor(&self) -> f64 {
        f64::from(self.whole) / f64::from(self.update)
    }

    /// Share of `devices` whose update was short, 0 to 1, from the noised `sum` of their bits.
    pub fn share(&self, sum: i64, devices: u32) -> f64 {
        let mean = sum as f64 / (f64::from(self.bit) * f64::from(devices));
        // No bit at all on the coarsest of grids, or nobody: as it should be.
        if mean.is_finite() { f64::midpoint(1.0, mean).clamp(0.0, 1.0) } else { TARGET_SHARE }
    }

    /// Standard deviation of [`Self::share`] when each of `devices` adds noise of `local_variance`: sigma_b / n.
    pub fn deviation(&self, local_variance: u64, devices: u32) -> f64 {
        (local_variance as f64 / f64::from(devices)).sqrt() / (2.0 * f64::from(self.bit))
    }

    /// Whether a norm may follow the share among `survivors` devices, the fewest of a round.
    ///
    /// # Errors
    /// [`TooUncertain`], with the figures.
    pub fn check(&self, local_variance: u64, survivors: u32) -> Result<(), TooUncertain> {
        let deviation = self.deviation(local_variance, survivors);
        if survivors >= SURVIVORS_MIN && deviation <= DEVIATION_MAX {
            Ok(())
        } else {
            Err(TooUncertain { survivors, deviation })
        }
    }
}

/// The next round's clip norm: C exp(-eta (share - gamma)).
pub fn next_clip(clip: f64, share: f64) -> f64 {
    clip * (-RATE * (share - TARGET_SHARE)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::zcdp::Rho;
    use crate::accounting::{Budget, UserLevel};
    use crate::distributed::{Mechanism, grid_needed};
    use crate::grid::norm_bound_squared;

    /// Both parts together stay within the one bound that is paid for, rounding included.
    #[test]
    fn the_parts_are_no_longer_than_the_whole() {
        for dim in [5u64, 100, 12_345, 1_000_000, 1 << 30] {
            for grid in [grid_needed(dim) as u32, 3 * grid_needed(dim) as u32 + 1] {
                let split = Split::of(grid);
                let bit = split.bit(true).unsigned_abs();
                assert!(u64::from(split.update()).pow(2) + bit.pow(2) <= u64::from(grid).pow(2));
                let both = norm_bound_squared(split.update(), dim - 4) + u128::from(bit).pow(2);
                assert!(both <= norm_bound_squared(grid, dim), "{grid} units for {dim} entries");
                assert_eq!(split.bit(false), -split.bit(true));
            }
        }
        let largest = Split::of(u32::MAX);
        assert!((f64::from(largest.update()) / f64::from(u32::MAX) - 20.0 / 21.0).abs() < 1e-9);
        assert_eq!(Split::of(1), Split { whole: 1, update: 1, bit: 0 });
        assert_eq!((Split::of(1).share(7, 10), Split::of(1000).share(7, 0)), (TARGET_SHARE, TARGET_SHARE));
    }

    /// The paper's formula for the noise multiplier that is left to the update, and its figures: sigma_b = 1.64 z.
    #[test]
    fn the_bit_costs_a_twentieth_of_noise() {
        let split = Split::of(100_000);
        assert!((split.noise_factor() - 1.05).abs() < 1e-4, "{}", split.noise_factor());
        for z in [1.0, 6.9, 45.0] {
            // Noise of the sum is z S; a bit's two values are 2 B apart.
            let sigma_b = z * 100_000.0 / (2.0 * split.bit(true) as f64);
            assert!((sigma_b / z - 1.64).abs() < 0.001, "{}", sigma_b / z);
            let z_delta = (z.powi(-2) - (2.0 * sigma_b).powi(-2)).powf(-0.5);
            assert!((z_delta / (z * split.noise_factor()) - 1.0).abs() < 1e-4, "{z_delta}");
        }
    }

    /// 100 rounds of epsilon 8, everybody honest and there: z = 6.9, sigma_b = 11.3, and 250 devices know the share to 4.5 %.
    #[test]
    fn from_250_survivors_on_the_share_says_something() {
        let dim = 1000;
        let grid = grid_needed(dim) as u32;
        let budget = Budget::new(8.0, 1e-6).expect("in range");
        let z = (0.5 / (Rho::<UserLevel>::within(&budget).to_f64() / 100.0)).sqrt();
        let split = Split::of(grid);
        let check = |z: f64, n: u32| {
            let mechanism = Mechanism::calibrated(grid, dim, z, n).expect("fine");
            split.check(mechanism.local_variance(), n)
        };
        check(z, 250).expect("enough");
        let error = check(z, 249).expect_err("too few");
        // The coarsest grid rounds the bit down by 2 %.
        assert!((error.deviation / 0.0455 - 1.0).abs() < 0.03, "{error}");
        assert!(error.to_string().contains("249 survivors") && error.to_string().contains("4.7 %"), "{error}");
        // Seven times the noise needs seven times the devices.
        assert!(check(7.0 * z, 250).is_err());
        check(7.0 * z, 1750).expect("enough");
    }

    #[test]
    fn the_norm_follows_the_share() {
        let split = Split::of(1000);
        for (short, devices, share) in [(300, 300, 1.0), (150, 300, 0.5), (0, 300, 0.0), (75, 300, 0.25)] {
            let sum = short * split.bit(true) + (i64::from(devices) - short) * split.bit(false);
            assert!((split.share(sum, devices) - share).abs() < 1e-12);
        }
        assert_eq!((split.share(i64::MAX, 300), split.share(i64::MIN, 300)), (1.0, 0.0), "noise may exceed all bits");
        for (share, factor) in [(0.5, 1.0), (1.0, 0.904_837_418), (0.0, 1.105_170_918), (0.25, 1.051_271_096)] {
            assert!((next_clip(3.0, share) / (3.0 * factor) - 1.0f64).abs() < 1e-9, "{share}");
        }
    }
}
