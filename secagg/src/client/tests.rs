//! No state keeps a secret longer than it needs it, and none outlives the session.

#[allow(dead_code, reason = "each test program uses its part")]
#[path = "../../tests/common/mod.rs"]
mod common;

use common::{Cohort, Message, State, opens, round_config};

use crate::wipe::live;

/// Secrets that each state keeps, in the order of the stages.
fn kept(state: &State) -> usize {
    match state {
        State::Idle | State::Over => 0,
        // a; the channel key.
        State::Keyed(_) => 2,
        // What was agreed with the neighbours; the mask key; the self mask.
        State::Shared(_) => 3,
        // Shares; masks.
        State::Cleared(_) => 2,
        // Shares.
        State::Masked(_) | State::Agreed(_) => 1,
    }
}

/// Plays a session of twelve and keeps the first device's states as they would be restored.
fn states() -> Vec<State> {
    let mut cohort = Cohort::new(round_config(10, 12, 12), 12, 3);
    let (mut server, _) = cohort.open_session();
    let mut kept_by_all = vec![2];
    // Kept as bytes first: a restored state has secrets of its own, which would be counted.
    let mut snapshots = vec![];
    let store = |cohort: &Cohort| cohort.devices[0].state.snapshot().map(|bytes| bytes.to_vec());
    snapshots.push(store(&cohort));
    assert_eq!(live::count(), 12 * 2);
    for stage in 1..5 {
        for device in 0..12 {
            let down = server.message(device as u32).unwrap();
            let Cohort { policy, devices, .. } = &mut cohort;
            let Some(Ok(mut message)) = devices[device].take(policy, opens(stage, &down)) else { panic!("the truth") };
            if stage == 2 {
                if device == 0 {
                    snapshots.push(devices[0].state.snapshot().map(|bytes| bytes.to_vec()));
                }
                let input = devices[device].input.clone();
                message = devices[device].state.mask(input).unwrap();
            }
            server.receive(stage, Some(device as u32), &message).unwrap();
        }
        snapshots.push(store(&cohort));
        let each = kept(&cohort.devices[0].state);
        assert_eq!(live::count(), 12 * each, "after stage {stage}");
        kept_by_all.push(each);
        server.close(1).unwrap();
    }
    assert_eq!(kept_by_all, [2, 3, 1, 1, 0]);
    drop((cohort, server));
    assert_eq!(live::count(), 0, "all devices are gone");
    let read = |(at, bytes): (usize, Option<Vec<u8>>)| {
        let bytes = bytes.unwrap_or_default();
        match at {
            0 => super::Keyed::restore(&bytes).map(State::Keyed),
            1 => super::Shared::restore(&bytes).map(State::Shared),
            2 => super::Cleared::restore(&bytes).map(State::Cleared),
            3 => super::Masked::restore(&bytes).map(State::Masked),
            4 => super::Agreed::restore(&bytes).map(State::Agreed),
            _ => Ok(State::Over),
        }
    };
    snapshots.into_iter().enumerate().map(|entry| read(entry).unwrap()).collect()
}

#[test]
fn no_secret_outlives_its_session() {
    for state in states() {
        let (at, expected) = (format!("{state:?}"), kept(&state));
        let rest = live::count() - expected;
        let bytes = state.snapshot();

        let dropped = state.restored();
        assert_eq!(live::count() - rest, 2 * expected, "{at}");
        drop(dropped);
        assert_eq!(live::count() - rest, expected, "dropped, {at}");

        let Cohort { policy, mut devices, .. } = Cohort::new(round_config(10, 12, 12), 1, 3);
        for message in [Message::Survivors(&[]), Message::Shares(&[]), Message::Signatures(&[0; 68])] {
            devices[0].state = state.restored();
            if let Some(result) = devices[0].take(&policy, message) {
                assert!(result.is_err() && devices[0].state.is_over());
                assert_eq!(live::count() - rest, expected, "{message:?} refused, {at}");
            }
            devices[0].state = State::Over;
        }

        if matches!(state, State::Cleared(_)) {
            for input in [vec![], vec![vec![0; 11], vec![0; 4]]] {
                assert!(state.restored().mask(input).is_err());
                assert_eq!(live::count() - rest, expected, "another input, {at}");
            }
        }
        // Bytes that are no state of the device after all.
        for len in (0..bytes.as_ref().map_or(0, |bytes| bytes.len())).step_by(7) {
            assert!(state.read(&bytes.as_ref().unwrap()[..len]).is_err());
        }
        assert_eq!(live::count() - rest, expected, "{at}");
        drop(state);
        assert_eq!(live::count(), rest, "{at}");
    }
    assert_eq!(live::count(), 0);
}
