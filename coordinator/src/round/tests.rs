mod windows;

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const FLOOR: u32 = 10;
const START: Timestamp = Timestamp::from_millis(1_000_000);

fn timing() -> Timing {
    Timing {
        selecting_ms: 60_000,
        training_ms: 30_000,
        grace_ms: 2_000,
        shares_ms: 5_000,
        masked_input_ms: 20_000,
        agreement_ms: 4_000,
        unmask_ms: 6_000,
    }
}

pub(super) fn rules() -> Rules {
    Rules {
        goal: 12,
        floor: FLOOR,
        selected: 16,
        session_max: 64,
        one_session: false,
        timing: timing(),
        patient: false,
        clock_slack_ms: 1_000,
    }
}

fn device(number: u32) -> DeviceId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    DeviceId::from_random(bytes)
}

fn after(millis: u64) -> Timestamp {
    START.plus(Duration::from_millis(millis))
}

/// Drives a round the way a step does: one event at a time, effects kept.
struct Bench {
    round: Round,
    effects: Vec<Effect>,
}

impl Bench {
    fn new(rules: Rules) -> Self {
        let task = "demo".parse().expect("a valid name");
        let id = RoundId::from_random([7; 16]);
        Self { round: Round::open(id, task, 3, ModelVersion(5), rules, START), effects: vec![] }
    }

    fn feed(&mut self, event: Event, now: Timestamp) -> &mut Self {
        let step = self.round.clone().handle(event, now);
        self.round = step.round;
        self.effects = step.effects;
        self
    }

    fn admit(&mut self, count: u32, now: Timestamp) -> &mut Self {
        for number in 0..count {
            self.feed(Event::DeviceCheckedIn { device: device(number) }, now);
        }
        self
    }

    fn session(&self, ordinal: usize) -> SessionProgress {
        self.round.sessions[ordinal].clone()
    }

    fn answer(&mut self, ordinal: usize, answered: u32, now: Timestamp) -> &mut Self {
        let SessionProgress { id: session, stage, .. } = self.session(ordinal);
        self.feed(Event::StageAnswered { session, stage, answered, ready: false }, now)
    }

    fn close(&mut self, ordinal: usize, outcome: Result<u32, Failure>, now: Timestamp) -> &mut Self {
        let SessionProgress { id: session, stage, .. } = self.session(ordinal);
        self.feed(Event::StageClosed { session, stage, outcome }, now)
    }

    fn release(&mut self, ordinal: usize, outcome: Result<(), Failure>, now: Timestamp) -> &mut Self {
        let session = self.session(ordinal).id;
        self.feed(Event::SumReleased { session, outcome }, now)
    }

    /// Takes a session from its key stage to the sum, everybody answering.
    fn run_session(&mut self, ordinal: usize, now: Timestamp) -> &mut Self {
        for _ in 0..4 {
            let expected = self.session(ordinal).expected;
            self.answer(ordinal, expected, now).close(ordinal, Ok(expected), now);
        }
        let expected = self.session(ordinal).expected;
        self.answer(ordinal, expected, now).release(ordinal, Ok(()), now)
    }

    fn abandoned(&self) -> Option<&str> {
        match &self.round.phase {
            Phase::Abandoned { code, .. } => Some(code),
            _ => None,
        }
    }
}

