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
            Self::Distributed { .. } => "distributed",
            Self::Local { .. } => "local",
        }
    }

    /// What the rounds may cost; `None` without noise.
    pub const fn target(&self) -> Option<Target> {
        match *self {
            Self::None => None,
            Self::Example { epsilon, delta, rounds, .. }
            | Self::Distributed { epsilon, delta, rounds }
            | Self::Local { epsilon, delta, rounds } => Some(Target { epsilon, delta, rounds }),
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
