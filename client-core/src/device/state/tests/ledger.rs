//! Nothing is drawn before it is paid for, and nothing is sent before it is written down.

use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_privacy::fit;
use scale_privacy::guardrails::Caps;
use scale_privacy::ledger::Facts;
use scale_privacy::plan::Trust;
use scale_proto::model::{Family, ModelSpec};
use scale_secagg::config;

use super::*;
use crate::device::{Epsilon, PrivacyReport, Protection, WithoutNoise};
#[cfg(target_arch = "wasm32")]
use crate::single_thread::test;

/// A cohort whose shares are ready to go down.
struct Cohort {
    coordinator: testing::Coordinator,
    devices: Vec<Device>,
}

impl Cohort {
    /// Twelve devices that train the fixtures' model.
    fn new(config: &RoundConfig, plan: &Plan) -> Self {
        Self::of(fixtures::manifest(config, plan), fixtures::file(), None)
    }

    /// Twelve devices whose training is this one, if it is given.
    fn of(manifest: Manifest, file: Vec<u8>, training: Option<&Training>) -> Self {
        let mut devices: Vec<Device> = (0..12).map(Device::new).collect();
        let mut coordinator = testing::Coordinator::new(manifest.clone(), file.clone(), devices.len());
        for device in &mut devices {
            device.training = training.unwrap_or(&device.training).clone();
            let keys = device.take(manifest.clone(), &file).expect("a good round");
            coordinator.receive(0, device.identity.public(), &keys).expect("valid keys");
        }
        coordinator.close().expect("enough");
        let mut cohort = Self { coordinator, devices };
        cohort.stage(1, 0);
        cohort
    }

    /// All but the first `lost` answer `stage`.
    fn stage(&mut self, stage: u8, lost: usize) -> Closed {
        for device in &mut self.devices[lost..] {
            let identity = device.identity.public();
            let down = self.coordinator.down(&identity, stage).expect("expected");
            let answer = device.answer(down).expect("the truth");
            self.coordinator.receive(stage, identity, &answer).expect("valid");
        }
        self.coordinator.close().expect("enough are left")
    }

    /// The sum, when the first `lost` devices never send their masked inputs.
    fn sum(mut self, lost: usize) -> Vec<Vec<i64>> {
        self.stage(2, lost);
        self.stage(3, lost);
        let Closed::Released(sum) = self.stage(4, lost) else { panic!("released") };
        assert_eq!(sum.n_survivors as usize, self.devices.len() - lost);
        sum.vectors
    }
}

fn noisy() -> (Cohort, RoundConfig, Plan) {
    let plan = fixtures::plan();
    let config = fixtures::noisy(&plan, 1.5);
    (Cohort::new(&config, &plan), config, plan)
}

/// Device 0 with its shares down: its state, and what asks it for the masked input.
fn asked(cohort: &mut Cohort) -> (Device, State, Event) {
    let mut device = cohort.devices.remove(0);
    let down = cohort.coordinator.down(&device.identity.public(), 2).expect("shares");
    let state = std::mem::replace(&mut device.state, State::Idle);
    (device, state, Event::Down(down))
}

#[test]
fn noise_is_drawn_after_the_reservation_and_sent_after_the_release() {
    let (mut cohort, config, _) = noisy();
    let (mut device, state, event) = asked(&mut cohort);
    let untouched = device.noise.drawn();

    let (state, effects) = device.step(state, event);
    assert_eq!((state.name(), names(&effects)), ("paying", vec!["note", "record"]));
    assert_eq!(device.noise.drawn(), untouched, "nothing is drawn before the reservation is durable");
    assert!(state.snapshot().is_none(), "what is not masked yet is lost with the process");
    let Effect::Record(reservation) = &effects[1] else { panic!("a record") };
    device.write(reservation);

    let (state, effects) = device.step(state, Event::Recorded);
    assert_eq!((state.name(), names(&effects)), ("releasing", vec!["persist", "record"]));
    assert!(device.noise.drawn() > untouched + u128::from(config.dim()), "every entry has its noise");
    let Effect::Record(release) = &effects[1] else { panic!("a record") };
    device.write(release);

    let (state, effects) = device.step(state, Event::Recorded);
    assert_eq!((state.name(), names(&effects)), ("masked", vec!["upload"]));
    let report = PrivacyReport::new(&device.ledger, &[], device.now);
    assert_eq!(report.receipts[0].sent, Some(Digest::of(&payload(&effects)).hex()));
    assert_eq!(report.receipts[0].protection, Protection::Distributed);
}

