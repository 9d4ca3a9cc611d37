use super::*;

/// The account of the first `ends` records.
fn spent_by(disk: &Disk, end: usize) -> Charge {
    let log = &disk.log[..end];
    Ledger::open(log, key(), None).expect("whole records").ledger.lifetime_spent()
}

#[test]
fn a_log_cut_anywhere_never_counts_less_than_it_holds() {
    let (disk, ends) = full_log(false);
    for cut in 0..=disk.log.len() {
        let mut cut_disk = Disk { log: disk.log[..cut].to_vec(), ..disk.clone() };
        let whole = ends.iter().copied().filter(|end| *end <= cut).max();
        match (cut_disk.open(), whole) {
            (Err(Locked::Missing), None) => {}
            (Ok(ledger), Some(end)) => {
                let torn = end != cut;
                let spent = ledger.lifetime_spent();
                // What was cut off counts as much as it can have cost.
                let next = ends.iter().copied().find(|end| *end > cut).unwrap_or(end);
                let owed = if torn { spent_by(&disk, next) } else { spent_by(&disk, end) };
                assert!(covers(&spent, &owed), "cut at {cut}: {spent:?} for {owed:?}");
                assert_eq!(ledger.receipts().iter().any(|receipt| receipt.event == Event::Damage), torn);
                // And the repaired log is a log.
                let again = cut_disk.open().expect("repaired");
                assert_eq!(again.receipts(), ledger.receipts(), "cut at {cut}");
            }
            (other, whole) => panic!("cut at {cut}, whole up to {whole:?}: {other:?}"),
        }
    }
}

#[test]
fn a_key_store_that_counts_notices_every_cut() {
    let (disk, _) = full_log(true);
    for cut in 1..disk.log.len() {
        let opened = Disk { log: disk.log[..cut].to_vec(), ..disk.clone() }.open();
        assert!(matches!(opened, Err(Locked::Missing | Locked::RolledBack { .. })), "cut at {cut}: {opened:?}");
    }
}

#[test]
fn an_edited_byte_locks_the_ledger_or_counts_as_a_round() {
    let (disk, ends) = full_log(false);
    let (counted, _) = full_log(true);
    let owed = spent_by(&disk, disk.log.len());
    let last = ends[ends.len() - 2];
    for at in 0..disk.log.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut edited = disk.clone();
            edited.log[at] ^= flip;
            // Where the key store counts, nothing of it is believed.
            let noticed = Ledger::open(&edited.log, key(), counted.count);
            assert!(noticed.is_err(), "byte {at} ^ {flip:#x}, counted");
            match edited.open() {
                Err(Locked::Damaged { .. }) => {}
                Ok(ledger) if at >= last => {
                    assert!(covers(&ledger.lifetime_spent(), &owed), "byte {at} ^ {flip:#x}");
                }
                other => panic!("byte {at} ^ {flip:#x}: {other:?}"),
            }
        }
    }
}

#[test]
fn records_cannot_be_left_out_moved_or_repeated() {
    let (disk, ends) = full_log(false);
    let records: Vec<&[u8]> =
        std::iter::once(0).chain(ends.clone()).zip(&ends).map(|(start, end)| &disk.log[start..*end]).collect();
    let opened =
        |records: &[&[u8]]| Ledger::open(&records.concat(), key(), None).map(|reopened| reopened.repair.is_some());
    assert_eq!(opened(&records), Ok(false));
    for index in 0..records.len() - 1 {
        let mut without = records.clone();
        without.remove(index);
        // Only one record in its wrong place at the end can be taken for a spoilt one: it counts as a round.
        let expected = if index + 2 == records.len() { Ok(true) } else { Err(()) };
        assert_eq!(opened(&without).map_err(|_| ()), expected, "without record {index}");
        let mut swapped = records.clone();
        swapped.swap(index, index + 1);
        assert!(opened(&swapped).is_err(), "record {index} moved");
        let mut repeated = records.clone();
        repeated.insert(index, records[index]);
        assert!(opened(&repeated).is_err(), "record {index} repeated");
    }
}

