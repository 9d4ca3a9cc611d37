use super::*;

/// The wire format's rule (docs/protocol/round-config.md, C13), restated: this crate stands below that of the protocol.
fn width(devices: u32, grid: u32, local_variance: u64) -> Option<u8> {
    let updates = f64::from(devices) * (f64::from(grid) + 1.0);
    let noise = 8.0 * (f64::from(devices) * local_variance as f64).sqrt();
    (8..=32).find(|&bits| f64::from(bits - 1).exp2() > updates + noise)
}

fn everybody(devices: u32) -> Cohort {
    Cohort { devices, survivors_min: devices, corrupt: 0 }
}

fn budget(epsilon: f64) -> Budget {
    Budget::new(epsilon, 1e-6).expect("in range")
}

/// Noise over signal by cohort and size at epsilon 8 over 100 rounds: known values of z sqrt(d) / n, and of
/// 2 z sqrt(d) / sqrt(n) for local noise. The grid adds up to 1.3 %.
#[test]
fn noise_to_signal_is_the_known_table() {
    for (devices, dim, distributed, local) in [
        (10, 1000, 21.8, 138.0),
        (10, 10_000, 68.9, 436.0),
        (10, 100_000, 218.0, 1379.0),
        (100, 1000, 2.18, 43.6),
        (100, 10_000, 6.89, 138.0),
        (100, 100_000, 21.8, 436.0),
        (1000, 1000, 0.218, 13.8),
        (1000, 10_000, 0.689, 43.6),
        (1000, 100_000, 2.18, 138.0),
    ] {
        for (trust, expected) in [(Trust::Distributed, distributed), (Trust::Local, local)] {
            let plan = plan(trust, &everybody(devices), dim, 100, &budget(8.0), width).expect("possible");
            let ratio = plan.noise_to_signal / expected;
            assert!((0.995..1.015).contains(&ratio), "{trust:?}, n {devices}, d {dim}: {}", plan.noise_to_signal);
            assert!((plan.noise_multiplier - 6.893).abs() < 0.001, "{}", plan.noise_multiplier);
        }
    }
}

#[test]
fn a_plan_stays_within_its_budget_and_uses_it() {
    for trust in [Trust::Distributed, Trust::Local] {
        for (epsilon, rounds, dim) in [(0.5, 1, 10), (2.0, 30, 1000), (8.0, 100, 1_000_000), (10.0, 1000, 100)] {
            let cohort = Cohort { devices: 200, survivors_min: 160, corrupt: 20 };
            let plan = plan(trust, &cohort, dim, rounds, &budget(epsilon), width).expect("possible");
            let claimed = if trust == Trust::Local { plan.epsilon_local } else { plan.epsilon_aggregate };
            assert!(claimed <= epsilon && claimed > epsilon * 0.97, "{trust:?}, {epsilon}, {rounds}: {claimed}");
            assert_eq!(plan.assumes_honest, if trust == Trust::Local { 1 } else { 140 });
            assert!(plan.is_private());
            assert_eq!(plan.upload_bytes, (dim * u64::from(plan.wire_bits)).div_ceil(8));
        }
    }
}

#[test]
fn what_one_upload_alone_reveals_is_always_said() {
    for (devices, epsilon_local) in [(10, 88.0), (100, 571.0), (1000, 4687.0)] {
        let plan =
            plan(Trust::Distributed, &everybody(devices), 1_000_000, 100, &budget(8.0), width).expect("possible");
        assert!((plan.epsilon_local / epsilon_local - 1.0).abs() < 0.01, "{}", plan.epsilon_local);
    }
}

#[test]
fn dropouts_and_corrupt_devices_make_the_noise_larger() {
    let careful = Cohort { devices: 100, survivors_min: 80, corrupt: 10 };
    let careful = plan(Trust::Distributed, &careful, 1000, 30, &budget(8.0), width).expect("possible");
    let ideal = plan(Trust::Distributed, &everybody(100), 1000, 30, &budget(8.0), width).expect("possible");
    assert!((careful.surplus - (100f64 / 70.0).sqrt()).abs() < 1e-12);
    assert!((careful.noise_to_signal / ideal.noise_to_signal - careful.surplus).abs() < 1e-3);
    assert_eq!(ideal.surplus, 1.0);
}

