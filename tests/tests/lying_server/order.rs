//! Messages out of turn: every stage in every state, and what a device holds afterwards (C22, C23).

use scale_secagg::client::Event;
use scale_tests::liar::{Crew, Habits, Liar};

use super::rosters::begin;

/// Brings everybody to the state behind `stage`: 0 is before the configuration, 5 after the last answer.
fn advance(liar: &mut Liar, stages: u8) {
    let everybody = liar.all();
    if stages == 0 {
        return;
    }
    let shown = begin(liar);
    if stages > 1 {
        everybody.clone().for_each(|victim| liar.share(victim, &shown));
    }
    if stages > 2 {
        let sharers = liar.sharers(&shown);
        everybody.clone().for_each(|victim| liar.collect(victim, &sharers));
    }
    let survivors = liar.survivors(&shown);
    if stages > 3 {
        everybody.clone().for_each(|victim| liar.agree(victim, &survivors));
    }
    if stages > 4 {
        everybody.for_each(|victim| liar.unmask(victim));
    }
}

/// The word for a message of `stage` in the state after `answered` stages.
fn word(answered: u8, stage: u8) -> (&'static str, &'static str) {
    match (answered, stage) {
        (3, 2) => ("C15", "second_input"),
        (4, 3) => ("C19", "second_statement"),
        _ => ("C22", "stage_order"),
    }
}

#[test]
fn no_stage_is_skipped_and_none_comes_twice() {
    let offer = Liar::new(Crew::Client, 0, 0, Habits::default()).true_offer();
    for answered in 0..=5 {
        for stage in (0..=4).filter(|stage| *stage != answered) {
            for crew in [Crew::Client, Crew::Device] {
                if crew == Crew::Device && (answered == 0 || stage == 0) {
                    // A manifest is the device's only way into a round, and no stage's message is one.
                    continue;
                }
                let mut liar = Liar::new(crew, 10, 0, Habits::default());
                advance(&mut liar, answered);
                // Other bytes than before: the same ones are a retry, which has its own test below.
                let event = match stage {
                    0 => Event::Config { bytes: &offer.config[1..], signature: &offer.signature },
                    1 => Event::Roster { form: scale_secagg::roster::RosterForm::Complete, bytes: &[1; 160] },
                    2 => Event::Shares(&[1; 722]),
                    3 => Event::Survivors(&[0xff, 1]),
                    _ => Event::Signatures(&[1; 68]),
                };
                let case = format!("{crew:?}: stage {stage} after {answered} answers");
                assert_eq!(liar.tell(0, event), None, "{case}");
                assert!(liar.victims[0].is_over(), "{case}: every secret is gone");
                let report = liar.finish();
                let why = &report.refusals[0].why;
                let expected = match crew {
                    Crew::Device => ("", "stage_order"),
                    _ => word(answered, stage),
                };
                assert_eq!((why.check.as_str(), why.code.as_str()), expected, "{case}");
                assert_eq!(report.refusals.len(), 1, "{case}");
                assert!(report.leaks.is_empty(), "{case}: {:?}", report.leaks);
            }
        }
    }
}

/// The identical message again is a retry: it gets the identical bytes, and nothing is learned from them (C15, C19).
#[test]
fn a_retry_gets_the_same_bytes() {
    let mut liar = Liar::new(Crew::Client, 12, 2, Habits::default());
    let shown = begin(&mut liar);
    liar.all().for_each(|victim| liar.share(victim, &shown));
    let sharers = liar.sharers(&shown);
    for _ in 0..2 {
        liar.all().for_each(|victim| liar.collect(victim, &sharers));
    }
    let survivors = liar.survivors(&shown);
    for _ in 0..2 {
        liar.all().for_each(|victim| liar.agree(victim, &survivors));
    }
    liar.all().for_each(|victim| liar.unmask(victim));
    let report = liar.finish();
    assert!(report.refusals.is_empty() && report.leaks.is_empty(), "{report:?}");
    assert_eq!(report.learned.len(), 1);
}

/// After any refusal nothing answers any more, whatever it is told (C22, C23).
#[test]
fn a_refusal_is_the_end() {
    let mut liar = Liar::new(Crew::Client, 12, 2, Habits::default());
    let (shown, all) = super::sets::uploaded(&mut liar);
    let mut without = all.clone();
    without.remove(liar.place(0));
    liar.agree(0, &without);
    assert!(liar.victims[0].is_over());
    liar.agree(0, &all);
    liar.unmask(0);
    liar.share(0, &shown);
    let report = liar.finish();
    let codes: Vec<&str> = report.refusals.iter().map(|refusal| refusal.why.code.as_str()).collect();
    assert_eq!(codes, ["survivors", "stage_order", "stage_order", "stage_order"]);
}
