//! Reading a log back, whatever happened to it.

use super::chain::{self, Link};
use super::charge::{Charge, ExampleCost};
use super::record::{FRAME_MAX, Record};
use super::{Count, Ledger, LedgerKey, Locked, Pending, Refusal};
use crate::guardrails::{Guardrails, Limits};

/// An account that was read back.
#[derive(Debug)]
pub struct Reopened {
    /// The account, with all damage counted.
    pub ledger: Ledger,
    /// A record that counts a damaged end of the log: to be appended before anything else.
    pub repair: Option<Pending<()>>,
}

impl Ledger {
    /// Reads the account back and checks every byte.
    ///
    /// `count`: what the key store remembers; `None` where it cannot count.
    ///
    /// # Errors
    /// [`Locked`].
    pub fn open(log: &[u8], key: LedgerKey, count: Option<Count>) -> Result<Reopened, Locked> {
        if log.is_empty() {
            return Err(Locked::Missing);
        }
        let mut ledger = Self::first(log, key)?;
        while let Some(read) = ledger.next(log)? {
            ledger.end += read;
        }
        if let Some(expected) = count {
            let found = ledger.count();
            // A later epoch is a reset whose count was not stored: it is this device's own, by its MAC.
            if found.epoch < expected.epoch || (found.epoch == expected.epoch && found.records < expected.records) {
                return Err(Locked::RolledBack { found: found.records, expected: expected.records });
            }
        }
        let at = ledger.end as usize;
        let repair = match &log[at..] {
            [] => None,
            rest => Some(ledger.repair(rest, count.is_some()).ok_or(Locked::Damaged { at: ledger.end })?),
        };
        Ok(Reopened { ledger, repair })
    }

    /// A new log.
    pub(super) fn begin(
        key: LedgerKey,
        epoch: u64,
        past_known: bool,
        limits: &Limits,
        time_ms: u64,
    ) -> Result<(Self, Pending<()>), Refusal> {
        let guardrails = Guardrails::default().tightened(limits)?;
        let record = Record::Opened { epoch, past_known, limits: *guardrails.limits(), time_ms };
        let mut ledger = Self::empty(key, epoch, past_known, guardrails.clone(), guardrails);
        let pending = ledger.append(record, ());
        Ok((ledger, pending))
    }

    fn empty(key: LedgerKey, epoch: u64, past_known: bool, recorded: Guardrails, guardrails: Guardrails) -> Self {
        Self {
            key,
            epoch,
            past_known,
            recorded,
            guardrails,
            entries: vec![],
            link: Link::START,
            end: 0,
            last_ms: 0,
            unconfirmed: None,
        }
    }

    /// The account after the first record alone.
    fn first(log: &[u8], key: LedgerKey) -> Result<Self, Locked> {
        let damaged = Locked::Damaged { at: 0 };
        // A first record that was cut off is as good as none: nothing was ever paid for by it.
        let unreadable = if chain::is_torn(log) { Locked::Missing } else { damaged };
        let (record, read, link) = key.open(&Link::START, log).ok_or(unreadable)?;
        let Record::Opened { epoch, past_known, limits, .. } = record else { return Err(damaged) };
        let recorded = Guardrails::new(&limits).map_err(|_| damaged)?;
        // The compiled limits are budgets.
        let guardrails = recorded.tightened(&Limits::COMPILED).map_err(|_| damaged)?;
        let mut ledger = Self::empty(key, epoch, past_known, recorded, guardrails);
        (ledger.link, ledger.end) = (link, read as u64);
        ledger.take(record);
        Ok(ledger)
    }

