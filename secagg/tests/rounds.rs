//! Whole rounds in one process: any dropout pattern gives the exact sum or a clean end, never a wrong sum.
#![cfg(not(target_arch = "wasm32"))]

use proptest::collection::vec;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use scale_secagg::client::{self, Answer, Event, Host, Participant, State};
use scale_secagg::config::{self, Mechanism, Policy, RoundConfig, VectorSpec};
use scale_secagg::error::{Reason, Refusal};
use scale_secagg::graph::{Graph, Members};
use scale_secagg::keys::{self, IdentityKey};
use scale_secagg::params::{self, Class, Parameters, Profile};
use scale_secagg::server::{Accumulator, Closed, Down, Keys, Receipt, Session, Stage, SummedUpdate, check_packed};

/// A stage after which nobody falls silent.
const NEVER: u8 = 5;

fn round_config(n_lo: u32, n_hi: u32, wire_bits: u8) -> RoundConfig {
    RoundConfig {
        task_id: "rounds".into(),
        round: 7,
        server_nonce: [1; 32],
        model_digest: [2; 32],
        plan_digest: [3; 32],
        vectors: vec![VectorSpec { name: "w".into(), len: 11 }, VectorSpec { name: "b".into(), len: 3 }],
        wire_bits,
        clip: 1.0,
        grid: 15,
        rotation_seed: None,
        mechanism: Mechanism::None,
        policy_id: "none".into(),
        profile: Profile::Standard,
        class: Class::Default,
        n_lo,
        n_hi,
        u3_min: 10,
        closing: [10, 20, 30, 40, 50],
        identity_root: [0; 32],
    }
}

struct Device {
    participant: Participant,
    identity: IdentityKey,
    rng: ChaCha20Rng,
    input: Vec<Vec<u32>>,
    /// Stage that it no longer answers.
    silent_from: u8,
}

impl Device {
    fn finish(&mut self, answer: Answer) -> Result<Vec<u8>, Refusal> {
        match answer {
            Answer::Send(out) => Ok(out),
            Answer::InputWanted => self.participant.mask(Some(self.input.clone())),
        }
    }
}

/// A task with its devices, before any message.
struct Round {
    config: RoundConfig,
    signature: [u8; 64],
    policy: Policy,
    devices: Vec<Device>,
}

impl Round {
    fn new(config: RoundConfig, silent_from: &[u8], seed: u64) -> Self {
        let task_key = IdentityKey::from_seed(&[9; 32]);
        let policy = Policy {
            task_key: task_key.public(),
            model_digest: config.model_digest,
            vectors: config.vectors.clone(),
            last_round: config.round - 1,
            min_clients: 10,
        };
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let devices = silent_from.iter().map(|&silent_from| {
            let mut identity = [0; 32];
            rng.fill_bytes(&mut identity);
            let mut vector = |len: u64| (0..len).map(|_| (rng.next_u32() % 31).wrapping_sub(15)).collect();
            Device {
                participant: Participant::new(),
                identity: IdentityKey::from_seed(&identity),
                input: config.vectors.iter().map(|spec| vector(spec.len)).collect(),
                rng: ChaCha20Rng::from_seed(identity),
                silent_from,
            }
        });
        let devices = devices.collect();
        Self { signature: config::sign(&config, &task_key), config, policy, devices }
    }

    fn answer(&mut self, device: usize, event: Event<'_>) -> Result<Answer, Refusal> {
        let device = &mut self.devices[device];
        let mut host = Host { policy: &self.policy, identity: &device.identity, rng: &mut device.rng };
        device.participant.handle(event, 0, &mut host)
    }

    fn handle(&mut self, device: usize, event: Event<'_>) -> Result<Vec<u8>, Refusal> {
        let answer = self.answer(device, event)?;
        self.devices[device].finish(answer)
    }

    /// Stage 0 with every device, in the given order of arrival.
    fn advertise(&mut self, order: &[usize]) -> Vec<Vec<u8>> {
        let bytes = self.config.encode();
        let signature = self.signature;
        order
            .iter()
            .map(|&device| self.handle(device, Event::Config { bytes: &bytes, signature: &signature }).unwrap())
            .collect()
    }
}

/// What the server accepted, in order; `None` closes a stage.
type Log = Vec<Option<(u8, Option<u32>, Vec<u8>)>>;

