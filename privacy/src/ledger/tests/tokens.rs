use super::*;
use crate::gaussian::DiscreteGaussian;

#[test]
fn a_round_runs_through_all_its_tokens() {
    let mut disk = Disk::new(true);
    let mut ledger = disk.create(&limits());
    let spend = disk.pay(&mut ledger, &facts(1));
    let update = vec![vec![5u32; 6], vec![(-3i32) as u32; 4]];
    let noised = Noised::new(spend, update.clone(), &mut stream(9)).expect("in bound");
    assert_eq!(format!("{noised:?}"), "Noised(redacted)");
    let (vectors, unreleased) = noised.into_parts();
    // Exactly the noise that was paid for, over all vectors from one stream.
    let mut expected = update;
    let noise = DiscreteGaussian::new(mechanism().local_variance()).expect("in range");
    let mut rng = stream(9);
    for vector in &mut expected {
        noise.add_to(vector, &mut rng);
    }
    assert_eq!(vectors, expected);

    let pending = ledger.release(&unreleased, [8; 32], NOW).expect("unreleased");
    let released = disk.commit(&mut ledger, pending);
    assert_eq!(released.digest(), &[8; 32]);
    // Again: the same bytes, now and after a restart, at no cost.
    let spent = ledger.lifetime_spent();
    for ledger in [&ledger, &disk.open().expect("whole")] {
        assert_eq!(ledger.resend("words", 1, &[8; 32]), Ok(Released::new([8; 32])));
        assert_eq!(ledger.resend("words", 1, &[9; 32]), Err(Refusal::DifferentBytes));
        assert_eq!(ledger.resend("words", 2, &[8; 32]), Err(Refusal::NothingToRelease));
        assert_eq!(ledger.lifetime_spent(), spent);
    }
    // One payload per reservation.
    assert_eq!(ledger.release(&unreleased, [9; 32], NOW).map(|_| ()), Err(Refusal::NothingToRelease));
    assert_eq!(ledger.unreleased("words", 1), None);
}

#[test]
fn nothing_goes_on_before_the_record_is_durable() {
    let mut disk = Disk::new(true);
    let mut ledger = disk.create(&limits());
    let first = ledger.reserve(&facts(1), NOW).expect("affordable");
    assert_eq!(ledger.reserve(&facts(2), NOW).map(|_| ()), Err(Refusal::Unconfirmed));
    assert_eq!(ledger.tighten(&limits(), NOW).map(|_| ()), Err(Refusal::Unconfirmed));
    // A record of another account confirms nothing.
    let (_, foreign) = Ledger::create(key(), &limits(), NOW + 1).expect("budgets");
    assert_eq!(ledger.durable(foreign), Err(Refusal::Unconfirmed));
    let _spend = disk.commit(&mut ledger, first);
    // A write that failed: the handle is gone, and only what is stored says what holds.
    drop(ledger.reserve(&facts(2), NOW).expect("affordable"));
    assert_eq!(ledger.reserve(&facts(3), NOW).map(|_| ()), Err(Refusal::Unconfirmed));
    let mut ledger = disk.open().expect("whole");
    let _spend = disk.pay(&mut ledger, &facts(2));
}

#[test]
fn a_round_is_paid_for_once() {
    let mut disk = Disk::new(true);
    let mut ledger = disk.create(&limits());
    let _spend = disk.pay(&mut ledger, &facts(1));
    for ledger in [&mut ledger, &mut disk.open().expect("whole")] {
        // Not refunded, not drawn again: the same round gives no second spend.
        assert_eq!(ledger.reserve(&facts(1), NOW).map(|_| ()), Err(Refusal::AlreadyReserved));
    }
    // A second attempt has another number, and costs again.
    let one = ledger.lifetime_spent();
    let _spend = disk.pay(&mut ledger, &facts(2));
    assert_eq!(ledger.lifetime_spent(), one.plus(&one));
    let _other_task = disk.pay(&mut ledger, &Facts { task: "other", ..facts(1) });
}

#[test]
fn only_what_was_paid_for_is_noised() {
    let mut disk = Disk::new(true);
    let mut ledger = disk.create(&limits());
    let mut round = 0;
    let mut noised = |facts: &dyn Fn(u64) -> Facts<'static>, update: Vec<Vec<u32>>| {
        round += 1;
        let spend = disk.pay(&mut ledger, &facts(round));
        Noised::new(spend, update, &mut stream(1)).map(|noised| noised.into_parts().0)
    };
    assert_eq!(noised(&facts, vec![vec![0; 9]]).err(), Some(NoiseError::Shape { expected: 10, got: 9 }));
    // The bound for 13 grid units and 10 entries is 13² + 13 + 4 = 186, over all vectors together.
    let at_bound = [13, 4, 1, 0, 0].map(|entry: i32| (-entry) as u32);
    assert_eq!(mechanism().norm_bound_squared(), 186);
    assert!(noised(&facts, vec![at_bound.to_vec(), vec![0; 5]]).is_ok());
    assert_eq!(noised(&facts, vec![at_bound.to_vec(), vec![1, 0, 0, 0, 0]]).err(), Some(NoiseError::Norm));
    assert_eq!(noised(&facts, vec![vec![0x8000_0000; 10]]).err(), Some(NoiseError::Norm), "the largest residues");
    assert_eq!(NoiseError::Norm.code(), "norm");
    // Noisy gradients alone leave the update alone.
    let only_examples = |round| Facts { mechanism: None, ..with_examples(round) };
    assert_eq!(noised(&only_examples, vec![vec![7; 3]]), Ok(vec![vec![7; 3]]));
}

#[test]
fn receipts_tell_everything_that_was_spent() {
    let mut disk = Disk::new(true);
    let mut ledger = disk.create(&limits());
    disk.round(&mut ledger, &with_examples(7), [3; 32]);
    let _lost = disk.pay(&mut ledger, &Facts { trust: Trust::Local, ..facts(8) });
    let receipts = disk.open().expect("whole").receipts();
    assert_eq!(receipts, ledger.receipts());
    let [first, second] = &receipts[..] else { panic!("{receipts:?}") };
    let expected = Event::Round {
        task: "words".into(),
        round: 7,
        policy: "eight".into(),
        trust: Trust::Distributed,
        mechanism: Some(mechanism()),
        examples: with_examples(7).examples,
        released: Some([3; 32]),
    };
    assert_eq!((&first.event, first.sequence, first.time_ms), (&expected, 1, Some(NOW)));
    assert!(matches!(second.event, Event::Round { round: 8, released: None, trust: Trust::Local, .. }));
    assert_eq!(first.charge, with_examples(7).charge().expect("a cost"));
    // Both numbers, always: what the sum protects, and what the device's own noise is worth.
    let [aggregate, local, example] = [first.epsilon.aggregate, first.epsilon.local, first.epsilon.example]
        .map(|epsilon| epsilon.at_most().expect("all three have noise"));
    assert!(aggregate < 1.0 && local > 4.0 && example > 0.0, "{:?}", first.epsilon);
    assert_eq!(second.epsilon.example, Epsilon::NoBound, "no noise on its gradients");
}

#[test]
fn nothing_secret_is_printed() {
    let mut disk = Disk::new(true);
    let ledger = disk.create(&limits());
    assert!(format!("{ledger:?}").contains("LedgerKey(redacted)"));
}
