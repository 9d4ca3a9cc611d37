//! The clip norm that follows the devices (docs/adr/0010-the-clip-norm-follows.md).

use scale_privacy::adaptive::{self, Split};
use scale_proto::privacy::ClipRange;

use super::Totals;

/// A round whose devices say, in the first statistic, whether their update was clipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FollowingClip {
    /// What the task allows.
    pub range: ClipRange,
    /// How the round's norm divides.
    pub split: Split,
}

impl FollowingClip {
    /// The norm of the next round, from that of this one and its noised sum. Without a device it stays.
    pub fn next(&self, clip: f64, totals: &Totals) -> f64 {
        let short = self.split.share(totals.clip_bits(), totals.devices());
        self.range.nearest(adaptive::next_clip(clip, short))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_goes_where_half_are_short_and_no_further_than_the_task_allows() {
        let following = FollowingClip { range: ClipRange { min: 0.95, max: 1.05 }, split: Split::of(1000) };
        let bits = |short: i64| short * following.split.bit(true) + (300 - short) * following.split.bit(false);
        for (short, expected) in [(150, 1.0), (180, (-0.02f64).exp()), (120, 0.02f64.exp()), (300, 0.95), (0, 1.05)] {
            let mut totals = Totals::new(2);
            // The other statistics are noise, and so is what the update holds.
            totals.add(&[vec![7, -7], vec![bits(short), 900, -5, 33]], 300).expect("the shape fits");
            let next = following.next(1.0, &totals);
            assert!((next - expected).abs() < 1e-12, "{short} short: {next}, not {expected}");
        }
        assert_eq!(following.next(1.01, &Totals::new(2)), 1.01, "nobody there");
    }
}
