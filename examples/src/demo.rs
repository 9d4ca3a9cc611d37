//! The demo's task: a categorizer of bank transactions that learns from what people buy, without seeing it.

use scale_proto::limits::{COHORT_FLOOR, TRAINING_MS};
use scale_proto::model::{Family, ModelSpec};
use scale_proto::task::{
    Aggregation, Cohort, Privacy, Quantization, Schedule, SecureAggregation, Sessions, TaskConfig, Timing, Training,
};

use crate::fleet::device::Loss;
use crate::merchants;
use crate::people::Habits;

/// Examples of one step without noise on it.
pub const BATCH: u32 = 32;

/// Chance that an epsilon is exceeded.
pub const DELTA: f64 = 1e-5;

/// Under DP-SGD, the L2 norm to which each example's gradient is clipped.
pub const EXAMPLE_CLIP: f32 = 0.5;

/// Share of the merchants that no device sees.
pub const HELD_OUT: f64 = 0.1;

/// The two demos. What they do not say themselves they share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// Some thirty devices and a model that is as good as the data allow: noise on training steps.
    #[default]
    Full,
    /// A thousand devices and a small model: so many that noise for whole people leaves something to learn.
    Light,
}

impl Size {
    /// Devices that take part.
    pub const fn devices(self) -> usize {
        match self {
            Self::Full => 30,
            Self::Light => 1050,
        }
    }

    /// Rounds after which the model is good. Light: with fewer, one round would cost a device more by itself than its
    /// guardrails allow (`docs/experiments/user-level.md`).
    pub const fn rounds(self) -> u64 {
        match self {
            Self::Full => 16,
            Self::Light => 8,
        }
    }

    /// Share of the devices that is lost in every round.
    pub const fn drop(self) -> f64 {
        match self {
            Self::Full => 0.1,
            Self::Light => 0.07,
        }
    }

    /// How devices are lost. Where few wait, silence is the harder test; a thousand would wait for minutes.
    pub const fn loss(self) -> Loss {
        match self {
            Self::Full => Loss::Silent,
            Self::Light => Loss::Told,
        }
    }

