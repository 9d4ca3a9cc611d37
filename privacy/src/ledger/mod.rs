//! What a device has spent of its privacy, written down before anything leaves it (docs/adr/0008-paid-before-drawn.md).
//!
//! A pure machine: the host stores bytes, and says when they are durable. Strictly in this order:
//!
//! | step | call | what the host does |
//! |---|---|---|
//! | 1 | | takes its lock: one process at a time |
//! | 2 | [`Ledger::open`] | reads the log, and the [`Count`] in its key store |
//! | 3 | [`Ledger::reserve`] | appends [`Pending::append`], makes it durable, then stores the count |
//! | 4 | [`Ledger::durable`] | gets the [`Spend`]; only [`Noised`] takes it |
//! | 5 | [`Noised::into_parts`] | masks, and stores the exact bytes to be sent |
//! | 6 | [`Ledger::release`] | as in step 3, with the digest of these bytes |
//! | 7 | [`Ledger::durable`] | gets [`Released`]: the transport may have the bytes |
//!
//! Killed anywhere in between, a reservation stays spent. With the bytes of step 5 at hand the device goes on at step 6
//! by [`Ledger::unreleased`]; after step 7 it sends them again by [`Ledger::resend`], at no cost. Without them the round
//! is lost: noise is drawn once, because the mean of two draws over the same data would carry less.
//!
//! A record that was cut off or spoilt at the end of the log counts as the most that a round may cost; anything else
//! that does not fit locks the ledger ([`Locked`]). On a platform whose key store cannot count, a log that was set back
//! to an earlier end cannot be told from a log that ends there: say so to the user.

mod chain;
mod charge;
mod entry;
mod epsilon;
mod error;
mod open;
mod receipt;
mod record;
mod spend;

use crate::accounting::dp_sgd::DpSgd;
use crate::distributed::Mechanism;
use crate::guardrails::{Guardrails, Limits};
use crate::plan::Trust;

pub use chain::LedgerKey;
pub use charge::{Charge, Claim, ExampleCost};
pub use epsilon::{Epsilon, Epsilons};
pub use error::{Locked, Refusal};
pub use open::Reopened;
pub use receipt::{Event, Exposure, Receipt};
pub use spend::{NoiseError, Noised, Released, Spend, Unreleased};

use chain::Link;
use entry::Entry;
use record::{Record, Reservation};

/// How far the clock may lag behind the last record: what a time server corrects.
pub const CLOCK_SLACK_MS: u64 = 10 * 60 * 1000;

/// How far the log has come: what a key store that can count remembers, so that nobody sets the log back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Rises with every reset.
    pub epoch: u64,
    /// Records of this epoch.
    pub records: u64,
}

/// What the host must write before anything goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Length of the log so far: another length means that another process wrote, so write nothing and open again.
    pub at: u64,
    /// The bytes to append.
    pub bytes: Vec<u8>,
    /// What the key store keeps once the bytes are durable.
    pub count: Count,
}

/// A record that is not known to be durable, and what there is to gain once it is.
#[derive(Debug)]
#[must_use = "append it, make it durable, then tell the ledger"]
pub struct Pending<T> {
    append: Append,
    link: Link,
    then: T,
}

impl<T> Pending<T> {
    /// What the host must write.
    pub const fn append(&self) -> &Append {
        &self.append
    }
}

/// A round that asks for its cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts<'a> {
    /// The task, 1 to 255 bytes.
    pub task: &'a str,
    /// Number of the session within its task; a second attempt has another.
    pub round: u64,
    /// The policy that the task names, 1 to 255 bytes.
    pub policy: &'a str,
    /// Who has to be honest.
    pub trust: Trust,
    /// Noise on the update. Without it a person has no protection that could be counted.
    pub mechanism: Option<Mechanism>,
    /// Noise on gradients.
    pub examples: Option<DpSgd>,
}

impl Facts<'_> {
    /// What the round costs, worked out here: nobody hands a cost in.
    ///
    /// # Errors
    /// [`Refusal::NoNoise`], [`Refusal::Mechanism`], [`Refusal::Accounting`].
    pub fn charge(&self) -> Result<Charge, Refusal> {
        if self.mechanism.is_none() && self.examples.is_none() {
            return Err(Refusal::NoNoise);
        }
        let mut charge = Charge::ZERO;
        if let Some(mechanism) = &self.mechanism {
            charge.aggregate = mechanism.aggregate()?;
            charge.local = mechanism.local()?;
        }
        if let Some(examples) = &self.examples {
            charge.example = ExampleCost::round_up(&examples.curve()?);
        }
        Ok(charge)
    }
}