#[test]
fn a_whole_round() {
    let mut bench = Bench::new(rules());
    assert_eq!(bench.round.next_deadline(), None, "the window counts from the first device");
    bench.admit(1, START);
    assert_eq!(bench.effects, [Effect::Admit { device: device(0) }]);
    assert_eq!(bench.round.next_deadline(), Some(after(60_000)));
    for number in 1..16 {
        bench.feed(Event::DeviceCheckedIn { device: device(number) }, after(5_000));
    }
    assert_eq!(bench.effects, [Effect::Admit { device: device(15) }, Effect::StartTraining]);
    assert_eq!(bench.round.phase, Phase::Training);
    assert_eq!(bench.round.closings, [36_000, 41_000, 61_000, 65_000, 71_000].map(after));
    let progress = bench.session(0);
    assert_eq!((progress.members, progress.goal, progress.deadline), (16, 12, after(35_000)));

    bench.answer(0, 11, after(10_000));
    assert_eq!(bench.round.next_deadline(), Some(after(35_000)));
    bench.answer(0, 12, after(10_400));
    assert_eq!(bench.round.next_deadline(), Some(after(12_400)), "the goal is reached: stragglers get the grace time");
    bench.answer(0, 13, after(10_800));
    assert_eq!(bench.round.next_deadline(), Some(after(12_800)), "counted from the newest answer");
    bench.feed(Event::Tick, after(12_799));
    assert_eq!(bench.effects, []);
    let id = bench.session(0).id;
    bench.feed(Event::Tick, after(12_800));
    assert_eq!(bench.effects, [Effect::CloseStage { session: id, stage: SessionStage::Keys }]);
    assert_eq!(bench.round.pending(), bench.effects, "what a restart would do again");
    bench.feed(Event::Tick, after(14_000));
    assert_eq!(bench.effects, [], "it is being closed already");

    bench.close(0, Ok(13), after(13_100));
    assert_eq!(bench.round.phase, Phase::Securing);
    let progress = bench.session(0);
    assert_eq!((progress.stage, progress.expected), (SessionStage::Shares, 13));
    assert_eq!(progress.deadline, after(18_100));
    bench.answer(0, 13, after(13_200));
    assert_eq!(bench.effects, [Effect::CloseStage { session: id, stage: SessionStage::Shares }], "all are there");
    bench.close(0, Ok(13), after(13_300));
    bench.answer(0, 11, after(29_300));
    assert_eq!(bench.round.next_deadline(), Some(after(33_300)), "a quarter of the 16 s that it took so far");
    bench.feed(Event::Tick, after(33_300));
    assert_eq!(bench.effects, [Effect::CloseStage { session: id, stage: SessionStage::MaskedInput }]);
    bench.close(0, Ok(11), after(33_400));
    assert_eq!(bench.session(0).survivors, 11);
    bench.answer(0, 11, after(33_500)).close(0, Ok(11), after(33_600));
    bench.feed(
        Event::StageAnswered { session: id, stage: SessionStage::Unmask, answered: 8, ready: true },
        after(33_700),
    );
    assert_eq!((bench.effects.len(), bench.round.next_deadline()), (0, Some(after(34_700))));
    bench.feed(Event::Tick, after(34_700));
    assert_eq!(bench.effects, [Effect::ReleaseSum { session: id }], "enough shares are enough");
    bench.release(0, Ok(()), after(34_800));
    assert_eq!(bench.effects, [Effect::EndSession { session: id }, Effect::CommitModel]);
    assert_eq!(bench.round.survivors(), 11);
    let summary =
        Summary { loss: 0.5, accuracy: 0.75, examples: 100, bytes_up_per_device: 1_000, signal_to_noise: Some(1.5) };
    bench.feed(Event::ModelCommitted { outcome: Ok((ModelVersion(6), summary)) }, after(34_900));
    assert_eq!(bench.effects, [Effect::EndRound]);
    assert_eq!(bench.round.phase, Phase::Finished { version: ModelVersion(6), at: after(34_900) });
    assert_eq!(bench.round.summary, Some(summary));
}

#[test]
fn selection_ends() {
    for (name, patient, devices, expected) in [
        ("at its time with enough", false, 10, "training"),
        ("at its time with too few", false, 9, "abandoned"),
        ("not, when patient", true, 9, "selecting"),
        ("when patient, with enough", true, 10, "training"),
    ] {
        let mut bench = Bench::new(Rules { patient, ..rules() });
        bench.admit(devices, START).feed(Event::Tick, after(60_000));
        assert_eq!(bench.round.phase.name(), expected, "{name}");
    }
}

#[test]
fn patient_selection_forgets_the_absent() {
    let mut bench = Bench::new(Rules { patient: true, ..rules() });
    bench.admit(9, START).feed(Event::Tick, after(61_000));
    assert_eq!(bench.effects, [Effect::DropAbsent { unseen_since: after(1_000) }]);
    assert_eq!(bench.round.next_deadline(), Some(after(121_000)));
    for _ in 0..9 {
        bench.feed(Event::DeviceLeft { session: None, awaited: false }, after(61_000));
    }
    assert_eq!((bench.round.cohort, bench.round.next_deadline()), (0, None), "as if it had just opened");
}

#[test]
fn devices_are_refused_with_a_reason() {
    let mut bench = Bench::new(rules());
    bench.admit(16, START);
    let late = Event::DeviceCheckedIn { device: device(99) };
    bench.feed(late.clone(), START);
    assert_eq!(bench.effects, [Effect::Refuse { device: device(99), why: Refused::Running }]);
    bench.feed(Event::AbandonRequested { reason: "test".into() }, START).feed(late, START);
    assert_eq!(bench.effects, [Effect::Refuse { device: device(99), why: Refused::Over }]);
}

