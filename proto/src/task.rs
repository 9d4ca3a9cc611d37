//! What an operator configures: one task, with its cohort, times, schedule and optimizer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Invalid;
use crate::limits;
use crate::model::ModelSpec;

pub use crate::privacy::Privacy;
pub use crate::secure_aggregation::{IdentityRoot, SecureAggregation, Sessions};

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
    /// The integer grid. Tasks that were stored earlier have its British spelling.
    #[serde(alias = "quantisation")]
    pub quantization: Quantization,
    /// How the updates are summed.
    #[serde(default)]
    pub secure_aggregation: SecureAggregation,
    /// Noise on the devices; none has to be asked for by name.
    pub privacy: Privacy,
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
    /// Largest session; a larger cohort makes several, unless [`SecureAggregation::sessions`] wants one.
    pub session_max: u32,
}

impl Cohort {
    /// Devices to select: ceil(goal × over-selection).
    pub fn selected(&self) -> u32 {
        let wanted = u64::from(self.goal) * u64::from(self.over_selection_permille);
        u32::try_from(wanted.div_ceil(1000)).unwrap_or(u32::MAX)
    }
}

/// Longest time each step stays open. Stages close earlier, as their answers come.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// From the first device's check-in.
    pub selecting_ms: u64,
    /// From selection until the last AdvertiseKeys.
    pub training_ms: u64,
    /// Once enough devices have answered a stage, how long it waits at least after each answer for the next one.
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
#[serde(try_from = "String", into = "String")]
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

/// The integer grid of the updates (docs/protocol/update.md).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    /// L2 norm C to which a device clips its update; in the first rounds only, where it follows the devices.
    pub clip: f64,
    /// S / sqrt(entries): clip norm in grid units; 64 without noise (docs/protocol/update.md), at least 4.
    pub grid_factor: u32,
}

impl Timing {
    /// The four windows after the key stage, for closing times T1 to T4.
    pub fn stages(&self) -> [Duration; 4] {
        [self.shares_ms, self.masked_input_ms, self.agreement_ms, self.unmask_ms].map(Duration::from_millis)
    }
}

impl TaskConfig {
    /// Whether rounds of this task can run. Values that came over the wire are checked already; files are not.
    ///
    /// # Errors
    /// [`Invalid`] names the first field that is out of its range.
    pub fn check(&self) -> Result<(), Invalid> {
        self.model.check()?;
        self.training.check()?;
        self.cohort.check(self.secure_aggregation.sessions)?;
        self.timing.check()?;
        self.schedule.check()?;
        self.aggregation.check()?;
        self.quantization.check()?;
        self.secure_aggregation.check(&self.cohort)?;
        self.privacy.check()?;
        let clip = self.quantization.clip;
        if let Some(range) = self.privacy.clip_range().filter(|range| !range.contains(clip)) {
            let problem = format!(
                "{clip}; it starts between privacy.clip_min, {}, and privacy.clip_max, {}",
                range.min, range.max
            );
            return Err(Invalid::new("quantization.clip", problem));
        }
        if self.max_rounds == Some(0) {
            return Err(Invalid::new("max_rounds", "0; leave it out for a task without end"));
        }
        Ok(())
    }
}

impl Training {
    fn check(&self) -> Result<(), Invalid> {
        check::within("training.epochs", self.epochs, 1..=100)?;
        check::at_least_one("training.batch_size", self.batch_size)?;
        check::positive("training.learning_rate", self.learning_rate.into())?;
        check::not_negative("training.proximal_mu", self.proximal_mu.into())?;
        check::within("training.time_limit_ms", self.time_limit_ms, 1..=limits::TRAINING_MS)?;
        check::at_least_one("training.max_weight", self.max_weight)?;
        check::within("training.holdout_permille", self.holdout_permille, 0..=500)
    }
}

impl Cohort {
    fn check(&self, sessions: Sessions) -> Result<(), Invalid> {
        let Self { goal, floor, over_selection_permille, session_max } = *self;
        let least = limits::COHORT_FLOOR;
        if floor < least {
            let why = "a sum over fewer devices says too much about each of them, and devices refuse to join";
            return Err(Invalid::new("cohort.floor", format!("{floor}; it is at least {least}: {why}")));
        }
        if goal < floor {
            let problem = format!("{goal}; it is at least cohort.floor, {floor}, or no round could ever finish");
            return Err(Invalid::new("cohort.goal", problem));
        }
        check::within("cohort.over_selection_permille", over_selection_permille, 1000..=5000)?;
        // The one session of a cohort is as large as the cohort.
        let least = if sessions == Sessions::One { limits::SESSION_MIN } else { floor.max(limits::SESSION_MIN) };
        let most = limits::SESSION_MAX_COMPLETE;
        if least > most {
            let problem = format!("{floor}; a session has at most {most} places, and each keeps the floor by itself");
            return Err(Invalid::new("cohort.floor", problem));
        }
        check::within("cohort.session_max", session_max, least..=most)
    }
}

