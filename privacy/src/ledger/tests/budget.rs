use super::*;

fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Refusal {
    result.expect_err("refused")
}

#[test]
fn a_round_costs_what_its_noise_says() {
    let charge = with_examples(1).charge().expect("a cost");
    assert_eq!(charge.aggregate, mechanism().aggregate().expect("finite"));
    assert_eq!(charge.local, mechanism().local().expect("finite"));
    let curve = DpSgd::new(2.0, 0.05, 20).and_then(|run| run.curve()).expect("fine");
    for (order, units) in ExampleCost::ORDERS.iter().zip(charge.example.units()) {
        let exact = curve.at(*order).expect("kept") * (1u64 << 40) as f64;
        assert!((*units as f64) >= exact && (*units as f64) < exact + 1.0, "order {order}");
    }
    // The order is chosen last, so the ledger's epsilon is above the accountant's, but not by much.
    let (ours, accountant) =
        (charge.example.epsilon(1e-6).expect("finite"), curve.epsilon(1e-6).expect("finite").epsilon);
    assert!(ours >= accountant && ours < 1.5 * accountant, "{ours}, {accountant}");
    assert_eq!(Facts { mechanism: None, ..facts(1) }.charge(), Err(Refusal::NoNoise));
}

#[test]
fn a_period_ends_with_the_date_it_refills() {
    let caps = limits();
    let period = Caps { aggregate: 1.0, ..caps.period };
    let limits = Limits { period, period_ms: DAY_MS, round: Caps { aggregate: 0.9, ..caps.round }, ..caps };
    // The compiled period is longer, so it counts.
    let mut disk = Disk::new(true);
    let mut ledger = disk.create(&limits);
    assert_eq!(ledger.limits().period_ms, Limits::COMPILED.period_ms);
    let _spent = disk.pay(&mut ledger, &facts(1));
    let _spent = disk.pay(&mut ledger, &facts(2));
    let month = Limits::COMPILED.period_ms;
    let refills_ms = (NOW / month + 1) * month;
    let refusal = refused(ledger.reserve(&facts(3), NOW));
    assert_eq!(refusal, Refusal::Exhausted { claim: Claim::Aggregate, refills_ms: Some(refills_ms) });
    assert_eq!(refusal.code(), "budget_exhausted");
    assert!(refusal.to_string().ends_with(&format!("at {refills_ms} ms since 1970")), "{refusal}");
    // Refused means nothing changed: the log reads back the same.
    let before = ledger.lifetime_spent();
    assert_eq!(disk.open().expect("whole").lifetime_spent(), before);
    // The moment before, and the moment itself.
    assert_eq!(refused(ledger.reserve(&facts(3), refills_ms - 1)), refusal);
    let pending = ledger.reserve(&facts(3), refills_ms).expect("refilled");
    let _spent = disk.commit(&mut ledger, pending);
    let exposure = ledger.exposure(refills_ms);
    assert!(exposure.lifetime.aggregate > exposure.period.aggregate, "a refill forgets nothing");
    assert_eq!(exposure.refills_ms, refills_ms + month);
}

#[test]
fn a_lifetime_never_refills() {
    let limits = Limits { lifetime: Caps { aggregate: 1.0, ..limits().lifetime }, ..limits() };
    let mut disk = Disk::new(true);
    let mut ledger = disk.create(&limits);
    let mut now = NOW;
    let mut round = 0;
    let refusal = loop {
        match ledger.reserve(&facts(round), now) {
            Ok(pending) => {
                let _spent = disk.commit(&mut ledger, pending);
            }
            Err(refusal) => break refusal,
        }
        (round, now) = (round + 1, now + Limits::COMPILED.period_ms);
    };
    assert_eq!((round, refusal), (2, Refusal::Exhausted { claim: Claim::Aggregate, refills_ms: None }));
    assert!(refusal.to_string().ends_with("refills never"), "{refusal}");
    assert!(ledger.exposure(now).lifetime.aggregate <= Epsilon::AtMost(1.0));
}