#[test]
fn another_devices_log_is_not_believed() {
    let (disk, _) = full_log(false);
    let opened = Ledger::open(&disk.log, LedgerKey::new(&[43; 32]), None);
    assert!(matches!(opened, Err(Locked::Damaged { at: 0 })), "{opened:?}");
}

#[test]
fn an_older_log_is_noticed_where_the_key_store_counts() {
    let (disk, ends) = full_log(true);
    let expected = ends.len() as u64;
    for (records, end) in ends[..ends.len() - 1].iter().enumerate() {
        let older = Disk { log: disk.log[..*end].to_vec(), ..disk.clone() };
        assert_eq!(older.read().err(), Some(Locked::RolledBack { found: records as u64 + 1, expected }));
    }
    assert_eq!(Disk { log: vec![], ..disk.clone() }.read().err(), Some(Locked::Missing));
    assert_eq!(Locked::Missing.code(), "ledger_missing");
    // A count that lags behind is a crash between two writes, not an attack.
    let lagging = Count { records: expected - 1, ..disk.count.expect("counted") };
    assert!(Disk { count: Some(lagging), ..disk }.read().is_ok());
}

#[test]
fn a_reset_says_for_ever_that_the_past_is_unknown() {
    let (mut disk, _) = full_log(true);
    let last = disk.count;
    let old = disk.log.clone();
    let (mut ledger, pending) = Ledger::reset(key(), last, &limits(), NOW).expect("budgets");
    disk.log.clear();
    // Killed before the count is stored: the new log is this device's own.
    disk.counts = false;
    disk.append(pending.append());
    assert!(!disk.read().expect("a later epoch").ledger.past_known());
    disk.counts = true;
    disk.count = Some(pending.append().count);
    ledger.durable(pending).expect("the one it waits for");
    let _spent = disk.pay(&mut ledger, &facts(1));
    let ledger = disk.open().expect("whole");
    assert!(!ledger.past_known() && !ledger.exposure(NOW).past_known);
    assert_eq!(ledger.count(), Count { epoch: 1, records: 2 });
    // The log from before the reset does not come back, however long it is.
    disk.log = old;
    assert!(matches!(disk.read(), Err(Locked::RolledBack { .. })));
}

#[test]
fn two_processes_that_write_at_once_never_count_less() {
    for released in [false, true] {
        let mut disk = Disk::new(true);
        disk.create(&limits());
        // Both opened before either wrote, and neither host looked at `Append::at`.
        let (mut one, mut two) = (disk.open().expect("whole"), disk.open().expect("whole"));
        let (first, second) = (one.reserve(&facts(1), NOW).expect("fine"), two.reserve(&facts(2), NOW).expect("fine"));
        assert_eq!(first.append().at, second.append().at, "a host that looks at it sees the clash");
        disk.log.extend_from_slice(&first.append().bytes);
        disk.log.extend_from_slice(&second.append().bytes);
        disk.count = Some(second.append().count);
        let owed = facts(1).charge().expect("a cost").plus(&facts(2).charge().expect("a cost"));
        let _both = (one.durable(first).expect("its own"), two.durable(second).expect("its own"));
        if released {
            let unreleased = two.unreleased("words", 2).expect("unreleased");
            let third = two.release(&unreleased, [1; 32], NOW).expect("unreleased");
            disk.log.extend_from_slice(&third.append().bytes);
            assert!(matches!(disk.read(), Err(Locked::Damaged { .. } | Locked::RolledBack { .. })));
        } else {
            assert!(covers(&disk.open().expect("one spoilt record").lifetime_spent(), &owed));
        }
    }
}

