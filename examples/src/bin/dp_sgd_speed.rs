//! What DP-SGD costs: steps per second of CPU time, plain, clipped, and clipped with noise. Linux only. Run in release:
//! `cargo run --release -p scale-examples --bin dp_sgd_speed`.
#![allow(clippy::print_stdout)]

use anyhow::Context as _;
use scale_client_core::train::{
    Backend, Example, ExamplePrivacy, Input, Learner, Prepared, Protection, StepConfig, build, fresh_weights,
};
use scale_proto::model::{Family, ModelSpec};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// CPU time of one window, in seconds; the best of several counts.
const WINDOW: f64 = 0.4;
const WINDOWS: usize = 5;

fn main() -> anyhow::Result<()> {
    let labels = |count: usize| (0..count).map(|class| format!("class {class}")).collect();
    let text = Family::TextBag { buckets: 80_000, dim: 18, ngram_min: 2, ngram_max: 5 };
    let mlp = Family::Mlp { inputs: 784, hidden: vec![200, 200] };
    let cnn = Family::Cnn { height: 28, width: 28, channels: 1, conv1: 32, conv2: 64, hidden: 512 };
    println!("model       parameters  batch   plain/s  clipped  with noise");
    for (family, classes, batch) in [(mlp.clone(), 10, 10), (mlp, 10, 32), (text, 22, 32), (cnn, 10, 10)] {
        let spec = ModelSpec { labels: labels(classes), family };
        let mut learner = build(&spec, Backend::Flex)?;
        // Several batches, so that a text model does not read the same rows at every step.
        let examples = examples(&spec, batch * 16);
        let examples = examples.iter().map(|example| learner.prepare(example)).collect::<Result<Vec<_>, _>>()?;
        let weights = fresh_weights(&spec, 1);
        let mut rate = |privacy: Option<ExamplePrivacy>| -> anyhow::Result<f64> {
            learner.load(&weights)?;
            if let Some(privacy) = privacy {
                learner.protect(Protection::new(privacy, batch as f32, [1; 32]));
            }
            best(learner.as_mut(), &examples, batch)
        };
        let plain = rate(None)?;
        let clipped = rate(Some(ExamplePrivacy::new(1.0, 0.0)?))?;
        let noisy = rate(Some(ExamplePrivacy::new(1.0, 0.5)?))?;
        println!(
            "{:<10} {:>11} {batch:>6} {plain:>9.1} {:>8.2}x {:>10.2}x",
            spec.family.name(),
            spec.flat_len(),
            plain / clipped,
            plain / noisy
        );
    }
    Ok(())
}

/// Steps per second in the best window.
fn best(learner: &mut dyn Learner, examples: &[Prepared], batch: usize) -> anyhow::Result<f64> {
    let step = StepConfig { learning_rate: 1e-3, proximal_mu: 0.0 };
    let mut batches = examples.chunks(batch).cycle();
    let mut best = 0.0f64;
    for _ in 0..WINDOWS {
        let (start, mut steps) = (cpu_time()?, 0);
        let mut spent = 0.0;
        while spent < WINDOW {
            let part: Vec<&Prepared> = batches.next().into_iter().flatten().collect();
            learner.train_step(&part, step)?;
            steps += 1;
            spent = cpu_time()? - start;
        }
        best = best.max(f64::from(steps) / spent);
    }
    Ok(best)
}

/// CPU time of the main thread, in seconds; flex has no other.
fn cpu_time() -> anyhow::Result<f64> {
    let counters =
        std::fs::read_to_string("/proc/self/schedstat").context("only Linux counts a thread's CPU time here")?;
    let nanoseconds: f64 = counters.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds * 1e-9)
}

/// Examples without meaning: speed does not depend on it.
fn examples(spec: &ModelSpec, count: usize) -> Vec<Example> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let inputs = match &spec.family {
        Family::Mlp { inputs, .. } => *inputs,
        Family::Cnn { height, width, channels, .. } => height * width * channels,
        Family::TextBag { .. } => 0,
    };
    let mut example = |index: usize| {
        let input = match inputs {
            0 => {
                let letters = (0..20).map(|at| if at == 9 { ' ' } else { char::from(b'a' + (next() % 26) as u8) });
                Input::Text(letters.collect::<String>().into())
            }
            _ => Input::Dense((0..inputs).map(|_| (next() % 1000) as f32 / 1000.0).collect()),
        };
        Example::new(&index.to_string(), input, index as u32 % spec.classes())
    };
    (0..count).map(&mut example).collect()
}
