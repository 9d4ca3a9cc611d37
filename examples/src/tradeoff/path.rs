//! What happens to an update between training and the mean, with the code and the numbers of production: clip and round
//! to the grid, add integer noise, sum modulo 2^bits, scale back. Only the masks are missing: they cancel exactly.

use anyhow::Context as _;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;
use scale_privacy::distributed::grid_needed;
use scale_privacy::gaussian::DiscreteGaussian;
use scale_privacy::grid;
use scale_privacy::plan::Plan;
use scale_secagg::config::width_needed;

use crate::random::Random;

/// Rounds of one cohort: a sum is opened, filled and read, over and over.
pub(super) struct Path {
    clip: f64,
    grid: u32,
    bits: u8,
    noise: Option<DiscreteGaussian>,
    rounding: ChaCha8Rng,
    noising: ChaCha8Rng,
}

/// A sum of residues modulo 2^32.
pub(super) struct Sum {
    residues: Vec<u32>,
    devices: u32,
}

impl Path {
    /// The way that `plan` sets out, or the same one without noise. `clip`: L2 norm; `purpose` names the random streams.
    pub(super) fn new(
        plan: Option<&Plan>,
        devices: u32,
        dim: usize,
        clip: f64,
        mut random: Random,
    ) -> anyhow::Result<Self> {
        let (grid, bits, noise) = match plan {
            Some(plan) => {
                let mechanism = &plan.mechanism;
                (mechanism.grid(), plan.wire_bits, Some(DiscreteGaussian::new(mechanism.local_variance())?))
            }
            None => {
                let grid = u32::try_from(grid_needed(dim as u64)).context("the model is too large for a grid")?;
                let bits =
                    width_needed(devices, grid, 0).context("the sum does not fit 32 bits: take fewer devices")?;
                (grid, bits, None)
            }
        };
        // Every device has streams of its own in production; one after the other is as good where nobody attacks.
        let mut stream = || ChaCha8Rng::from_seed(random.seed());
        Ok(Self { clip, grid, bits, noise, rounding: stream(), noising: stream() })
    }

    /// Adds one device's update to `sum` as the device would send it.
    pub(super) fn add(&mut self, sum: &mut Sum, update: &[f32]) -> anyhow::Result<()> {
        let mut entries = grid::quantize(update, self.clip, self.grid, &mut self.rounding)?.values;
        if let Some(noise) = &self.noise {
            noise.add_to(&mut entries, &mut self.noising);
        }
        for (total, entry) in sum.residues.iter_mut().zip(entries) {
            *total = total.wrapping_add(entry.cast_unsigned());
        }
        sum.devices += 1;
        Ok(())
    }

    /// The mean update: residues modulo 2^bits are read as signed numbers and scaled back.
    pub(super) fn mean(&self, sum: &Sum) -> impl Iterator<Item = f32> {
        let spare = 32 - u32::from(self.bits);
        let unit = self.clip / (f64::from(self.grid) * f64::from(sum.devices));
        sum.residues.iter().map(move |&word| (f64::from((word << spare).cast_signed() >> spare) * unit) as f32)
    }
}

impl Sum {
    /// Of nobody's updates of `dim` entries.
    pub(super) fn new(dim: usize) -> Self {
        Self { residues: vec![0; dim], devices: 0 }
    }
}

#[cfg(test)]
mod tests {
    use scale_privacy::accounting::Budget;
    use scale_privacy::plan::Trust;

    use super::*;
    use crate::tradeoff::planned;

    const DIM: usize = 400;

    /// The mean of what `devices` devices send who all have `update`.
    fn mean(path: &mut Path, devices: u32, update: &[f32]) -> Vec<f32> {
        let mut sum = Sum::new(DIM);
        for _ in 0..devices {
            path.add(&mut sum, update).unwrap();
        }
        path.mean(&sum).collect()
    }

    fn norm(values: impl IntoIterator<Item = f32>) -> f64 {
        values.into_iter().map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn without_noise_the_mean_is_the_clipped_update() {
        // Norm 2, clipped to 1; signs alternate, so that half of the residues are negative.
        let update: Vec<f32> = (0..DIM).map(|index| if index % 2 == 0 { 0.1 } else { -0.1 }).collect();
        let mut path = Path::new(None, 200, DIM, 1.0, Random::new(1, "test")).unwrap();
        let error = norm(mean(&mut path, 200, &update).iter().zip(&update).map(|(got, sent)| got - sent / 2.0));
        assert!(error < 0.02, "rounding to the grid costs {error} of a norm of 1");
    }

    #[test]
    fn the_noise_in_the_mean_is_the_planned_one() {
        for trust in [Trust::Distributed, Trust::Local] {
            let plan = planned(trust, 50, DIM, 10, &Budget::new(4.0, 1e-6).unwrap()).unwrap();
            let mut path = Path::new(Some(&plan), 50, DIM, 0.5, Random::new(2, "test")).unwrap();
            let noise = norm(mean(&mut path, 50, &[0.0; DIM]));
            // The norm of 400 Gaussians deviates by 3.5 %.
            let ratio = noise / (plan.noise_to_signal * 0.5);
            assert!((0.85..1.15).contains(&ratio), "{trust:?}: {ratio} of what was planned");
        }
    }
}