#[test]
fn what_is_not_durable_does_not_go_on() {
    for (stage, word) in [(2, "second_input"), (3, "stage_order")] {
        let (mut cohort, ..) = noisy();
        let (mut device, state, event) = asked(&mut cohort);
        let (state, _) = device.step(state, event);
        let step = device.step(state, down(stage, "whatever"));
        assert_eq!(cause(&step).code(), word);
        assert_eq!(names(&step.1), ["delete", "leave"]);
    }
}

#[test]
fn killed_after_the_reservation_a_device_leaves_and_has_paid() {
    let (mut cohort, ..) = noisy();
    let (mut device, state, event) = asked(&mut cohort);
    let stored = state.snapshot().expect("shared is stored");
    let (_, effects) = device.step(state, event);
    let Some(Effect::Record(reservation)) = effects.last() else { panic!("a record") };
    device.write(reservation);
    device.reopen_ledger();
    let paid = device.ledger.lifetime_spent();

    let untouched = device.noise.drawn();
    let again = State::restore(&stored, &device.rules).expect("shared");
    let (again, effects) = device.step(again, Event::Resume);
    assert_eq!(names(&effects), ["share_keys"]);
    let shares = cohort.coordinator.down(&device.identity.public(), 2).expect("shares");
    let step = device.step(again, Event::Down(shares));
    assert_eq!(cause(&step).code(), "already_reserved");
    assert_eq!(names(&step.1), ["delete", "leave"]);
    assert_eq!(device.noise.drawn(), untouched, "noise is drawn once");
    assert_eq!(device.ledger.lifetime_spent(), paid, "and never refunded");
}

#[test]
fn killed_around_the_release_a_device_sends_the_identical_bytes() {
    let (mut cohort, ..) = noisy();
    let (mut device, state, event) = asked(&mut cohort);
    let (state, effects) = device.step(state, event);
    let Some(Effect::Record(reservation)) = effects.last() else { panic!("a record") };
    device.write(reservation);
    let (state, effects) = device.step(state, Event::Recorded);
    let stored = state.snapshot().expect("the payload is stored");
    let Some(Effect::Record(release)) = effects.last() else { panic!("a record") };
    let first = release.bytes.clone();

    // The payload is stored, its digest is not: it is written down now.
    device.reopen_ledger();
    let restored = State::restore(&stored, &device.rules).expect("sealed");
    let (releasing, effects) = device.step(restored, Event::Resume);
    assert_eq!((releasing.name(), names(&effects)), ("releasing", vec!["record"]));
    let Some(Effect::Record(release)) = effects.last() else { panic!("a record") };
    assert_eq!(release.bytes, first, "the same record");
    let (_, effects) = device.settle((releasing, effects));
    let sent = payload(&effects);

    // Released: the same bytes, at no cost.
    device.reopen_ledger();
    let spent = device.ledger.lifetime_spent();
    let restored = State::restore(&stored, &device.rules).expect("sealed");
    let (_, effects) = device.step(restored, Event::Resume);
    assert_eq!(names(&effects), ["resume_upload"]);
    assert_eq!(payload(&effects), sent);
    assert_eq!(device.ledger.lifetime_spent(), spent);

    // A ledger that knows nothing of it, as after a reset: nothing is sent.
    device.limit(&Limits::COMPILED);
    let restored = State::restore(&stored, &device.rules).expect("sealed");
    let step = device.step(restored, Event::Resume);
    assert_eq!(cause(&step).code(), "nothing_to_release");
    assert_eq!(names(&step.1), ["delete", "leave"]);
}