#[test]
fn every_claim_has_its_own_cap() {
    let tight = |claim| {
        let mut round = limits().round;
        match claim {
            Claim::Aggregate => round.aggregate = 0.1,
            Claim::Local => round.local = 1.0,
            Claim::Example => round.example = 0.01,
        }
        Limits { round, ..limits() }
    };
    for claim in [Claim::Aggregate, Claim::Local, Claim::Example] {
        let mut ledger = Disk::new(true).create(&tight(claim));
        assert_eq!(refused(ledger.reserve(&with_examples(1), NOW)), Refusal::TooCostly { claim }, "{claim:?}");
    }
    // A round that no period holds is refused for good, not until a date.
    let period = Limits { period: Caps { local: 1.0, ..limits().period }, ..limits() };
    let mut ledger = Disk::new(true).create(&period);
    assert_eq!(refused(ledger.reserve(&facts(1), NOW)), Refusal::TooCostly { claim: Claim::Local });
    // Example-level spending leaves the user-level account alone, and the other way round.
    let mut disk = Disk::new(true);
    let mut ledger = disk.create(&limits());
    let _spent = disk.pay(&mut ledger, &Facts { mechanism: None, ..with_examples(1) });
    let spent = ledger.lifetime_spent();
    assert_eq!((spent.aggregate.units(), spent.local.units()), (0, 0));
    let _spent = disk.pay(&mut ledger, &facts(2));
    assert_eq!(ledger.lifetime_spent().example, spent.example);
}

#[test]
fn examples_are_filtered_at_every_order() {
    let mut disk = Disk::new(true);
    let mut ledger = disk.create(&limits());
    let only = |round| Facts { mechanism: None, ..with_examples(round) };
    let mut round = 0;
    while let Ok(pending) = ledger.reserve(&only(round), NOW) {
        let _spent = disk.commit(&mut ledger, pending);
        round += 1;
    }
    let spent = ledger.exposure(NOW).lifetime.example.at_most().expect("every round had noise on examples");
    let one = only(0).charge().expect("a cost").example.epsilon(1e-6).expect("finite");
    assert!(round > 20 && spent <= limits().period.example, "{round} rounds, epsilon {spent}, one costs {one}");
    let more = ledger.lifetime_spent().plus(&only(0).charge().expect("a cost"));
    assert!(more.example.epsilon(1e-6).expect("finite") > limits().period.example, "stopped too early");
}

/// What each kind of round promises, and what is left of all promises after it: a sum over rounds of which one made no
/// promise is no zero.
#[test]
fn a_promise_that_one_round_did_not_make_has_no_bound() {
    let mut disk = Disk::new(true);
    let mut ledger = disk.create(&limits());
    let fresh = ledger.exposure(NOW).lifetime;
    assert_eq!([fresh.aggregate, fresh.local, fresh.example], [Epsilon::AtMost(0.0); 3], "nothing was joined");
    let bounded = |epsilons: Epsilons| {
        [epsilons.aggregate, epsilons.local, epsilons.example].map(|epsilon| epsilon.at_most().is_some())
    };
    let _spent = disk.pay(&mut ledger, &with_examples(1));
    assert_eq!(bounded(ledger.exposure(NOW).lifetime), [true, true, true]);
    let month = Limits::COMPILED.period_ms;
    let pending = ledger.reserve(&Facts { mechanism: None, ..with_examples(2) }, NOW + month).expect("affordable");
    let _spent = disk.commit(&mut ledger, pending);
    let pending = ledger.reserve_without_noise("words", 3, "none", NOW + 2 * month).expect("allowed");
    let _spent = disk.commit(&mut ledger, pending);
    let pending = ledger.reserve(&facts(4), NOW + 3 * month).expect("affordable");
    let _spent = disk.commit(&mut ledger, pending);

    let receipts = ledger.receipts();
    let rounds: Vec<_> = receipts.iter().map(|receipt| bounded(receipt.epsilon)).collect();
    assert_eq!(rounds, [[true, true, true], [false, false, true], [false; 3], [true, true, false]]);
    let totals: Vec<_> = receipts.iter().map(|receipt| bounded(receipt.total)).collect();
    assert_eq!(totals, [[true, true, true], [false, false, true], [false; 3], [false; 3]]);
    assert_eq!(ledger.exposure(NOW + 3 * month).lifetime.aggregate.to_string(), "no bound");
    // A period knows only its own rounds.
    assert_eq!(bounded(ledger.exposure(NOW + 3 * month).period), [true, true, false]);
    assert_eq!(bounded(ledger.exposure(NOW + 4 * month).period), [true; 3]);
    assert_eq!(disk.open().expect("whole").exposure(NOW), ledger.exposure(NOW));
    assert!(Epsilon::NoBound > Epsilon::AtMost(f64::MAX));
}

#[test]
fn numbers_that_are_no_budget_open_no_account() {
    for bad in [f64::NAN, f64::INFINITY, 0.0, -8.0] {
        let lifetime = Limits { lifetime: Caps { aggregate: bad, ..limits().lifetime }, ..limits() };
        assert!(Ledger::create(key(), &lifetime, NOW).is_err_and(|refusal| refusal.code() == "epsilon"), "{bad}");
        let delta = Limits { delta: bad, ..limits() };
        assert!(Ledger::create(key(), &delta, NOW).is_err_and(|refusal| refusal.code() == "delta"), "{bad}");
        let mut disk = Disk::new(true);
        let mut ledger = disk.create(&limits());
        assert_eq!(refused(ledger.tighten(&delta, NOW)).code(), "delta", "{bad}");
        assert!(ledger.reserve(&facts(1), NOW).is_ok(), "the refusal changed nothing");
    }
}