#[test]
fn sessions_are_balanced_and_never_under_the_floor() {
    for cohort in FLOOR..400 {
        for session_max in [10, 15, 20, 21, 50, 128] {
            let floor = FLOOR;
            let rules = Rules { selected: cohort, goal: cohort, session_max, ..rules() };
            let mut bench = Bench::new(rules);
            bench.admit(cohort, START);
            let sizes: Vec<u32> = bench.round.sessions.iter().map(|session| session.members).collect();
            assert_eq!(sizes.iter().sum::<u32>(), cohort);
            let (least, most) = (sizes.iter().min().copied(), sizes.iter().max().copied());
            assert!(least >= Some(floor), "cohort {cohort}, max {session_max}: {sizes:?}");
            assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1));
            if session_max >= 2 * floor {
                assert!(most <= Some(session_max), "cohort {cohort}, max {session_max}: {sizes:?}");
            }
        }
    }
}

#[test]
fn rules_raise_the_floor_and_keep_one_session_whole() {
    let config = |floor, session_max| {
        let json = serde_json::json!({
            "model": {"labels": ["a", "b"], "family": {"mlp": {"inputs": 2, "hidden": []}}},
            "training": {"epochs": 1, "batch_size": 1, "learning_rate": 0.1, "proximal_mu": 0.0, "time_limit_ms": 1000, "max_weight": 1, "holdout_permille": 0},
            "cohort": {"goal": 20, "floor": floor, "over_selection_permille": 1300, "session_max": session_max},
            "timing": timing(), "schedule": "when_ready", "aggregation": {"fed_avg": {"learning_rate": 1.0}},
            "quantization": {"clip": 1.0, "grid_factor": 64}, "privacy": {"mode": "none"}, "max_rounds": null
        });
        serde_json::from_value::<TaskConfig>(json).expect("a valid task")
    };
    let slack = Duration::from_secs(1);
    let low = Rules::of(&config(3, 64), &Mechanism::None, slack);
    assert_eq!((low.floor, low.selected, low.patient), (COHORT_FLOOR, 26, true));
    let tight = Rules::of(&config(10, 19), &Mechanism::None, slack);
    assert_eq!(tight.selected, 19, "20 devices would not divide into sessions of 10 to 19");
}

#[test]
fn every_stage_end_checks_the_floor() {
    let codes = ["too_few_clients", "too_few_sharers", "too_few_inputs"];
    for (failing, code) in codes.into_iter().enumerate() {
        let mut bench = Bench::new(rules());
        bench.admit(16, START);
        for stage in 0..=failing {
            let size = if stage == failing { FLOOR - 1 } else { 12 };
            bench.feed(Event::Tick, after(200_000 * (stage as u64 + 1)));
            bench.close(0, Ok(size), after(200_000 * (stage as u64 + 1)));
        }
        assert_eq!(bench.abandoned(), Some(code));
        let id = bench.session(0).id;
        assert_eq!(bench.effects, [Effect::EndSession { session: id }, Effect::EndRound]);
    }
}

#[test]
fn too_few_left_ends_the_session_at_once() {
    let mut bench = Bench::new(rules());
    bench.admit(16, START);
    let session = Some(bench.session(0).id);
    for _ in 0..6 {
        bench.feed(Event::DeviceLeft { session, awaited: true }, after(1));
    }
    assert_eq!(bench.abandoned(), None);
    bench.feed(Event::DeviceLeft { session, awaited: false }, after(1));
    assert_eq!(bench.abandoned(), None, "a device that had answered is still counted");
    bench.feed(Event::DeviceLeft { session, awaited: true }, after(1));
    assert_eq!(bench.abandoned(), Some("too_few_clients"));
}

#[test]
fn a_stage_closes_when_the_last_awaited_device_leaves() {
    let mut bench = Bench::new(rules());
    bench.admit(16, START).answer(0, 15, after(1));
    let id = bench.session(0).id;
    bench.feed(Event::DeviceLeft { session: Some(id), awaited: true }, after(2));
    assert_eq!(bench.effects, [Effect::CloseStage { session: id, stage: SessionStage::Keys }]);
}