/// The account of one device.
#[derive(Debug)]
pub struct Ledger {
    key: LedgerKey,
    epoch: u64,
    past_known: bool,
    /// As the log says; damage is charged by them.
    recorded: Guardrails,
    /// Never looser than what this build compiles in.
    guardrails: Guardrails,
    entries: Vec<Entry>,
    link: Link,
    /// Length of the log in bytes.
    end: u64,
    last_ms: u64,
    /// A record that was handed out and not confirmed.
    unconfirmed: Option<Link>,
}

impl Ledger {
    /// The account of a device that never had one: its key store has counted nothing, and there is no log
    /// ([`Locked::Missing`]). [`Pending::append`] replaces whatever bytes are there.
    ///
    /// # Errors
    /// [`Refusal::Accounting`] if one of `limits` is no budget.
    pub fn create(key: LedgerKey, limits: &Limits, now_ms: u64) -> Result<(Self, Pending<()>), Refusal> {
        Self::begin(key, 0, true, limits, now_ms)
    }

    /// A new account after [`Locked`], when the user asks for it. The host replaces the old log with
    /// [`Pending::append`]. What was spent before is unknown from here on, and [`Exposure::past_known`] says so for ever.
    ///
    /// `last`: what the key store counted; `None` if it cannot count.
    ///
    /// # Errors
    /// [`Refusal::Accounting`] if one of `limits` is no budget.
    pub fn reset(
        key: LedgerKey,
        last: Option<Count>,
        limits: &Limits,
        now_ms: u64,
    ) -> Result<(Self, Pending<()>), Refusal> {
        let epoch = last.map_or(0, |count| count.epoch).saturating_add(1);
        Self::begin(key, epoch, false, limits, now_ms)
    }

