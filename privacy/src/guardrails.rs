//! What a device lets itself spend, whatever a server asks for. Compiled in; a host app may only tighten it.

use crate::accounting::rdp;
use crate::accounting::zcdp::Rho;
use crate::accounting::{AccountingError, Budget, MARGIN, UserLevel};
use crate::ledger::{Charge, Claim, ExampleCost};

/// Thirty days.
const MONTH_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// The largest epsilons of one span of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Caps {
    /// Against who sees only sums over enough honest devices.
    pub aggregate: f64,
    /// Against who sees this device's uploads by themselves: what remains if secure aggregation fails.
    pub local: f64,
    /// Of one training example.
    pub example: f64,
}

/// Limits as a host app writes them down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Of one round.
    pub round: Caps,
    /// Of all rounds in one period.
    pub period: Caps,
    /// Of all rounds ever.
    pub lifetime: Caps,
    /// Length of a period in milliseconds. Periods begin at multiples of it since 1970, whatever happened before.
    pub period_ms: u64,
    /// The delta of every epsilon here.
    pub delta: f64,
}

impl Limits {
    /// The compiled limits. The local ones are weak: a device's own part of the noise is small, see privacy reports.
    ///
    /// Those of an example let a device follow one plan of epsilon 8 at delta 1e-5 in a period. Here it counts for up to
    /// 10.5: at a smaller delta, and every order of the accountant has but its part of that (see [`ExampleCost`]).
    pub const COMPILED: Self = Self {
        round: Caps { aggregate: 4.0, local: 250.0, example: 10.5 },
        period: Caps { aggregate: 8.0, local: 5000.0, example: 10.5 },
        lifetime: Caps { aggregate: 10.0, local: 10_000.0, example: 12.0 },
        period_ms: MONTH_MS,
        delta: 1e-6,
    };

    /// Limit by limit the stricter of the two; a longer period is stricter.
    fn stricter(&self, other: &Self) -> Self {
        let caps = |a: &Caps, b: &Caps| Caps {
            aggregate: a.aggregate.min(b.aggregate),
            local: a.local.min(b.local),
            example: a.example.min(b.example),
        };
        Self {
            round: caps(&self.round, &other.round),
            period: caps(&self.period, &other.period),
            lifetime: caps(&self.lifetime, &other.lifetime),
            period_ms: self.period_ms.max(other.period_ms),
            delta: self.delta.min(other.delta),
        }
    }
}

/// Limits that hold: every number was checked, and none is looser than the compiled one.
#[derive(Clone, Debug, PartialEq)]
pub struct Guardrails {
    limits: Limits,
    round: Cap,
    period: Cap,
    lifetime: Cap,
}

impl Default for Guardrails {
    /// [`Limits::COMPILED`].
    fn default() -> Self {
        // A test holds that the constants are budgets.
        Self::new(&Limits::COMPILED).expect("the compiled limits are budgets")
    }
}

impl Guardrails {
    /// The stricter of these and `limits`, limit by limit: nothing gets looser.
    ///
    /// # Errors
    /// [`AccountingError`] if one of `limits` is NaN, infinite, zero or negative; nothing has changed then.
    pub fn tightened(&self, limits: &Limits) -> Result<Self, AccountingError> {
        // Before the comparison: `min` would silently pass over NaN.
        Self::new(limits)?;
        Self::new(&self.limits.stricter(limits))
    }

    /// The limits in force.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Limits that a device wrote down itself, earlier.
    pub(crate) fn new(limits: &Limits) -> Result<Self, AccountingError> {
        let cap = |caps: &Caps| Cap::new(caps, limits.delta);
        let (round, period, lifetime) = (cap(&limits.round)?, cap(&limits.period)?, cap(&limits.lifetime)?);
        Ok(Self { limits: Limits { period_ms: limits.period_ms.max(1), ..*limits }, round, period, lifetime })
    }

    pub(crate) const fn round(&self) -> &Cap {
        &self.round
    }

    pub(crate) const fn period(&self) -> &Cap {
        &self.period
    }

    pub(crate) const fn lifetime(&self) -> &Cap {
        &self.lifetime
    }
}

/// One span's caps in the units of account.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cap {
    aggregate: Rho<UserLevel>,
    local: Rho<UserLevel>,
    example: ExampleCost,
}

impl Cap {
    fn new(caps: &Caps, delta: f64) -> Result<Self, AccountingError> {
        Ok(Self {
            aggregate: Rho::within(&Budget::new(caps.aggregate, delta)?),
            local: Rho::within(&Budget::new(caps.local, delta)?),
            example: ExampleCost::within(&Budget::new(caps.example, delta)?),
        })
    }