#[test]
fn one_failed_session_does_not_end_the_round() {
    let mut bench = Bench::new(Rules { selected: 40, goal: 30, session_max: 20, ..rules() });
    bench.admit(40, START);
    assert_eq!(bench.round.sessions.len(), 2);
    bench.run_session(0, after(1));
    assert_eq!(bench.round.phase, Phase::Securing);
    bench.answer(1, 20, after(2)).close(1, Err(Failure::new("weak_neighbourhood", "w")), after(2));
    assert_eq!(bench.round.phase, Phase::Committing);
    assert_eq!(bench.round.survivors(), 20);
    assert_eq!(bench.session(1).failure, Some(Failure::new("weak_neighbourhood", "w")));
}

#[test]
fn all_sessions_failed_ends_the_round_with_the_first_reason() {
    let mut bench = Bench::new(Rules { selected: 40, goal: 30, session_max: 20, ..rules() });
    bench.admit(40, START);
    for (ordinal, code) in ["secret_mismatch", "too_few_shares"].into_iter().enumerate() {
        bench.answer(ordinal, 20, after(2)).close(ordinal, Err(Failure::new(code, "")), after(2));
    }
    assert_eq!(bench.abandoned(), Some("secret_mismatch"));
}

#[test]
fn echoes_change_nothing() {
    let mut bench = Bench::new(rules());
    bench.admit(16, START).answer(0, 16, after(1)).close(0, Ok(16), after(2));
    let before = bench.round.clone();
    let session = before.sessions[0].id;
    let other = SessionId::from_random([9; 16]);
    for event in [
        Event::StageClosed { session, stage: SessionStage::Keys, outcome: Ok(16) },
        Event::StageClosed { session, stage: SessionStage::Shares, outcome: Ok(16) },
        Event::StageClosed { session: other, stage: SessionStage::Shares, outcome: Ok(16) },
        Event::StageAnswered { session, stage: SessionStage::Keys, answered: 30, ready: true },
        Event::StageAnswered { session: other, stage: SessionStage::Shares, answered: 3, ready: true },
        Event::SumReleased { session, outcome: Ok(()) },
        Event::ModelCommitted { outcome: Ok((ModelVersion(9), Summary::default())) },
        Event::DeviceLeft { session: None, awaited: true },
        Event::Tick,
    ] {
        let step = before.clone().handle(event.clone(), after(3));
        assert_eq!(step, Step { round: before.clone(), effects: vec![] }, "{event:?}");
    }
}

#[test]
fn operators_can_end_it_in_every_phase() {
    let mut stages = vec![Bench::new(rules())];
    for cut in 1..=4 {
        let mut bench = Bench::new(rules());
        bench.admit(if cut == 1 { 3 } else { 16 }, START);
        if cut == 3 {
            bench.answer(0, 16, after(1)).close(0, Ok(16), after(1));
        } else if cut == 4 {
            bench.run_session(0, after(1));
        }
        stages.push(bench);
    }
    for mut bench in stages {
        bench.feed(Event::AbandonRequested { reason: "wrong labels".into() }, after(5));
        assert_eq!(bench.abandoned(), Some("operator"));
        assert!(bench.round.sessions.iter().all(|session| session.stage.is_over()));
        assert_eq!(bench.effects.last(), Some(&Effect::EndRound));
    }
}

#[test]
fn state_survives_its_row() {
    let mut bench = Bench::new(rules());
    bench.admit(16, START).run_session(0, after(1));
    for round in [Bench::new(rules()).round, bench.round] {
        let json = serde_json::to_string(&round).expect("plain data");
        assert_eq!(serde_json::from_str::<Round>(&json).expect("own JSON"), round);
    }
}

/// What may happen next, as proptest draws it; numbers are folded into what is possible.
#[derive(Clone, Debug)]
enum Move {
    CheckIn,
    Leave(u8, bool),
    Answer(u8, u8, bool),
    Perform(u8, Option<u8>),
    Commit(bool),
    Abandon,
    Restart,
    Advance(u16),
}

