//! Every model against finite differences and against formulas written out; the sparse path against the dense one.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};
#[cfg(not(target_arch = "wasm32"))]
use proptest::prelude::*;
use scale_proto::model::{Family, ModelSpec};

use super::text_bag::TextBag;
use super::*;

mod parity;
mod predict;
mod private;

fn spec(classes: usize, family: Family) -> ModelSpec {
    ModelSpec { labels: (0..classes).map(|class| format!("class {class}")).collect(), family }
}

fn text_spec() -> ModelSpec {
    spec(4, Family::TextBag { buckets: 97, dim: 5, ngram_min: 2, ngram_max: 4 })
}

fn mlp_spec() -> ModelSpec {
    spec(3, Family::Mlp { inputs: 6, hidden: vec![5, 4] })
}

fn cnn_spec() -> ModelSpec {
    spec(3, Family::Cnn { height: 8, width: 4, channels: 2, conv1: 3, conv2: 4, hidden: 6 })
}

fn text(text: &str, label: u32) -> Example {
    Example::new(text, Input::Text(text.into()), label)
}

/// Four examples that fit the spec, different for every seed.
fn examples(spec: &ModelSpec, seed: u64) -> Vec<Example> {
    const LINES: [&str; 4] = ["Café Central", "SQ *BAKERY 0123", "shell", "bakery café"];
    let inputs = match &spec.family {
        Family::TextBag { .. } => 0,
        Family::Mlp { inputs, .. } => *inputs,
        Family::Cnn { height, width, channels, .. } => height * width * channels,
    };
    (0..4u32)
        .map(|index| {
            let input = match inputs {
                0 => Input::Text(LINES[index as usize].into()),
                _ => Input::Dense(numbers(inputs as usize, seed + u64::from(index))),
            };
            Example::new(&index.to_string(), input, index % spec.classes())
        })
        .collect()
}

/// Numbers in -1.0..1.0.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    use rand_core::{Rng, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| random.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0).collect()
}

fn prepare(learner: &dyn Learner, examples: &[Example]) -> Vec<Prepared> {
    examples.iter().map(|example| learner.prepare(example).expect("the example fits")).collect()
}

fn plain(learning_rate: f32) -> StepConfig {
    StepConfig { learning_rate, proximal_mu: 0.0 }
}

#[test]
fn parameters_are_those_of_the_spec() {
    for spec in [text_spec(), mlp_spec(), cnn_spec()] {
        let mut learner = build(&spec, Backend::Flex).expect("a model");
        assert_eq!(learner.flat_len() as u64, spec.flat_len(), "{}", spec.family.name());
        let weights = numbers(learner.flat_len(), 3);
        learner.load(&weights).expect("the length fits");
        assert_eq!(learner.flatten().expect("read back"), weights, "{}", spec.family.name());
        assert!(learner.load(&weights[1..]).is_err());
        assert_eq!(learner.flatten().expect("read back"), weights, "refused weights change nothing");
        // The very shapes and order that the fingerprint covers.
        assert_eq!(spec.fingerprint(), spec.clone().fingerprint());
    }
}

