//! A coordinator that lies in every way of the threat model, to the device that ships: it must learn nothing beyond the one sum
//! that a session promises, and the check that is meant to stop a lie must be the one that does.
//!
//! Every lie is one row of a table: told to the device, told to one that is restarted before every message, and, where checks
//! are all that stands in its way, told to clients that check nothing. Those must lose something: so the count counts.

mod certificates;
mod claims;
mod configuration;
mod device;
mod dice;
mod documents;
mod order;
mod rosters;
mod sets;
mod table;

use std::collections::BTreeSet;

use scale_secagg::params::Profile;
use scale_tests::liar::{Crew, Habits, Liar};

use table::Lie;

fn all_lies() -> Vec<Lie> {
    [
        configuration::lies(),
        rosters::lies(),
        sets::sharers(),
        sets::survivors(),
        sets::signatures(),
        certificates::lies(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Runs `judge` on every lie, on two threads, and fails with the faults and the table.
fn over_all(judge: impl Fn(&Lie) -> Vec<String> + Sync) {
    let lies = all_lies();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut faults = vec![];
        // The counter only hands out places; nothing else is shared.
        while let Some(lie) = lies.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            faults.extend(judge(lie).into_iter().map(|fault| format!("{}: {fault}", lie.name)));
        }
        faults
    };
    let faults: Vec<String> = std::thread::scope(|scope| {
        let running = [scope.spawn(work), scope.spawn(work)];
        running.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let table: Vec<String> = lies.iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{}\n\n{}", faults.join("\n"), table.join("\n"));
}

/// The client that ships, told every lie.
#[test]
fn the_client_refuses_every_lie_and_nothing_leaks() {
    over_all(|lie| lie.faults(Crew::Device, Profile::Standard));
}

/// The device as it is after a restart, told every lie: its memory is lost before each message, and what it has stored
/// refuses the same.
#[test]
fn the_device_refuses_every_lie_and_nothing_leaks() {
    over_all(|lie| lie.faults(Crew::Restarted, Profile::Standard));
}

/// Profile M: the same lies, by a coordinator whose own devices the authority has certified, as many as the class allows.
#[test]
fn certified_accomplices_do_not_help() {
    over_all(|lie| {
        let crews = [Crew::Device, Crew::Restarted].into_iter().filter(|_| lie.certified);
        crews.flat_map(|crew| lie.faults(crew, Profile::Malicious)).collect()
    });
}

/// The positive control: the same lies, told to clients without checks.
#[test]
fn without_the_checks_the_same_lies_leak() {
    over_all(Lie::control_faults);
    let controls = all_lies().iter().filter(|lie| lie.control.is_some()).count();
    assert!(controls >= 15, "{controls} lies have a control");
}

#[test]
fn every_check_has_a_lie() {
    let lies = all_lies();
    let covered: BTreeSet<&str> = lies.iter().flat_map(|lie| lie.checks).copied().collect();
    let all: BTreeSet<String> = (1..=26).map(|number| format!("C{number:02}")).collect();
    let missing: Vec<&String> = all.iter().filter(|check| !covered.contains(check.as_str())).collect();
    let unknown: Vec<_> = covered.iter().filter(|check| !all.contains(**check)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "without a lie: {missing:?}; no checks: {unknown:?}");
    let names: BTreeSet<&str> = lies.iter().map(|lie| lie.name).collect();
    assert_eq!(names.len(), lies.len(), "every lie has a name of its own");
}

/// The truth, told to everybody: one sum over all, and nothing that counts as a leak.
#[test]
fn the_truth_teaches_one_sum() {
    for crew in [Crew::Device, Crew::Restarted, Crew::Gullible(None)] {
        let mut liar = Liar::new(crew, 12, 2, Habits::default());
        liar.play();
        let report = liar.finish();
        assert!(report.refusals.is_empty() && report.leaks.is_empty(), "{crew:?}: {report:?}");
        let sums: Vec<usize> = report.learned.iter().map(|sum| sum.terms.len()).collect();
        assert_eq!(sums, [12], "{crew:?}");
    }
}

/// Whoever falls silent, and when, the session goes on: a loss before ShareKeys costs nothing, and later ones are made up
/// for. The sum is over those whose input came.
#[test]
fn losses_at_every_stage_end_no_session() {
    let mut liar = Liar::new(Crew::Device, 14, 0, Habits::default());
    let shown = rosters::begin(&mut liar);
    (1..14).for_each(|victim| liar.share(victim, &shown));
    let sharers = liar.sharers(&shown);
    (3..14).for_each(|victim| liar.collect(victim, &sharers));
    let survivors = liar.survivors(&shown);
    (4..14).for_each(|victim| liar.agree(victim, &survivors));
    (5..14).for_each(|victim| liar.unmask(victim));
    let report = liar.finish();
    assert!(report.refusals.is_empty() && report.leaks.is_empty(), "{report:?}");
    let sums: Vec<usize> = report.learned.iter().map(|sum| sum.terms.len()).collect();
    assert_eq!(sums, [11]);
}
