//! The weighted mean of the updates, from their integer sum.

use scale_proto::plan::{LOSS_UNIT, STATISTICS_LEN};

use super::Error;

/// How grid units turn back into weights of the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// L2 norm to which devices clip.
    pub clip: f64,
    /// The same norm in grid units; without the clip bit's part, where there is one.
    pub grid: u32,
    /// A device's weight is at most this, at least 1.
    pub max_weight: u32,
    /// Devices add noise to every entry, so everybody counts the same and the counters say nothing.
    pub noisy: bool,
}

/// The integer sum over all released sessions of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    update: Vec<i64>,
    statistics: [i64; STATISTICS_LEN as usize],
    devices: u32,
}

/// The counters behind a mean, exact integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Sum of the devices' weights.
    pub weight: i64,
    /// Sum of the losses, in [`LOSS_UNIT`]s.
    pub loss: i64,
    /// Correct answers.
    pub correct: i64,
    /// Examples.
    pub examples: i64,
}

impl Statistics {
    /// Mean loss per example in nats; 0 without examples.
    pub fn mean_loss(&self) -> f64 {
        if self.examples > 0 { self.loss as f64 * LOSS_UNIT / self.examples as f64 } else { 0.0 }
    }

    /// Share of correct answers, 0 to 1; 0 without examples.
    pub fn accuracy(&self) -> f64 {
        if self.examples > 0 { self.correct as f64 / self.examples as f64 } else { 0.0 }
    }
}

/// The weighted mean of the survivors' clipped updates.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanUpdate {
    /// New weights minus old ones, entry by entry.
    pub update: Vec<f32>,
    /// The counters.
    pub statistics: Statistics,
    /// Devices in the mean.
    pub devices: u32,
}

impl MeanUpdate {
    /// Its L2 norm over the expected one of the noise in it, when each device adds `local_variance` grid units squared to
    /// every entry; `None` without noise. About 1: there is nothing but noise.
    pub fn signal_to_noise(&self, scale: &Scale, local_variance: u64) -> Option<f64> {
        let entries = self.update.len() as f64;
        // Noise of n devices has the standard deviation sqrt(n V) in the sum, and the mean divides by n.
        let noise = scale.unit() * (local_variance as f64 * entries / f64::from(self.devices)).sqrt();
        let signal = self.update.iter().map(|&entry| f64::from(entry).powi(2)).sum::<f64>().sqrt();
        (noise > 0.0 && noise.is_finite()).then(|| signal / noise)
    }
}

impl Scale {
    /// A grid unit in the model's units, less what devices shrink (docs/protocol/update.md).
    fn unit(&self) -> f64 {
        self.clip * (1.0 + 2f64.powi(-20)) / f64::from(self.grid)
    }
}

impl Totals {
    /// Nothing summed yet, for a model of `len` entries.
    pub fn new(len: usize) -> Self {
        Self { update: vec![0; len], statistics: [0; STATISTICS_LEN as usize], devices: 0 }
    }

    /// Adds one session's sum over `devices` survivors: the vectors `update` and `statistics`, in this order.
    ///
    /// # Errors
    /// [`Error::Shape`]; nothing has been added then.
    pub fn add(&mut self, vectors: &[Vec<i64>], devices: u32) -> Result<(), Error> {
        let [update, statistics] = vectors else { return Err(self.shape(vectors)) };
        if update.len() != self.update.len() || statistics.len() != self.statistics.len() {
            return Err(self.shape(vectors));
        }
        // A session's sum fits in 32 bits, so 2^31 sessions would be needed to overflow.
        let pairs = self.update.iter_mut().zip(update).chain(self.statistics.iter_mut().zip(statistics));
        pairs.for_each(|(total, more)| *total = total.saturating_add(*more));
        self.devices = self.devices.saturating_add(devices);
        Ok(())
    }

    /// Devices in the sum.
    pub fn devices(&self) -> u32 {
        self.devices
    }

    /// Sum of the devices' clip bits, where they send them ([`scale_privacy::adaptive`]): the first statistic.
    pub fn clip_bits(&self) -> i64 {
        self.statistics[0]
    }

    /// `update[i] = sum[i] × clip × (1 + 2^-20) / grid ÷ (sum of weights / max_weight)`: undoes the devices' scaling
    /// (docs/protocol/update.md) and divides once.
    ///
    /// # Errors
    /// [`Error::NoWeight`], [`Error::Implausible`].
    pub fn mean(&self, scale: &Scale) -> Result<MeanUpdate, Error> {
        let everybody = i64::from(self.devices) * i64::from(scale.max_weight);
        let [weight, loss, correct, examples] = if scale.noisy { [everybody, 0, 0, 0] } else { self.statistics };
        if weight <= 0 {
            return Err(Error::NoWeight(weight));
        }
        let most = |each: u32| i64::from(self.devices) * i64::from(each);
        // Every counter of one device is at most the grid (docs/adr/0003-what-is-summed.md).
        for (what, value, most) in [
            ("weight", weight, most(scale.max_weight)),
            ("loss", loss, most(scale.grid)),
            ("examples", examples, most(scale.grid)),
            ("number of correct answers", correct, examples),
        ] {
            if !(0..=most).contains(&value) {
                return Err(Error::Implausible { what, value, most });
            }
        }
        let factor = scale.unit() * f64::from(scale.max_weight) / weight as f64;
        let update = self.update.iter().map(|&sum| (sum as f64 * factor) as f32).collect();
        Ok(MeanUpdate { update, statistics: Statistics { weight, loss, correct, examples }, devices: self.devices })
    }

