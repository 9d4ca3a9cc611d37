//! Whole rounds of the machine that ships, disturbed in every way that the kit knows.

use proptest::collection::vec;
use proptest::prelude::*;
use scale_secagg::config::RoundConfig;

use super::setting::{self, GRID, STAGE_MS};
use super::{Device, Operation, Outcome, Simulation};

const DEVICES: usize = 12;

/// A round of twelve.
fn round(config: &RoundConfig) -> Simulation {
    round_of(DEVICES, config)
}

fn round_of(devices: usize, config: &RoundConfig) -> Simulation {
    let devices = (0..devices as u32).map(Device::new).collect();
    Simulation::new(setting::manifest(config, &setting::plan()), setting::file(), devices)
}

fn plain() -> RoundConfig {
    setting::config(&setting::plan())
}

fn noisy() -> RoundConfig {
    setting::noisy(&setting::plan(), 1.5)
}

fn contributed(round: &Simulation) -> usize {
    (0..round.devices.len()).filter(|device| round.outcome(*device) == Some(&Outcome::Contributed)).count()
}

#[test]
fn undisturbed_rounds_give_the_exact_sum_with_and_without_noise() {
    for config in [plain(), noisy()] {
        let mut round = round(&config);
        round.finish();
        assert_eq!(round.faults(), Vec::<String>::new());
        assert_eq!(contributed(&round), DEVICES);
        assert_eq!(round.survivors().count(), DEVICES);
        let sum = round.coordinator.released.as_ref().expect("a sum");
        assert!(sum.vectors[0].iter().any(|entry| *entry != 0));
        let inputs_differ = round.devices[0].input() != round.devices[0].summand();
        assert_eq!(inputs_differ, config.mechanism.local_variance() > 0, "noise is in the sum");
        // What training gives, on the grid: a hundredth of the clip norm is twenty units.
        assert!(round.devices.iter().all(|device| device.input()[0].iter().all(|entry| entry.abs() <= GRID.into())));
    }
}

/// The simulation sees what it is there to see.
#[test]
fn faults_are_found() {
    let mut round = round(&plain());
    round.finish();
    let mut second = round.coordinator.sent.iter().find(|sent| sent.stage == 2).expect("an upload").clone();
    let mut other = second.payload.to_vec();
    other[0] ^= 1;
    second.payload = other.into();
    round.coordinator.sent.push(second.clone());
    assert_eq!(round.faults().len(), 1, "two inputs: {:?}", round.faults());
    round.coordinator.sent.pop();
    round.coordinator.sent.retain(|sent| (sent.stage, sent.from) != (2, second.from));
    round.coordinator.sent.push(second);
    assert_eq!(round.faults().len(), 1, "not in the ledger: {:?}", round.faults());
    round.coordinator.sent.pop();
    round.coordinator.released.as_mut().expect("a sum").vectors[0][7] += 1;
    assert_eq!(round.faults().len(), 1, "another sum: {:?}", round.faults());
    assert!(round.coordinator.sent.len() > 4 * DEVICES, "the rest is as it was");
}

/// A device that loses its memory at any point at which it stores or sends something.
#[test]
fn a_device_restarted_at_any_point_says_the_same() {
    for config in [plain(), noisy()] {
        let mut undisturbed = round(&config);
        undisturbed.finish();
        let points = undisturbed.devices[0].points();
        assert!(points >= 15, "{points} points");
        let mut in_vain = 0;
        for point in 0..points {
            let mut round = round(&config);
            round.apply(Operation::RestartAfter(0, point));
            round.finish();
            assert_eq!(round.faults(), Vec::<String>::new(), "point {point}");
            match round.outcome(0) {
                Some(Outcome::Contributed) => assert_eq!(round.survivors().count(), DEVICES, "point {point}"),
                // Paid, and perhaps drawn, but not stored: lost for good.
                Some(Outcome::Left(code)) if code == "already_reserved" => {
                    assert_eq!(round.survivors().count(), DEVICES - 1, "point {point}");
                    in_vain += 1;
                }
                // The number was durable before the keys went out, and nothing else of the round was: it is over.
                outcome => panic!("point {point}: {outcome:?}"),
            }
            assert_eq!(contributed(&round), round.survivors().count(), "point {point}");
        }
        assert_eq!(in_vain, 1, "between the reservation and the stored payload");
    }
}