/// Another task of the same person spends so much that this round's budget is gone.
fn spend_elsewhere(device: &mut Device, config: &RoundConfig) {
    let mechanism = crate::device::noise::mechanism(config).expect("honest").expect("noise");
    let facts = Facts {
        task: "another",
        round: 1,
        policy: "standard",
        trust: Trust::Distributed,
        mechanism: Some(mechanism),
        examples: None,
    };
    let pending = device.ledger.reserve(&facts, START_MS).expect("the first one fits");
    let _spent = device.ledger.durable(pending).expect("in order");
}

/// Room for one round in a period, and for two over a lifetime.
fn one_a_period(config: &RoundConfig) -> Limits {
    let mechanism = crate::device::noise::mechanism(config).expect("honest").expect("noise");
    let epsilon = mechanism.aggregate().expect("bounded").epsilon(1e-6).expect("bounded");
    let caps = |aggregate| Caps { aggregate, ..Limits::COMPILED.lifetime };
    Limits {
        round: caps(1.1 * epsilon),
        period: caps(1.1 * epsilon),
        lifetime: caps(1.6 * epsilon),
        ..Limits::COMPILED
    }
}

#[test]
fn a_round_beyond_the_budget_is_left_with_the_date_of_the_next_one() {
    let plan = fixtures::plan();
    let config = fixtures::noisy(&plan, 1.5);
    let mut device = Device::new(1);
    device.limit(&one_a_period(&config));
    spend_elsewhere(&mut device, &config);
    let step = device.check_in(fixtures::manifest(&config, &plan));
    let refused = cause(&step);
    assert_eq!((refused.code(), refused.check()), ("budget_exhausted", Some(Check::C14)));
    assert_eq!(names(&step.1), ["delete", "leave"], "nothing is downloaded, nothing trained");
    let until = refused.until().expect("it refills");
    assert_eq!(until.as_millis(), device.ledger.refills_ms(START_MS));
    // Thirty days are 2,592,000,000 ms; period 695 since 1970 begins on 2027-02-01.
    assert_eq!(refused.to_string(), "the aggregate privacy budget of this period is used up; it refills on 2027-02-01");
    // A round without noise costs nothing that could be counted.
    let (_, effects) = device.check_in(fixtures::manifest(&fixtures::config(&plan), &plan));
    assert_eq!(names(&effects), ["persist", "price"]);
}

#[test]
fn a_budget_that_is_gone_by_the_time_of_the_upload_ends_the_round() {
    let (mut cohort, config, _) = noisy();
    let (mut device, state, event) = asked(&mut cohort);
    device.limit(&one_a_period(&config));
    spend_elsewhere(&mut device, &config);
    let untouched = device.noise.drawn();
    let step = device.step(state, event);
    assert_eq!(cause(&step).code(), "budget_exhausted");
    assert!(cause(&step).check() == Some(Check::C14));
    assert_eq!(names(&step.1), ["delete", "leave"]);
    assert_eq!(device.noise.drawn(), untouched);
}

#[test]
fn a_device_works_out_the_cost_itself() {
    let plan = fixtures::plan();
    let good = fixtures::noisy(&plan, 1.5);
    let config::Mechanism::DistributedGaussian { local_variance, n_honest, rho } = good.mechanism else {
        panic!("noise")
    };
    let with = |local_variance, n_honest, rho| RoundConfig {
        mechanism: Mechanism::DistributedGaussian { local_variance, n_honest, rho },
        ..good.clone()
    };
    for (config, code) in [
        (with(local_variance, n_honest, rho - 1), "understated_cost"),
        (with(local_variance / 2, n_honest, rho), "understated_cost"),
        (with(local_variance, n_honest - 1, rho), "understated_cost"),
        (with(4, n_honest, u64::MAX), "round_too_costly"),
        (with(local_variance, n_honest + 1, rho), "policy"),
    ] {
        let mut device = Device::new(1);
        let step = device.check_in(fixtures::manifest(&config, &plan));
        assert_eq!(cause(&step).code(), code, "{:?}", config.mechanism);
        assert_eq!(names(&step.1), ["delete", "leave"]);
        assert_eq!(device.ledger.count().records, 1, "nothing was spent");
    }
    // A server may overstate the cost; the device counts its own figure.
    let (_, effects) = Device::new(1).check_in(fixtures::manifest(&with(local_variance, n_honest, rho + 1), &plan));
    assert_eq!(names(&effects), ["persist", "price"]);
}

