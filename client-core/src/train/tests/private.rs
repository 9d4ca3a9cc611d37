//! DP-SGD: clipped gradients against one backward pass per example, and the noise against its formula.

use super::*;

fn protection(clip: f32, noise_multiplier: f32, expected_batch: f32) -> Protection {
    let privacy = ExamplePrivacy::new(clip, noise_multiplier).expect("in range");
    Protection::new(privacy, expected_batch, [3; 32])
}

/// The gradients of single examples, each from a step of its own, with their norms.
fn one_by_one(learner: &mut dyn Learner, weights: &[f32], batch: &[&Prepared]) -> Vec<(Vec<f32>, f64)> {
    let each = batch.iter().map(|example| {
        learner.load(weights).expect("the length fits");
        learner.train_step(&[*example], plain(1.0)).expect("a step");
        let stepped = learner.flatten().expect("read back");
        let slope: Vec<f32> = weights.iter().zip(stepped).map(|(before, after)| before - after).collect();
        let norm = slope.iter().map(|slope| f64::from(*slope).powi(2)).sum::<f64>().sqrt();
        (slope, norm)
    });
    each.collect()
}

/// More examples than [`examples`] makes; texts with n-grams that come twice, and one without any.
fn many(spec: &ModelSpec, count: usize) -> Vec<Example> {
    let mut out = Vec::new();
    while out.len() < count {
        out.extend(examples(spec, 100 + out.len() as u64));
    }
    out.truncate(count);
    if matches!(spec.family, Family::TextBag { .. }) {
        out[0].input = Input::Text("bakery bakery bakery aaaaaaaa".into());
        out[1].input = Input::Text("***".into());
    }
    out
}

#[test]
fn clipped_gradients_equal_those_of_single_examples() {
    for (spec, count) in [(text_spec(), 9), (mlp_spec(), 9), (cnn_spec(), 9), (cnn_spec(), 70), (mlp_spec(), 1)] {
        let mut learner = build(&spec, Backend::Flex).expect("a model");
        let weights: Vec<f32> = numbers(learner.flat_len(), 11).iter().map(|value| value * 0.5).collect();
        let batch = prepare(learner.as_ref(), &many(&spec, count));
        let batch: Vec<&Prepared> = batch.iter().collect();
        let single = one_by_one(learner.as_mut(), &weights, &batch);
        let mut norms: Vec<f64> = single.iter().map(|(_, norm)| *norm).collect();
        norms.sort_by(f64::total_cmp);
        let highest = norms[count - 1];
        // None, some and all of them are clipped; the divisor is not the batch's size.
        for (name, clip) in [("none", highest * 2.0), ("half", norms[count / 2] * 0.999), ("all", norms[0] / 10.0)] {
            let divisor = count as f64 * 0.75;
            let mut expected = vec![0.0; weights.len()];
            for (slope, norm) in &single {
                let factor = (clip / norm).min(1.0) / divisor;
                expected.iter_mut().zip(slope).for_each(|(sum, slope)| *sum += factor * f64::from(*slope));
            }
            learner.load(&weights).expect("the length fits");
            learner.protect(protection(clip as f32, 0.0, divisor as f32));
            let measured = learner.train_step(&batch, plain(1.0)).expect("a step");
            let stepped = learner.flatten().expect("read back");
            let mut largest = 0.0f64;
            for (index, (before, after)) in weights.iter().zip(stepped).enumerate() {
                let error = (f64::from(before - after) - expected[index]).abs();
                assert!(error < 1e-5 * highest.min(1.0), "{} {name} [{index}]: {error}", spec.family.name());
                largest = largest.max(expected[index].abs());
            }
            assert!(largest > 1e-4, "{} {name}: there is something to compare", spec.family.name());
            learner.load(&weights).expect("the length fits");
            let plainly = learner.evaluate(&batch).expect("a measure");
            assert!((measured.loss_sum - plainly.loss_sum).abs() < 1e-3 && measured.correct == plainly.correct);
        }
    }
}

#[test]
fn loading_weights_ends_the_protection() {
    for spec in [text_spec(), mlp_spec()] {
        let mut learner = build(&spec, Backend::Flex).expect("a model");
        let weights = numbers(learner.flat_len(), 1);
        let batch = prepare(learner.as_ref(), &examples(&spec, 1));
        let batch: Vec<&Prepared> = batch.iter().collect();
        let mut run = |protected: bool| {
            if protected {
                learner.load(&weights).expect("the length fits");
                learner.protect(protection(1.0, 1.0, 4.0));
                learner.train_step(&batch, plain(0.1)).expect("a step");
            }
            learner.load(&weights).expect("the length fits");
            learner.train_step(&batch, plain(0.1)).expect("a step");
            learner.flatten().expect("read back")
        };
        assert_eq!(run(false), run(true), "{}", spec.family.name());
    }
}

