//! Single states and single rules of both sides, as fixed cases; what random sequences of messages do to a device.
#![cfg(not(target_arch = "wasm32"))]

#[allow(dead_code, reason = "each test program uses its part")]
mod common;
#[path = "states/sequences.rs"]
mod sequences;

use common::{Cohort, event, round_config};
use scale_secagg::client::{self, Answer, Participant, State};
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

/// One device in every state, in the order of the stages: idle, keyed, shared, cleared, masked, agreed, done.
fn states() -> Vec<Participant> {
    let mut cohort = Cohort::new(round_config(10, 12, 12), 12, 3);
    let mut kept = vec![Participant::new()];
    let keep = |cohort: &Cohort| Participant::restore(&cohort.devices[0].participant.snapshot()).unwrap();
    let (mut server, _) = cohort.open_session();
    kept.push(keep(&cohort));
    for stage in 1..5 {
        for device in 0..12 {
            let down = server.message(device as u32).unwrap();
            let Cohort { policy, devices, .. } = &mut cohort;
            let answer = devices[device].answer(policy, event(stage, &down)).unwrap();
            if answer == Answer::InputWanted && device == 0 {
                kept.push(keep(&cohort));
                // The same request again, before the input is there.
                let Cohort { policy, devices, .. } = &mut cohort;
                assert_eq!(devices[device].answer(policy, event(stage, &down)), Ok(Answer::InputWanted));
            }
            let message = cohort.devices[device].finish(answer).unwrap();
            server.receive(stage, Some(device as u32), &message).unwrap();
        }
        kept.push(keep(&cohort));
        server.close(1).unwrap();
    }
    kept
}

#[test]
fn debug_output_of_states_is_redacted() {
    let shown: Vec<String> = states().iter().map(|participant| format!("{participant:?}")).collect();
    let place = &shown[2][shown[2].find("index: ").unwrap()..shown[2].find(", .. })").unwrap()];
    let in_session =
        |name: &str| format!("Participant {{ state: {name}({name} {{ round: 7, n: 12, {place}, .. }}), .. }}");
    let expected = [
        "Participant { state: Idle, .. }".to_owned(),
        "Participant { state: Keyed(Keyed { round: 7, .. }), .. }".to_owned(),
        in_session("Shared"),
        in_session("Cleared"),
        in_session("Masked"),
        in_session("Agreed"),
        "Participant { state: Done, .. }".to_owned(),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn snapshots_are_read_strictly() {
    for participant in states() {
        let snapshot = participant.snapshot();
        let restored = Participant::restore(&snapshot).unwrap();
        assert_eq!(*restored.snapshot(), *snapshot, "{participant:?}");
        let malformed = Some(Refusal::from(Reason::Malformed));
        for len in 0..snapshot.len() {
            assert_eq!(Participant::restore(&snapshot[..len]).err(), malformed, "{participant:?} cut to {len}");
        }
        let changed = |at: usize, value: u8| {
            let mut bytes = snapshot.to_vec();
            bytes[at] = value;
            Participant::restore(&bytes).err()
        };
        assert_eq!(Participant::restore(&[&snapshot[..], &[0]].concat()).err(), malformed, "one byte more");
        assert_eq!(changed(0, 1), malformed, "another version");
        assert_eq!(changed(1, 1), malformed, "not a participant");
        assert_eq!(changed(2, 7), malformed, "no such state");
    }
}

/// The states by themselves: what is restored is the same state, and no other state can be read from its bytes.
#[test]
fn single_states_restore_themselves_only() {
    for participant in states() {
        let snapshot = match participant.state() {
            State::Keyed(state) => state.snapshot(),
            State::Shared(state) => state.snapshot(),
            State::Cleared(state) => state.snapshot(),
            State::Masked(state) => state.snapshot(),
            State::Agreed(state) => state.snapshot(),
            _ => continue,
        };
        let restored = [
            client::Keyed::restore(&snapshot).map(|state| state.snapshot()),
            client::Shared::restore(&snapshot).map(|state| state.snapshot()),
            client::Cleared::restore(&snapshot).map(|state| state.snapshot()),
            client::Masked::restore(&snapshot).map(|state| state.snapshot()),
            client::Agreed::restore(&snapshot).map(|state| state.snapshot()),
        ];
        let read: Vec<_> = restored.iter().flatten().collect();
        assert_eq!(read, [&snapshot], "{participant:?}");
        assert!(Participant::restore(&snapshot).is_err(), "{participant:?}");
    }
}

/// An input of the wrong shape, or none: the session is over, and no second try is possible.
#[test]
fn a_wrong_or_missing_input_is_final() {
    for (input, reason) in [
        (None, Reason::Ledger),
        (Some(vec![]), Reason::Plan),
        (Some(vec![vec![0; 11], vec![0; 4]]), Reason::Plan),
        (Some(vec![vec![0; 3], vec![0; 11]]), Reason::Plan),
    ] {
        let mut participant = states().swap_remove(3);
        assert_eq!(participant.mask(input).map_err(|refusal| refusal.reason), Err(reason));
        assert!(participant.is_done());
        assert_eq!(participant.mask(None).map_err(|refusal| refusal.reason), Err(Reason::StageOrder));
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
            let message = cohort.handle(device, event(stage, &down)).unwrap();
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