#[test]
fn a_file_that_was_extended_but_not_written_is_a_torn_one() {
    let (disk, _) = full_log(true);
    let mut extended = disk.clone();
    extended.log.extend_from_slice(&[0; 300]);
    let ledger = extended.open().expect("zeros at the end");
    assert_eq!(ledger.receipts().last().map(|receipt| &receipt.event), Some(&Event::Damage));
    let mut far = disk.clone();
    far.log.extend_from_slice(&[0; 5000]);
    assert!(far.read().is_err(), "more than one record is missing");
    let mut foreign = disk;
    foreign.log.extend_from_slice(b"not a record");
    assert!(foreign.read().is_err());
}

/// A record that lacks one byte, and that byte is the one that every record begins with: the repair must not complete it.
#[test]
fn a_repair_never_completes_what_it_skips() {
    let found = (0..).find_map(|round| {
        let mut disk = Disk::new(true);
        let mut ledger = disk.create(&limits());
        let pending = ledger.reserve(&facts(round), NOW).expect("affordable");
        let bytes = &pending.append().bytes;
        (bytes.last() == Some(&0xD9)).then(|| {
            disk.log.extend_from_slice(&bytes[..bytes.len() - 1]);
            disk
        })
    });
    let mut disk = found.expect("one in 256");
    let torn = disk.log.len();
    let mut ledger = disk.open().expect("torn");
    let _spent = disk.pay(&mut ledger, &facts(1_000_000));
    assert_eq!(disk.open().expect("whole").receipts(), ledger.receipts());
    assert_eq!(ledger.receipts()[0].event, Event::Damage);
    // Cut off anywhere in the repair, too.
    for cut in torn..disk.log.len() {
        let mut cut =
            Disk { log: disk.log[..cut].to_vec(), count: Some(Count { epoch: 0, records: 1 }), ..disk.clone() };
        let ledger = cut.open().expect("torn");
        assert_eq!(cut.open().expect("whole").receipts(), ledger.receipts());
        assert!(!ledger.receipts().is_empty());
    }
}

#[test]
fn damage_counts_in_every_period_until_a_record_follows() {
    let mut disk = Disk::new(true);
    let mut ledger = disk.create(&limits());
    let pending = ledger.reserve(&facts(1), NOW).expect("affordable");
    disk.log.extend_from_slice(&pending.append().bytes[..20]);
    let mut ledger = disk.open().expect("torn");
    let month = Limits::COMPILED.period_ms;
    let cap = limits().round.aggregate;
    for now in [NOW, NOW + month, NOW + 7 * month] {
        let spent = ledger.exposure(now).period.aggregate.at_most().expect("bounded");
        assert!(spent <= cap && spent > 0.999 * cap, "{spent}");
    }
    let pending = ledger.reserve(&facts(2), NOW + month).expect("affordable");
    let _spent = disk.commit(&mut ledger, pending);
    assert!(ledger.exposure(NOW + month).period.aggregate > Epsilon::AtMost(cap));
    assert_eq!(ledger.exposure(NOW + 2 * month).period.aggregate, Epsilon::AtMost(0.0));
    assert!(ledger.exposure(NOW + 2 * month).lifetime.aggregate > Epsilon::AtMost(cap));
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Whatever bytes are there: an answer, no panic. And what opens counts no less than its whole records do.
        #[test]
        fn anything_can_stand_in_a_log(
            keep in 0usize..3000,
            junk in proptest::collection::vec(any::<u8>(), 0..200),
            zeros in 0usize..100,
            rest in 0usize..3000,
        ) {
            let (disk, ends) = full_log(false);
            let keep = keep.min(disk.log.len());
            let mut log = disk.log[..keep].to_vec();
            log.extend_from_slice(&junk);
            log.resize(log.len() + zeros, 0);
            log.extend_from_slice(&disk.log[rest.min(disk.log.len())..]);
            if let Ok(ledger) = (Disk { log, ..disk.clone() }).open() {
                let whole = ends.iter().copied().filter(|end| *end <= keep).max().unwrap_or(ends[0]);
                prop_assert!(covers(&ledger.lifetime_spent(), &spent_by(&disk, whole)));
            }
        }
    }
}
