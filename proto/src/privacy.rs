//! What a task promises its people, and asks of their devices: noise before anything is uploaded.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Invalid;

/// Differential privacy of a task. None at all has to be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Privacy {
    /// No noise: who sees a sum may learn something about one of its people.
    None,
    /// Noise on each training step (DP-SGD): protects one training example, whoever sees the upload. Says nothing about
    /// the person as a whole.
    Example {
        /// Epsilon of all rounds together, for one example.
        epsilon: f64,
        /// Delta of it.
        delta: f64,
        /// Rounds that a device may take part in under this epsilon.
        rounds: u32,
        /// L2 norm to which each example's gradient is clipped, in the model's units.
        clip: f32,
    },
    /// Noise of all devices together: protects a person from who sees only sums.
    Distributed {
        /// Epsilon of all rounds together, for one person.
        epsilon: f64,
        /// Delta of it.
        delta: f64,
        /// Rounds that a device may take part in under this epsilon.
        rounds: u32,
    },
    /// As [`Self::Distributed`], and the clip norm of each round follows the norms of the updates before it
    /// (docs/adr/0010-the-clip-norm-follows.md).
    DistributedAdaptive {
        /// Epsilon of all rounds together, for one person.
        epsilon: f64,
        /// Delta of it.
        delta: f64,
        /// Rounds that a device may take part in under this epsilon.
        rounds: u32,
        /// What the clip norm may be.
        clip: ClipRange,
    },
    /// Noise of each device enough by itself: protects a person from everybody.
    Local {
        /// Epsilon of all rounds together, for one person.
        epsilon: f64,
        /// Delta of it.
        delta: f64,
        /// Rounds that a device may take part in under this epsilon.
        rounds: u32,
    },
}

/// Clip norms that a task's rounds may have, in the model's units: above 0, and `max` not below `min`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipRange {
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl ClipRange {
    /// Whether a round may have this norm; NaN never.
    pub fn contains(&self, clip: f64) -> bool {
        (self.min..=self.max).contains(&clip)
    }

    /// The nearest norm that a round may have.
    pub const fn nearest(&self, clip: f64) -> f64 {
        clip.max(self.min).min(self.max)
    }
}

/// What the rounds of a task may cost together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Above 0.
    pub epsilon: f64,
    /// Between 0 and 1.
    pub delta: f64,
    /// At least 1.
    pub rounds: u32,
}

impl Privacy {
    /// Every mode's word.
    pub const MODES: [&str; 4] = ["none", "example", "distributed", "local"];