/// Drives one round to its end and records what the server accepted.
fn drive(round: &mut Round, order: &[usize], log: &mut Log) -> Result<SummedUpdate, Refusal> {
    let mut server = Session::new(round.config.clone(), []);
    for message in round.advertise(order) {
        assert_eq!(server.receive(0, None, &message), Ok(Receipt::New));
        log.push(Some((0, None, message)));
    }
    log.push(None);
    server.close(2)?;
    let Stage::Shares(shares) = server.stage() else { panic!("stage 1 is open") };
    let place = |device: &Device| shares.index_of(&device.identity.public()).unwrap();
    let places: Vec<u32> = round.devices.iter().map(place).collect();

    for stage in 1..5 {
        for &device in order {
            let index = places[device];
            if round.devices[device].silent_from <= stage {
                continue;
            }
            let Some(down) = server.message(index) else { continue };
            let answer = round.handle(device, event(stage, &down));
            let Ok(message) = answer else {
                // The device saw before the server that too few neighbours are left.
                assert_eq!((stage, answer), (4, Err(Refusal::by("C20", Reason::Agreement))));
                continue;
            };
            assert_eq!(server.receive(stage, Some(index), &message), Ok(Receipt::New));
            log.push(Some((stage, Some(index), message)));
        }
        log.push(None);
        if let Closed::Released(update) = server.close(2)? {
            return Ok(update);
        }
    }
    unreachable!("stage 4 releases or refuses")
}

fn event(stage: u8, down: &Down) -> Event<'_> {
    match (stage, down) {
        (1, Down::Roster(form, bytes)) => Event::Roster { form: *form, bytes },
        (2, Down::Bytes(bytes)) => Event::Shares(bytes),
        (3, Down::Bytes(bytes)) => Event::Survivors(bytes),
        (4, Down::Bytes(bytes)) => Event::Signatures(bytes),
        _ => panic!("stage {stage}: {down:?}"),
    }
}

/// The sum of the inputs of all who answered stage 2, with entries as signed numbers.
fn plain_sum(round: &Round) -> Vec<Vec<i64>> {
    let survivors = round.devices.iter().filter(|device| device.silent_from > 2);
    let mut sums: Vec<Vec<i64>> = round.config.vectors.iter().map(|vector| vec![0; vector.len as usize]).collect();
    for device in survivors {
        for (sum, input) in sums.iter_mut().zip(&device.input) {
            sum.iter_mut().zip(input).for_each(|(sum, entry)| *sum += i64::from(entry.cast_signed()));
        }
    }
    sums
}

/// How a round on a complete graph must end, from the numbers of the spec alone.
fn expected_end(silent_from: &[u8]) -> Result<(), Reason> {
    let n = silent_from.len() as u32;
    let t = params::parameters(n, Profile::Standard, Class::Default).unwrap().t;
    let left = |stage: u8| silent_from.iter().filter(|from| **from > stage).count() as u32;
    let [sharers, survivors, signers, answers] = [left(1), left(2), left(3), left(4)];
    match () {
        // Everybody needs t others.
        () if sharers < 10 || sharers <= t => Err(Reason::TooFewSharers),
        () if survivors < 10 => Err(Reason::TooFewInputs),
        () if survivors <= t => Err(Reason::WeakNeighbourhood),
        () if signers <= t || answers <= t => Err(Reason::TooFewShares),
        () => Ok(()),
    }
}

fn arb_silence(n: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<u8>> {
    let weighted = |often| prop_oneof![often => Just(NEVER), 1 => 1..=4_u8];
    prop_oneof![vec(weighted(30), n.clone()), vec(weighted(8), n.clone()), vec(weighted(3), n)]
}

fn arb_round(n: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = (Vec<u8>, Vec<usize>, u64)> {
    arb_silence(n).prop_flat_map(|silent_from| {
        let order: Vec<usize> = (0..silent_from.len()).collect();
        (Just(silent_from), Just(order).prop_shuffle(), any::<u64>())
    })
}

/// A whole round takes a good part of a second: few cases here, more with PROPTEST_CASES.
fn cases(few: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(few);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(16))]

    /// Complete graphs: the sum is exact whenever the thresholds allow one, and the end is the right one when not.
    #[test]
    fn masks_cancel_or_the_round_ends_cleanly((silent_from, order, seed) in arb_round(10..=40)) {
        let mut round = Round::new(round_config(10, 40, 12), &silent_from, seed);
        let mut log = Log::new();
        let end = drive(&mut round, &order, &mut log);
        prop_assert_eq!(end.as_ref().map(drop).map_err(|refusal| refusal.reason), expected_end(&silent_from));
        if let Ok(update) = &end {
            prop_assert_eq!(&update.vectors, &plain_sum(&round));
            prop_assert_eq!(update.n_survivors as usize, silent_from.iter().filter(|from| **from > 2).count());
        }
        prop_assert_eq!(replay(&round.config, &log), end);
    }
}

