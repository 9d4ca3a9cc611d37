//! A liar that throws dice: who is shown which roster, which sharers, which survivors, who is asked twice, and when
//! everybody crashes. Most throws are close to the truth, so that sessions go far.

use std::rc::Rc;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use scale_secagg::graph::Members;
use scale_secagg::params::{self, Class};
use scale_tests::liar::{Crew, Habits, Liar, Report, Shown};

use super::table::AUTHORITY;

const SESSIONS: u64 = 40;

struct Dice(ChaCha20Rng);

impl Dice {
    fn one_in(&mut self, times: u32) -> bool {
        self.0.next_u32().is_multiple_of(times)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0.next_u32() as usize % bound
    }

    /// The set with up to `most` members gone.
    fn thinned(&mut self, set: &Members, most: usize) -> Members {
        let mut set = set.clone();
        for _ in 0..self.below(most + 1) {
            let gone = self.below(set.n() as usize) as u32;
            set.remove(gone);
        }
        set
    }

    /// One of two, mostly the first.
    fn pick<'a, T>(&mut self, both: &'a [T; 2], rarely: u32) -> &'a T {
        &both[usize::from(self.one_in(rarely))]
    }
}

/// Plays one session by the dice; how far it went shows in the report.
fn throw(crew: Crew, seed: u64) -> Report {
    let mut dice = Dice(ChaCha20Rng::seed_from_u64(seed));
    let n = 13 + dice.below(8) as u32;
    let puppets = dice.below(params::corrupt(n, Class::Default) as usize + 1);
    let certified = dice.one_in(2);
    let habits = Habits { authority: certified.then_some(AUTHORITY), ..Habits::default() };
    let mut liar = Liar::new(crew, n as usize - puppets, puppets, habits);
    if certified {
        liar.malicious(&AUTHORITY);
    }
    // How rarely a victim sees the other version; some liars lie to nearly nobody.
    let rarely = [2, 4, 16, 1 << 20][dice.below(4)];

    liar.advertise();
    let true_roster = liar.roster();
    let other: Rc<Shown> = if dice.one_in(4) {
        let gone = dice.below(true_roster.n() as usize);
        Rc::new(true_roster.sorted_with(|entries| {
            entries.remove(gone);
        }))
    } else {
        Rc::clone(&true_roster)
    };
    let rosters = [true_roster, other];
    for victim in liar.all() {
        let shown = Rc::clone(dice.pick(&rosters, rarely));
        liar.share(victim, &shown);
    }

    // Sets belong to a roster; each victim gets one that fits the roster it has answered.
    let sets = |liar: &Liar, dice: &mut Dice, of: fn(&Liar, &Shown) -> Members, most: usize| {
        [&rosters[0], &rosters[1]].map(|shown| {
            let whole = of(liar, shown);
            (Rc::clone(shown), [whole.clone(), dice.thinned(&whole, most)])
        })
    };
    let fitting = |liar: &Liar, victim: usize, sets: &[(Rc<Shown>, [Members; 2]); 2], dice: &mut Dice| {
        let shown = liar.shown_to(victim)?;
        let (_, both) = sets.iter().find(|(candidate, _)| candidate.sid == shown.sid)?;
        Some(dice.pick(both, rarely).clone())
    };
    let sharers = sets(&liar, &mut dice, Liar::sharers, 2);
    for victim in liar.all() {
        for _ in 0..1 + usize::from(dice.one_in(20)) {
            if let Some(set) = fitting(&liar, victim, &sharers, &mut dice) {
                liar.collect(victim, &set);
            }
        }
    }
    if dice.one_in(3) {
        liar.restart_all();
    }
    let survivors = sets(&liar, &mut dice, Liar::survivors, 4);
    for victim in liar.all() {
        for _ in 0..1 + usize::from(dice.one_in(20)) {
            if let Some(set) = fitting(&liar, victim, &survivors, &mut dice) {
                liar.agree(victim, &set);
            }
        }
    }
    for victim in liar.all() {
        for _ in 0..1 + usize::from(dice.one_in(20)) {
            liar.unmask(victim);
        }
    }
    liar.finish()
}

#[test]
fn no_throw_teaches_more_than_one_sum() {
    let (mut refused, mut learned) = (0, 0);
    for seed in 0..SESSIONS {
        let crew = if seed % 3 == 0 { Crew::Restarted } else { Crew::Device };
        let report = throw(crew, seed);
        assert!(report.leaks.is_empty(), "seed {seed}, {crew:?}: {:?}", report.leaks);
        assert!(report.learned.len() <= 1, "seed {seed}: one session, one sum at most");
        refused += u64::from(!report.refusals.is_empty());
        learned += report.learned.len() as u64;
    }
    // The dice are worth throwing: many sessions meet a check, many come to their sum all the same.
    assert!(refused > SESSIONS / 4 && learned > SESSIONS / 4, "{refused} refused, {learned} sums");
}

#[test]
fn the_same_throws_without_checks_leak() {
    let leaky = (0..SESSIONS).filter(|seed| !throw(Crew::Gullible(None), *seed).leaks.is_empty()).count() as u64;
    assert!(leaky > SESSIONS / 8, "{leaky} of {SESSIONS} sessions leaked");
}
