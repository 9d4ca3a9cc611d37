//! Single states and single rules of both sides, as fixed cases.
#![cfg(not(target_arch = "wasm32"))]

#[allow(dead_code, reason = "each test program uses its part")]
mod common;

use common::{Cohort, State, opens, round_config};
use scale_secagg::error::{Reason, Refusal};
use scale_secagg::graph::{Graph, Members};
use scale_secagg::keys;
use scale_secagg::params::Parameters;
use scale_secagg::server::{Accumulator, Keys, Receipt};

/// A sharer fell silent that has too few neighbours among the survivors: its pair masks could never be removed, though
/// every survivor is well connected. The session ends at once.
#[test]
fn a_lost_sharer_without_enough_neighbours_ends_the_session() {
    let n = 140;
    let mut cohort = Cohort::new(round_config(n, n, 16), n as usize, 1);
    let advertised: Vec<_> = (0..n as usize).map(|device| cohort.advertise(device)).collect();
    let without = |offsets: &[i32]| {
        let mut stage = Keys::new(cohort.config.clone(), []);
        advertised.iter().for_each(|message| assert_eq!(stage.receive(message), Ok(Receipt::New)));
        let mut stage = stage.close().unwrap();
        let Parameters { k, t, .. } = *stage.parameters();
        assert_eq!((k, t), (30, 16));
        let graph = Graph::harary(n, k, stage.sid());
        (0..n).for_each(|i| assert_eq!(stage.receive(i, &[0; 80 * 30 + 32]), Ok(Receipt::New)));
        let mut stage = stage.close().unwrap();
        let lost: Vec<u32> = offsets.iter().map(|offset| graph.ring().unwrap()[(70 + offset) as usize]).collect();
        let survivors = Members::of(n, (0..n).filter(|i| !lost.contains(i)));
        for i in survivors.iter() {
            assert_eq!(stage.commit(i, [0; 32]), Ok(Receipt::New));
        }
        assert!(survivors.iter().all(|i| graph.count_in(i, &survivors) >= t), "every survivor has enough neighbours");
        stage.close().map(drop).map_err(|refusal| refusal.reason)
    };
    assert_eq!(
        without(&[0, -15, -14, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 14]),
        Ok(()),
        "16 neighbours of 0 are left"
    );
    let lost = [0, -15, -14, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 14, 15];
    assert_eq!(without(&lost), Err(Reason::WeakNeighbourhood), "15 neighbours of 0 are left");
}

/// One device in every state, in the order of the stages: keyed, shared, cleared, masked, agreed.
fn states() -> Vec<State> {
    let mut cohort = Cohort::new(round_config(10, 12, 12), 12, 3);
    let (mut server, _) = cohort.open_session();
    let mut kept = vec![cohort.devices[0].state.restored()];
    for stage in 1..4 {
        let Cohort { policy, devices, .. } = &mut cohort;
        for (place, device) in (0..).zip(devices) {
            let down = server.message(place).unwrap();
            let mut message = device.take(policy, opens(stage, &down)).expect("in order").unwrap();
            if place == 0 {
                kept.push(device.state.restored());
            }
            if stage == 2 {
                message = device.state.mask(device.input.clone()).unwrap();
                if place == 0 {
                    kept.push(device.state.restored());
                }
            }
            server.receive(stage, Some(place), &message).unwrap();
        }
        server.close(1).unwrap();
    }
    kept
}

