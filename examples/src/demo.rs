//! The demo's task: a categoriser of bank transactions that learns from what people buy, without seeing it.

use scale_proto::model::{Family, ModelSpec};
use scale_proto::task::{Aggregation, Cohort, Privacy, Quantisation, Schedule, TaskConfig, Timing, Training};

use crate::merchants;
use crate::people::Habits;

/// Rounds after which the demo's model is good.
pub const ROUNDS: u64 = 16;

/// Chance that an epsilon is exceeded.
pub const DELTA: f64 = 1e-5;

/// Under DP-SGD, the L2 norm to which each example's gradient is clipped.
pub const EXAMPLE_CLIP: f32 = 0.5;

/// What all rounds may cost a training example together.
pub const EPSILON: f64 = 8.0;

/// Share of the merchants that no device sees.
pub const HELD_OUT: f64 = 0.1;

/// The categoriser: character n-grams of 2 to 5 in 65,536 rows: 1,179,990 parameters, 3.2 MB at 22 bits each.
pub fn model() -> ModelSpec {
    ModelSpec {
        labels: merchants::categories(),
        family: Family::TextBag { buckets: 65_536, dim: 18, ngram_min: 2, ngram_max: 5 },
    }
}

/// People with a year or two of statements: most buy at a merchant again and again.
pub fn habits() -> Habits {
    Habits { visits: 24.0, ..Habits::default() }
}

/// How devices train without noise of their own.
pub fn training() -> Training {
    Training {
        epochs: 2,
        batch_size: 32,
        learning_rate: 0.3,
        proximal_mu: 0.0,
        time_limit_ms: 30_000,
        max_weight: 1500,
        holdout_permille: 0,
    }
}

/// How devices train under DP-SGD: one step of every example. At the same epsilon that beats several steps of a part
/// (`docs/experiments/dp-sgd.md`); clipped gradients are short, so the step is long.
pub fn private_training() -> Training {
    Training { epochs: 1, batch_size: 100_000, learning_rate: 30.0, ..training() }
}

/// Devices selected per device wanted in the sum, in thousandths.
const OVER_SELECTION_PERMILLE: u32 = 1300;

/// The task, for a fleet of `devices` that all take part in every round: the goal is what over-selection leaves of them.
///
/// Stages are short, because everybody is on one machine, and every lost device holds its stage until the end.
pub fn task(devices: u32, privacy: Privacy) -> TaskConfig {
    let goal = (devices * 1000 / OVER_SELECTION_PERMILLE).max(scale_proto::limits::COHORT_FLOOR);
    TaskConfig {
        model: model(),
        training: if matches!(privacy, Privacy::Example { .. }) { private_training() } else { training() },
        cohort: Cohort {
            goal,
            floor: scale_proto::limits::COHORT_FLOOR,
            over_selection_permille: OVER_SELECTION_PERMILLE,
            session_max: 128,
        },
        timing: Timing {
            selecting_ms: 60_000,
            training_ms: 60_000,
            grace_ms: 2_000,
            shares_ms: 3_000,
            masked_input_ms: 6_000,
            agreement_ms: 3_000,
            unmask_ms: 3_000,
        },
        schedule: Schedule::WhenReady,
        aggregation: Aggregation::FedAdam { learning_rate: 0.05, beta1: 0.5, beta2: 0.99, tau: 1e-3 },
        quantisation: Quantisation { clip: 8.0, grid_factor: 64 },
        secure_aggregation: Default::default(),
        privacy,
        max_rounds: Some(ROUNDS),
    }
}
