//! Predicting many inputs at once: the answers of one by one, and fast enough for a screen.
#![allow(clippy::print_stdout, reason = "measured times are printed")]

use std::time::{Duration, Instant};

use super::*;

/// The demo's model: 1,179,990 parameters.
fn categorizer() -> ModelSpec {
    spec(18, Family::TextBag { buckets: 65_536, dim: 18, ngram_min: 2, ngram_max: 5 })
}

fn lines(count: usize) -> Vec<Input> {
    let line = |index: usize| format!("SQ *SHOP {} OF {} BUENOS AIRES 0{}", index % 613, index * 7919 % 101, index);
    (0..count).map(|index| Input::Text(line(index).into())).collect()
}

#[test]
fn a_batch_answers_as_its_inputs_one_by_one() {
    let count = PREDICTED_AT_ONCE + 7;
    for spec in [text_spec(), mlp_spec(), cnn_spec()] {
        let mut learner = build(&spec, Backend::Flex).expect("a model");
        learner.load(&numbers(learner.flat_len(), 3)).expect("the length fits");
        let inputs: Vec<Input> = match &spec.family {
            Family::TextBag { .. } => lines(count),
            _ => (0..count as u64).map(|seed| examples(&spec, seed).swap_remove(0).input).collect(),
        };
        let together = learner.predict_batch(&inputs).expect("predictions");
        assert_eq!(together.len(), count);
        for (index, (input, probabilities)) in inputs.iter().zip(&together).enumerate() {
            let alone = learner.predict(input).expect("a prediction");
            assert_eq!(alone.len() as u32, spec.classes());
            assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            let furthest = alone.iter().zip(probabilities).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(furthest < 1e-6, "{} [{index}]: {furthest}", spec.family.name());
        }
        assert_ne!(together[0], together[1], "inputs differ");
        assert_eq!(learner.predict_batch(&[]), Ok(vec![]));

        // One input that does not fit refuses all of them.
        let foreign = match &spec.family {
            Family::TextBag { .. } => Input::Dense(vec![0.0; 6]),
            _ => Input::Text("bakery".into()),
        };
        let refused = learner.predict_batch(&[inputs[0].clone(), foreign]).expect_err("another kind of input");
        assert!(matches!(refused, TrainError::Unsupported(_)), "{refused}");
    }
}

/// Bounds for slow machines without optimization, busy with other tests; the figures are printed.
#[test]
fn a_screen_of_lines_is_predicted_at_once() {
    let spec = categorizer();
    assert_eq!(spec.flat_len(), 1_179_990);
    let weights = fresh_weights(&spec, 1);
    let lines = lines(1000);

    let start = Instant::now();
    let mut learner = build(&spec, Backend::Flex).expect("a model");
    learner.load(&weights).expect("the length fits");
    let first = learner.predict(&lines[0]).expect("a prediction");
    let first_took = start.elapsed();
    assert_eq!(first.len(), 18);

    let took = (0..5).map(|_| {
        let start = Instant::now();
        assert_eq!(learner.predict_batch(&lines).expect("predictions").len(), 1000);
        start.elapsed()
    });
    let fastest = took.min().expect("some");
    println!("built, loaded and predicted once in {first_took:?}; 1,000 lines in {fastest:?}");
    assert!(first_took < Duration::from_secs(3), "{first_took:?}");
    assert!(fastest < Duration::from_millis(500), "{fastest:?}");
}