#[test]
fn rounds_without_noise_are_the_hosts_choice_and_get_a_receipt() {
    let plan = fixtures::plan();
    let config = fixtures::config(&plan);
    let mut strict = Device::new(1);
    strict.rules.guardrails.without_noise = WithoutNoise::Refuse;
    let step = strict.check_in(fixtures::manifest(&config, &plan));
    assert_eq!(cause(&step).code(), "without_noise");
    assert_eq!(names(&step.1), ["delete", "leave"]);
    let (_, effects) = strict.check_in(fixtures::manifest(&fixtures::noisy(&plan, 1.5), &plan));
    assert_eq!(names(&effects), ["persist", "price"]);

    let mut cohort = Cohort::new(&config, &plan);
    let (mut device, state, event) = asked(&mut cohort);
    let untouched = device.noise.drawn();
    let step = device.step(state, event);
    let (_, effects) = device.settle(step);
    assert_eq!(names(&effects), ["note", "record", "persist", "record", "upload"]);
    assert_eq!(device.noise.drawn(), untouched);
    let Effect::Note(note) = &effects[0] else { panic!("a note") };
    assert_eq!((note.cohort, note.number), (12, 3));
    assert_eq!(note.model, Digest(config.model_digest).hex());
    let report = PrivacyReport::new(&device.ledger, std::slice::from_ref(note), device.now);
    let [receipt] = &report.receipts[..] else { panic!("one participation") };
    assert_eq!(receipt.protection, Protection::WithoutNoise);
    let no_bound = (Epsilon::NoBound, Epsilon::NoBound);
    assert_eq!((receipt.epsilon.aggregate, receipt.epsilon.local), no_bound, "none can be claimed");
    assert_no_bound_for_the_person(&report);
    assert_eq!(report.lifetime.example, Epsilon::NoBound, "nor for an example");
    assert!(receipt.sentence.contains("no epsilon can be claimed"), "{}", receipt.sentence);
    assert_eq!(report.rounds_without_noise, 1);
    assert!(report.summary.contains("carried no noise"), "{}", report.summary);
}

/// Said first, in words; and in the JSON form as no number that could be read as 0. Every total of every receipt agrees.
fn assert_no_bound_for_the_person(report: &PrivacyReport) {
    let first = report.summary.split(". ").next().unwrap_or_default();
    assert!(first.contains("no bound"), "{}", report.summary);
    assert!(!report.summary.contains("epsilon 0.00"), "{}", report.summary);
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
    for epsilons in [&json["lifetime"], &json["period"], &json["receipts"][0]["epsilon"], &json["receipts"][0]["total"]]
    {
        assert_eq!((&epsilons["aggregate"], &epsilons["local"]), (&"no_bound".into(), &"no_bound".into()), "{json}");
    }
}

/// What training has cost examples is known after it, and counts against their own budget.
#[test]
fn noise_on_gradients_is_paid_for_as_it_was() {
    let plan = fixtures::plan();
    let config = fixtures::config(&plan);
    let dp_sgd = DpSgd::new(2.0, 0.1, 20).expect("sound");
    let training = Training::even(0.125, 5).with_noise_on_gradients(dp_sgd);
    let mut cohort = Cohort::of(fixtures::manifest(&config, &plan), fixtures::file(), Some(&training));
    // What training has cost survives the process.
    cohort.devices[0].restart().expect("it has shared its keys");
    let (mut device, state, event) = asked(&mut cohort);
    let step = device.step(state, event);
    let (state, _) = device.settle(step);
    assert_eq!(state.name(), "masked");
    let report = PrivacyReport::new(&device.ledger, &[], device.now);
    let receipt = &report.receipts[0];
    assert_eq!(receipt.protection, Protection::Examples);
    let no_bound = (Epsilon::NoBound, Epsilon::NoBound);
    assert_eq!((receipt.epsilon.aggregate, receipt.epsilon.local), no_bound, "nothing is claimed for the person");
    let example = receipt.epsilon.example.at_most().expect("noise on examples");
    assert!(example > 0.5 && example < 8.0, "{receipt:?}");
    assert_no_bound_for_the_person(&report);
    assert_eq!(report.lifetime.example, Epsilon::AtMost(example));
    assert!(report.summary.contains(&format!("at most epsilon {example:.2} for each example")), "{}", report.summary);
    assert!(receipt.sentence.contains("not a bound for you as a person"), "{}", receipt.sentence);
}

