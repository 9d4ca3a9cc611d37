//! What a task's noise costs, and whether a model can still be learned with it, computed before any device joins. No
//! I/O.
//!
//! Computes [`Noise`] from [`Privacy`]: the grid and the variance for every signed round configuration. A task whose
//! noise is not possible, or would dominate the updates, is refused with the planner's figures.

use scale_privacy::accounting::{AccountingError, Budget};
use scale_privacy::adaptive::{Split, TooUncertain};
use scale_privacy::plan::{self, Plan, PlanError, Trust, Verdict};
use scale_proto::plan::STATISTICS_LEN;
use scale_proto::privacy::{Privacy, Target};
use scale_proto::task::TaskConfig;
use scale_secagg::config::{Mechanism, width_needed};
use scale_secagg::params::{self, Profile};

/// The noise that devices of a task add to their updates before masking, and its grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// For the round configuration.
    pub mechanism: Mechanism,
    /// Clip norm in grid units.
    pub grid: u32,
    /// The planner's result; `None` without noise on updates.
    pub plan: Option<Box<Plan>>,
}

/// Why a task's noise is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoiseError {
    /// No noise parameters meet the privacy target.
    #[error("{mode} noise of epsilon {epsilon} over {rounds} rounds is not possible: {why}")]
    Plan {
        /// The task's mode.
        mode: &'static str,
        /// Its epsilon.
        epsilon: f64,
        /// The rounds that it is for.
        rounds: u32,
        /// The planner's answer.
        why: PlanError,
    },
    /// The noise would dominate the updates, so nothing would be learned.
    #[error(
        "{mode} noise would be too strong to learn from {devices} devices: {sentence} Try other settings with \
         `scale-coordinator plan`"
    )]
    Hopeless {
        /// The task's mode.
        mode: &'static str,
        /// Most devices of a sum.
        devices: u32,
        /// The planner's sentence.
        sentence: String,
    },
    /// The clip norm is to be adapted to the devices, which is not possible with this noise.
    #[error(transparent)]
    Clip(#[from] TooUncertain),
    /// Even without noise the grid does not fit 32 bits.
    #[error("a grid of {0} times the root of the entries does not fit 32 bits; lower grid_factor")]
    Grid(u32),
}

impl NoiseError {
    /// Stable machine-readable code of the cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Plan { why, .. } => why.code(),
            Self::Hopeless { .. } => "hopeless",
            Self::Clip(_) => "clip_uncertain",
            Self::Grid(_) => "too_wide",
        }
    }
}

/// Entries that noise falls on: both vectors of every session.
pub fn dim(task: &TaskConfig) -> u64 {
    task.model.flat_len() + STATISTICS_LEN
}

/// The noise of a task.
///
/// # Errors
/// [`NoiseError`].
pub fn of(task: &TaskConfig) -> Result<Noise, NoiseError> {
    let (trust, target) = match (task.privacy, task.privacy.target()) {
        (Privacy::Distributed { .. } | Privacy::DistributedAdaptive { .. }, Some(target)) => {
            (Trust::Distributed, target)
        }
        (Privacy::Local { .. }, Some(target)) => (Trust::Local, target),
        // Noise on gradients is the device's own; only it knows how many examples it has.
        _ => return Ok(Noise { mechanism: Mechanism::None, grid: plain_grid(task)?, plan: None }),
    };
    let refused =
        |why| NoiseError::Plan { mode: task.privacy.mode(), epsilon: target.epsilon, rounds: target.rounds, why };
    let budget = budget(&target).map_err(|error| refused(error.into()))?;
    let cohort = cohort(task);
    let mut plan = plan::plan(trust, &cohort, dim(task), target.rounds, &budget, width_needed).map_err(refused)?;
    if task.privacy.clip_range().is_some() {
        let split = Split::of(plan.mechanism.grid());
        split.check(plan.mechanism.local_variance(), cohort.survivors_min)?;
        plan = plan.with_clip_bit(&split);
    }
    let mechanism = Mechanism::DistributedGaussian {
        local_variance: plan.mechanism.local_variance(),
        n_honest: plan.mechanism.n_honest(),
        rho: plan.rho_aggregate.units(),
    };
    Ok(Noise { mechanism, grid: plan.mechanism.grid(), plan: Some(Box::new(plan)) })
}

/// Refuses a task under whose noise nothing can be learned.
///
/// # Errors
/// [`NoiseError::Hopeless`], and those of [`of`].
pub fn check(task: &TaskConfig) -> Result<(), NoiseError> {
    match of(task)?.plan {
        Some(plan) if plan.verdict == Verdict::Hopeless => Err(NoiseError::Hopeless {
            mode: task.privacy.mode(),
            devices: cohort(task).devices,
            sentence: plan.sentence,
        }),
        _ => Ok(()),
    }
}

/// The target as the accountant takes it.
///
/// # Errors
/// Epsilon or delta out of the accountant's range.
pub fn budget(target: &Target) -> Result<Budget, AccountingError> {
    Budget::new(target.epsilon, target.delta)
}

