//! A host in memory, and what every test needs.

mod budget;
mod crash;
mod damage;
mod tokens;

use super::*;
use crate::guardrails::Caps;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// A moment in the middle of a period.
const NOW: u64 = 20_000 * DAY_MS + DAY_MS / 2;

fn key() -> LedgerKey {
    LedgerKey::new(&[42; 32])
}

/// Noise that costs about epsilon 0.6 a round, over ten entries.
fn mechanism() -> Mechanism {
    Mechanism::calibrated(13, 10, 6.9, 10).expect("fine")
}

fn facts(round: u64) -> Facts<'static> {
    Facts {
        task: "words",
        round,
        policy: "eight",
        trust: Trust::Distributed,
        mechanism: Some(mechanism()),
        examples: None,
    }
}

fn with_examples(round: u64) -> Facts<'static> {
    Facts { examples: Some(DpSgd::new(2.0, 0.05, 20).expect("fine")), ..facts(round) }
}

/// Limits that nothing in a test reaches unless it sets them.
fn limits() -> Limits {
    Limits::COMPILED
}

/// What a device keeps: a log, and a key store that can count or not.
#[derive(Clone)]
struct Disk {
    log: Vec<u8>,
    counts: bool,
    count: Option<Count>,
}

impl Disk {
    fn new(counts: bool) -> Self {
        Self { log: vec![], counts, count: None }
    }

    fn append(&mut self, append: &Append) {
        assert_eq!(append.at, self.log.len() as u64, "a host refuses this");
        self.log.extend_from_slice(&append.bytes);
        if self.counts {
            self.count = Some(append.count);
        }
    }

    /// Writes, then confirms.
    fn commit<T>(&mut self, ledger: &mut Ledger, pending: Pending<T>) -> T {
        self.append(pending.append());
        ledger.durable(pending).expect("the one it waits for")
    }

    fn create(&mut self, limits: &Limits) -> Ledger {
        let (mut ledger, pending) = Ledger::create(key(), limits, NOW).expect("budgets");
        self.commit(&mut ledger, pending);
        ledger
    }

    fn read(&self) -> Result<Reopened, Locked> {
        Ledger::open(&self.log, key(), self.count)
    }

    /// Opens and repairs.
    fn open(&mut self) -> Result<Ledger, Locked> {
        let Reopened { mut ledger, repair } = self.read()?;
        if let Some(repair) = repair {
            self.commit(&mut ledger, repair);
        }
        Ok(ledger)
    }

    fn pay(&mut self, ledger: &mut Ledger, facts: &Facts<'_>) -> Spend {
        let pending = ledger.reserve(facts, NOW).expect("affordable");
        self.commit(ledger, pending)
    }

    /// A whole round without an update: pays, and releases a payload.
    fn round(&mut self, ledger: &mut Ledger, facts: &Facts<'_>, digest: [u8; 32]) {
        let spend = self.pay(ledger, facts);
        let noised = Noised::new(spend, vec![vec![0; 10]], &mut stream(1)).expect("in bound");
        let (_vectors, unreleased) = noised.into_parts();
        let pending = ledger.release(&unreleased, digest, NOW).expect("unreleased");
        let released = self.commit(ledger, pending);
        assert_eq!(released.digest(), &digest);
    }
}

fn stream(seed: u8) -> rand_chacha::ChaCha20Rng {
    rand_core::SeedableRng::from_seed([seed; 32])
}

/// True if no part of `a` is below that of `b`.
fn covers(a: &Charge, b: &Charge) -> bool {
    a.aggregate >= b.aggregate
        && a.local >= b.local
        && a.example.units().iter().zip(b.example.units()).all(|(a, b)| a >= b)
}

/// A log with every kind of record: its bytes and where each record ends.
fn full_log(counts: bool) -> (Disk, Vec<usize>) {
    let mut disk = Disk::new(counts);
    let mut ends = vec![];
    let mut ledger = disk.create(&limits());
    ends.push(disk.log.len());
    for round in 1..=3 {
        let facts = if round == 2 { with_examples(round) } else { facts(round) };
        let _lost = disk.pay(&mut ledger, &facts);
        ends.push(disk.log.len());
        if round != 2 {
            let unreleased = ledger.unreleased("words", round).expect("unreleased");
            let pending = ledger.release(&unreleased, [round as u8; 32], NOW).expect("unreleased");
            disk.commit(&mut ledger, pending);
            ends.push(disk.log.len());
        }
    }
    let tighter = Limits { delta: 1e-7, ..limits() };
    let pending = ledger.tighten(&tighter, NOW).expect("budgets");
    disk.commit(&mut ledger, pending);
    ends.push(disk.log.len());
    let _lost = disk.pay(&mut ledger, &with_examples(4));
    ends.push(disk.log.len());
    (disk, ends)
}