    /// The mode's word, on the wire, in files and in commands.
    pub const fn mode(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Example { .. } => "example",
            Self::Distributed { .. } | Self::DistributedAdaptive { .. } => "distributed",
            Self::Local { .. } => "local",
        }
    }

    /// What the rounds may cost; `None` without noise.
    pub const fn target(&self) -> Option<Target> {
        match *self {
            Self::None => None,
            Self::Example { epsilon, delta, rounds, .. }
            | Self::Distributed { epsilon, delta, rounds }
            | Self::DistributedAdaptive { epsilon, delta, rounds, .. }
            | Self::Local { epsilon, delta, rounds } => Some(Target { epsilon, delta, rounds }),
        }
    }

    /// What the clip norm may be, where it follows the devices; `None` where it is fixed.
    pub const fn clip_range(&self) -> Option<ClipRange> {
        match *self {
            Self::DistributedAdaptive { clip, .. } => Some(clip),
            _ => None,
        }
    }

    /// The same with a clip norm that follows the devices within `range`; as it is without one.
    ///
    /// # Errors
    /// [`Invalid`] for a mode without distributed noise, or numbers that are no range.
    pub fn with_clip_range(self, range: Option<ClipRange>) -> Result<Self, Invalid> {
        match (self, range) {
            (privacy, None) => Ok(privacy),
            (Self::Distributed { epsilon, delta, rounds }, Some(clip)) => {
                let adaptive = Self::DistributedAdaptive { epsilon, delta, rounds, clip };
                adaptive.check().map(|()| adaptive)
            }
            (other, Some(_)) => {
                let problem = format!("set; the clip norm is fixed in mode {}", other.mode());
                Err(Invalid::new("privacy.clip_max", problem))
            }
        }
    }

    /// From the mode's word and the numbers that belong to it.
    ///
    /// # Errors
    /// [`Invalid`] for another word, or `example_clip` in a mode that clips no gradients; see also [`Self::check`].
    pub fn parse(mode: &str, target: Target, example_clip: f32) -> Result<Self, Invalid> {
        let Target { epsilon, delta, rounds } = target;
        let parsed = match mode {
            "none" => Self::None,
            "example" => Self::Example { epsilon, delta, rounds, clip: example_clip },
            "distributed" => Self::Distributed { epsilon, delta, rounds },
            "local" => Self::Local { epsilon, delta, rounds },
            other => {
                let start: String = other.chars().take(16).collect();
                return Err(Invalid::new("privacy.mode", format!("{start:?}; one of {}", Self::MODES.join(", "))));
            }
        };
        let unused = |used: bool, field, value: f64| {
            let problem = || Invalid::new(field, format!("{value}; it means nothing in mode {mode}"));
            if used || value == 0.0 { Ok(()) } else { Err(problem()) }
        };
        unused(matches!(parsed, Self::Example { .. }), "privacy.example_clip", example_clip.into())?;
        unused(parsed != Self::None, "privacy.epsilon", epsilon)?;
        unused(parsed != Self::None, "privacy.delta", delta)?;
        unused(parsed != Self::None, "privacy.rounds", rounds.into())?;
        parsed.check()?;
        Ok(parsed)
    }

    /// Whether the numbers are in their ranges. Whether such noise can be had, and whether anything is learned under
    /// it, is for the planner to say.
    ///
    /// # Errors
    /// [`Invalid`] names the first field that is not.
    pub fn check(&self) -> Result<(), Invalid> {
        if let Some(Target { epsilon, delta, rounds }) = self.target() {
            check::positive("privacy.epsilon", epsilon)?;
            check::positive("privacy.delta", delta)?;
            if delta >= 1.0 {
                return Err(Invalid::new("privacy.delta", format!("{delta}; it is below 1 over the number of people")));
            }
            check::at_least_one("privacy.rounds", rounds)?;
        }
        if let Self::Example { clip, .. } = *self {
            check::positive("privacy.example_clip", clip.into())?;
        }
        if let Some(ClipRange { min, max }) = self.clip_range() {
            check::positive("privacy.clip_min", min)?;
            check::positive("privacy.clip_max", max)?;
            if max < min {
                return Err(Invalid::new("privacy.clip_max", format!("{max}; it is at least privacy.clip_min, {min}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target = Target { epsilon: 8.0, delta: 1e-5, rounds: 12 };
    const NOTHING: Target = Target { epsilon: 0.0, delta: 0.0, rounds: 0 };

    #[test]
    fn every_mode_is_read_back() {
        for (mode, target, clip) in
            [("none", NOTHING, 0.0), ("example", TARGET, 0.5), ("distributed", TARGET, 0.0), ("local", TARGET, 0.0)]
        {
            let privacy = Privacy::parse(mode, target, clip).expect("in range");
            assert_eq!((privacy.mode(), privacy.target()), (mode, (mode != "none").then_some(target)));
        }
    }

    #[test]
    fn only_distributed_noise_has_a_clip_norm_that_follows() {
        let plain = Privacy::parse("distributed", TARGET, 0.0).expect("in range");
        let range = |min, max| Some(ClipRange { min, max });
        let follows = plain.with_clip_range(range(0.5, 4.0)).expect("a range");
        assert_eq!(
            (follows.mode(), follows.target(), follows.clip_range()),
            ("distributed", Some(TARGET), range(0.5, 4.0))
        );
        assert_eq!(plain.with_clip_range(None), Ok(plain));
        for (privacy, range, field) in [
            (plain, range(0.0, 1.0), "privacy.clip_min"),
            (plain, range(1.0, f64::INFINITY), "privacy.clip_max"),
            (plain, range(2.0, 1.0), "privacy.clip_max"),
            (Privacy::None, range(1.0, 2.0), "privacy.clip_max"),
        ] {
            assert_eq!(privacy.with_clip_range(range).expect_err("refused").field, field, "{range:?}");
        }
        let range = follows.clip_range().expect("it follows");
        for (clip, inside, nearest) in [(0.4, false, 0.5), (0.5, true, 0.5), (4.0, true, 4.0), (5.0, false, 4.0)] {
            assert_eq!((range.contains(clip), range.nearest(clip)), (inside, nearest));
        }
        assert!(!range.contains(f64::NAN));
    }

    #[test]
    fn numbers_out_of_place_are_refused_by_name() {
        let refused = |mode, target, clip| Privacy::parse(mode, target, clip).expect_err("refused").field;
        assert_eq!(refused("", TARGET, 0.0), "privacy.mode");
        assert_eq!(refused("none", TARGET, 0.0), "privacy.epsilon");
        assert_eq!(refused("local", TARGET, 1.0), "privacy.example_clip");
        assert_eq!(refused("example", TARGET, 0.0), "privacy.example_clip");
        assert_eq!(refused("local", Target { epsilon: f64::NAN, ..TARGET }, 0.0), "privacy.epsilon");
        assert_eq!(refused("local", Target { epsilon: f64::INFINITY, ..TARGET }, 0.0), "privacy.epsilon");
        assert_eq!(refused("local", Target { delta: 1.0, ..TARGET }, 0.0), "privacy.delta");
        assert_eq!(refused("local", Target { rounds: 0, ..TARGET }, 0.0), "privacy.rounds");
    }
}
