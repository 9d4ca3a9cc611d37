#[cfg(not(target_arch = "wasm32"))]
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use scale_proto::privacy::{ClipRange, Privacy};

use super::*;
use crate::device::fixtures;

const CLIP: f64 = 2.0;

fn trained(weights: Vec<f32>) -> Trained {
    Trained { weights, weight: 50, loss_sum: 10.02, correct: 7, examples: 20, dp_sgd: None }
}

fn quantized(plan: &Plan, grid: u32, global: &[f32], trained: Trained) -> Result<Vec<Vec<u32>>, UpdateError> {
    let config = RoundConfig { clip: CLIP, grid, ..fixtures::config(plan) };
    let update = Update::new(plan, global, trained)?;
    let update = update.quantize(&config, &mut ChaCha20Rng::from_seed([9; 32]))?;
    let again = restored(&update).expect("what was stored is read");
    let out = update.into_vectors();
    assert_eq!(out, again.into_vectors(), "a restored update gives the same integers");
    Ok(out)
}

fn restored(update: &QuantizedUpdate) -> Option<QuantizedUpdate> {
    QuantizedUpdate::restore(update.bytes().clone(), update.len)
}

fn signed(values: &[u32]) -> Vec<i64> {
    values.iter().map(|&value| i64::from(value as i32)).collect()
}

#[test]
fn delta_is_weighted_and_scaled() {
    let plan = Plan { max_weight: 100, ..fixtures::plan() };
    let len = plan.model.flat_len() as usize;
    let mut after = vec![0.5; len];
    after[0] = 1.5;
    after[1] = -0.5;
    let vectors = quantized(&plan, 1000, &vec![0.5; len], trained(after)).expect("fine");
    // Norm sqrt(2) is under C = 2; weight 50 of 100 halves; 1000 units are C: 1.0 becomes 250.
    let update = signed(&vectors[0]);
    assert!((249..=250).contains(&update[0]) && (-250..=-249).contains(&update[1]), "{update:?}");
    assert!(update[2..].iter().all(|&value| value == 0));
    // 10.02 nats are 160.32 sixteenths.
    assert_eq!(vectors[1], [50, 160, 7, 20]);
}

/// With noise of either kind nothing goes in that depends on the number of examples.
#[test]
fn counts_and_measurements_stay_at_home_where_there_is_noise() {
    let plan = Plan { max_weight: 100, ..fixtures::plan() };
    let global = fixtures::global();
    let after: Vec<f32> = global.iter().map(|weight| weight + 0.1).collect();
    let quantized = |config: &RoundConfig, trained: Trained| {
        let update = Update::new(&plan, &global, trained).expect("finite");
        let dp_sgd = update.dp_sgd;
        let update = update.quantize(config, &mut ChaCha20Rng::from_seed([9; 32])).expect("in bound");
        let again = restored(&update).expect("what was stored is read");
        assert_eq!((update.dp_sgd(), again.dp_sgd()), (dp_sgd, dp_sgd));
        again.into_vectors()
    };
    let (plain, noisy) = (fixtures::config(&plan), fixtures::noisy(&plan, 1.5));
    let dp_sgd = Some(DpSgd::new(1.5, 0.25, 40).expect("sound"));
    let full = quantized(&plain, Trained { weight: 100, ..trained(after.clone()) });
    for (config, dp_sgd, statistics) in
        [(&plain, dp_sgd, [100, 0, 0, 0]), (&noisy, None, [0; 4]), (&noisy, dp_sgd, [0; 4])]
    {
        let vectors = quantized(config, Trained { dp_sgd, ..trained(after.clone()) });
        assert_eq!(vectors[0], full[0], "as if it had all the weight there is");
        assert_eq!(vectors[1], statistics);
        let norm: u128 = vectors.iter().flatten().map(|&entry| u128::from((entry as i32).unsigned_abs()).pow(2)).sum();
        assert!(config == &plain || norm <= grid::norm_bound_squared(config.grid, config.dim()), "{norm}");
    }
}

/// Where the clip norm follows the devices, the update has its part of the norm and the first statistic says how long it was.
#[test]
fn the_clip_bit_is_in_the_norm_and_only_under_noise() {
    let clip_range = Some(ClipRange { min: 0.5, max: 8.0 });
    let distributed = Privacy::Distributed { epsilon: 8.0, delta: 1e-6, rounds: 10 };
    let plan = Plan { privacy: distributed.with_clip_range(clip_range).expect("a range"), ..fixtures::plan() };
    let noisy = RoundConfig { clip: CLIP, ..fixtures::noisy(&plan, 1.5) };
    let split = Split::of(noisy.grid);
    let len = plan.model.flat_len() as usize;
    let out = |config: &RoundConfig, length: f32| {
        let update = Update::new(&plan, &vec![0.0; len], trained(vec![length / (len as f32).sqrt(); len]));
        update.expect("finite").quantize(config, &mut ChaCha20Rng::from_seed([9; 32])).expect("in bound").into_vectors()
    };
    for (length, short) in [(0.0, true), (1.999, true), (2.001, false), (500.0, false)] {
        let vectors = out(&noisy, length);
        assert_eq!(signed(&vectors[1]), [split.bit(short), 0, 0, 0], "norm {length}");
        let squares: u128 =
            vectors.iter().flatten().map(|&entry| u128::from((entry as i32).unsigned_abs()).pow(2)).sum();
        assert!(squares <= grid::norm_bound_squared(noisy.grid, noisy.dim()), "norm {length}: {squares}");
        let norm = signed(&vectors[0]).iter().map(|&entry| (entry as f64).powi(2)).sum::<f64>().sqrt();
        let expected = f64::from(length.min(2.0)) / CLIP * f64::from(split.update());
        assert!((norm - expected).abs() <= 0.02 * f64::from(noisy.grid), "norm {length}: {norm}, not {expected}");
    }
    let plain = RoundConfig { clip: CLIP, ..fixtures::config(&plan) };
    assert_eq!(out(&plain, 1.0)[1], [50, 160, 7, 20], "without noise nobody says how long an update was");
}