    fn shape(&self, vectors: &[Vec<i64>]) -> Error {
        Error::Shape {
            found: vectors.iter().map(|vector| vector.len() as u64).collect(),
            expected: vec![self.update.len() as u64, STATISTICS_LEN],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: Scale = Scale { clip: 2.0, grid: 1000, max_weight: 50, noisy: false };

    #[test]
    fn mean_of_two_sessions() {
        let mut totals = Totals::new(3);
        totals.add(&[vec![500, -250, 0], vec![60, 160, 20, 40]], 11).expect("the shape fits");
        totals.add(&[vec![500, -250, 1], vec![40, 160, 10, 20]], 12).expect("the shape fits");
        let mean = totals.mean(&SCALE).expect("there is weight");
        // 1000 × 2 / 1000 ÷ (100 / 50) = 1; the factor 1 + 2^-20 is below the tolerance's size but not zero.
        let inflate = 1.0 + 2f32.powi(-20);
        assert_eq!(mean.update, [inflate, -0.5 * inflate, 0.001 * inflate]);
        assert_eq!(mean.statistics, Statistics { weight: 100, loss: 320, correct: 30, examples: 60 });
        assert_eq!(mean.devices, 23);
        assert_eq!(mean.statistics.mean_loss(), 320.0 / 16.0 / 60.0);
        assert_eq!(mean.statistics.accuracy(), 0.5);
    }

    #[test]
    fn under_noise_everybody_counts_the_same() {
        let mut totals = Totals::new(1);
        // The counters are noise.
        totals.add(&[vec![5000], vec![-7, 12, 900, -3]], 10).expect("the shape fits");
        let mean = totals.mean(&Scale { noisy: true, ..SCALE }).expect("there are devices");
        assert_eq!(mean.update, [(1.0 + 2f32.powi(-20)) * 1.0], "5000 x 2 / 1000 over 10 devices");
        assert_eq!(mean.statistics, Statistics { weight: 500, loss: 0, correct: 0, examples: 0 });
        let nobody = Totals::new(1).mean(&Scale { noisy: true, ..SCALE }).map_err(|error| error.code());
        assert_eq!(nobody, Err("no_weight"));
    }

    #[test]
    fn the_ratio_is_in_norms_of_the_mean() {
        let mut totals = Totals::new(4);
        totals.add(&[vec![300, 0, -400, 0], vec![0; 4]], 25).expect("the shape fits");
        let scale = Scale { noisy: true, ..SCALE };
        let mean = totals.mean(&scale).expect("there are devices");
        // Norm 500 in the sum; noise of variance 25 x 16 on each of 4 entries: norm 40.
        let ratio = mean.signal_to_noise(&scale, 16).expect("there is noise");
        assert!((ratio - 12.5).abs() < 1e-5, "{ratio}");
        assert_eq!(mean.signal_to_noise(&scale, 0), None);
    }

    #[test]
    fn bad_sums_are_refused() {
        let ok = vec![10, 0, 0, 10];
        for (name, vectors, code) in [
            ("a vector is missing", vec![vec![1, 2, 3]], "sum_shape"),
            ("too short an update", vec![vec![1, 2], ok.clone()], "sum_shape"),
            ("too long statistics", vec![vec![1, 2, 3], vec![10, 0, 0, 10, 0]], "sum_shape"),
            ("no weight", vec![vec![1, 2, 3], vec![0, 0, 0, 10]], "no_weight"),
            ("negative weight", vec![vec![1, 2, 3], vec![-1, 0, 0, 10]], "no_weight"),
            ("more weight than ten devices have", vec![vec![1, 2, 3], vec![501, 0, 0, 10]], "implausible_sum"),
            ("negative loss", vec![vec![1, 2, 3], vec![10, -1, 0, 10]], "implausible_sum"),
            ("more right answers than questions", vec![vec![1, 2, 3], vec![10, 0, 11, 10]], "implausible_sum"),
        ] {
            let mut totals = Totals::new(3);
            let result = totals.add(&vectors, 10).and_then(|()| totals.mean(&SCALE));
            assert_eq!(result.map_err(|error| error.code()), Err(code), "{name}");
        }
    }

    #[test]
    fn a_refused_sum_changes_nothing() {
        let mut totals = Totals::new(1);
        let before = totals.clone();
        totals.add(&[vec![1], vec![1]], 10).expect_err("statistics are too short");
        assert_eq!(totals, before);
    }
}