/// The devices that one sum has: noise is sized for each sum that the coordinator sees.
pub fn cohort(task: &TaskConfig) -> plan::Cohort {
    let secure = &task.secure_aggregation;
    let survivors_min = task.cohort.floor.max(params::FLOOR);
    let selected = task.cohort.selected().max(survivors_min);
    let divides = secure.profile == Profile::Malicious;
    let devices = if divides { selected.min(task.cohort.session_max.max(survivors_min)) } else { selected };
    plan::Cohort { devices, survivors_min, corrupt: params::corrupt(devices, secure.class) }
}

/// Without noise the operator says how fine the grid is.
fn plain_grid(task: &TaskConfig) -> Result<u32, NoiseError> {
    let factor = task.quantization.grid_factor;
    let grid = (f64::from(factor) * (dim(task) as f64).sqrt()).ceil();
    // Checked to fit.
    if grid >= 1.0 && grid < f64::from(1_u32 << 31) { Ok(grid as u32) } else { Err(NoiseError::Grid(factor)) }
}

#[cfg(test)]
mod tests {
    use scale_proto::privacy::ClipRange;

    use super::*;
    use crate::tests::fleet;

    fn task(devices: u32, floor: u32, privacy: Privacy) -> TaskConfig {
        let mut task = fleet::task("manual");
        task.cohort.goal = devices;
        task.cohort.over_selection_permille = 1000;
        task.cohort.floor = floor;
        task.privacy = privacy;
        task
    }

    const DISTRIBUTED: Privacy = Privacy::Distributed { epsilon: 8.0, delta: 1e-6, rounds: 10 };

    #[test]
    fn noise_is_sized_for_the_honest_survivors() {
        let noise = of(&task(120, 100, DISTRIBUTED)).unwrap();
        let Mechanism::DistributedGaussian { n_honest, local_variance, rho } = noise.mechanism else { panic!("noise") };
        // 100 survivors, 12 of 120 corrupt.
        assert_eq!(n_honest, 88);
        let plan = noise.plan.unwrap();
        assert_eq!((local_variance, rho), (plan.mechanism.local_variance(), plan.rho_aggregate.units()));
        assert!(plan.epsilon_aggregate <= 8.0 && plan.epsilon_aggregate > 7.5, "{}", plan.epsilon_aggregate);
        assert_eq!(plan.verdict, Verdict::Useful);
        assert!(u64::from(noise.grid).pow(2) >= 16 * dim(&task(120, 100, DISTRIBUTED)));
        check(&task(120, 100, DISTRIBUTED)).unwrap();
    }

    #[test]
    fn a_task_that_would_learn_nothing_is_refused_with_the_figures() {
        let few = task(10, 10, Privacy::Distributed { epsilon: 0.5, delta: 1e-6, rounds: 100 });
        let error = check(&few).unwrap_err();
        assert_eq!(error.code(), "hopeless");
        assert!(error.to_string().contains("10 devices") && error.to_string().contains("times the signal"), "{error}");
        let nobody = task(1000, 10, DISTRIBUTED);
        assert_eq!(check(&nobody).unwrap_err().code(), "no_honest_survivor", "100 of 1000 may be corrupt, 10 survive");
    }

    #[test]
    fn a_clip_norm_follows_from_250_survivors_on() {
        let clip = ClipRange { min: 0.1, max: 10.0 };
        let follows = |devices, floor, epsilon| {
            let privacy = Privacy::DistributedAdaptive { epsilon, delta: 1e-6, rounds: 10, clip };
            of(&task(devices, floor, privacy))
        };
        let (plain, fine) = (of(&task(300, 250, DISTRIBUTED)).unwrap(), follows(300, 250, 8.0).unwrap());
        // The same noise at the same cost; what is learned has a twenty-first less of the norm.
        assert_eq!((fine.mechanism, fine.grid), (plain.mechanism, plain.grid));
        let ratio = |noise: &Noise| noise.plan.as_ref().unwrap().noise_to_signal;
        let factor = ratio(&fine) / ratio(&plain);
        // 1.05, and what a norm of 14 units loses by rounding down.
        assert!((1.05..1.08).contains(&factor), "{factor}");
        for (devices, floor, epsilon, said) in
            [(249, 249, 8.0, "249 survivors"), (300, 100, 8.0, "100 survivors"), (250, 250, 1.0, "known to 11.1 %")]
        {
            let error = follows(devices, floor, epsilon).unwrap_err();
            assert_eq!(error.code(), "clip_uncertain", "{error}");
            assert!(error.to_string().contains(said) && error.to_string().contains("at least 250"), "{error}");
        }
    }

    #[test]
    fn without_noise_the_operator_chooses_the_grid() {
        for privacy in [Privacy::None, Privacy::Example { epsilon: 8.0, delta: 1e-5, rounds: 5, clip: 1.0 }] {
            let noise = of(&task(10, 10, privacy)).unwrap();
            assert_eq!((noise.mechanism, noise.plan), (Mechanism::None, None));
            // 3 x 2 + 2 weights and 4 statistics: ceil(64 sqrt 12).
            assert_eq!(noise.grid, 222);
        }
    }
}
