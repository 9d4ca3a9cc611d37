//! No state keeps a secret longer than it needs it, and none outlives the session.

#[allow(dead_code, reason = "each test program uses its part")]
#[path = "../../tests/common/mod.rs"]
mod common;

use common::{Cohort, event, round_config};
use zeroize::Zeroizing;

use super::{Event, Participant, State};
use crate::wipe::live;

/// Secrets that each state keeps, in the order of the stages.
fn kept(state: &State) -> usize {
    match state {
        State::Idle | State::Done => 0,
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

/// Plays a session of twelve and keeps the first device's snapshots, one per state.
fn snapshots() -> Vec<Zeroizing<Vec<u8>>> {
    let mut cohort = Cohort::new(round_config(10, 12, 12), 12, 3);
    let (mut server, _) = cohort.open_session();
    let mut kept_by_all = vec![2];
    let mut snapshots = vec![cohort.devices[0].participant.snapshot()];
    assert_eq!(live::count(), 12 * 2);
    for stage in 1..5 {
        for device in 0..12 {
            let down = server.message(device as u32).unwrap();
            let Cohort { policy, devices, .. } = &mut cohort;
            let answer = devices[device].answer(policy, event(stage, &down)).unwrap();
            if stage == 2 && device == 0 {
                snapshots.push(devices[0].participant.snapshot());
            }
            let message = devices[device].finish(answer).unwrap();
            server.receive(stage, Some(device as u32), &message).unwrap();
        }
        snapshots.push(cohort.devices[0].participant.snapshot());
        let each = kept(cohort.devices[0].participant.state());
        assert_eq!(live::count(), 12 * each, "after stage {stage}");
        kept_by_all.push(each);
        server.close(1).unwrap();
    }
    assert_eq!(kept_by_all, [2, 3, 1, 1, 0]);
    snapshots
}

#[test]
fn no_secret_outlives_its_session() {
    let snapshots = snapshots();
    assert_eq!(live::count(), 0, "all devices are gone");
    let Cohort { policy, mut devices, .. } = Cohort::new(round_config(10, 12, 12), 1, 3);
    for snapshot in &snapshots {
        let restore = || Participant::restore(snapshot).unwrap();
        let at = format!("{:?}", restore());
        let expected = kept(restore().state());

        let dropped = restore();
        assert_eq!(live::count(), expected, "{at}");
        drop(dropped);
        assert_eq!(live::count(), 0, "dropped, {at}");

        let mut aborted = restore();
        aborted.abort();
        assert_eq!(live::count(), 0, "aborted, {at}");

        for event in [Event::Survivors(&[]), Event::Shares(&[]), Event::Signatures(&[0; 68])] {
            devices[0].participant = restore();
            assert!(devices[0].answer(&policy, event).is_err());
            assert_eq!(live::count(), 0, "{event:?} refused, {at}");
        }

        for input in [None, Some(vec![]), Some(vec![vec![0; 11], vec![0; 4]])] {
            let mut masking = restore();
            assert!(masking.mask(input).is_err());
            assert_eq!(live::count(), 0, "no input, {at}");
        }
    }
    // Bytes that are no state of the device after all.
    for snapshot in &snapshots {
        for len in (0..snapshot.len()).step_by(7) {
            assert!(Participant::restore(&snapshot[..len]).is_err());
        }
    }
    assert_eq!(live::count(), 0);
}