#[test]
fn limits_in_the_log_only_get_tighter() {
    let mut disk = Disk::new(true);
    let mut ledger = disk.create(&limits());
    let strict = Limits { round: Caps { aggregate: 0.1, ..limits().round }, ..limits() };
    let pending = ledger.tighten(&strict, NOW).expect("budgets");
    disk.commit(&mut ledger, pending);
    let loose = Limits { round: Caps { aggregate: 4.0, ..limits().round }, ..limits() };
    let pending = ledger.tighten(&loose, NOW).expect("budgets");
    disk.commit(&mut ledger, pending);
    for ledger in [&mut ledger, &mut disk.open().expect("whole")] {
        assert_eq!(ledger.limits(), &strict);
        assert_eq!(refused(ledger.reserve(&facts(1), NOW)), Refusal::TooCostly { claim: Claim::Aggregate });
    }
}

#[test]
fn the_clock_cannot_be_set_back() {
    let mut disk = Disk::new(true);
    let mut ledger = disk.create(&limits());
    let _spent = disk.pay(&mut ledger, &facts(1));
    let late = NOW - CLOCK_SLACK_MS - 1;
    assert_eq!(refused(ledger.reserve(&facts(2), late)), Refusal::ClockBack { last_ms: NOW });
    let mut reopened = disk.open().expect("whole");
    assert_eq!(refused(reopened.reserve(&facts(2), late)), Refusal::ClockBack { last_ms: NOW });
    // A time server's correction is no attack; the record takes the later time.
    let pending = ledger.reserve(&facts(2), late + 1).expect("within the slack");
    let _spent = disk.commit(&mut ledger, pending);
    assert_eq!(ledger.receipts()[1].time_ms, Some(NOW));
}

#[test]
fn names_fit_their_field() {
    let mut disk = Disk::new(true);
    let mut ledger = disk.create(&limits());
    let long = "x".repeat(256);
    assert_eq!(refused(ledger.reserve(&Facts { task: "", ..facts(1) }, NOW)), Refusal::Name("task"));
    assert_eq!(refused(ledger.reserve(&Facts { policy: &long, ..facts(1) }, NOW)), Refusal::Name("policy"));
    // The longest record there is.
    let longest = Facts { task: &long[1..], policy: &long[1..], ..with_examples(1) };
    let _spent = disk.pay(&mut ledger, &longest);
    assert_eq!(disk.open().expect("whole").receipts(), ledger.receipts());
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Whatever is asked for, in whatever order: no span ever holds more than its limit, and a log that is read
        /// back says the same.
        #[test]
        fn no_limit_is_ever_exceeded(
            asked in proptest::collection::vec((0u64..40, 1.0f64..20.0, any::<bool>(), 0u64..20), 1..40),
            aggregate in 0.5f64..10.0,
        ) {
            let limits = Limits { lifetime: Caps { aggregate, ..limits().lifetime }, ..limits() };
            let mut disk = Disk::new(true);
            let mut ledger = disk.create(&limits);
            let mut now = NOW;
            for (round, z, examples, days) in asked {
                now += days * DAY_MS;
                let mechanism = Mechanism::calibrated(13, 10, z, 10).expect("fine");
                let base = if examples { with_examples(round) } else { facts(round) };
                let ask = Facts { mechanism: Some(mechanism), ..base };
                if let Ok(pending) = ledger.reserve(&ask, now) {
                    let _spent = disk.commit(&mut ledger, pending);
                }
                let exposure = ledger.exposure(now);
                let spans = [
                    (ledger.lifetime_spent(), exposure.lifetime, exposure.lifetime_limit),
                    (ledger.period_spent(now), exposure.period, exposure.period_limit),
                ];
                for (charge, spent, limit) in spans {
                    prop_assert!(spent.aggregate <= Epsilon::AtMost(limit.aggregate));
                    prop_assert!(spent.local <= Epsilon::AtMost(limit.local));
                    prop_assert!(charge.example.epsilon(exposure.delta).expect("finite") <= limit.example);
                }
            }
            let reopened = disk.open().expect("whole");
            prop_assert_eq!(reopened.receipts(), ledger.receipts());
            prop_assert_eq!(reopened.exposure(now), ledger.exposure(now));
        }
    }
}
