//! What the ledger tells the person whose privacy it counts. Plain values: a host turns them into JSON or a page.

use super::Ledger;
use super::charge::Charge;
use super::entry::Entry;
use super::epsilon::{Epsilons, Total};
use crate::accounting::dp_sgd::DpSgd;
use crate::distributed::Mechanism;
use crate::guardrails::Caps;
use crate::plan::Trust;

/// One line of the account, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// Position in the log.
    pub sequence: u64,
    /// Unix milliseconds; `None` for damage that nothing was written after.
    pub time_ms: Option<u64>,
    /// What it was for.
    pub event: Event,
    /// What it cost.
    pub charge: Charge,
    /// What this round reveals at most, at the delta of the limits in force.
    pub epsilon: Epsilons,
    /// The same of all rounds up to this one.
    pub total: Epsilons,
}

/// What a receipt is for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A round that the device paid for.
    Round {
        /// The task.
        task: String,
        /// Number of the session within its task.
        round: u64,
        /// The policy that the task named.
        policy: String,
        /// Who has to be honest.
        trust: Trust,
        /// Noise on the update; the unit is the person, neighbours hold zeros instead.
        mechanism: Option<Mechanism>,
        /// Noise on gradients; the unit is one example.
        examples: Option<DpSgd>,
        /// SHA-256 of what left the device; `None` if nothing did.
        released: Option<[u8; 32]>,
    },
    /// A record that could not be read, counted as the most that one round may cost.
    Damage,
}

/// What has been spent of what may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exposure {
    /// False after a reset: there was more, and nobody knows how much.
    pub past_known: bool,
    /// Of everything since the log began. Never refills.
    pub lifetime: Epsilons,
    /// Of the current period.
    pub period: Epsilons,
    /// When the next period begins, Unix milliseconds.
    pub refills_ms: u64,
    /// What may be spent over the lifetime.
    pub lifetime_limit: Caps,
    /// What may be spent in a period.
    pub period_limit: Caps,
    /// The delta of every epsilon here.
    pub delta: f64,
}

impl Ledger {
    /// Every round that was paid for and all damage, oldest first.
    pub fn receipts(&self) -> Vec<Receipt> {
        let mut total = Total::ZERO;
        let receipt = |entry: &Entry| {
            total = total.plus(entry);
            self.receipt(entry, &total)
        };
        self.entries().iter().map(receipt).collect()
    }

    /// The account at `now_ms`, Unix milliseconds.
    pub fn exposure(&self, now_ms: u64) -> Exposure {
        let limits = self.limits();
        let all = |counts: &dyn Fn(&Entry) -> bool| {
            let entries = self.entries().iter().filter(|entry| counts(entry));
            entries.fold(Total::ZERO, |sum, entry| sum.plus(entry)).epsilons(limits.delta)
        };
        Exposure {
            past_known: self.past_known(),
            lifetime: all(&|_| true),
            period: all(&|entry| self.counts_in_period(entry, now_ms)),
            refills_ms: self.refills_ms(now_ms),
            lifetime_limit: limits.lifetime,
            period_limit: limits.period,
            delta: limits.delta,
        }
    }

    fn receipt(&self, entry: &Entry, total: &Total) -> Receipt {
        let event = match entry {
            Entry::Lost { .. } => Event::Damage,
            Entry::Round { reservation, released, .. } => Event::Round {
                task: reservation.task.clone(),
                round: reservation.round,
                policy: reservation.policy.clone(),
                trust: reservation.trust,
                mechanism: reservation.mechanism,
                examples: reservation.examples,
                released: *released,
            },
        };
        let delta = self.limits().delta;
        Receipt {
            sequence: entry.sequence(),
            time_ms: entry.time_ms(),
            event,
            charge: *entry.charge(),
            epsilon: Total::ZERO.plus(entry).epsilons(delta),
            total: total.epsilons(delta),
        }
    }
}
