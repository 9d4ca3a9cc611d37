//! A device that is killed at every step, and again at every step of what follows.

use std::collections::BTreeMap;

use super::*;

/// Killed.
#[derive(Debug)]
struct Killed;

/// What outlives the process, and what the outside world has seen.
#[derive(Clone)]
struct World {
    disk: Disk,
    /// Exact bytes of a round that were stored before they may be sent.
    stored: BTreeMap<u64, [u8; 32]>,
    /// Every payload that left the device.
    sent: Vec<(u64, [u8; 32])>,
    /// Rounds whose noise was drawn.
    drawn: Vec<u64>,
    /// Different bytes each time noise is drawn.
    draws: u8,
    /// Number of the first round: other numbers give other bytes everywhere.
    first: u64,
    /// Steps until the process dies.
    steps_left: u32,
}

impl World {
    fn new(counts: bool, first: u64) -> Self {
        let mut disk = Disk::new(counts);
        disk.create(&limits());
        Self { disk, stored: BTreeMap::new(), sent: vec![], drawn: vec![], draws: 0, first, steps_left: u32::MAX }
    }

    fn step(&mut self) -> Result<(), Killed> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(Killed)?;
        Ok(())
    }

    /// Writes as a disk does: piece by piece, then the key store.
    fn commit<T>(&mut self, ledger: &mut Ledger, pending: Pending<T>) -> Result<T, Killed> {
        let append = pending.append().clone();
        assert_eq!(append.at, self.disk.log.len() as u64);
        let length = append.bytes.len();
        let mut written = 0;
        for upto in [1, 5, 7, length / 2, length - 1, length] {
            self.step()?;
            let upto = upto.min(length).max(written);
            self.disk.log.extend_from_slice(&append.bytes[written..upto]);
            written = upto;
        }
        self.step()?;
        if self.disk.counts {
            self.disk.count = Some(append.count);
        }
        self.step()?;
        Ok(ledger.durable(pending).expect("the one it waits for"))
    }

    /// One life of the process: does what is left to do for every round.
    fn live(&mut self, rounds: u64) -> Result<(), Killed> {
        let Reopened { mut ledger, repair } = self.disk.read().expect("a crash never locks");
        if let Some(repair) = repair {
            self.commit(&mut ledger, repair)?;
        }
        for round in self.first..self.first + rounds {
            if self.sent.iter().any(|(sent, _)| *sent == round) {
                continue;
            }
            let released = match self.stored.get(&round).copied() {
                // Stored bytes: release them, or send them again.
                Some(digest) => match ledger.unreleased("words", round) {
                    Some(unreleased) => {
                        let pending = ledger.release(&unreleased, digest, NOW).expect("unreleased");
                        self.commit(&mut ledger, pending)?
                    }
                    None => ledger.resend("words", round, &digest).expect("released"),
                },
                None => match ledger.reserve(&facts(round), NOW) {
                    Ok(pending) => {
                        let spend = self.commit(&mut ledger, pending)?;
                        self.drawn.push(round);
                        let noised = Noised::new(spend, vec![vec![0; 10]], &mut stream(1)).expect("in bound");
                        self.draws += 1;
                        let digest = [self.draws; 32];
                        self.step()?;
                        self.stored.insert(round, digest);
                        self.step()?;
                        let (_, unreleased) = noised.into_parts();
                        let pending = ledger.release(&unreleased, digest, NOW).expect("unreleased");
                        self.commit(&mut ledger, pending)?
                    }
                    // Paid for, and the bytes are lost: so is the round.
                    Err(Refusal::AlreadyReserved | Refusal::Exhausted { .. }) => continue,
                    Err(other) => panic!("{other}"),
                },
            };
            self.sent.push((round, *released.digest()));
            self.step()?;
        }
        Ok(())
    }

    fn check(&mut self, what: &str) {
        let ledger = self.disk.open().expect("a crash never locks");
        let one = facts(1).charge().expect("a cost");
        let owed = self.drawn.iter().fold(Charge::ZERO, |sum, _| sum.plus(&one));
        assert!(covers(&ledger.lifetime_spent(), &owed), "{what}: drawn {:?}", self.drawn);
        for window in [&self.drawn[..], &self.sent.iter().map(|(round, _)| *round).collect::<Vec<_>>()[..]] {
            let mut once = window.to_vec();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), window.len(), "{what}: noise or payload twice: {window:?}");
        }
        for (round, digest) in &self.sent {
            assert_eq!(self.stored.get(round), Some(digest), "{what}");
            assert!(ledger.resend("words", *round, digest).is_ok(), "{what}: sent but not in the ledger");
        }
    }
}

const ROUNDS: u64 = 2;

#[test]
fn killed_at_any_step_and_again_at_any_step() {
    for (counts, start) in [(true, 1), (false, 1), (true, 10), (false, 20)] {
        let mut whole = World::new(counts, start);
        whole.live(ROUNDS).expect("not killed");
        whole.check("a whole life");
        assert_eq!(whole.sent.len() as u64, ROUNDS);
        let steps = u32::MAX - whole.steps_left;
        for first in 0..steps {
            let mut once = World::new(counts, start);
            once.steps_left = first;
            once.live(ROUNDS).expect_err("killed");
            once.clone().check(&format!("killed at {first}"));
            for second in 0..=steps + 8 {
                let mut twice = once.clone();
                twice.steps_left = second;
                let killed = twice.live(ROUNDS).is_err();
                let what = format!("killed at {first} and {second}");
                twice.clone().check(&what);
                twice.steps_left = u32::MAX;
                twice.live(ROUNDS).expect("not killed");
                twice.check(&what);
                if !killed {
                    break;
                }
            }
        }
    }
}

/// The rule has teeth: a host that draws noise before the record is durable is caught by the same checks.
#[test]
#[should_panic(expected = "drawn")]
fn a_host_that_draws_too_early_is_caught() {
    let mut world = World::new(true, 1);
    let mut ledger = world.disk.open().expect("whole");
    let pending = ledger.reserve(&facts(1), NOW).expect("affordable");
    let _spend = ledger.durable(pending).expect("the one it waits for");
    world.drawn.push(1);
    world.check("noise before the write");
}