/// Weights after a step that clips and adds no noise.
fn clipped_step(learner: &mut dyn Learner, weights: &[f32], batch: &[Example]) -> Vec<f32> {
    let batch = prepare(learner, batch);
    learner.load(weights).expect("the length fits");
    learner.protect(protection(0.5, 0.0, 4.0));
    learner.train_step(&batch.iter().collect::<Vec<_>>(), plain(0.1)).expect("a step");
    learner.flatten().expect("read back")
}

#[test]
fn gradients_that_are_not_finite_are_left_out() {
    let spec = mlp_spec();
    let mut learner = build(&spec, Backend::Flex).expect("a model");
    let weights = numbers(learner.flat_len(), 2);
    let good = examples(&spec, 4);
    let bad = |value: f32| Example::new("bad", Input::Dense(vec![value; 6]), 0);
    let mut step = |batch: &[Example]| clipped_step(learner.as_mut(), &weights, batch);
    let clean = step(&good[..2]);
    assert_eq!(clean, step(&[good[0].clone(), bad(f32::NAN), bad(f32::INFINITY), good[1].clone()]));
    assert_eq!(weights, step(&[bad(f32::NAN)]), "nothing is left");
    assert_ne!(weights, clean);

    // A text's gradient overflows through the weights: those of `b` are huge, those of `z` are not.
    let spec = text_spec();
    let mut learner = build(&spec, Backend::Flex).expect("a model");
    let (huge, fine) = (text("bbb", 0), text("zzz", 1));
    let mut weights = numbers(learner.flat_len(), 5);
    let hasher = text::NgramHasher { buckets: 97, ngram_min: 2, ngram_max: 4 };
    let shared: Vec<u32> = hasher.rows("zzz").iter().map(|feature| feature.row).collect();
    for feature in hasher.rows("bbb").iter().filter(|feature| !shared.contains(&feature.row)) {
        weights[feature.row as usize * 5..][..5].fill(f32::MAX);
    }
    let mut step = |batch: &[Example]| clipped_step(learner.as_mut(), &weights, batch);
    let clean = step(std::slice::from_ref(&fine));
    assert_eq!(clean, step(&[huge, fine]));
}

/// Mean square of some weights' distance from the anchor, against its expectation.
fn expect_variance(name: &str, moved: impl Iterator<Item = f32>, expected: f64) {
    let moved: Vec<f64> = moved.map(f64::from).collect();
    let len = moved.len() as f64;
    let variance = moved.iter().map(|value| value * value).sum::<f64>() / len;
    let mean = moved.iter().sum::<f64>() / len;
    assert!((variance / expected - 1.0).abs() < 4.5 * (2.0 / len).sqrt(), "{name}: {variance} instead of {expected}");
    assert!(mean.abs() < 4.5 * (expected / len).sqrt(), "{name}: mean {mean}");
}

/// Clipped to nearly nothing, gradients leave the noise alone: every parameter of every model makes the same random
/// walk, whether its row was read in between or not.
#[test]
fn noise_reaches_every_parameter_at_every_step() {
    const RATE: f32 = 0.2;
    let large_text = spec(4, Family::TextBag { buckets: 997, dim: 8, ngram_min: 2, ngram_max: 4 });
    let large_mlp = spec(3, Family::Mlp { inputs: 6, hidden: vec![50, 40] });
    let large_cnn = spec(3, Family::Cnn { height: 8, width: 4, channels: 2, conv1: 8, conv2: 8, hidden: 20 });
    for (spec, mu) in [(large_text.clone(), 0.0), (large_text, 1.0), (large_mlp, 0.0), (large_cnn, 1.0)] {
        let mut learner = build(&spec, Backend::Flex).expect("a model");
        let anchor = numbers(learner.flat_len(), 8);
        learner.load(&anchor).expect("the length fits");
        learner.protect(protection(1e-6, 1e6, 4.0));
        let all = prepare(learner.as_ref(), &examples(&spec, 0));
        let all: Vec<&Prepared> = all.iter().collect();
        let step = StepConfig { learning_rate: RATE, proximal_mu: mu };
        // Rows are read at some steps and not at others; some batches are empty.
        for batch in [&all[..2], &[], &all[1..2], &all[..], &[], &[], &all[2..]] {
            learner.train_step(batch, step).expect("a step");
        }
        let moved: Vec<f32> =
            learner.flatten().expect("read back").iter().zip(&anchor).map(|(after, before)| after - before).collect();
        let decay = f64::from(1.0 - RATE * mu).powi(2);
        let steps: f64 = (0..7).map(|step| decay.powi(step)).sum();
        let expected = steps * f64::from(RATE / 4.0).powi(2);
        let name = format!("{} mu {mu}", spec.family.name());
        expect_variance(&name, moved.iter().copied(), expected);
        if let Family::TextBag { buckets, dim, ngram_min, ngram_max } = spec.family {
            let hasher = text::NgramHasher { buckets, ngram_min, ngram_max };
            let mut read = vec![false; buckets as usize];
            for example in examples(&spec, 0) {
                let Input::Text(line) = &example.input else { panic!("a text") };
                hasher.rows(line).iter().for_each(|feature| read[feature.row as usize] = true);
            }
            for wanted in [true, false] {
                let rows = moved.chunks_exact(dim as usize).zip(&read).filter(|(_, read)| **read == wanted);
                expect_variance(
                    &format!("{name}, read {wanted}"),
                    rows.flat_map(|(row, _)| row.iter().copied()),
                    expected,
                );
            }
            expect_variance(&format!("{name}, head"), moved[(buckets * dim) as usize..].iter().copied(), expected);
        }
        assert_eq!(
            learner.flatten().expect("read back"),
            learner.flatten().expect("again"),
            "all noise has been drawn"
        );
    }
}

