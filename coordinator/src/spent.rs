//! What the rounds behind a model version have cost in privacy, kept in the accountant's own unit (pure).
//!
//! Counted is every round whose sum was released, also one that published nothing, and every round that was ended while
//! its masks came off. Rounds that ended without a sum cost nothing against who sees sums; a device's own ledger counts
//! them as well.

use scale_privacy::accounting::{UserLevel, zcdp::Rho};
use scale_privacy::distributed;
use scale_proto::privacy::Privacy;
use scale_secagg::config::{Mechanism, RoundConfig};

/// A task's account after some of its rounds, for whoever took part in all of them. Nothing is ever taken off it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// [`Privacy::mode`] of the task.
    pub mode: &'static str,
    /// Number of the last round that was looked at.
    pub through: u64,
    /// Rounds with noise.
    pub rounds: u64,
    /// Against who sees only sums; zero without noise on updates.
    pub aggregate: Rho<UserLevel>,
    /// Against who sees a device's uploads by themselves; zero without noise on updates.
    pub alone: Rho<UserLevel>,
}

impl Spent {
    /// Before the first round.
    pub const fn nothing(privacy: &Privacy) -> Self {
        Self { mode: privacy.mode(), through: 0, rounds: 0, aggregate: Rho::ZERO, alone: Rho::ZERO }
    }

    /// Adds a round that released its sum. A person is in one of its sessions only.
    pub fn charge(&mut self, config: &RoundConfig) {
        self.charge_round(config.mechanism, config.grid, config.dim());
    }

    /// Adds a round with this noise, on this grid and on so many entries.
    pub fn charge_round(&mut self, mechanism: Mechanism, grid: u32, dim: u64) {
        match mechanism {
            // Noise on gradients is the devices' own.
            Mechanism::None => self.rounds += u64::from(self.mode == Self::EXAMPLE),
            Mechanism::DistributedGaussian { local_variance, n_honest, rho } => {
                let alone = distributed::Mechanism::new(grid, dim, local_variance, n_honest)
                    .and_then(|mechanism| mechanism.local());
                self.rounds += 1;
                self.aggregate = self.aggregate.plus(Rho::from_units(rho));
                // What cannot be counted is more than anything.
                self.alone = self.alone.plus(alone.unwrap_or(Rho::MAX));
            }
        }
    }

    /// The account in epsilons, for people. `privacy`: the task's.
    pub fn cost(&self, privacy: &Privacy) -> Cost {
        let target = privacy.target();
        let delta = target.map(|target| target.delta);
        let on_updates = !matches!(self.mode, Self::NONE | Self::EXAMPLE);
        let epsilon = |rho: Rho<UserLevel>| delta.filter(|_| on_updates).and_then(|delta| rho.epsilon(delta).ok());
        let bound = target.filter(|_| self.mode == Self::EXAMPLE);
        Cost {
            mode: self.mode,
            rounds: self.rounds,
            epsilon_aggregate: epsilon(self.aggregate),
            epsilon_alone: epsilon(self.alone),
            at_most: bound.map(|target| (target.epsilon, target.rounds)),
            delta,
        }
    }

    const NONE: &str = Privacy::MODES[0];
    const EXAMPLE: &str = Privacy::MODES[1];
}

/// What a model version has cost so far, as operators see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// [`Privacy::mode`] of the task.
    pub mode: &'static str,
    /// Rounds with noise.
    pub rounds: u64,
    /// Noise on updates: epsilon of these rounds for one person, against who sees only sums.
    pub epsilon_aggregate: Option<f64>,
    /// Noise on updates: the same against who sees a device's uploads by themselves.
    pub epsilon_alone: Option<f64>,
    /// Noise on gradients: the epsilon for one example that no device exceeds, and the rounds that it is for. How much
    /// of it is spent only the device knows.
    pub at_most: Option<(f64, u32)>,
    /// Delta of every epsilon; `None` without noise.
    pub delta: Option<f64>,
}