/// The step's gradient, read off the weights, against central differences of the mean loss. This also shows that the
/// order and the shapes are the spec's: a weight in the wrong place has another slope.
#[test]
fn gradients_match_finite_differences() {
    for spec in [text_spec(), mlp_spec(), cnn_spec()] {
        let mut learner = build(&spec, Backend::Flex).expect("a model");
        let weights: Vec<f32> = numbers(learner.flat_len(), 11).iter().map(|value| value * 0.5).collect();
        let batch = prepare(learner.as_ref(), &examples(&spec, 5));
        let batch: Vec<&Prepared> = batch.iter().collect();

        learner.load(&weights).expect("the length fits");
        learner.train_step(&batch, plain(1.0)).expect("a step");
        let stepped = learner.flatten().expect("read back");

        let mut loss = |weights: &[f32]| {
            learner.load(weights).expect("the length fits");
            learner.evaluate(&batch).expect("a measure").loss_sum / batch.len() as f64
        };
        let (mut checked, mut nonzero) = (0, 0);
        for index in (0..weights.len()).step_by(1.max(weights.len() / 150)) {
            const H: f32 = 5e-3;
            let mut moved = weights.clone();
            moved[index] = weights[index] + H;
            let up = loss(&moved);
            moved[index] = weights[index] - H;
            let slope = (up - loss(&moved)) / f64::from(2.0 * H);
            let own = f64::from(weights[index] - stepped[index]);
            assert!((own - slope).abs() < 3e-3, "{} [{index}]: {own} instead of {slope}", spec.family.name());
            checked += 1;
            nonzero += usize::from(own != 0.0);
        }
        assert!(checked > 40 && nonzero > 20, "{}: {nonzero} of {checked}", spec.family.name());
    }
}

/// The whole table as one burn parameter, bags as a dense matrix: what the sparse path must equal.
fn dense_text_step(spec: &ModelSpec, weights: &[f32], anchor: &[f32], batch: &[Example], step: StepConfig) -> Vec<f32> {
    let Family::TextBag { buckets, dim, ngram_min, ngram_max } = spec.family else { panic!("a text model") };
    let hasher = text::NgramHasher { buckets, ngram_min, ngram_max };
    let (rows, dim, classes) = (buckets as usize, dim as usize, spec.classes() as usize);
    let mut bags = vec![0.0; batch.len() * rows];
    let mut targets = vec![0.0; batch.len() * classes];
    for (index, example) in batch.iter().enumerate() {
        let Input::Text(line) = &example.input else { panic!("a text") };
        for feature in hasher.rows(line) {
            bags[index * rows + feature.row as usize] += feature.weight;
        }
        targets[index * classes + example.label as usize] = 1.0 / batch.len() as f32;
    }
    let device = Backend::Flex.device();
    let leaf = |values: &[f32], shape: [usize; 2]| {
        Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), &device).autodiff().require_grad()
    };
    let constant = |values: Vec<f32>, shape: [usize; 2]| {
        Tensor::<2>::from_data(TensorData::new(values, shape), &device).autodiff()
    };
    let (table, head) = weights.split_at(rows * dim);
    let (weight, bias) = head.split_at(dim * classes);
    let leaves = [leaf(table, [rows, dim]), leaf(weight, [dim, classes]), leaf(bias, [1, classes])];
    let pooled = constant(bags, [batch.len(), rows]).matmul(leaves[0].clone());
    let logits = pooled.matmul(leaves[1].clone()) + leaves[2].clone();
    let loss = (log_softmax(logits, 1) * constant(targets, [batch.len(), classes])).sum().neg();
    let mut gradients = loss.backward();
    let slopes = leaves.iter().flat_map(|leaf| {
        let slope = leaf.grad_remove(&mut gradients).expect("a gradient");
        slope.into_data().as_slice::<f32>().expect("f32").to_vec()
    });
    let StepConfig { learning_rate, proximal_mu } = step;
    let moved = weights.iter().zip(anchor).zip(slopes);
    moved.map(|((weight, anchor), slope)| weight - learning_rate * (slope + proximal_mu * (weight - anchor))).collect()
}