fn arb_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        8 => Just(Move::CheckIn),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(session, awaited)| Move::Leave(session, awaited)),
        8 => (any::<u8>(), 0u8..70, prop::bool::weighted(0.02)).prop_map(|(s, n, e)| Move::Answer(s, n, e)),
        6 => (any::<u8>(), prop::option::weighted(0.9, 0u8..70)).prop_map(|(s, size)| Move::Perform(s, size)),
        1 => any::<bool>().prop_map(Move::Commit),
        1 => prop::bool::weighted(0.03).prop_map(|end| if end { Move::Abandon } else { Move::CheckIn }),
        1 => Just(Move::Restart),
        2 => (0u16..30_000).prop_map(Move::Advance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever happens in whatever order: no commit under the floor, no stage skipped or repeated, no deadline beyond
    /// the signed time, and what is over stays over.
    #[test]
    fn no_sequence_breaks_the_rules(
        moves in prop::collection::vec(arb_move(), 1..250),
        patient in any::<bool>(),
        selected in 10u32..60,
    ) {
        let mut bench = Bench::new(Rules { patient, selected, goal: selected.max(10), session_max: 20, ..rules() });
        let mut now = START;
        for (number, step) in moves.into_iter().enumerate() {
            let sessions = bench.round.sessions.len().max(1);
            let pick = |session: u8| usize::from(session) % sessions;
            let before = bench.round.clone();
            match step {
                Move::CheckIn => { bench.feed(Event::DeviceCheckedIn { device: device(number as u32) }, now); }
                Move::Leave(session, awaited) => {
                    let session = bench.round.sessions.get(pick(session)).map(|session| session.id);
                    bench.feed(Event::DeviceLeft { session, awaited }, now);
                }
                Move::Answer(session, answered, ready) => {
                    let Some(progress) = bench.round.sessions.get(pick(session)).cloned() else { continue };
                    let answered = u32::from(answered).min(progress.expected);
                    bench.feed(Event::StageAnswered { session: progress.id, stage: progress.stage, answered, ready }, now);
                }
                Move::Perform(session, size) => {
                    let Some(progress) = bench.round.sessions.get(pick(session)).cloned() else { continue };
                    let failure = Failure::new("secret_mismatch", "");
                    if progress.stage == SessionStage::Unmask {
                        bench.release(pick(session), size.map(drop).ok_or(failure), now);
                    } else {
                        let outcome = size.map(|size| u32::from(size).min(progress.expected)).ok_or(failure);
                        bench.close(pick(session), outcome, now);
                    }
                }
                Move::Commit(fine) => {
                    let outcome = if fine { Ok((ModelVersion(6), Summary::default())) } else { Err(Failure::new("no_weight", "")) };
                    bench.feed(Event::ModelCommitted { outcome }, now);
                }
                Move::Abandon => { bench.feed(Event::AbandonRequested { reason: "test".into() }, now); }
                Move::Restart => { bench.feed(Event::Resumed, now); }
                Move::Advance(by) => {
                    now = now.plus(Duration::from_millis(by.into()));
                    bench.feed(Event::Tick, now);
                }
            }
            let after = &bench.round;
            if before.phase.is_over() {
                prop_assert_eq!(after, &before, "terminal states absorb");
            }
            prop_assert!(after.cohort <= selected);
            if bench.effects.contains(&Effect::CommitModel) {
                prop_assert!(after.survivors() >= FLOOR, "commit of {} devices", after.survivors());
            }
            if matches!(after.phase, Phase::Finished { .. }) {
                prop_assert_eq!(matches!(before.phase, Phase::Committing | Phase::Finished { .. }), true);
                prop_assert!(after.survivors() >= FLOOR);
            }
            if bench.effects.contains(&Effect::StartTraining) {
                prop_assert!(after.cohort >= FLOOR && after.sessions.iter().all(|session| session.members >= FLOOR));
            }
            prop_assert!(after.closings.windows(2).all(|pair| pair[0] < pair[1]) || after.sessions.is_empty());
            for (old, new) in before.sessions.iter().zip(&after.sessions) {
                let one_further = new.stage == old.stage.next() && old.closing;
                prop_assert!(new.stage == old.stage || new.stage == SessionStage::Abandoned || one_further);
                prop_assert!(!old.stage.is_over() || new == old, "a session that is over stays as it is");
                if let Some(number) = new.stage.number() {
                    prop_assert!(new.deadline <= after.closings[usize::from(number)]);
                }
                if new.stage == SessionStage::Released {
                    prop_assert!(new.survivors >= FLOOR);
                }
            }
            // Something is always awaited: an effect's outcome, a moment, or (selecting) a device.
            let waits = after.next_deadline().is_some() || !after.pending().is_empty();
            let selecting = matches!(after.phase, Phase::Selecting { .. });
            prop_assert!(waits || selecting);
        }
    }
}