#[test]
fn a_large_delta_is_clipped_before_it_is_weighted() {
    let plan = Plan { max_weight: 100, ..fixtures::plan() };
    let len = plan.model.flat_len() as usize;
    let mut after = vec![0.0; len];
    (after[0], after[1]) = (3e30, 4e30);
    for (weight, expected) in [(50, 500.0), (100, 1000.0), (1_000_000, 1000.0)] {
        let vectors =
            quantized(&plan, 1000, &vec![0.0; len], Trained { weight, ..trained(after.clone()) }).expect("fine");
        let update = signed(&vectors[0]);
        assert!((update[0] as f64 - expected * 0.6).abs() <= 1.0, "weight {weight}: {}", update[0]);
        assert!((update[1] as f64 - expected * 0.8).abs() <= 1.0, "weight {weight}: {}", update[1]);
        assert_eq!(vectors[1][0], weight.min(100));
    }
}

#[test]
fn bad_results_are_refused() {
    let plan = fixtures::plan();
    let len = plan.model.flat_len() as usize;
    let fine = vec![0.25; len];
    let with = |at: usize, value| {
        let mut weights = fine.clone();
        weights[at] = value;
        trained(weights)
    };
    for (name, result, code) in [
        ("NaN", with(3, f32::NAN), "not_finite"),
        ("infinity", with(0, f32::INFINITY), "not_finite"),
        ("overflowing difference", with(0, f32::MAX), "not_finite"),
        ("NaN loss", Trained { loss_sum: f64::NAN, ..trained(fine.clone()) }, "not_finite"),
        ("no examples", Trained { weight: 0, ..trained(fine.clone()) }, "no_examples"),
        ("too few weights", trained(fine[1..].to_vec()), "shape"),
    ] {
        let mut global = fine.clone();
        global[0] = if name == "overflowing difference" { f32::MIN } else { 0.0 };
        assert_eq!(Update::new(&plan, &global, result).expect_err(name).code(), code, "{name}");
    }
}

#[test]
fn statistics_keep_their_ratios_on_a_small_grid() {
    let of = |loss_sum, correct, examples| {
        let trained = Trained { weights: vec![], weight: 5, loss_sum, correct, examples, dp_sgd: None };
        Statistics::new(&trained, 10).expect("finite").on_grid(1000)
    };
    assert_eq!(of(10.0, 50, 100), [5, 160, 50, 100], "fits as it is");
    assert_eq!(of(125.0, 50, 100), [5, 1000, 25, 50], "the loss exceeds the grid: 2000 units");
    assert_eq!(of(0.0, 4000, 10_000), [5, 0, 400, 1000], "the examples exceed it");
    assert_eq!(of(1e300, 0, 100), [5, 1000, 0, 1], "mean loss is cut to 100 nats: 160,000 units");
    assert_eq!(of(-1.0, 9, 3), [5, 0, 3, 3], "nonsense is cut");
    assert_eq!(of(f64::MAX, u64::MAX, u64::MAX)[1], 1000);
}

#[test]
fn a_damaged_encoding_is_refused() {
    let plan = fixtures::plan();
    let len = plan.model.flat_len() as usize;
    let update = Update::new(&plan, &vec![0.0; len], trained(vec![0.25; len])).expect("fine");
    let update = update.quantize(&fixtures::config(&plan), &mut ChaCha20Rng::from_seed([9; 32])).expect("in bound");
    let bytes = update.bytes();
    for end in 0..bytes.len() {
        assert!(QuantizedUpdate::restore(bytes.slice(..end), len).is_none(), "cut at {end}");
    }
    assert!(QuantizedUpdate::restore(bytes.clone(), len + 1).is_none());
    let mut bent = bytes.to_vec();
    bent[0] = 2;
    assert!(QuantizedUpdate::restore(bent.into(), len).is_none(), "neither noise nor none");
}

#[cfg(not(target_arch = "wasm32"))]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever finite thing training gives: the integer norm keeps its bound and every statistic fits the grid.
    #[test]
    fn always_within_the_grid(
        entries in proptest::collection::vec(-1e30f32..1e30, 8),
        scale in prop_oneof![Just(1e-38f32), Just(1e-30), Just(1.0)],
        weight in 1u32..10_000,
        loss_sum in 0f64..1e9,
        correct: u64,
        examples: u64,
        grid in 200u32..100_000,
    ) {
        let plan = Plan { max_weight: 200, ..fixtures::plan() };
        let len = plan.model.flat_len() as usize;
        let weights: Vec<f32> = (0..len).map(|i| entries[i % entries.len()] * scale).collect();
        let result = Trained { weights, weight, loss_sum, correct, examples, dp_sgd: None };
        let vectors = quantized(&plan, grid, &vec![0.0; len], result).unwrap();
        let norm: u128 = signed(&vectors[0]).iter().map(|&v| (v * v) as u128).sum();
        prop_assert!(norm <= grid::norm_bound_squared(grid, len as u64));
        prop_assert!(vectors[1].iter().all(|&value| value <= grid), "{:?}", vectors[1]);
        prop_assert!(vectors[1][2] <= vectors[1][3]);
    }
}