    /// Pays for a round, if the limits allow it. Noise may be drawn once the record is durable.
    ///
    /// `now_ms`: Unix milliseconds.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub fn reserve(&mut self, facts: &Facts<'_>, now_ms: u64) -> Result<Pending<Spend>, Refusal> {
        let charge = facts.charge()?;
        self.take_down(facts, charge, now_ms)
    }

    /// Takes down a round in which the person has no noise at all, by name: it costs nothing that could be counted, and
    /// its receipt says so. Whether such rounds are joined is the host's choice.
    ///
    /// # Errors
    /// [`Refusal`], any but those about costs; nothing has changed then.
    pub fn reserve_without_noise(
        &mut self,
        task: &str,
        round: u64,
        policy: &str,
        now_ms: u64,
    ) -> Result<Pending<Spend>, Refusal> {
        let facts = Facts { task, round, policy, trust: Trust::Distributed, mechanism: None, examples: None };
        self.take_down(&facts, Charge::ZERO, now_ms)
    }

    /// Whether [`Self::reserve`] would pay for this round now: to be asked before anything is trained for it.
    ///
    /// # Errors
    /// Those of [`Self::reserve`].
    pub fn would_pay(&self, facts: &Facts<'_>, now_ms: u64) -> Result<(), Refusal> {
        self.payable(facts, &facts.charge()?, now_ms).map(drop)
    }

    /// Writes down the one payload of a reservation: SHA-256 of the exact bytes to be sent, which the host has stored.
    ///
    /// # Errors
    /// [`Refusal::NothingToRelease`], [`Refusal::Unconfirmed`], [`Refusal::ClockBack`].
    pub fn release(
        &mut self,
        unreleased: &Unreleased,
        digest: [u8; 32],
        now_ms: u64,
    ) -> Result<Pending<Released>, Refusal> {
        let time_ms = self.ready(now_ms)?;
        let reservation = unreleased.reservation();
        if !self.awaits_payload(reservation) {
            return Err(Refusal::NothingToRelease);
        }
        Ok(self.append(Record::Released { reservation, digest, time_ms }, Released::new(digest)))
    }

    /// Makes the limits stricter from here on; looser ones are passed over, one by one.
    ///
    /// # Errors
    /// [`Refusal::Accounting`] if one of `limits` is no budget; [`Refusal::Unconfirmed`], [`Refusal::ClockBack`].
    pub fn tighten(&mut self, limits: &Limits, now_ms: u64) -> Result<Pending<()>, Refusal> {
        let time_ms = self.ready(now_ms)?;
        let limits = *self.guardrails.tightened(limits)?.limits();
        Ok(self.append(Record::Tightened { limits, time_ms }, ()))
    }

    /// Says that a record is durable, and the key store's count too; gives what waited for it.
    ///
    /// # Errors
    /// [`Refusal::Unconfirmed`] if it is not the record that this ledger waits for.
    pub fn durable<T>(&mut self, pending: Pending<T>) -> Result<T, Refusal> {
        if self.unconfirmed != Some(pending.link) {
            return Err(Refusal::Unconfirmed);
        }
        self.unconfirmed = None;
        Ok(pending.then)
    }

    /// The reservation of a round whose payload is not in the ledger, after a restart: for a device that has stored the
    /// exact bytes. There is no way back to a [`Spend`].
    pub fn unreleased(&self, task: &str, round: u64) -> Option<Unreleased> {
        let sequence = self.find(task, round)?.sequence();
        self.awaits_payload(sequence).then(|| Unreleased::new(sequence))
    }

    /// Leave to send a released payload again: the identical bytes, so nothing is spent.
    ///
    /// # Errors
    /// [`Refusal::NothingToRelease`] if the round has no payload; [`Refusal::DifferentBytes`].
    pub fn resend(&self, task: &str, round: u64, digest: &[u8; 32]) -> Result<Released, Refusal> {
        match self.find(task, round) {
            Some(Entry::Round { released: Some(released), .. }) if released == digest => Ok(Released::new(*digest)),
            Some(Entry::Round { released: Some(_), .. }) => Err(Refusal::DifferentBytes),
            _ => Err(Refusal::NothingToRelease),
        }
    }

    /// The limits in force: the log's, and never looser than the compiled ones.
    pub const fn limits(&self) -> &Limits {
        self.guardrails.limits()
    }

    /// False after a reset.
    pub const fn past_known(&self) -> bool {
        self.past_known
    }

    /// Records of this log, for a key store to remember.
    pub const fn count(&self) -> Count {
        Count { epoch: self.epoch, records: self.link.records }
    }

    /// Everything that was ever charged.
    pub fn lifetime_spent(&self) -> Charge {
        self.entries.iter().fold(Charge::ZERO, |sum, entry| sum.plus(entry.charge()))
    }

    /// What was charged in the period of `now_ms`.
    pub fn period_spent(&self, now_ms: u64) -> Charge {
        let counts = |entry: &&Entry| self.counts_in_period(entry, now_ms);
        self.entries.iter().filter(counts).fold(Charge::ZERO, |sum, entry| sum.plus(entry.charge()))
    }

    /// Whether an entry counts in the period of `now_ms`. Damage without a time counts in every one.
    fn counts_in_period(&self, entry: &Entry, now_ms: u64) -> bool {
        let period = |ms: u64| ms / self.limits().period_ms;
        let now = period(now_ms.max(self.last_ms));
        entry.time_ms().is_none_or(|ms| period(ms) == now)
    }

    /// When the period after `now_ms` begins, Unix milliseconds.
    pub fn refills_ms(&self, now_ms: u64) -> u64 {
        let period = self.limits().period_ms;
        (now_ms.max(self.last_ms) / period + 1).saturating_mul(period)
    }

    /// Refuses a round that may not be paid for; gives the time of its record.
    fn payable(&self, facts: &Facts<'_>, charge: &Charge, now_ms: u64) -> Result<u64, Refusal> {
        let time_ms = self.ready(now_ms)?;
        for (what, name) in [("task", facts.task), ("policy", facts.policy)] {
            if !(1..=255).contains(&name.len()) {
                return Err(Refusal::Name(what));
            }
        }
        if self.find(facts.task, facts.round).is_some() {
            return Err(Refusal::AlreadyReserved);
        }
        self.afford(charge, time_ms)?;
        Ok(time_ms)
    }

    fn take_down(&mut self, facts: &Facts<'_>, charge: Charge, now_ms: u64) -> Result<Pending<Spend>, Refusal> {
        let reservation = Reservation {
            time_ms: self.payable(facts, &charge, now_ms)?,
            task: facts.task.to_owned(),
            round: facts.round,
            policy: facts.policy.to_owned(),
            trust: facts.trust,
            mechanism: facts.mechanism,
            examples: facts.examples,
            charge,
        };
        let spend = Spend::new(self.link.records, facts.mechanism);
        Ok(self.append(Record::Reserved(reservation), spend))
    }

    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn find(&self, task: &str, round: u64) -> Option<&Entry> {
        let same = |entry: &&Entry| match entry {
            Entry::Round { reservation, .. } => reservation.round == round && reservation.task == task,
            Entry::Lost { .. } => false,
        };
        self.entries.iter().find(same)
    }

    fn awaits_payload(&self, reservation: u64) -> bool {
        let waits =
            |entry: &Entry| matches!(entry, Entry::Round { sequence, released: None, .. } if *sequence == reservation);
        self.entries.iter().any(waits)
    }

    /// Refuses what may not follow; gives the time of the next record.
    fn ready(&self, now_ms: u64) -> Result<u64, Refusal> {
        if self.unconfirmed.is_some() {
            return Err(Refusal::Unconfirmed);
        }
        if now_ms.saturating_add(CLOCK_SLACK_MS) < self.last_ms {
            return Err(Refusal::ClockBack { last_ms: self.last_ms });
        }
        Ok(now_ms.max(self.last_ms))
    }

    /// Holds one round's cost against every limit.
    fn afford(&self, charge: &Charge, now_ms: u64) -> Result<(), Refusal> {
        let (round, period, lifetime) = (self.guardrails.round(), self.guardrails.period(), self.guardrails.lifetime());
        // A round that no empty period can hold is not worth waiting for.
        if let Some(claim) = round.broken_by(charge).or_else(|| period.broken_by(charge)) {
            return Err(Refusal::TooCostly { claim });
        }
        if let Some(claim) = lifetime.broken_by(&self.lifetime_spent().plus(charge)) {
            return Err(Refusal::Exhausted { claim, refills_ms: None });
        }
        if let Some(claim) = period.broken_by(&self.period_spent(now_ms).plus(charge)) {
            return Err(Refusal::Exhausted { claim, refills_ms: Some(self.refills_ms(now_ms)) });
        }
        Ok(())
    }

    /// Counts the record from now on, durable or not, and hands it out to be written.
    fn append<T>(&mut self, record: Record, then: T) -> Pending<T> {
        let frame = self.key.seal(&self.link, record);
        let at = self.end;
        self.end += frame.bytes.len() as u64;
        self.link = frame.next;
        self.take(frame.record);
        self.unconfirmed = Some(frame.next);
        Pending { append: Append { at, bytes: frame.bytes, count: self.count() }, link: frame.next, then }
    }

    /// Takes a record, already linked, into the account. The record fits: see [`open`] for those that are read.
    fn take(&mut self, record: Record) {
        let sequence = self.link.records - 1;
        let time_ms = match &record {
            Record::Opened { time_ms, .. } | Record::Tightened { time_ms, .. } | Record::Released { time_ms, .. } => {
                Some(*time_ms)
            }
            Record::Reserved(reservation) => Some(reservation.time_ms),
            Record::Lost { .. } => None,
        };
        if let Some(now_ms) = time_ms {
            self.last_ms = now_ms;
            for entry in &mut self.entries {
                if let Entry::Lost { time_ms: time_ms @ None, .. } = entry {
                    *time_ms = Some(now_ms);
                }
            }
        }
        match record {
            Record::Opened { .. } => {}
            Record::Tightened { limits, .. } => {
                // Only limits that are budgets are written, and only such are read.
                self.recorded = self.recorded.tightened(&limits).expect("checked limits");
                self.guardrails = self.guardrails.tightened(&limits).expect("checked limits");
            }
            Record::Reserved(reservation) => {
                self.entries.push(Entry::Round { sequence, reservation, released: None });
            }
            Record::Released { reservation, digest, .. } => {
                for entry in &mut self.entries {
                    match entry {
                        Entry::Round { sequence, released, .. } if *sequence == reservation => *released = Some(digest),
                        _ => {}
                    }
                }
            }
            Record::Lost { charge, .. } => self.entries.push(Entry::Lost { sequence, charge, time_ms: None }),
        }
    }
}

#[cfg(test)]
mod tests;
