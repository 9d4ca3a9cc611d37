use scale_privacy::guardrails::Limits;
use scale_proto::ids::Digest;
use scale_proto::manifest::Manifest;
use scale_proto::plan::Plan;
use scale_proto::privacy::{ClipRange, Privacy};
use scale_secagg::config::{Mechanism, RoundConfig, VectorSpec};
use scale_secagg::roster::RosterForm;
use scale_secagg::server::Closed;

use super::*;
use crate::device::fixtures::{self, ConstantTrainer, START_MS};
use crate::device::{Part, Snapshot};
#[cfg(target_arch = "wasm32")]
use crate::single_thread::test;
use crate::testing::{self, Device, Training, effect_name};

mod ledger;
mod pauses;
#[cfg(not(target_arch = "wasm32"))]
mod sequences;

/// The kit's device, stepped by hand: the states are the test's.
trait ByHand {
    fn check_in(&mut self, manifest: Manifest) -> Step;
    fn keyed(&mut self) -> Step;
    fn keyed_in(&mut self, config: &RoundConfig, plan: &Plan) -> Step;
    fn settle(&mut self, step: Step) -> Step;
}

impl ByHand for Device {
    fn check_in(&mut self, manifest: Manifest) -> Step {
        self.step(State::Idle, Event::CheckedIn(CheckInAnswer::Manifest(manifest)))
    }

    /// Up to AdvertiseKeys.
    fn keyed(&mut self) -> Step {
        let plan = fixtures::plan();
        self.keyed_in(&fixtures::config(&plan), &plan)
    }

    fn keyed_in(&mut self, config: &RoundConfig, plan: &Plan) -> Step {
        let (state, effects) = self.check_in(fixtures::manifest(config, plan));
        assert_eq!(names(&effects), ["persist", "price"]);
        let (state, effects) = self.step(state, Event::Priced(Ok(None)));
        assert_eq!(names(&effects), ["download"]);
        let file = ModelFile::verify(fixtures::file(), Digest::of(&fixtures::file())).expect("the digest fits");
        let (state, effects) = self.step(state, Event::Downloaded(file));
        assert_eq!(names(&effects), ["install", "train"]);
        let result = self.training.result(&fixtures::global());
        let (state, effects) = self.step(state, Event::Trained(Ok(result)));
        assert_eq!(names(&effects), ["persist", "report", "wake_at"]);
        let (state, effects) = self.step(state, Event::Woke);
        // Stored round numbers count from now on.
        for effect in &effects {
            if let Effect::Remember(task, number) = effect {
                self.history.remember(task, *number, self.now);
            }
        }
        (state, effects)
    }

    /// Writes every record that the machine asks for, until it asks for something else; gives all its effects.
    fn settle(&mut self, (mut state, mut all): Step) -> Step {
        while let Some(Effect::Record(append)) = all.last() {
            self.write(append);
            let (next, effects) = self.step(state, Event::Recorded);
            state = next;
            all.extend(effects);
        }
        (state, all)
    }
}

fn names(effects: &[Effect]) -> Vec<&'static str> {
    effects.iter().map(effect_name).collect()
}

/// The bytes that the last effect sends.
fn payload(effects: &[Effect]) -> Bytes {
    match effects.last() {
        Some(Effect::Send(Outgoing::AdvertiseKeys(up))) => up.payload.clone(),
        Some(Effect::Send(Outgoing::ShareKeys(up) | Outgoing::ConfirmSurvivors(up) | Outgoing::RevealShares(up))) => {
            up.payload.clone()
        }
        Some(Effect::Upload { payload, .. }) => {
            assert_eq!(Digest::of(payload.bytes()), payload.digest());
            payload.bytes().clone()
        }
        other => panic!("sends nothing: {other:?}"),
    }
}

fn cause(step: &Step) -> &Cause {
    let (State::Left(_, cause), effects) = step else { panic!("still there: {step:?}") };
    assert_eq!(names(effects)[0], "delete", "nothing is kept");
    cause
}

fn down(stage: u8, payload: impl Into<Bytes>) -> Event {
    let roster = (stage == 1).then_some(RosterForm::Complete);
    Event::Down(StageDown { session: SessionId::from_random([8; 16]), stage, payload: payload.into(), roster })
}

