//! Whole rounds in one process: whatever is lost, repeated, reordered or broken, a round gives the exact sum or ends for
//! the reason that the protocol's numbers give, never with a wrong sum.
//!
//! Each case is one round with a plan of its own: who falls silent in which stage, who breaks which rule, what arrives in
//! which order, twice, late or changed. [`model`] says from the plan and the protocol how the round must end, [`play`]
//! plays it. To save time several rounds ([`ROUNDS_PER_BASE`]) share the keys and sealed shares of their participants,
//! who go on from the same snapshots; losses, faults, order and inputs differ in each.
//!
//! `SCALE_ROUNDS=10000` plays that many rounds (`cargo xtask ci` does). A round that fails prints the value of
//! `SCALE_ROUND` that plays it alone.
#![cfg(not(target_arch = "wasm32"))]

#[allow(dead_code, reason = "each test program uses its part")]
mod common;
#[path = "rounds/model.rs"]
mod model;
#[path = "rounds/play.rs"]
mod play;

use std::io::Write as _;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::Plan;
use play::{Base, Tally, below};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use scale_secagg::error::Reason;

/// Rounds that go on from one cohort's snapshots, in a long run and in a short one.
const ROUNDS_PER_BASE: [usize; 2] = [16, 4];
/// Rounds without `SCALE_ROUNDS`.
const FEW: usize = 160;
/// From this many rounds on a run is long: every ending and every fault must come up.
const MANY: usize = 4000;

#[test]
fn any_round_gives_the_exact_sum_or_the_right_reason() {
    if let Ok(one) = std::env::var("SCALE_ROUND") {
        let (base, round) = one.split_once('.').expect("SCALE_ROUND=base.round");
        let round: usize = round.parse().unwrap();
        return play_base(base.parse().unwrap(), round..round + 1, &mut Tally::new());
    }
    let rounds = std::env::var("SCALE_ROUNDS").map_or(FEW, |rounds| rounds.parse().expect("SCALE_ROUNDS is a number"));
    let tally = play_all(rounds);
    let shown: Vec<String> = tally.iter().map(|(name, count)| format!("{name} {count}")).collect();
    show(&format!("rounds: {}", shown.join(", ")));
    let mut must = vec!["released"];
    if rounds >= MANY {
        must.extend([
            // `disconnected` cannot come up: t > k / 2 makes the ends of a gap weak neighbourhoods first.
            Reason::TooFewClients.code(),
            Reason::TooFewSharers.code(),
            Reason::TooFewInputs.code(),
            Reason::WeakNeighbourhood.code(),
            Reason::TooFewShares.code(),
            Reason::SecretMismatch.code(),
            "released in spite of wrong shares",
            "ended by holes in the ring",
            "sparse graphs",
            "devices that refused",
            "device restarts",
            "replays",
        ]);
    }
    must.retain(|name| !tally.contains_key(name));
    assert!(must.is_empty(), "never reached: {must:?}");
}

/// Writes past the test runner, which shows the output of failed tests only.
fn show(line: &str) {
    std::io::stderr().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

/// Plays at least `rounds` rounds on all cores.
fn play_all(rounds: usize) -> Tally {
    let [many, few] = ROUNDS_PER_BASE;
    let per_base = if rounds >= MANY { many } else { few };
    let (next, played) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let total = Mutex::new(Tally::new());
    let work = || {
        let mut tally = Tally::new();
        // A cohort that never comes together is one round only.
        while played.load(Ordering::Relaxed) < rounds {
            let base = next.fetch_add(1, Ordering::Relaxed);
            let before = rounds_in(&tally);
            play_base(base as u64, 0..per_base, &mut tally);
            played.fetch_add(rounds_in(&tally) - before, Ordering::Relaxed);
        }
        let mut total = total.lock().unwrap();
        tally.into_iter().for_each(|(name, count)| *total.entry(name).or_default() += count);
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    total.into_inner().unwrap()
}

fn rounds_in(tally: &Tally) -> usize {
    tally.get("rounds").copied().unwrap_or_default()
}

/// One cohort, and those of its rounds.
fn play_base(base: u64, rounds: Range<usize>, tally: &mut Tally) {
    let mut rng = ChaCha20Rng::seed_from_u64(base);
    // Small cohorts meet their bounds most often, and large ones take most of the time.
    let (n, size) = match (base % 64, below(&mut rng, 100)) {
        (7, _) => (129 + below(&mut rng, 72), "sparse graphs"),
        (39, _) => (61 + below(&mut rng, 68), "61 to 128 devices"),
        (_, 0..87) => (10 + below(&mut rng, 11), "10 to 20 devices"),
        _ => (21 + below(&mut rng, 40), "21 to 60 devices"),
    };
    let replayable = |round: usize, plan: Option<&Plan>, work: &mut dyn FnMut()| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            show(&format!("this round alone: SCALE_ROUND={base}.{round}, {n} devices, {plan:?}"));
            std::panic::resume_unwind(panic);
        }
    };
    let mut cohort = None;
    replayable(0, None, &mut || cohort = Base::new(n, &mut rng, tally));
    let Some(cohort) = cohort else {
        *tally.entry("rounds").or_default() += 1;
        return;
    };
    for round in 0..rounds.end {
        let (plan, seed) = (play::random_plan(&cohort.shape, &mut rng), rng.next_u64());
        if round < rounds.start {
            continue;
        }
        *tally.entry("rounds").or_default() += 1;
        *tally.entry(size).or_default() += 1;
        replayable(round, Some(&plan), &mut || play::play(&cohort, &plan, seed, tally));
    }
}
