//! Every back end of this build, and every kernel that flex chooses on this processor: the same training within rounding.
//!
//! The losses of one training of each family are written down here, so that builds which cannot hold two of the kernels at
//! once are compared too: plain flex in every build and on every platform, AVX-512 with the feature `avx512`. What only some
//! builds hold, `ndarray` and `wgpu`, is also compared with flex, weight by weight.

use super::*;

/// Steps of the training that is written down.
const STEPS: usize = 40;
/// Steps of those that are compared with each other: back ends that nothing optimizes are slow.
#[cfg(any(feature = "ndarray", feature = "wgpu"))]
const COMPARED_STEPS: usize = 8;
/// Examples of a step: more than the widest vector register has lanes.
const BATCH: usize = 24;
/// How far a mean loss, in nats, and a weight may be from where they should be.
const TOLERANCE: f64 = 1e-4;

/// How steps are made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// SGD on the mean gradient.
    Plain,
    /// With the FedProx term.
    Proximal,
    /// DP-SGD: clipped gradients, and noise that is the same on every back end.
    Private,
}

/// Layers wider than a vector register, and no multiple of one.
fn families() -> [ModelSpec; 3] {
    [
        spec(11, Family::TextBag { buckets: 499, dim: 33, ngram_min: 2, ngram_max: 4 }),
        spec(10, Family::Mlp { inputs: 61, hidden: vec![50, 37] }),
        spec(10, Family::Cnn { height: 12, width: 8, channels: 3, conv1: 9, conv2: 17, hidden: 35 }),
    ]
}

/// What a training comes to.
struct Run {
    /// Mean loss before each step.
    losses: Vec<f64>,
    weights: Vec<f32>,
}

fn train(spec: &ModelSpec, backend: Backend, kind: Kind, steps: usize) -> Run {
    let mut learner = build(spec, backend).expect("a model");
    learner.load(&fresh_weights(spec, 6)).expect("the length fits");
    if kind == Kind::Private {
        let privacy = ExamplePrivacy::new(0.7, 0.3).expect("in range");
        learner.protect(Protection::new(privacy, BATCH as f32, [3; 32]));
    }
    let mut data: Vec<Example> = (0..BATCH as u64).flat_map(|seed| examples(spec, 10 * seed)).take(2 * BATCH).collect();
    for (index, example) in data.iter_mut().enumerate() {
        if let Input::Text(line) = &mut example.input {
            *line = format!("{} {}", &**line, index * 7919).into();
        }
    }
    let data = prepare(learner.as_ref(), &data);
    let proximal_mu = if kind == Kind::Proximal { 0.3 } else { 0.0 };
    // The gradients of a text's sums are spread over many rows.
    let learning_rate = if matches!(spec.family, Family::TextBag { .. }) { 2.0 } else { 0.2 };
    let step = StepConfig { learning_rate, proximal_mu };
    let losses = (0..steps).map(|index| {
        let batch: Vec<&Prepared> = data[index % 2 * BATCH..][..BATCH].iter().collect();
        learner.train_step(&batch, step).expect("a step").loss_sum / BATCH as f64
    });
    let losses = losses.collect();
    Run { losses, weights: learner.flatten().expect("read back") }
}

/// What this build holds beside flex.
#[cfg(any(feature = "ndarray", feature = "wgpu"))]
fn others() -> Vec<Backend> {
    vec![
        #[cfg(feature = "ndarray")]
        Backend::NdArray,
        #[cfg(feature = "wgpu")]
        Backend::Wgpu,
    ]
}

/// Mean losses before the first and the last step of a plain training, as flex computes them with AVX2.
const RECORDED: [(&str, f64, f64); 3] =
    [("text_bag", 2.397_895, 0.007_810), ("mlp", 3.143_438, 0.082_455), ("cnn", 3.209_886, 0.109_918)];

#[test]
fn losses_are_those_written_down() {
    for (spec, (name, first, last)) in families().iter().zip(RECORDED) {
        assert_eq!(spec.family.name(), name);
        let losses = train(spec, Backend::Flex, Kind::Plain, STEPS).losses;
        let found = (losses[0], losses[STEPS - 1]);
        let off = (found.0 - first).abs().max((found.1 - last).abs());
        assert!(off < TOLERANCE, "{name}: {found:?} instead of {:?}", (first, last));
    }
}

#[test]
fn a_training_learns_something() {
    for spec in families() {
        let Run { losses, weights } = train(&spec, Backend::Flex, Kind::Plain, STEPS);
        assert!(weights.iter().all(|weight| weight.is_finite()), "{}", spec.family.name());
        // Else back ends that leave the weights alone would agree.
        assert!(losses[STEPS - 1] < losses[0] - 0.1, "{}: {losses:?}", spec.family.name());
    }
}

#[cfg(any(feature = "ndarray", feature = "wgpu"))]
#[test]
fn back_ends_agree() {
    #[cfg(target_arch = "x86_64")]
    println!(
        "feature avx512: {}, this processor has it: {}",
        cfg!(feature = "avx512"),
        std::arch::is_x86_feature_detected!("avx512f")
    );
    let mut wrong = Vec::new();
    for spec in families() {
        for kind in [Kind::Plain, Kind::Proximal, Kind::Private] {
            let flex = train(&spec, Backend::Flex, kind, COMPARED_STEPS);
            for other in others() {
                let run = train(&spec, other, kind, COMPARED_STEPS);
                let furthest =
                    |pairs: &mut dyn Iterator<Item = (f64, f64)>| pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                let losses = furthest(&mut flex.losses.iter().copied().zip(run.losses.iter().copied()));
                let weights =
                    furthest(&mut flex.weights.iter().zip(&run.weights).map(|(a, b)| (f64::from(*a), f64::from(*b))));
                let what = format!("{} {kind:?} on {other:?}", spec.family.name());
                println!(
                    "{what}: after {COMPARED_STEPS} steps losses within {losses:.1e}, weights within {weights:.1e}"
                );
                if !(losses < TOLERANCE && weights < TOLERANCE) {
                    wrong.push(what);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "too far from flex: {wrong:?}");
}