impl Timing {
    fn check(&self) -> Result<(), Invalid> {
        for (field, millis) in [
            ("timing.selecting_ms", self.selecting_ms),
            ("timing.training_ms", self.training_ms),
            ("timing.grace_ms", self.grace_ms),
            ("timing.shares_ms", self.shares_ms),
            ("timing.masked_input_ms", self.masked_input_ms),
            ("timing.agreement_ms", self.agreement_ms),
            ("timing.unmask_ms", self.unmask_ms),
        ] {
            check::within(field, millis, 1..=limits::STEP_MS)?;
        }
        Ok(())
    }
}

impl Schedule {
    fn check(&self) -> Result<(), Invalid> {
        match self {
            Self::WhenReady | Self::Manual => Ok(()),
            Self::EveryS(seconds) if *seconds < 10 => {
                Err(Invalid::new("schedule.every_s", format!("{seconds}; rounds open at least 10 seconds apart")))
            }
            Self::EveryS(_) => Ok(()),
            Self::Times(times) => {
                const FIELD: &str = "schedule.times.at";
                check::within(FIELD, times.len(), 1..=usize::from(MinuteOfDay::PER_DAY))?;
                let mut seen = std::collections::HashSet::with_capacity(times.len());
                for time in times {
                    check::within(FIELD, time.0, 0..=MinuteOfDay::PER_DAY - 1)?;
                    if !seen.insert(time.0) {
                        return Err(Invalid::new(FIELD, format!("{time} stands there twice")));
                    }
                }
                Ok(())
            }
        }
    }
}

impl Aggregation {
    fn check(&self) -> Result<(), Invalid> {
        match *self {
            Self::FedAvg { learning_rate } => check::positive("fed_avg.learning_rate", learning_rate.into()),
            Self::FedAvgM { learning_rate, momentum } => {
                check::positive("fed_avg_m.learning_rate", learning_rate.into())?;
                check::decay("fed_avg_m.momentum", momentum)
            }
            Self::FedAdam { learning_rate, beta1, beta2, tau } => {
                check::positive("fed_adam.learning_rate", learning_rate.into())?;
                check::decay("fed_adam.beta1", beta1)?;
                check::decay("fed_adam.beta2", beta2)?;
                check::positive("fed_adam.tau", tau.into())
            }
            Self::FedYogi { learning_rate, beta1, beta2, tau } => {
                check::positive("fed_yogi.learning_rate", learning_rate.into())?;
                check::decay("fed_yogi.beta1", beta1)?;
                check::decay("fed_yogi.beta2", beta2)?;
                check::positive("fed_yogi.tau", tau.into())
            }
        }
    }
}

impl Quantization {
    fn check(&self) -> Result<(), Invalid> {
        check::positive("quantization.clip", self.clip)?;
        check::within("quantization.grid_factor", self.grid_factor, 4..=4096)
    }
}

impl MinuteOfDay {
    /// Minutes of a day.
    pub const PER_DAY: u16 = 24 * 60;
}

impl std::fmt::Display for MinuteOfDay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl std::str::FromStr for MinuteOfDay {
    type Err = Invalid;
    /// Exactly `HH:MM`, from `00:00` to `23:59`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let minutes = |[h, hh, colon, m, mm]: [u8; 5]| {
            let digit = |byte: u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
            let hours = digit(h)? * 10 + digit(hh)?;
            let minutes = digit(m)? * 10 + digit(mm)?;
            (colon == b':' && hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        text.as_bytes().try_into().ok().and_then(minutes).map(Self).ok_or_else(|| {
            // Only the beginning of it: the text may be long.
            let start: String = text.chars().take(16).collect();
            Invalid::new("schedule.times.at", format!("{start:?}; a time of day is HH:MM, 00:00 to 23:59, in UTC"))
        })
    }
}

impl TryFrom<String> for MinuteOfDay {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<MinuteOfDay> for String {
    fn from(time: MinuteOfDay) -> Self {
        time.to_string()
    }
}
