//! Messages out of turn: every stage in every state, and what a device holds afterwards (C22, C23).

use scale_client_core::device::Event;
use scale_proto::answer::CheckInAnswer;
use scale_secagg::roster::RosterForm;
use scale_tests::liar::device::Device;
use scale_tests::liar::setting::START_MS;
use scale_tests::liar::{Crew, Habits, Liar, Message, Victim as _};

use super::rosters::begin;
use super::table::{OUT_OF_TURN, SECOND_INPUT, SECOND_STATEMENT};

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

#[test]
fn no_stage_is_skipped_and_none_comes_twice() {
    for answered in 0..=5 {
        for stage in (1..=4).filter(|stage| *stage != answered) {
            let mut liar = Liar::new(Crew::Device, 10, 0, Habits::default());
            advance(&mut liar, answered);
            let message = match stage {
                1 => Message::Roster { form: RosterForm::Complete, bytes: &[1; 160] },
                2 => Message::Shares(&[1; 722]),
                3 => Message::Survivors(&[0xff, 1]),
                _ => Message::Signatures(&[1; 68]),
            };
            let case = format!("stage {stage} after {answered} answers");
            assert_eq!(liar.tell(0, message), None, "{case}");
            assert!(liar.victims[0].is_over(), "{case}: every secret is gone");
            let report = liar.finish();
            let [refusal] = &report.refusals[..] else { panic!("{case}: {:?}", report.refusals) };
            let expected = match (stage, answered) {
                (2, 3) => SECOND_INPUT,
                (3, 4) => SECOND_STATEMENT,
                _ => OUT_OF_TURN,
            };
            assert_eq!((refusal.why.check.as_str(), refusal.why.code.as_str()), expected, "{case}");
            assert!(report.leaks.is_empty(), "{case}: {:?}", report.leaks);
        }
    }
}

/// Another round while one is on: a manifest is the device's only way into a round, and there is one round at a time.
#[test]
fn a_manifest_in_the_middle_of_a_round_ends_it() {
    let manifest = Liar::new(Crew::Device, 0, 0, Habits::default()).true_offer().manifest();
    let mut device = Device::new(0, Habits::default());
    let offer = Liar::new(Crew::Device, 0, 0, Habits::default()).true_offer();
    device.offer(&offer, START_MS).expect("a true offer");
    let refused = device.happen(Event::CheckedIn(CheckInAnswer::Manifest(manifest)), START_MS).expect_err("a lie");
    assert_eq!((refused.check.as_str(), refused.code.as_str()), OUT_OF_TURN);
    assert!(device.is_over());
}

/// A device that is killed after an answer, whenever that is, sends the identical bytes again, and nothing is learned from
/// them (C15, C19).
#[test]
fn a_retry_gets_the_same_bytes() {
    let mut liar = Liar::new(Crew::Device, 12, 2, Habits::default());
    let shown = begin(&mut liar);
    let mut before = vec![];
    for stage in 0..4 {
        match stage {
            0 => {}
            1 => liar.all().for_each(|victim| liar.share(victim, &shown)),
            2 => {
                let sharers = liar.sharers(&shown);
                liar.all().for_each(|victim| liar.collect(victim, &sharers));
            }
            _ => {
                let survivors = liar.survivors(&shown);
                liar.all().for_each(|victim| liar.agree(victim, &survivors));
            }
        }
        let sent = liar.restart_all();
        assert!(sent.iter().all(Option::is_some), "stage {stage}: {sent:?}");
        assert_eq!(liar.restart_all(), sent, "stage {stage}");
        assert_ne!(sent, before, "stage {stage}: another message than that of the stage before");
        before = sent;
    }
    liar.all().for_each(|victim| liar.unmask(victim));
    let report = liar.finish();
    assert!(report.refusals.is_empty() && report.leaks.is_empty(), "{report:?}");
    assert_eq!(report.learned.len(), 1);
}

/// After any refusal nothing answers any more, whatever it is told (C22, C23).
#[test]
fn a_refusal_is_the_end() {
    let mut liar = Liar::new(Crew::Device, 12, 2, Habits::default());
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
    assert_eq!(codes, ["survivors", "left", "left", "left"]);
}
