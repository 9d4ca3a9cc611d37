//! What an operator configures: one task, with its cohort, times, schedule and optimiser.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::ModelSpec;

/// Everything about a task that an operator chooses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskConfig {
    /// The architecture.
    pub model: ModelSpec,
    /// What devices do.
    pub training: Training,
    /// How many take part.
    pub cohort: Cohort,
    /// How long each step stays open.
    pub timing: Timing,
    /// When rounds open.
    pub schedule: Schedule,
    /// How the mean update becomes new weights.
    pub aggregation: Aggregation,
    /// The integer grid.
    pub quantisation: Quantisation,
    /// Rounds to run before the task is finished; `None`: no end.
    pub max_rounds: Option<u64>,
}

/// What devices do in a round; see [`crate::plan::Plan`] for the fields.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    pub epochs: u32,
    pub batch_size: u32,
    pub learning_rate: f32,
    pub proximal_mu: f32,
    pub time_limit_ms: u64,
    pub max_weight: u32,
    pub holdout_permille: u32,
}

/// How many devices take part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cohort {
    /// Devices wanted in the sum.
    pub goal: u32,
    /// Fewest devices in a round, a session and a sum; at least [`crate::limits::COHORT_FLOOR`].
    pub floor: u32,
    /// Selected is ceil(goal × this / 1000); 1300 by default.
    pub over_selection_permille: u32,
    /// Largest session; a larger cohort makes several.
    pub session_max: u32,
}

impl Cohort {
    /// Devices to select: ceil(goal × over-selection).
    pub fn selected(&self) -> u32 {
        let wanted = u64::from(self.goal) * u64::from(self.over_selection_permille);
        u32::try_from(wanted.div_ceil(1000)).unwrap_or(u32::MAX)
    }
}

/// Longest time each step stays open.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// From the first device's check-in.
    pub selecting_ms: u64,
    /// From selection until the last AdvertiseKeys.
    pub training_ms: u64,
    /// After the goal is reached, how long stragglers are still let in.
    pub grace_ms: u64,
    pub shares_ms: u64,
    pub masked_input_ms: u64,
    pub agreement_ms: u64,
    pub unmask_ms: u64,
}

/// When rounds open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// As soon as enough devices wait.
    WhenReady,
    /// Every so many seconds, counted from the task's creation.
    EveryS(u64),
    /// At these minutes of the day, UTC.
    Times(Vec<MinuteOfDay>),
    /// Only when an operator opens one.
    Manual,
}

/// A time of day in UTC, as minutes after midnight, 0 to 1439. Written `HH:MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MinuteOfDay(pub u16);

/// How the weighted mean of the updates becomes new weights (Reddi et al. 2021 for the adaptive ones).
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    FedAvg { learning_rate: f32 },
    FedAvgM { learning_rate: f32, momentum: f32 },
    FedAdam { learning_rate: f32, beta1: f32, beta2: f32, tau: f32 },
    FedYogi { learning_rate: f32, beta1: f32, beta2: f32, tau: f32 },
}

/// The integer grid of the updates (secagg.md section 9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantisation {
    /// L2 norm C to which a device clips its update.
    pub clip: f64,
    /// S / sqrt(entries): clip norm in grid units; 64 without noise (secagg.md 9.2), at least 4.
    pub grid_factor: u32,
}

impl Timing {
    /// The four windows after the key stage, for closing times T1 to T4.
    pub fn stages(&self) -> [Duration; 4] {
        [self.shares_ms, self.masked_input_ms, self.agreement_ms, self.unmask_ms].map(Duration::from_millis)
    }
}