#[test]
fn verdicts_follow_the_simulation() {
    for (trust, devices, epsilon, verdict) in [
        (Trust::Distributed, 10, 2.0, Verdict::Hopeless),
        (Trust::Distributed, 10, 8.0, Verdict::Hopeless),
        (Trust::Distributed, 100, 2.0, Verdict::Marginal),
        (Trust::Distributed, 100, 8.0, Verdict::Useful),
        (Trust::Distributed, 1000, 2.0, Verdict::Useful),
        (Trust::Local, 100, 8.0, Verdict::Hopeless),
        (Trust::Local, 1000, 8.0, Verdict::Hopeless),
    ] {
        let plan = plan(trust, &everybody(devices), 650, 30, &budget(epsilon), width).expect("possible");
        assert_eq!(plan.verdict, verdict, "{trust:?}, n {devices}, epsilon {epsilon}: {}", plan.sentence);
    }
    assert_eq!(Verdict::on(f64::NAN), Verdict::Hopeless);
    assert_eq!(Verdict::on(1.0).code(), "useful");
}

/// Ten devices and a useful model do not go together at epsilon 8; the sentence must say so.
#[test]
fn ten_devices_are_told_so() {
    for rounds in [30, 100] {
        let plan = plan(Trust::Distributed, &everybody(10), 1000, rounds, &budget(8.0), width).expect("possible");
        assert_eq!(plan.verdict, Verdict::Hopeless);
        assert!(plan.sentence.starts_with("Training cannot work"), "{}", plan.sentence);
    }
}

#[test]
fn a_person_is_told_both_numbers() {
    let cohort = Cohort { devices: 100, survivors_min: 80, corrupt: 10 };
    let distributed = plan(Trust::Distributed, &cohort, 1000, 100, &budget(8.0), width).expect("possible");
    let promise = distributed.promise();
    for part in ["at least 70 honest", "epsilon 8.00 over 100 round(s)", "delta 1e-6", "alone give only epsilon 4"] {
        assert!(promise.contains(part), "{part:?} in {promise}");
    }
    let local = plan(Trust::Local, &cohort, 1000, 100, &budget(8.0), width).expect("possible").promise();
    assert!(local.starts_with("Protects you even from the server: epsilon 8.00"), "{local}");
}

#[test]
fn a_large_epsilon_is_not_called_private() {
    let plan = plan(Trust::Distributed, &everybody(1000), 1000, 10, &budget(20.0), width).expect("possible");
    assert!(!plan.is_private());
    assert!(plan.sentence.ends_with("is too large to be called private."), "{}", plan.sentence);
}

#[test]
fn impossible_plans_say_why() {
    let ask = |trust, cohort: Cohort, dim, rounds, epsilon| plan(trust, &cohort, dim, rounds, &budget(epsilon), width);
    let fine = everybody(100);
    for (name, refused, code) in [
        ("no rounds", ask(Trust::Distributed, fine, 1000, 0, 8.0), "nothing"),
        ("no entries", ask(Trust::Distributed, fine, 0, 1, 8.0), "no_entries"),
        ("too few", ask(Trust::Distributed, Cohort { survivors_min: 101, ..fine }, 1000, 1, 8.0), "cohort"),
        ("all corrupt", ask(Trust::Distributed, Cohort { corrupt: 100, ..fine }, 1000, 1, 8.0), "no_honest_survivor"),
        ("too wide", ask(Trust::Local, everybody(100_000), 1_000_000, 400, 1.0), "too_wide"),
        ("grid too fine", ask(Trust::Distributed, fine, u64::MAX, 1, 8.0), "too_wide"),
        ("next to nothing", ask(Trust::Distributed, fine, 1000, u32::MAX, 1e-9), "unreachable"),
        ("too much noise", ask(Trust::Local, fine, 1_000_000, 1_000_000, 0.1), "local_variance"),
    ] {
        assert!(refused.as_ref().is_err_and(|error| error.code() == code), "{name}: {refused:?}");
    }
}

#[test]
fn examples_are_planned_apart() {
    let plan = plan_examples(500, 50, 30, 650, &budget(8.0)).expect("possible");
    assert!(plan.epsilon <= 8.0 && plan.epsilon > 7.99, "{}", plan.epsilon);
    assert_eq!((plan.dp_sgd.rate(), plan.dp_sgd.steps()), (0.1, 30));
    let expected = plan.dp_sgd.noise_multiplier() * 650f64.sqrt() / (50.0 * 30f64.sqrt());
    assert!((plan.noise_to_signal - expected).abs() < 1e-12);
    assert_eq!(plan.verdict, Verdict::on(expected));
    // A batch larger than what is there is everything.
    assert_eq!(plan_examples(20, 50, 1, 650, &budget(8.0)).expect("possible").dp_sgd.rate(), 1.0);
    for (examples, batch, steps, dim, code) in
        [(0, 1, 1, 1, "nothing"), (1, 0, 1, 1, "nothing"), (1, 1, 0, 1, "nothing"), (1, 1, 1, 0, "no_entries")]
    {
        assert!(plan_examples(examples, batch, steps, dim, &budget(8.0)).is_err_and(|error| error.code() == code));
    }
}