/// Noise that counts on nobody else: local mode.
#[test]
fn noise_of_its_own_protects_from_the_server_too() {
    let plan = fixtures::plan();
    let base = fixtures::config(&plan);
    let alone = scale_privacy::distributed::Mechanism::calibrated_alone(base.grid, base.dim(), 2.0).expect("fine");
    let (local_variance, rho) = (alone.local_variance(), alone.aggregate().expect("bounded").units());
    let config = RoundConfig {
        mechanism: Mechanism::DistributedGaussian { local_variance, n_honest: 1, rho },
        wire_bits: config::width_needed(base.n_hi, base.grid, local_variance).expect("narrow"),
        ..base
    };
    let mut cohort = Cohort::new(&config, &plan);
    let (mut device, state, event) = asked(&mut cohort);
    let step = device.step(state, event);
    let (state, _) = device.settle(step);
    assert_eq!(state.name(), "masked");
    let report = PrivacyReport::new(&device.ledger, &[], device.now);
    assert_eq!(report.receipts[0].protection, Protection::Local);
    assert!(report.receipts[0].sentence.contains("even from the server"));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
    assert_eq!(json["receipts"][0]["protection"], "local");
    assert_eq!(json["unit"], "person");
    assert!(json["lifetime"]["local"].as_f64() > json["lifetime"]["aggregate"].as_f64());
}

/// The whole way of the noise, from the device's stream to the sum of a session, with nobody and with as many lost as the
/// session stands: what remains is discrete Gaussian noise of exactly the promised variance, and at least what eight honest
/// devices owe.
#[test]
fn the_noise_in_the_sum_is_what_was_promised() {
    let model =
        ModelSpec { labels: vec!["a".into(), "b".into()], family: Family::Mlp { inputs: 400, hidden: vec![250] } };
    let plan = Plan { fingerprint: model.fingerprint(), model, ..fixtures::plan() };
    let entries = plan.model.flat_len();
    assert!(entries >= 100_000);
    let weights = vec![0.25; entries as usize];
    let file = fixtures::model_file(&plan.model, &weights);
    for (lost, seen) in [(0, 12.0), (2, 10.0)] {
        let base = RoundConfig { grid: 2000, model_digest: Digest::of(&file).0, ..fixtures::noisy(&plan, 1.5) };
        let variance = base.mechanism.local_variance() as f64;
        let manifest = fixtures::manifest_with(&base, &plan, &file);
        let cohort = Cohort::of(manifest, file.clone(), Some(&Training::even(0.0, 5)));
        let sum = cohort.sum(lost);
        assert_eq!(sum[1].len(), 4, "the statistics carry noise and nothing else");
        // Nobody's weights moved, so the sum is noise alone.
        let noise = sum.concat();
        let off = fit::variance(&noise, seen * variance);
        assert!(off.abs() < 4.0, "{lost} lost: variance off by {off:.1} standard deviations");
        let mean = noise.iter().sum::<i64>() as f64 / (noise.len() as f64 * seen * variance).sqrt();
        assert!(mean.abs() < 4.0, "{lost} lost: mean {mean:.1} standard deviations from 0");
        // The test would see one device too few or too many.
        let wrong = fit::variance(&noise, (seen + 1.0) * variance);
        assert!(wrong < -10.0, "no power: {wrong:.1}");
        assert!(fit::variance(&noise, 8.0 * variance) > 10.0, "less than the honest devices owe");
    }
}