/// The coordinator loses its memory between any two messages.
#[test]
fn a_coordinator_restarted_after_any_message_goes_on() {
    let mut expected = round(&plain());
    expected.finish();
    let messages = expected.coordinator.sent.len();
    let mut disturbed = round(&plain());
    while disturbed.coordinator.stage().is_some() {
        for device in 0..DEVICES {
            disturbed.run(&[Operation::Deliver(device), Operation::RestartCoordinator]);
        }
    }
    disturbed.finish();
    assert_eq!(disturbed.faults(), Vec::<String>::new());
    assert_eq!(disturbed.coordinator.released, expected.coordinator.released);
    assert_eq!(disturbed.coordinator.sent.len(), messages);
}

/// Who falls silent before a stage is lost with it; the sum is that of the others.
#[test]
fn losses_in_every_stage_leave_the_sum_of_the_survivors() {
    for stage in 0..5 {
        let mut round = round(&plain());
        // Numbers 0 and 1 are quiet from this stage on: their messages do not arrive.
        while round.coordinator.stage().is_some_and(|open| open < stage) {
            (0..DEVICES).for_each(|device| round.apply(Operation::Deliver(device)));
        }
        for _ in 0..5 {
            // Once to hear what has opened the stage, and once to answer it.
            for _ in 0..2 {
                (0..2).for_each(|device| round.apply(Operation::DropMessage(device)));
                (2..DEVICES).for_each(|device| round.apply(Operation::Deliver(device)));
            }
            round.apply(Operation::Advance((STAGE_MS / 1000) as u32));
        }
        round.finish();
        assert_eq!(round.faults(), Vec::<String>::new(), "stage {stage}");
        assert_eq!(round.survivors().count(), if stage < 3 { DEVICES - 2 } else { DEVICES }, "stage {stage}");
        assert_eq!(contributed(&round), DEVICES - 2, "stage {stage}");
    }
}

/// Devices of a random course of events: as many as may be lost before the floor is reached, and ten.
const MANY: usize = 14;

fn operation() -> impl Strategy<Value = Operation> {
    let device = || 0..MANY;
    prop_oneof![
        30 => device().prop_map(Operation::Deliver),
        4 => device().prop_map(Operation::DropAnswer),
        4 => device().prop_map(Operation::DropMessage),
        4 => device().prop_map(Operation::Restart),
        6 => (device(), 0..20_u32).prop_map(|(device, points)| Operation::RestartAfter(device, points)),
        3 => (device(), 0..5_u8).prop_map(|(device, stage)| Operation::Replay(device, stage)),
        1 => (device(), 1..5_u8).prop_map(|(device, stage)| Operation::Duplicate(device, stage)),
        1 => device().prop_map(Operation::Cancel),
        1 => (0..(STAGE_MS / 1000) as u32).prop_map(Operation::Advance),
        2 => Just(Operation::RestartCoordinator),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: a round ends with the exact sum of its survivors or without one, and no device
    /// has said two things, sent what its ledger does not know, or paid twice.
    #[test]
    fn any_course_of_events_ends_with_the_exact_sum_or_none(
        operations in vec(operation(), 0..200),
        with_noise in any::<bool>(),
    ) {
        let mut round = round_of(MANY, &if with_noise { noisy() } else { plain() });
        round.run(&operations);
        round.finish();
        prop_assert_eq!(round.faults(), Vec::<String>::new());
        prop_assert!((0..MANY).all(|device| round.outcome(device).is_some()), "everybody's participation has ended");
        let ended = round.coordinator.released.is_some() != round.coordinator.abandoned.is_some();
        prop_assert!(ended, "a sum, or a reason why there is none");
        if let Some(sum) = &round.coordinator.released {
            prop_assert!(sum.n_survivors >= 10);
        }
    }
}