    /// Takes the next record, and what it skips; gives the bytes that were read, `None` where the chain ends.
    fn next(&mut self, log: &[u8]) -> Result<Option<u64>, Locked> {
        let rest = &log[self.end as usize..];
        if let Some((record, read, link)) = self.key.open(&self.link, rest) {
            if !self.fits(&record, 0, rest) {
                return Err(Locked::Damaged { at: self.end });
            }
            self.link = link;
            self.take(record);
            return Ok(Some(read as u64));
        }
        // Unreadable bytes that an earlier opening counted: its record follows them.
        for skipped in 1..=rest.len().min(FRAME_MAX) {
            if let Some((record, read, link)) = self.key.open(&self.link, &rest[skipped..])
                && self.fits(&record, skipped, rest)
            {
                self.link = link;
                self.take(record);
                return Ok(Some((skipped + read) as u64));
            }
        }
        Ok(None)
    }

    /// Whether `record` may follow, `skipped` bytes after the end of the chain.
    fn fits(&self, record: &Record, skipped: usize, rest: &[u8]) -> bool {
        let later = |time_ms: u64| skipped == 0 && time_ms >= self.last_ms;
        match record {
            Record::Opened { .. } => false,
            Record::Tightened { limits, time_ms } => later(*time_ms) && Guardrails::new(limits).is_ok(),
            Record::Reserved(new) => later(new.time_ms) && self.find(&new.task, new.round).is_none(),
            Record::Released { reservation, time_ms, .. } => later(*time_ms) && self.awaits_payload(*reservation),
            Record::Lost { skipped: counted, digest, .. } => {
                skipped > 0 && *counted as usize == skipped && *digest == chain::digest(&rest[..skipped])
            }
        }
    }

    /// Counts `rest`, the unreadable end of the log, as one round; `None` if it can be more than one record.
    fn repair(&mut self, rest: &[u8], counted: bool) -> Option<Pending<()>> {
        if chain::is_torn(rest) {
            let mut torn = rest.to_vec();
            if self.completes(&torn, counted) {
                // Not the byte that is missing, so nothing completes it any more.
                torn.push(0);
            }
            return Some(self.skip(&torn, rest.len(), counted));
        }
        // An earlier repair may have been cut off as well: then it is written to its end.
        for skipped in 1..rest.len() {
            let (torn, begun) = rest.split_at(skipped);
            if !chain::is_torn(torn) {
                continue;
            }
            for counted in [counted, !counted] {
                let frame = self.key.seal(&self.link, self.lost(torn, counted)).bytes;
                if frame.starts_with(begun) && !self.completes(torn, counted) {
                    return Some(self.skip(torn, rest.len(), counted));
                }
            }
        }
        None
    }

    /// Whether the record that counts `torn` begins with the very bytes that `torn` lacks: the two would read as one.
    fn completes(&self, torn: &[u8], counted: bool) -> bool {
        let frame = self.key.seal(&self.link, self.lost(torn, counted)).bytes;
        self.key.open(&self.link, &[torn, &frame].concat()).is_some()
    }

    /// Counts `torn` as lost. Of it and its record the first `present` bytes are in the log already.
    fn skip(&mut self, torn: &[u8], present: usize, counted: bool) -> Pending<()> {
        let start = self.end;
        let record = self.lost(torn, counted);
        self.end += torn.len() as u64;
        let mut pending = self.append(record, ());
        let written = [torn, &pending.append.bytes].concat();
        pending.append.at = start + present as u64;
        pending.append.bytes = written[present..].to_vec();
        pending
    }

    /// `counted`: whether the key store would have noticed if this record had been confirmed.
    fn lost(&self, bytes: &[u8], counted: bool) -> Record {
        let (aggregate, local) = self.recorded.round().user_charge();
        // A cap holds at one order only, and nobody knows at which: a lost cost of examples has no bound at the others.
        // Where the key store counts, the record was never confirmed and no noise was drawn for it.
        let example = if counted { ExampleCost::ZERO } else { ExampleCost::MAX };
        // One frame at most.
        let skipped = bytes.len() as u32;
        Record::Lost { skipped, digest: chain::digest(bytes), charge: Charge { aggregate, local, example } }
    }
}