    /// The claim that `spent` breaks, if any.
    pub(crate) fn broken_by(&self, spent: &Charge) -> Option<Claim> {
        if spent.aggregate > self.aggregate {
            Some(Claim::Aggregate)
        } else if spent.local > self.local {
            Some(Claim::Local)
        } else if !spent.example.fits(&self.example) {
            Some(Claim::Example)
        } else {
            None
        }
    }

    /// Everything that this cap lets a person spend.
    pub(crate) const fn user_charge(&self) -> (Rho<UserLevel>, Rho<UserLevel>) {
        (self.aggregate, self.local)
    }
}

impl ExampleCost {
    /// The largest bound at each order that still gives `budget`: 0 where no cost is small enough.
    ///
    /// Costs may be chosen after seeing earlier sums, and so may the order that is read off at the end: every order gets
    /// its part of delta, so that the bound holds for whichever is left (a union over the filters of Feldman and Zrnic
    /// 2021, one per order).
    pub(crate) fn within(budget: &Budget) -> Self {
        let delta = budget.delta() / ExampleCost::ORDERS.len() as f64;
        Self::from_fn(|order| {
            let bound = budget.epsilon() + rdp::gain(order, delta);
            // Downwards: less by more than the logarithms may err, then truncated. A negative bound becomes 0.
            (bound * (1.0 - MARGIN) * (1u64 << 40) as f64) as u64
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::dp_sgd::DpSgd;

    #[test]
    fn a_host_can_only_tighten() {
        let compiled = Guardrails::default();
        let loose = Caps { aggregate: 100.0, local: 100_000.0, example: 100.0 };
        let loose = Limits { round: loose, period: loose, lifetime: loose, period_ms: 1, delta: 0.1 };
        assert_eq!(compiled.tightened(&loose), Ok(compiled.clone()));
        let strict = Caps { aggregate: 0.5, local: 5.0, example: 0.25 };
        let strict = Limits { round: strict, period: strict, lifetime: strict, period_ms: u64::MAX, delta: 1e-9 };
        let tightened = compiled.tightened(&strict).expect("budgets");
        assert_eq!(tightened.limits(), &strict);
        assert_eq!(tightened.tightened(&Limits::COMPILED), Ok(tightened.clone()), "there is no way back");
        // One strict limit among loose ones counts.
        let one = Limits { period: Caps { local: 7.0, ..loose.period }, ..loose };
        assert_eq!(compiled.tightened(&one).expect("budgets").limits().period.local, 7.0);
    }

    /// What the compiled limits of an example are made for: a plan that calibrates its noise to epsilon 8 at delta 1e-5.
    #[test]
    fn a_period_pays_for_one_plan_of_epsilon_8() {
        const ROUNDS: u32 = 12;
        let guardrails = Guardrails::default();
        let target = Budget::new(8.0, 1e-5).expect("a budget");
        for (rate, steps) in [(1.0, 1), (1.0, 2), (0.25, 8), (0.02, 100)] {
            let plan = DpSgd::calibrated(rate, steps * ROUNDS, &target).expect("reachable");
            let round = DpSgd::new(plan.noise_multiplier(), rate, steps).and_then(|run| run.curve()).expect("in range");
            let round = Charge { example: ExampleCost::round_up(&round), ..Charge::ZERO };
            let mut spent = Charge::ZERO;
            let paid = std::iter::repeat_with(|| {
                spent = spent.plus(&round);
                guardrails.period.broken_by(&spent).is_none() && guardrails.round.broken_by(&round).is_none()
            });
            let paid = paid.take(100).take_while(|paid| *paid).count() as u32;
            assert!((ROUNDS..2 * ROUNDS).contains(&paid), "rate {rate}, {steps} steps: {paid} rounds are paid for");
        }
    }

    #[test]
    fn a_limit_that_is_no_number_is_refused() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0] {
            for index in 0..10 {
                let mut limits = Limits::COMPILED;
                let all = [&mut limits.round, &mut limits.period, &mut limits.lifetime];
                let mut fields: Vec<&mut f64> = all
                    .into_iter()
                    .flat_map(|caps| [&mut caps.aggregate, &mut caps.local, &mut caps.example])
                    .collect();
                fields.push(&mut limits.delta);
                *fields[index] = bad;
                assert!(Guardrails::default().tightened(&limits).is_err(), "limit {index} = {bad}");
            }
        }
    }
}
