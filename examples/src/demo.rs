//! The demo's task: a categoriser of bank transactions that learns from what people buy, without seeing it.

use scale_proto::model::{Family, ModelSpec};
use scale_proto::task::{Aggregation, Cohort, Quantisation, Schedule, TaskConfig, Timing, Training};

use crate::merchants;

/// Rounds after which the demo's model is good.
pub const ROUNDS: u64 = 12;

/// Share of the merchants that no device sees.
pub const HELD_OUT: f64 = 0.15;

/// The categoriser: character n-grams of 2 to 5 in 65,536 rows.
pub fn model() -> ModelSpec {
    ModelSpec {
        labels: merchants::categories(),
        family: Family::TextBag { buckets: 65_536, dim: 18, ngram_min: 2, ngram_max: 5 },
    }
}

/// The task, for a cohort of `devices`.
pub fn task(devices: u32) -> TaskConfig {
    let goal = (devices * 9 / 10).max(scale_proto::limits::COHORT_FLOOR);
    TaskConfig {
        model: model(),
        training: Training {
            epochs: 2,
            batch_size: 32,
            learning_rate: 0.3,
            proximal_mu: 0.0,
            time_limit_ms: 30_000,
            max_weight: 2000,
            holdout_permille: 0,
        },
        cohort: Cohort { goal, floor: scale_proto::limits::COHORT_FLOOR, over_selection_permille: 1300, session_max: 300 },
        timing: Timing {
            selecting_ms: 60_000,
            training_ms: 60_000,
            grace_ms: 2_000,
            shares_ms: 30_000,
            masked_input_ms: 60_000,
            agreement_ms: 30_000,
            unmask_ms: 30_000,
        },
        schedule: Schedule::WhenReady,
        aggregation: Aggregation::FedAdam { learning_rate: 0.05, beta1: 0.8, beta2: 0.99, tau: 1e-3 },
        quantisation: Quantisation { clip: 8.0, grid_factor: 64 },
        max_rounds: Some(ROUNDS),
    }
}
