//! What the promise is, and where it ends: with more corrupt devices than the class allows, the same real clients do lose something, and
//! the count says so. These are no bugs; docs/threat-model.md says what a deployment has to bring.

use scale_secagg::check::Check;
use scale_secagg::params::{self, Class, Profile};
use scale_secagg::prg;
use scale_tests::liar::{Crew, Habits, Leak, Liar, leak};

use super::sets;
use super::table::AUTHORITY;

/// Nine made-up devices and one victim, without certificates: the sum is the victim's input less what the liar put in.
#[test]
fn nine_made_up_peers_of_ten_leave_one_input_bare_in_profile_s() {
    let mut liar = Liar::new(Crew::Device, 1, 9, Habits::default());
    liar.play();
    let report = liar.finish();
    assert!(report.refusals.is_empty(), "{:?}", report.refusals);
    assert!(report.leaks.contains(&Leak::SmallSum { inputs: 1, promised: 9 }), "{:?}", report.leaks);
}

/// Two statements need two groups that each reach the threshold. With as many corrupt devices as the class allows they
/// do not, in either profile; with a few more they do, and both secrets of a victim are known.
#[test]
fn the_agreement_holds_up_to_the_class_and_not_beyond() {
    let sessions = [(14_u32, Class::Default), (20, Class::Default), (24, Class::Default), (24, Class::Paranoid)];
    for ((n, class), profile) in sessions.into_iter().zip([Profile::Standard, Profile::Malicious].into_iter().cycle()) {
        let case = format!("{n} devices, {class:?}, {profile:?}");
        let t = params::parameters(n, profile, class).expect("a session of this size").t as usize;
        let (n, c) = (n as usize, params::corrupt(n, class) as usize);
        let tell = |corrupt: usize| {
            let certified = profile == Profile::Malicious;
            let habits = Habits { authority: certified.then_some(AUTHORITY), ..Habits::default() };
            let mut liar = Liar::new(Crew::Device, n - corrupt, corrupt, habits);
            if certified {
                liar.malicious(&AUTHORITY);
            }
            liar.config.class = class;
            sets::two_statements(&mut liar);
            liar.finish()
        };
        let within = tell(c);
        assert!(within.leaks.is_empty() && !within.refusals.is_empty(), "{case}: {:?}", within.leaks);
        // The smaller half of the honest ones, less the one that asks, and all corrupt ones sign.
        let enough = (c..n).find(|corrupt| (n - corrupt) / 2 - 1 + corrupt >= t).expect("all but one are enough");
        assert!(enough > c, "{case}");
        let beyond = tell(enough);
        assert!(beyond.leaks.iter().any(|leak| matches!(leak, Leak::BothSecrets { .. })), "{case}: {beyond:?}");
    }
}

/// What a session promises, in numbers: the smaller of the bounds on survivors, less the corrupt devices of the class.
#[test]
fn the_promise_in_numbers() {
    let promise = |n, u3_min, class| {
        let mut config = scale_tests::liar::setting::config(n);
        (config.u3_min, config.class) = (u3_min, class);
        leak::promised(&config, n)
    };
    assert_eq!(promise(10, 10, Class::Default), 9);
    assert_eq!(promise(14, 10, Class::Default), 8);
    assert_eq!(promise(24, 10, Class::Default), 12, "the threshold asks for more than the floor");
    assert_eq!(promise(100, 80, Class::Default), 70);
    assert_eq!(promise(100, 80, Class::Paranoid), 47);
    assert_eq!(promise(14, 3, Class::Default), 8, "the compiled floor stands whatever is signed");
}

/// No message carries a threshold; whoever claims one is measured against the compiled table (C10).
#[test]
fn thresholds_come_from_the_table_alone() {
    for (n, k, t) in [(10, 9, 1), (10, 9, 5), (14, 13, 7), (100, 99, 50), (100, 14, 10), (1000, 58, 1), (1000, 58, 29)]
    {
        let refusal = params::check_threshold(n, k, t, Profile::Standard, Class::Default).expect_err("a lie");
        assert_eq!((refusal.check, refusal.code()), (Some(Check::C10), "parameters"), "{n} {k} {t}");
    }
    let small = params::check_threshold(9, 8, 6, Profile::Standard, Class::Default).expect_err("a lie");
    assert_eq!((small.check, small.code()), (Some(Check::C04), "cohort_floor"));
    for n in params::FLOOR..=400 {
        let right = params::parameters(n, Profile::Standard, Class::Default).expect("a session of this size");
        assert_eq!(params::check_threshold(n, right.k, right.t, Profile::Standard, Class::Default), Ok(()));
        assert!(right.t > right.k / 2 && right.k < n, "{n}");
    }
}

/// A mask's key has 256 bits and all of them count: nobody searches it.
#[test]
fn every_bit_of_a_mask_key_counts() {
    let key = [0x5a; 32];
    let stream = |key: &[u8; 32]| prg::entries(key, 0, 0, 16).expect("a short range");
    let first = stream(&key);
    for bit in 0..256 {
        let mut other = key;
        other[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(stream(&other), first, "bit {bit}");
    }
}