/// A batch that comes in parts is one step: its clipped gradients are those of the whole, and its noise comes once.
#[test]
fn parts_of_a_batch_make_one_step() {
    for spec in [text_spec(), mlp_spec(), cnn_spec()] {
        let batch = |learner: &dyn Learner| prepare(learner, &many(&spec, 70));
        for (clip, noise_multiplier, mu) in [(0.05, 0.0, 0.0), (0.05, 0.0, 0.7), (1e-6, 1e6, 0.0)] {
            let step = StepConfig { learning_rate: 0.5, proximal_mu: mu };
            let mut learner = build(&spec, Backend::Flex).expect("a model");
            let weights = numbers(learner.flat_len(), 4);
            let all = batch(learner.as_ref());
            let all: Vec<&Prepared> = all.iter().collect();
            let mut run = |in_parts: bool| {
                learner.load(&weights).expect("the length fits");
                learner.protect(protection(clip, noise_multiplier, 50.0));
                // Twice, so that what one step leaves behind is in the next.
                for _ in 0..2 {
                    if !in_parts {
                        learner.train_step(&all, step).expect("a step");
                        continue;
                    }
                    for part in [&all[..30], &[], &all[30..64], &all[64..]] {
                        learner.accumulate(part, all.len()).expect("a part");
                    }
                    learner.apply(step).expect("a step");
                }
                learner.flatten().expect("read back")
            };
            let (whole, parts) = (run(false), run(true));
            let name = format!("{} clip {clip} mu {mu}", spec.family.name());
            let furthest = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(whole != weights, "{name}");
            // The noise is the same stream in the same order: more of it, or less, would show.
            assert!(furthest < 1e-5, "{name}: {furthest}");
        }
    }
}

/// Parts that no step was made of leave nothing behind.
#[test]
fn parts_without_a_step_are_forgotten() {
    for spec in [text_spec(), mlp_spec()] {
        let mut learner = build(&spec, Backend::Flex).expect("a model");
        let weights = numbers(learner.flat_len(), 4);
        let all = prepare(learner.as_ref(), &examples(&spec, 1));
        let all: Vec<&Prepared> = all.iter().collect();
        let mut run = |left_over: bool| {
            learner.load(&weights).expect("the length fits");
            if left_over {
                learner.accumulate(&all[..2], 4).expect("a part");
                assert_eq!(learner.flatten().expect("read back"), weights, "no weight has changed");
            }
            learner.train_step(&all, plain(0.1)).expect("a step");
            learner.apply(plain(0.1)).expect("a step on nothing");
            if left_over {
                learner.accumulate(&all[..2], 4).expect("a part");
            }
            let stepped = learner.flatten().expect("read back");
            learner.load(&stepped).expect("the length fits");
            learner.apply(plain(0.1)).expect("a step on nothing");
            learner.flatten().expect("read back")
        };
        assert_eq!(run(false), run(true), "{}", spec.family.name());
    }
}

/// What a model reads has all its noise: answers between steps are those of the flattened weights.
#[test]
fn answers_come_from_noisy_weights() {
    for spec in [text_spec(), mlp_spec()] {
        let mut learner = build(&spec, Backend::Flex).expect("a model");
        learner.load(&numbers(learner.flat_len(), 8)).expect("the length fits");
        learner.protect(protection(1.0, 1.0, 2.0));
        learner.train_step(&[], plain(0.5)).expect("noise alone");
        let input = &examples(&spec, 0)[3].input;
        let noisy = learner.predict(input).expect("a prediction");
        let weights = learner.flatten().expect("read back");
        learner.load(&weights).expect("the length fits");
        assert_eq!(noisy, learner.predict(input).expect("a prediction"), "{}", spec.family.name());
    }
}