#[test]
fn debug_output_of_states_is_redacted() {
    let shown: Vec<String> = states().iter().map(|state| format!("{state:?}")).collect();
    let place = &shown[1][shown[1].find("index: ").unwrap()..shown[1].find(", .. }").unwrap()];
    let in_session = |name: &str| format!("{name}({name} {{ round: 7, n: 12, {place}, .. }})");
    let expected = [
        "Keyed(Keyed { round: 7, .. })".to_owned(),
        in_session("Shared"),
        in_session("Cleared"),
        in_session("Masked"),
        in_session("Agreed"),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn snapshots_are_read_strictly() {
    for state in states() {
        let snapshot = state.snapshot().unwrap();
        let malformed = Some(Refusal::from(Reason::Malformed));
        for len in 0..snapshot.len() {
            assert_eq!(state.read(&snapshot[..len]).err(), malformed, "{state:?} cut to {len}");
        }
        let changed = |at: usize, value: u8| {
            let mut bytes = snapshot.to_vec();
            bytes[at] = value;
            state.read(&bytes).err()
        };
        assert_eq!(state.read(&[&snapshot[..], &[0]].concat()).err(), malformed, "one byte more");
        assert_eq!(changed(0, 1), malformed, "another version");
        assert_eq!(changed(1, 7), malformed, "no such state");
    }
}

/// What is restored is the same state, and no other state can be read from its bytes.
#[test]
fn states_restore_themselves_only() {
    let states = states();
    assert_eq!(states.len(), 5);
    for state in &states {
        let snapshot = state.snapshot().unwrap();
        let read: Vec<_> = states.iter().filter_map(|other| other.read(&snapshot).ok()?.snapshot()).collect();
        assert_eq!(read, [snapshot], "{state:?}");
    }
}

/// An input of the wrong shape: the session is over, and there is no state left for a second try.
#[test]
fn a_wrong_input_is_final() {
    for input in [vec![], vec![vec![0; 11], vec![0; 4]], vec![vec![0; 3], vec![0; 11]]] {
        let mut state = states().swap_remove(2);
        assert_eq!(state.mask(input), Err(Refusal::by(scale_secagg::check::Check::C26, Reason::Plan)));
        assert!(state.is_over());
    }
}

#[test]
fn broken_uploads_are_refused_before_they_are_added() {
    let config = round_config(10, 12, 12);
    let len = config.masked_input_len() as usize;
    assert_eq!(len, 17 + 5, "11 and 3 entries of 12 bits, each vector padded by itself");
    let mut sum = Accumulator::new(&config);
    sum.add(&config, &[&[1; 16][..], &[0x01; 1], &[1; 4], &[0x01]].concat()).unwrap();
    let before = sum.clone();
    let refused = |sum: &mut Accumulator, upload: &[u8]| sum.add(&config, upload).map_err(|refusal| refusal.reason);
    assert_eq!(refused(&mut sum, &vec![0; len - 1]), Err(Reason::WrongLength));
    assert_eq!(refused(&mut sum, &vec![0; len + 1]), Err(Reason::WrongLength));
    for at in [16, 21] {
        let mut upload = vec![0; len];
        upload[at] = 0x10;
        assert_eq!(refused(&mut sum, &upload), Err(Reason::PaddingBits), "byte {at}");
    }
    assert_eq!(sum, before);

    // Streaming sees the same faults, but only once a part was added.
    let mut dirty = Accumulator::new(&config);
    let mut ingest = dirty.ingest();
    ingest.push(&vec![0; len]).unwrap();
    assert_eq!(ingest.push(&[0]).map_err(|refusal| refusal.reason), Err(Reason::WrongLength));
    let mut ingest = dirty.ingest();
    ingest.push(&vec![0; len - 1]).unwrap();
    assert_eq!(ingest.finish().map_err(|refusal| refusal.reason), Err(Reason::WrongLength));
    assert!(Accumulator::from_bytes(&config, &[0; 4]).is_err());
    assert!(dirty.merge(&Accumulator::new(&round_config(10, 12, 13))).is_err(), "another width");
}

/// Without the sum of the uploads nothing is released: what masks alone would give is noise.
#[test]
fn stage_4_needs_the_sum() {
    let mut cohort = Cohort::new(round_config(10, 12, 12), 10, 5);
    let (mut server, _) = cohort.open_session();
    for stage in 1..5 {
        for device in 0..10 {
            let down = server.message(device as u32).unwrap();
            let message = cohort.handle(device, opens(stage, &down)).unwrap();
            let receipt = match stage {
                2 => server.commit(device as u32, keys::hash(&[&message])),
                _ => server.receive(stage, Some(device as u32), &message),
            };
            assert_eq!(receipt, Ok(Receipt::New));
        }
        let closed = server.close(1).map(drop).map_err(|refusal| refusal.reason);
        assert_eq!(closed, if stage < 4 { Ok(()) } else { Err(Reason::WrongLength) });
    }
}