#[test]
fn sparse_steps_equal_dense_ones() {
    let spec = text_spec();
    // The last one makes the running product small enough to be folded in: 0.01^60 is below 1e-100.
    for (learning_rate, proximal_mu, steps) in [(0.5, 0.0, 12), (0.5, 0.4, 12), (0.9, 1.1, 60)] {
        let mut learner = TextBag::new(&spec, Backend::Flex);
        let anchor = numbers(learner.flat_len(), 8);
        learner.load(&anchor).expect("the length fits");
        let step = StepConfig { learning_rate, proximal_mu };
        let all = examples(&spec, 0);
        let mut dense = anchor.clone();
        for round in 0..steps {
            // Rows are touched at some steps and missed at others.
            let batch = match round % 3 {
                0 => &all[..2],
                1 => &all[1..2],
                _ => &all[2..],
            };
            dense = dense_text_step(&spec, &dense, &anchor, batch, step);
            let prepared = prepare(&learner, batch);
            learner.train_step(&prepared.iter().collect::<Vec<_>>(), step).expect("a step");
        }
        let sparse = learner.flatten().expect("read back");
        let furthest = sparse.iter().zip(&dense).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest < 1e-5, "lr {learning_rate}, mu {proximal_mu}: {furthest}");
        assert!(sparse.iter().zip(&anchor).any(|(a, b)| (a - b).abs() > 1e-2), "something was learnt");
    }
}

/// One example, one bucket-free case by hand: zero table, so the logits are the bias, and the bias moves by
/// `lr * (onehot - softmax)`.
#[test]
fn first_step_from_zero_by_hand() {
    let spec = text_spec();
    let mut learner = build(&spec, Backend::Flex).expect("a model");
    learner.load(&vec![0.0; learner.flat_len()]).expect("the length fits");
    let batch = prepare(learner.as_ref(), &[text("bakery", 2)]);
    let measured = learner.train_step(&[&batch[0]], plain(0.8)).expect("a step");
    assert!((measured.loss_sum - 4f64.ln()).abs() < 1e-6);
    assert_eq!(measured.correct, 0, "the first of equal classes wins, and that is 0");
    let weights = learner.flatten().expect("read back");
    let (rest, bias) = weights.split_at(weights.len() - 4);
    assert!(rest.iter().all(|weight| *weight == 0.0), "no slope through zero weights");
    for (value, expected) in bias.iter().zip([-0.2, -0.2, 0.6, -0.2]) {
        assert!((value - expected).abs() < 1e-6, "{bias:?}");
    }
}

#[test]
fn proximal_term_pulls_towards_the_anchor() {
    for spec in [text_spec(), mlp_spec(), cnn_spec()] {
        let distance = |mu: f32| {
            let mut learner = build(&spec, Backend::Flex).expect("a model");
            let anchor = numbers(learner.flat_len(), 21);
            learner.load(&anchor).expect("the length fits");
            let batch = prepare(learner.as_ref(), &examples(&spec, 2));
            let batch: Vec<&Prepared> = batch.iter().collect();
            for _ in 0..30 {
                let step = StepConfig { learning_rate: 0.05, proximal_mu: mu };
                learner.train_step(&batch, step).expect("a step");
            }
            let weights = learner.flatten().expect("read back");
            weights.iter().zip(&anchor).map(|(w, a)| (w - a) * (w - a)).sum::<f32>().sqrt()
        };
        let (free, held, tight) = (distance(0.0), distance(1.0), distance(10.0));
        assert!(
            free > 1.05 * held && held > 1.5 * tight && tight > 0.0,
            "{}: {free} {held} {tight}",
            spec.family.name()
        );
    }
}