    /// Whom noise protects: the mode's word.
    pub const fn privacy(self) -> &'static str {
        match self {
            Self::Full => "example",
            Self::Light => "distributed",
        }
    }

    /// What all rounds may cost together.
    pub const fn epsilon(self) -> f64 {
        match self {
            Self::Full => 8.0,
            Self::Light => 4.0,
        }
    }

    /// The categorizer: hashed character n-grams. Full: 1,179,990 parameters, 3.2 MB at 22 bits each. Light: 37,206, because
    /// noise for people grows with the root of their number.
    pub fn model(self) -> ModelSpec {
        let family = match self {
            Self::Full => Family::TextBag { buckets: 65_536, dim: 18, ngram_min: 2, ngram_max: 5 },
            Self::Light => Family::TextBag { buckets: 2048, dim: 18, ngram_min: 2, ngram_max: 3 },
        };
        ModelSpec { labels: merchants::categories(), family }
    }

    /// People with a year or two of statements: most buy at a merchant again and again. Light: a few months.
    pub fn habits(self) -> Habits {
        match self {
            Self::Full => Habits { visits: 24.0, ..Habits::default() },
            Self::Light => Habits::default(),
        }
    }

    /// How devices train. Under DP-SGD in one step of every example: at the same epsilon that beats several steps of a
    /// part (`docs/experiments/dp-sgd.md`); clipped gradients are short, so the step is long.
    pub fn training(self, privacy: Privacy) -> Training {
        let plain = Training {
            epochs: 2,
            batch_size: BATCH,
            learning_rate: 0.3,
            proximal_mu: 0.0,
            time_limit_ms: 30_000,
            max_weight: 1500,
            holdout_permille: 0,
        };
        match (self, privacy) {
            // A small model needs long steps; the clip bounds what comes of them. Its grid is coarse, and no weight may
            // exceed that.
            (Self::Light, _) => Training { learning_rate: 3.0, max_weight: 250, ..plain },
            (_, Privacy::Example { .. }) => Training { epochs: 1, batch_size: 100_000, learning_rate: 30.0, ..plain },
            (Self::Full, _) => plain,
        }
    }

    /// Devices selected per device wanted in the sum, in thousandths.
    const fn over_selection_permille(self) -> u32 {
        match self {
            Self::Full => 1300,
            Self::Light => 1100,
        }
    }

    /// The task, for a fleet of `devices` that all take part in every round: the goal is what over-selection leaves of
    /// them.
    pub fn task(self, devices: u32, privacy: Privacy) -> TaskConfig {
        let of_thousand = |permille: u32| (devices * 1000 / permille).max(COHORT_FLOOR);
        let goal = of_thousand(self.over_selection_permille());
        let (floor, sessions, quantization, aggregation) = match self {
            Self::Full => (
                COHORT_FLOOR,
                Sessions::Auto,
                Quantization { clip: 8.0, grid_factor: 64 },
                Aggregation::FedAdam { learning_rate: 0.05, beta1: 0.5, beta2: 0.99, tau: 1e-3 },
            ),
            // Noise is sized for the floor: the higher it is, the less noise, and the fewer losses a round stands.
            Self::Light => (
                of_thousand(1150),
                Sessions::One,
                Quantization { clip: 1.0, grid_factor: 64 },
                Aggregation::FedAdam { learning_rate: 0.05, beta1: 0.5, beta2: 0.99, tau: 1e-3 },
            ),
        };
        let mut training = self.training(privacy);
        // A device's time runs while others have the cores.
        training.time_limit_ms = (training.time_limit_ms + u64::from(devices) * TRAINING_MS_EACH).min(TRAINING_MS);
        TaskConfig {
            model: self.model(),
            training,
            cohort: Cohort { goal, floor, over_selection_permille: self.over_selection_permille(), session_max: 128 },
            timing: self.timing(devices),
            schedule: Schedule::WhenReady,
            aggregation,
            quantization,
            secure_aggregation: SecureAggregation { sessions, ..Default::default() },
            privacy,
            max_rounds: Some(self.rounds()),
        }
    }

    /// How long the steps of a round may take at most. All devices share this machine's cores, so the bounds grow with
    /// their number; what a step does take is seen while it runs, and lost devices cost the grace only.
    fn timing(self, devices: u32) -> Timing {
        let bound = |each: u64| MINUTE_MS + u64::from(devices) * each;
        let stage = bound(STAGE_MS_EACH);
        Timing {
            selecting_ms: bound(CHECK_IN_MS_EACH),
            training_ms: bound(TRAINING_MS_EACH),
            grace_ms: match self {
                Self::Full => 2_000,
                Self::Light => 10_000,
            },
            shares_ms: stage,
            masked_input_ms: stage,
            agreement_ms: stage,
            unmask_ms: stage,
        }
    }
}

const MINUTE_MS: u64 = 60_000;

/// What each device may add to a step, on two cores that others use as well: some ten times what it takes on free ones.
const CHECK_IN_MS_EACH: u64 = 200;
const TRAINING_MS_EACH: u64 = 8_000;
const STAGE_MS_EACH: u64 = 2_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn bounds_follow_the_fleet_and_tasks_of_every_size_are_good() {
        for size in [Size::Full, Size::Light] {
            let mut before = Duration::ZERO;
            for devices in [13, 30, 100, 200, 300, 1050] {
                let task = size.task(devices, Privacy::None);
                task.check().unwrap_or_else(|error| panic!("{size:?}, {devices} devices: {error}"));
                let stages = task.timing.stages();
                assert!(stages[0] > before && stages[1] >= Duration::from_millis(MINUTE_MS), "{size:?}, {devices}");
                // Devices take turns on the cores: the last of them waits for all others.
                assert!(task.training.time_limit_ms < task.timing.training_ms, "{size:?}, {devices}");
                assert!(task.training.time_limit_ms >= u64::from(devices) * 1_000, "{size:?}, {devices}");
                before = stages[0];
            }
        }
    }
}