proptest! {
    #![proptest_config(cases(2))]

    /// Sparse graphs: the exact sum, or an end that a stage may have.
    #[test]
    fn masks_cancel_on_sparse_graphs((silent_from, order, seed) in arb_round(130..=150)) {
        let mut round = Round::new(round_config(130, 150, 16), &silent_from, seed);
        match drive(&mut round, &order, &mut Log::new()) {
            Ok(update) => prop_assert_eq!(update.vectors, plain_sum(&round)),
            Err(refusal) => prop_assert!(matches!(
                refusal.reason,
                Reason::TooFewSharers | Reason::TooFewInputs | Reason::WeakNeighbourhood | Reason::TooFewShares
            )),
        }
    }
}

/// The same messages again, uploads summed elsewhere in two parts and in small pieces: the same end.
fn replay(config: &RoundConfig, log: &Log) -> Result<SummedUpdate, Refusal> {
    let mut server = Session::new(config.clone(), []);
    let mut sums = [Accumulator::new(config), Accumulator::new(config)];
    let mut end = Err(Reason::Late.into());
    for record in log {
        match record {
            Some((2, Some(sender), upload)) => {
                check_packed::<Refusal>(config, upload.len() as u64, |at| Ok(upload[at as usize]))?;
                let mut ingest = sums[*sender as usize % 2].ingest();
                for piece in upload.chunks(1 + *sender as usize % 5) {
                    ingest.push(piece)?;
                }
                ingest.finish()?;
                assert_eq!(server.commit(*sender, keys::hash(&[upload])), Ok(Receipt::New));
            }
            Some((stage, sender, message)) => {
                assert_eq!(server.receive(*stage, *sender, message), Ok(Receipt::New));
            }
            None => {
                if server.stage_number() == Some(2) {
                    for sum in &sums {
                        server.add_sum(Accumulator::from_bytes(config, &sum.to_bytes())?)?;
                    }
                }
                match server.close(1)? {
                    Closed::Released(update) => end = Ok(update),
                    _ => continue,
                }
            }
        }
    }
    end
}

/// A sharer fell silent that has too few neighbours among the survivors: its pair masks could never be removed, though
/// every survivor is well connected. The session ends at once.
#[test]
fn a_lost_sharer_without_enough_neighbours_ends_the_session() {
    let n = 140;
    let mut round = Round::new(round_config(n, n, 16), &vec![NEVER; n as usize], 1);
    let advertised = round.advertise(&(0..n as usize).collect::<Vec<_>>());
    let without = |offsets: &[i32]| {
        let mut stage = Keys::new(round.config.clone(), []);
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
    let mut round = Round::new(round_config(10, 12, 12), &[NEVER; 12], 3);
    let mut server = Session::new(round.config.clone(), []);
    let mut kept = vec![Participant::new()];
    let keep = |round: &Round| Participant::restore(&round.devices[0].participant.snapshot()).unwrap();
    for message in round.advertise(&(0..12).collect::<Vec<_>>()) {
        server.receive(0, None, &message).unwrap();
    }
    kept.push(keep(&round));
    server.close(1).unwrap();
    let Stage::Shares(shares) = server.stage() else { panic!("stage 1 is open") };
    let place = |device: &Device| shares.index_of(&device.identity.public()).unwrap();
    let places: Vec<u32> = round.devices.iter().map(place).collect();
    for stage in 1..5 {
        for (device, &index) in places.iter().enumerate() {
            let down = server.message(index).unwrap();
            let answer = round.answer(device, event(stage, &down)).unwrap();
            if answer == Answer::InputWanted && device == 0 {
                kept.push(keep(&round));
                // The same request again, before the input is there.
                assert_eq!(round.answer(device, event(stage, &down)), Ok(Answer::InputWanted));
            }
            let message = round.devices[device].finish(answer).unwrap();
            server.receive(stage, Some(index), &message).unwrap();
        }
        kept.push(keep(&round));
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
        assert_eq!(changed(0, 2), malformed, "another version");
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
    let mut round = Round::new(round_config(10, 12, 12), &[NEVER; 10], 5);
    let mut log = Log::new();
    drive(&mut round, &(0..10).collect::<Vec<_>>(), &mut log).unwrap();
    let mut server = Session::new(round.config.clone(), []);
    let mut ends = Vec::new();
    for record in &log {
        match record {
            Some((2, Some(sender), upload)) => drop(server.commit(*sender, keys::hash(&[upload])).unwrap()),
            Some((stage, sender, message)) => drop(server.receive(*stage, *sender, message).unwrap()),
            None => ends.push(server.close(1).map(drop).map_err(|refusal| refusal.reason)),
        }
    }
    assert_eq!(ends, [Ok(()), Ok(()), Ok(()), Ok(()), Err(Reason::WrongLength)]);
}