/// A bar in one of three places of an 8x8 image, with noise.
#[test]
fn cnn_learns_where_a_bar_is() {
    let spec = spec(3, Family::Cnn { height: 8, width: 8, channels: 1, conv1: 4, conv2: 6, hidden: 12 });
    let image = |seed: u64| {
        let label = (seed % 3) as u32;
        let mut pixels: Vec<f32> = numbers(64, 1000 + seed).iter().map(|noise| noise * 0.3).collect();
        for row in 0..8 {
            pixels[row * 8 + 1 + 2 * label as usize] += 1.0;
        }
        Example::new(&seed.to_string(), Input::Dense(pixels), label)
    };
    let mut learner = build(&spec, Backend::Flex).expect("a model");
    learner.load(&fresh_weights(&spec, 4)).expect("the length fits");
    let train = prepare(learner.as_ref(), &(0..60).map(image).collect::<Vec<_>>());
    let test = prepare(learner.as_ref(), &(500..590).map(image).collect::<Vec<_>>());
    let test: Vec<&Prepared> = test.iter().collect();
    for _ in 0..12 {
        for part in train.chunks(10) {
            learner.train_step(&part.iter().collect::<Vec<_>>(), plain(0.1)).expect("a step");
        }
    }
    let measured = learner.evaluate(&test).expect("a measure");
    assert!(measured.correct >= 85, "{} of 90", measured.correct);
    let sure = learner.predict(&image(901).input).expect("a prediction");
    assert!((sure.iter().sum::<f32>() - 1.0).abs() < 1e-5 && sure.iter().all(|share| (0.0..=1.0).contains(share)));
    assert_eq!(sure.iter().position(|share| *share > 0.5), Some(1), "901 mod 3");
}

#[test]
fn refuses_what_does_not_fit() {
    let text_model = build(&text_spec(), Backend::Flex).expect("a model");
    let mlp = build(&mlp_spec(), Backend::Flex).expect("a model");
    let dense = |len| Example::new("zeros", Input::Dense(vec![0.0; len]), 0);
    for (name, refused) in [
        ("numbers for a text model", text_model.prepare(&dense(6)).is_err()),
        ("text for an MLP", mlp.prepare(&text("x", 0)).is_err()),
        ("too few numbers", mlp.prepare(&dense(5)).is_err()),
        ("too large a label", text_model.prepare(&text("x", 4)).is_err()),
    ] {
        assert!(refused, "{name}");
    }
    for (name, family) in [
        ("no rows", Family::TextBag { buckets: 0, dim: 5, ngram_min: 2, ngram_max: 4 }),
        ("n-grams upside down", Family::TextBag { buckets: 9, dim: 5, ngram_min: 4, ngram_max: 2 }),
        ("n-grams of nothing", Family::TextBag { buckets: 9, dim: 5, ngram_min: 0, ngram_max: 2 }),
        ("an empty layer", Family::Mlp { inputs: 4, hidden: vec![3, 0] }),
        ("an odd image", Family::Cnn { height: 8, width: 6, channels: 1, conv1: 2, conv2: 2, hidden: 3 }),
    ] {
        assert!(build(&spec(3, family), Backend::Flex).is_err(), "{name}");
    }
    assert!(build(&spec(0, Family::Mlp { inputs: 4, hidden: vec![] }), Backend::Flex).is_err(), "no classes");
    let mut mlp = mlp;
    let batch = prepare(mlp.as_ref(), &[dense(6)]);
    for (learning_rate, proximal_mu) in [(0.0, 0.0), (f32::NAN, 0.0), (1.0, 1.0), (0.1, -1.0), (0.1, f32::NAN)] {
        let step = StepConfig { learning_rate, proximal_mu };
        assert!(mlp.train_step(&[&batch[0]], step).is_err(), "{step:?}");
    }
}

#[cfg(not(target_arch = "wasm32"))]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any text: rows in range and ascending, weights of length 1; normalizing twice changes nothing.
    #[test]
    fn any_text_becomes_a_unit_bag(line in "\\PC{0,60}", buckets in 1u32..5000) {
        let rows = text::NgramHasher { buckets, ngram_min: 2, ngram_max: 5 }.rows(&line);
        prop_assert!(rows.windows(2).all(|pair| pair[0].row < pair[1].row));
        prop_assert!(rows.iter().all(|feature| feature.row < buckets && feature.weight > 0.0));
        if !rows.is_empty() {
            let square: f32 = rows.iter().map(|feature| feature.weight * feature.weight).sum();
            prop_assert!((square - 1.0).abs() < 1e-4);
        }
        let normal = text::normalize(&line);
        prop_assert_eq!(text::normalize(&normal), normal);
    }
}
