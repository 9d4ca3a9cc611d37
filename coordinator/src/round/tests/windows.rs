//! How long stages stay open.

use super::*;

#[test]
fn a_standstill_gives_a_short_window_but_never_beyond_the_signed_time() {
    let mut bench = Bench::new(rules());
    bench.admit(16, START).answer(0, 16, after(1)).close(0, Ok(16), after(1));
    // Shares close at 5,001; the signed T1 is 36,000.
    bench.feed(Event::Resumed, after(6_000));
    assert_eq!(bench.effects, []);
    assert_eq!(bench.round.next_deadline(), Some(after(11_000)), "the stage's own window is shorter than the grace");
    bench.answer(0, 12, after(6_100));
    assert_eq!(bench.round.next_deadline(), Some(after(11_000)), "the others are not back yet");
    bench.feed(Event::Resumed, after(33_000));
    assert_eq!(bench.round.next_deadline(), Some(after(36_000)), "T1 rules");
    bench.feed(Event::Resumed, after(50_000));
    let id = bench.session(0).id;
    assert_eq!(bench.effects, [Effect::CloseStage { session: id, stage: SessionStage::Shares }]);
}

/// Takes a round of 16 to the opening of `stage`, all at the moment of its start.
fn opened(stage: SessionStage) -> Bench {
    let mut bench = Bench::new(rules());
    bench.admit(16, START);
    while bench.session(0).stage != stage {
        bench.answer(0, 16, START).close(0, Ok(16), START);
    }
    bench
}

#[test]
fn a_stage_waits_for_the_slow_and_not_for_the_lost() {
    for (stage, enough, window) in [
        (SessionStage::Keys, 12, 30_000),
        (SessionStage::Shares, 12, 5_000),
        (SessionStage::MaskedInput, 12, 20_000),
        (SessionStage::Agreement, 12, 4_000),
    ] {
        let name = stage.name();
        let mut bench = opened(stage);
        assert_eq!(bench.round.next_deadline(), Some(after(window)), "{name}: nobody has answered");
        bench.answer(0, enough - 1, after(100));
        assert_eq!(bench.round.next_deadline(), Some(after(window)), "{name}: too few to close on silence");
        // The rest comes one by one, each just before the grace runs out; everybody is waited for.
        let mut now = 0;
        for answered in enough..16 {
            now += 700;
            bench.answer(0, answered, after(now));
            assert_eq!(bench.effects, [], "{name}: {answered} of 16");
            assert_eq!(bench.round.next_deadline(), Some(after((now + 2_000).min(window))), "{name}: {answered} of 16");
        }
        bench.answer(0, 15, after(now + 100));
        assert_eq!(
            bench.round.next_deadline(),
            Some(after((now + 2_000).min(window))),
            "{name}: a repeat says nothing new"
        );
        bench.feed(Event::Tick, after(window.min(now + 2_000)));
        let id = bench.session(0).id;
        assert_eq!(bench.effects, [Effect::CloseStage { session: id, stage }], "{name}: silence, and the last is lost");
    }
}

#[test]
fn grace_follows_what_the_stage_took() {
    let mut bench = opened(SessionStage::MaskedInput);
    bench.answer(0, 12, after(12_000));
    assert_eq!(bench.round.next_deadline(), Some(after(15_000)), "a quarter of 12 s");
    bench.answer(0, 13, after(14_900));
    assert_eq!(bench.round.next_deadline(), Some(after(18_625)));
    bench.answer(0, 14, after(18_600));
    assert_eq!(bench.round.next_deadline(), Some(after(20_000)), "never beyond its window");
}

/// The sum is settled before these stages: what they need is the threshold's signers, not the floor.
#[test]
fn agreement_closes_on_silence_under_the_floor() {
    let mut bench = Bench::new(Rules { goal: 10, selected: 12, ..rules() });
    bench.admit(12, START);
    for _ in 0..3 {
        let expected = bench.session(0).expected;
        bench.answer(0, expected, START).close(0, Ok(expected), START);
    }
    bench.answer(0, 9, after(100));
    assert_eq!((bench.session(0).stage, bench.round.next_deadline()), (SessionStage::Agreement, Some(after(2_100))));
}

/// A cohort that has shrunk is not closed on silence while it is too small for the protocol's thresholds.
#[test]
fn an_upload_that_gets_on_is_waited_for_within_the_window() {
    let mut bench = opened(SessionStage::MaskedInput);
    let id = bench.session(0).id;
    bench.answer(0, 15, after(1_000));
    for (now, deadline) in [(3_000, 5_000), (5_000, 7_000), (12_000, 15_000), (19_000, 20_000)] {
        bench.feed(Event::StillSending { session: id }, after(now));
        assert_eq!(bench.effects, [], "at {now}");
        assert_eq!(bench.round.next_deadline(), Some(after(deadline)), "at {now}");
    }
    bench.feed(Event::StillSending { session: id }, after(20_000));
    assert_eq!(bench.effects, [Effect::CloseStage { session: id, stage: SessionStage::MaskedInput }]);
}

#[test]
fn a_shrunken_session_waits_for_everybody() {
    let mut bench = opened(SessionStage::Shares);
    bench.answer(0, 11, after(1_000)).feed(Event::Tick, after(5_000)).close(0, Ok(11), after(5_000));
    let latest = bench.round.next_deadline();
    bench.answer(0, 10, after(5_100));
    assert_eq!(bench.round.next_deadline(), latest, "10 of the roster's 16");
    bench.answer(0, 11, after(5_200));
    assert_eq!(bench.effects.len(), 1, "all are there");
}

#[test]
fn a_clock_that_was_set_back_leaves_one_window_at_most() {
    let hour = 3_600_000;
    let back =
        |millis: u64| Timestamp::from_millis(START.plus(Duration::from_millis(millis + 2 * hour)).as_millis() - hour);
    // A restart on rows of an hour ahead, in each stage.
    for (stage, window) in SessionStage::OPEN.into_iter().zip([30_000, 5_000, 20_000, 4_000, 6_000]) {
        let mut bench = Bench::new(rules());
        let start = START.plus(Duration::from_millis(2 * hour));
        bench.admit(16, start);
        while bench.session(0).stage != stage {
            bench.answer(0, 16, start).close(0, Ok(16), start);
        }
        bench.feed(Event::Resumed, back(1_000));
        let name = stage.name();
        assert_eq!(bench.effects, [], "{name}");
        assert_eq!(bench.round.next_deadline(), Some(back(1_000 + window)), "{name}");
    }
    let mut bench = Bench::new(Rules { patient: true, ..rules() });
    bench.admit(9, START.plus(Duration::from_millis(2 * hour))).feed(Event::Resumed, back(1_000));
    assert_eq!(bench.round.next_deadline(), Some(back(61_000)), "selection");
}