#[test]
fn idle_asks_and_waits() {
    let mut device = Device::new(1);
    let (state, effects) = device.step(State::Idle, Event::Start);
    let [Effect::CheckIn(check_in)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(
        (check_in.tasks.as_slice(), check_in.families.as_slice()),
        (&[fixtures::task()][..], &["mlp".to_owned()][..])
    );
    let wait = Wait { retry: RetryWindow::from_millis(100), code: "no_round".into(), sentence: "none".into() };
    let (state, effects) = device.step(state, Event::CheckedIn(CheckInAnswer::Wait(wait)));
    assert!(state.is_over() && effects.is_empty() && state.name() == "waited");
}

/// Every way in which a manifest can be wrong, each with the code that the device gives.
#[test]
fn bad_manifests_are_refused() {
    type Change = fn(&mut RoundConfig, &mut Plan);
    let cases: [(&str, Change); 15] = [
        ("cohort_floor", |config, _| config.n_lo = 9),
        ("cohort_floor", |config, _| config.u3_min = 9),
        ("round_not_newer", |config, _| config.round = 2),
        ("policy", |config, _| config.u3_min = config.n_lo + 1),
        ("policy", |_, plan| plan.max_weight = 2001),
        ("width", |config, _| config.wire_bits = 15),
        ("width", |config, _| config.grid = 20),
        ("deadline", |config, _| config.closing[0] = START_MS),
        ("plan", |config, _| config.vectors[1].name = "other".into()),
        ("plan", |config, _| config.vectors[0].len += 1),
        ("plan", |config, _| config.vectors.push(VectorSpec { name: "third".into(), len: 1 })),
        ("understated_cost", |config, _| {
            (config.n_lo, config.u3_min) = (15, 15);
            config.mechanism = Mechanism::DistributedGaussian { local_variance: 4, n_honest: 10, rho: 1 };
            config.wire_bits = 32;
        }),
        ("unsupported_mechanism", |config, _| config.rotation_seed = Some([1; 32])),
        ("fingerprint_mismatch", |_, plan| plan.fingerprint = Digest([1; 32])),
        ("malformed", |_, plan| plan.epochs = 0),
    ];
    for (number, (code, change)) in cases.into_iter().enumerate() {
        let mut device = Device::new(1);
        device.history.remember(&fixtures::task(), 2, Timestamp::default());
        let mut plan = fixtures::plan();
        let mut config = fixtures::config(&plan);
        change(&mut config, &mut plan);
        config.plan_digest = Digest::of(&plan.encode()).0;
        let step = device.check_in(fixtures::manifest(&config, &plan));
        assert_eq!(cause(&step).code(), code, "case {number}: {:?}", cause(&step));
        assert_eq!(names(&step.1), ["delete", "leave"], "case {number}: nothing else is sent");
    }
}

#[test]
fn manifests_that_were_tampered_with_are_refused() {
    let plan = fixtures::plan();
    let config = fixtures::config(&plan);
    let good = fixtures::manifest(&config, &plan);
    let mut flipped = good.clone();
    let mut bytes = flipped.round_config.to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    flipped.round_config = bytes.into();
    let mut signature = good.clone();
    signature.config_signature[3] ^= 1;
    let mut other_plan = good.clone();
    other_plan.plan = Plan { epochs: 100, ..plan.clone() }.encode();
    let large = Manifest { model_bytes: u64::MAX, ..good.clone() };
    let garbage = Manifest { round_config: Bytes::from_static(b"x"), ..good.clone() };
    for (manifest, code) in [
        (flipped, "config_signature"),
        (signature, "config_signature"),
        (other_plan, "plan_digest"),
        (large, "policy"),
        (garbage, "malformed"),
    ] {
        assert_eq!(cause(&Device::new(1).check_in(manifest)).code(), code);
    }

    let refuse = |change: fn(&mut Rules)| {
        let mut device = Device::new(1);
        change(&mut device.rules);
        cause(&device.check_in(good.clone())).code().to_owned()
    };
    assert_eq!(refuse(|rules| rules.task_key = [0; 32]), "config_signature");
    assert_eq!(refuse(|rules| rules.tasks = vec!["other".parse().expect("a name")]), "unknown_task");
    assert_eq!(refuse(|rules| rules.families.clear()), "unsupported_model");
    assert_eq!(refuse(|rules| rules.guardrails.cohort_min = 11), "cohort_floor");
    assert_eq!(refuse(|rules| rules.guardrails.upload_bytes = 10), "policy");
    assert_eq!(refuse(|rules| rules.guardrails.rounds_per_day = 0), "rounds_per_day");
    // A host that asks for less than ten gets ten.
    let mut lax = Device::new(1);
    lax.rules.guardrails.cohort_min = 1;
    let mut small = config.clone();
    small.u3_min = 9;
    assert_eq!(cause(&lax.check_in(fixtures::manifest(&small, &plan))).code(), "cohort_floor");
}

#[test]
fn a_clip_norm_outside_of_the_plans_range_is_refused() {
    let range = |min, max| {
        let noise = Privacy::Distributed { epsilon: 8.0, delta: 1e-6, rounds: 10 };
        noise.with_clip_range(Some(ClipRange { min, max })).expect("a range")
    };
    let noisy = fixtures::noisy(&fixtures::plan(), 1.5);
    for (clip, joins) in [(0.49, false), (0.5, true), (4.0, true), (4.01, false)] {
        let plan = Plan { privacy: range(0.5, 4.0), ..fixtures::plan() };
        let config = RoundConfig { clip, plan_digest: Digest::of(&plan.encode()).0, ..noisy.clone() };
        let step = Device::new(1).check_in(fixtures::manifest(&config, &plan));
        if joins {
            assert_eq!(step.0.name(), "joined", "{clip}");
        } else {
            assert_eq!(cause(&step).code(), "policy", "{clip}");
            assert!(cause(&step).to_string().contains("clip norm"), "{}", cause(&step));
        }
    }
}

/// The malicious profile is joined under the pinned root only, with a certificate that lasts for the whole session.
#[test]
fn the_malicious_profile_needs_a_pinned_root_and_a_certificate() {
    let plan = fixtures::plan();
    let config = fixtures::malicious(&plan);
    let root = fixtures::root();
    let foreign = IdentityKey::from_seed(&[79; 32]);
    let end = config.closing[4];
    let [own, other] = [1, 2].map(|number| Device::new(number).identity.public());
    let issue = |root: &IdentityKey, id_pk: &[u8; 32], end| Some(Certificate::issue(root, id_pk, end));
    let device = |pinned: Option<&IdentityKey>, certificate| {
        let mut device = Device::new(1);
        device.rules.identity_root = pinned.map(IdentityKey::public);
        device.certificate = certificate;
        device
    };
    for (code, check, pinned, certificate) in [
        ("policy", "C05", None, issue(&root, &own, end)),
        ("policy", "C05", Some(&foreign), issue(&foreign, &own, end)),
        ("certificate_missing", "C07", Some(&root), None),
        ("certificate", "C07", Some(&root), issue(&foreign, &own, end)),
        ("certificate", "C07", Some(&root), issue(&root, &other, end)),
        ("certificate_expired", "C07", Some(&root), issue(&root, &own, end - 1)),
    ] {
        let step = device(pinned, certificate).check_in(fixtures::manifest(&config, &plan));
        assert_eq!(cause(&step).code(), code);
        assert!(cause(&step).check().map(Check::name) == Some(check), "{}", cause(&step));
        assert_eq!(names(&step.1), ["delete", "leave"], "{code}: nothing is downloaded");
    }
    let mut good = device(Some(&root), issue(&root, &own, end));
    let (state, effects) = good.check_in(fixtures::manifest(&config, &plan));
    assert_eq!(names(&effects), ["persist", "price"]);
    // An app that pins another root by the time it comes back leaves the round.
    let stored = state.snapshot().expect("stored");
    assert!(State::restore(&stored, &good.rules).is_ok());
    good.rules.identity_root = Some(foreign.public());
    State::restore(&stored, &good.rules).expect_err("another root");
    // The standard profile asks for nothing, so an app that pins a root does not take it for an answer.
    let standard = fixtures::manifest(&fixtures::config(&plan), &plan);
    assert_eq!(cause(&device(Some(&root), issue(&root, &own, end)).check_in(standard.clone())).code(), "policy");
    let (_, effects) = device(None, None).check_in(standard);
    assert_eq!(names(&effects), ["persist", "price"]);
}

#[test]
fn models_and_training_results_are_checked() {
    let plan = fixtures::plan();
    let joined = |config: &RoundConfig| {
        let mut device = Device::new(1);
        let (state, _) = device.check_in(fixtures::manifest(config, &plan));
        (device, state)
    };
    let good = fixtures::config(&plan);
    let file = |bytes: Vec<u8>| {
        let digest = Digest::of(&bytes);
        ModelFile::verify(bytes, digest).expect("its own digest")
    };

    let (mut device, state) = joined(&good);
    let other = fixtures::model_file(&fixtures::spec(), &vec![0.0; fixtures::global().len()]);
    assert_eq!(cause(&device.step(state, Event::Downloaded(file(other.clone())))).code(), "model_digest");

    let mut weights = fixtures::global();
    weights[2] = f32::NAN;
    let mut foreign = fixtures::spec();
    foreign.labels.swap(0, 1);
    for (bytes, code) in [
        (fixtures::model_file(&fixtures::spec(), &weights), "not_finite"),
        (fixtures::model_file(&foreign, &fixtures::global()), "fingerprint_mismatch"),
        (b"no model".to_vec(), "bad_model_file"),
    ] {
        let config = RoundConfig { model_digest: Digest::of(&bytes).0, ..good.clone() };
        let (mut device, state) = joined(&config);
        assert_eq!(cause(&device.step(state, Event::Downloaded(file(bytes)))).code(), code);
    }

    let fine = ConstantTrainer { step: 0.5, examples: 5 }.result(&fixtures::global());
    let nan = ConstantTrainer { step: f32::NAN, examples: 5 }.result(&fixtures::global());
    let short = Trained { weights: vec![0.0; 3], ..fine.clone() };
    let none = Trained { weight: 0, ..fine };
    for (result, code) in [
        (Ok(nan), "not_finite"),
        (Ok(short), "shape"),
        (Ok(none), "no_examples"),
        (Err(TrainError::OutOfTime), "out_of_time"),
        (Err(TrainError::Unsupported("a layer".into())), "unsupported_model"),
    ] {
        let (mut device, state) = joined(&good);
        let (state, _) = device.step(state, Event::Downloaded(file(fixtures::file())));
        let step = device.step(state, Event::Trained(result));
        assert_eq!(cause(&step).code(), code);
        assert_eq!(names(&step.1), ["delete", "leave"]);
    }
}

#[test]
fn training_gets_the_shortest_of_three_limits() {
    let plan = Plan { time_limit: Duration::from_secs(60), ..fixtures::plan() };
    let limit = |closing_in: u64, guardrail: u64| {
        let mut config = fixtures::config(&plan);
        config.closing[0] = START_MS + closing_in * 1000;
        let mut device = Device::new(1);
        device.rules.guardrails.training = Duration::from_secs(guardrail);
        let (state, _) = device.check_in(fixtures::manifest(&config, &plan));
        let bytes = fixtures::file();
        let file = ModelFile::verify(bytes.clone(), Digest::of(&bytes)).expect("its own digest");
        let (_, effects) = device.step(state, Event::Downloaded(file));
        let [Effect::Install(_), Effect::Train(input)] = &effects[..] else { panic!("{effects:?}") };
        input.limit.as_secs()
    };
    assert_eq!((limit(3600, 3600), limit(3600, 20), limit(50, 3600)), (60, 20, 45));
}

#[test]
fn the_round_number_is_remembered_before_the_keys_go_out() {
    let mut device = Device::new(1);
    let (state, effects) = device.keyed();
    assert_eq!(names(&effects), ["persist", "remember", "advertise_keys"]);
    assert_eq!(state.name(), "keyed");
    assert_eq!(device.history.last_round(&fixtures::task()), 3);
    // The same round again: refused. And a stored Trained state of it cannot make other keys.
    let plan = fixtures::plan();
    let config = fixtures::config(&plan);
    assert_eq!(cause(&device.check_in(fixtures::manifest(&config, &plan))).code(), "round_not_newer");
    let mut twin = Device::new(1);
    let (trained, _) = {
        let (state, _) = twin.check_in(fixtures::manifest(&config, &plan));
        let bytes = fixtures::file();
        let file = ModelFile::verify(bytes.clone(), Digest::of(&bytes)).expect("its own digest");
        let (state, _) = twin.step(state, Event::Downloaded(file));
        twin.step(state, Event::Trained(Ok(ConstantTrainer { step: 0.1, examples: 5 }.result(&fixtures::global()))))
    };
    twin.history = device.history.clone();
    assert_eq!(cause(&twin.step(trained, Event::Resume)).code(), "round_not_newer");
}

#[test]
fn deadlines_are_the_signed_ones() {
    let hour = Duration::from_secs(3600);
    let mut device = Device::new(1);
    let (state, _) = device.keyed();
    assert_eq!(state.deadline(), Some(Timestamp::from_millis(START_MS).plus(2 * hour)));
    // A pause never reaches beyond the deadline.
    let far = RetryWindow { after: 100 * hour, before: 200 * hour };
    let (state, effects) = device.step(state, Event::Wait(far));
    let [Effect::WakeAt(at)] = effects[..] else { panic!("{effects:?}") };
    assert_eq!(Some(at), state.deadline());
    device.now = at;
    let step = device.step(state, Event::Woke);
    assert_eq!(cause(&step).code(), "deadline");
    assert_eq!(names(&step.1), ["delete", "leave"]);
}

#[test]
fn anything_out_of_order_ends_the_round() {
    for event in
        [down(2, "x"), down(3, "x"), Event::Accepted, Event::Committed, Event::Trained(Err(TrainError::NoExamples))]
    {
        let mut device = Device::new(1);
        let (state, _) = device.keyed();
        assert_eq!(cause(&device.step(state, event)).code(), "stage_order");
    }
    let mut device = Device::new(1);
    let (state, _) = device.keyed();
    assert_eq!(cause(&device.step(state, down(1, "not a roster"))).code(), "malformed");
    let (over, effects) = device.step(State::Left(None, Cause::Cancelled), Event::Start);
    assert!(over.is_over() && effects.is_empty(), "nothing leads out of an end");
}

/// Twelve machines through a whole session; after every step each device is killed and restored, and would send exactly
/// the same bytes.
#[test]
fn a_whole_session_with_a_restart_after_every_step() {
    let plan = fixtures::plan();
    let manifest = fixtures::manifest(&fixtures::config(&plan), &plan);
    let mut coordinator = testing::Coordinator::new(manifest, fixtures::file(), 12);
    let mut devices: Vec<Device> = (0..12).map(Device::new).collect();
    let mut states = vec![];

    for device in &mut devices {
        let (state, effects) = device.keyed();
        let sent = payload(&effects);
        coordinator.receive(0, device.identity.public(), &sent).expect("valid keys");
        states.push(restarted(device, state, &sent));
    }
    coordinator.close().expect("twelve are enough");

    for (stage, sends) in [(1, "share_keys"), (2, "upload"), (3, "confirm_survivors"), (4, "reveal_shares")] {
        let mut next = vec![];
        for (device, state) in devices.iter_mut().zip(states) {
            let identity = device.identity.public();
            let down = coordinator.down(&identity, stage).expect("expected");
            let step = device.step(state, Event::Down(down.clone()));
            let (state, effects) = device.settle(step);
            let expected: &[_] =
                if stage == 2 { &["note", "record", "persist", "record", sends] } else { &["persist", sends] };
            assert_eq!(names(&effects), expected, "stage {stage}: {state:?}");
            let sent = payload(&effects);
            coordinator.receive(stage, identity, &sent).expect("valid");
            let state = restarted(device, state, &sent);

            pauses::each_remedy_is_obeyed(device, &state);
            // The same stage again, in whatever words: never a second answer.
            let copy = copy_of(device, &state);
            let word = match stage {
                2 => "second_input",
                3 => "second_statement",
                _ => "stage_order",
            };
            assert_eq!(cause(&device.step(copy, Event::Down(down))).code(), word);
            // A message of another session is refused too.
            let copy = copy_of(device, &state);
            if stage < 4 {
                let foreign = StageDown {
                    session: SessionId::from_random([66; 16]),
                    stage: stage + 1,
                    payload: Bytes::new(),
                    roster: None,
                };
                assert_eq!(cause(&device.step(copy, Event::Down(foreign))).code(), "stage_order");
            }
            next.push(state);
        }
        states = next;
        if let Closed::Released(sum) = coordinator.close().expect("everybody is there") {
            assert_eq!(sum.n_survivors, 12);
            // Device n has seen 10 + n examples; all of them weigh.
            let examples: i64 = (10..22).sum();
            assert_eq!((sum.vectors[1][0], sum.vectors[1][3]), (examples, examples));
        }
    }
    for (device, state) in devices.iter_mut().zip(states) {
        let (state, effects) = device.step(state, Event::Accepted);
        assert_eq!(names(&effects), ["delete"]);
        assert!(matches!(state, State::Done(Contribution { number: 3, .. })), "{state:?}");
    }
}

/// The same state once more, as a restart gives it.
fn copy_of(device: &mut Device, state: &State) -> State {
    let copy = State::restore(&state.snapshot().expect("stored"), &device.rules).expect("restores");
    device.step(copy, Event::Resume).0
}

/// Kills a device: what comes back from its snapshot asks for the same, and its own snapshot is the same.
fn restarted(device: &mut Device, state: State, sent: &Bytes) -> State {
    let snapshot = state.snapshot().expect("every state from here on is stored");
    let restored = State::restore(&snapshot, &device.rules).expect("restores");
    assert_eq!(restored.snapshot().as_ref(), Some(&snapshot));
    device.reopen_ledger();
    let (restored, effects) = device.step(restored, Event::Resume);
    assert_eq!(restored.name(), state.name());
    assert_eq!(payload(&effects), sent, "the same bytes after a restart in {}", restored.name());
    restored
}

#[test]
fn damaged_and_foreign_snapshots_are_refused() {
    let mut device = Device::new(1);
    let (state, _) = device.keyed();
    let snapshot = state.snapshot().expect("stored");
    let with = |state: &[u8]| Snapshot { state: state.to_vec().into(), ..snapshot.clone() };
    for end in (0..snapshot.state.len()).step_by(7) {
        assert!(State::restore(&with(&snapshot.state[..end]), &device.rules).is_err(), "cut at {end}");
    }
    let mut longer = snapshot.state.to_vec();
    longer.push(0);
    assert!(State::restore(&with(&longer), &device.rules).is_err());
    let mut version = snapshot.state.to_vec();
    version[0] = 5;
    let error = State::restore(&with(&version), &device.rules).expect_err("another version");
    assert!(error.to_string().contains("version 5"), "{error}");
    // A part that is missing, or that another state named.
    let update = snapshot.update.as_ref().expect("a keyed device has an update").bytes();
    for part in [None, Some(Part::new(update.slice(1..)))] {
        let error = State::restore(&Snapshot { update: part, ..snapshot.clone() }, &device.rules).expect_err("no part");
        assert!(error.to_string().contains("a part of it is missing"), "{error}");
    }
    // Keys of another round under this manifest.
    let plan = fixtures::plan();
    let other = RoundConfig { round: 4, ..fixtures::config(&plan) };
    let manifest = |config: &RoundConfig| {
        use prost::Message as _;
        scale_proto::wire::Manifest::from(&fixtures::manifest(config, &plan)).encode_to_vec()
    };
    let (own, foreign) = (manifest(&fixtures::config(&plan)), manifest(&other));
    assert_eq!(own.len(), foreign.len());
    let mut mixed = snapshot.state.to_vec();
    mixed[10..10 + own.len()].copy_from_slice(&foreign);
    assert!(State::restore(&with(&mixed), &device.rules).is_err());
    // Stricter rules of a newer app end a round that an older one joined.
    device.rules.guardrails.cohort_min = 50;
    assert!(State::restore(&snapshot, &device.rules).is_err());
}
