//! Trainings that come out the same in a browser and natively, within rounding. Everything follows from formulas.
//!
//! Compiled twice: here for the browser, and into the native test `tests/parity.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use scale_client_core::train::{Backend, Dataset, DatasetTrainer, Example, ExamplePrivacy, Input, fresh_weights};
use scale_client_core::trainer::{TrainError, Trainer, run_to_end};
use scale_proto::model::{Family, ModelSpec};
use scale_proto::plan::Plan;
use scale_proto::privacy::Privacy;
use serde::Serialize;

/// Steps of each training.
const STEPS: u32 = 20;
/// Examples of each step: more than a vector register has lanes.
const BATCH: u32 = 24;

/// What one training comes to.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    /// Mean losses before the steps; empty with DP-SGD, which tells none.
    pub(crate) losses: Vec<f32>,
    /// Weights at the end.
    pub(crate) weights: Vec<f32>,
    /// How far the weight that moved most is from where it began.
    pub(crate) moved: f32,
}

/// Every architecture, and every way to make a step. Layers are no multiple of a vector register.
pub(crate) fn runs() -> Result<BTreeMap<&'static str, Run>, TrainError> {
    let perceptron = Family::Mlp { inputs: 61, hidden: vec![50, 37] };
    let text_bag = Family::TextBag { buckets: 499, dim: 33, ngram_min: 2, ngram_max: 4 };
    let cnn = Family::Cnn { height: 12, width: 8, channels: 3, conv1: 9, conv2: 17, hidden: 35 };
    Ok(BTreeMap::from([
        ("perceptron", run(perceptron.clone(), 0.2, 0.0, false)?),
        ("perceptron, FedProx", run(perceptron.clone(), 0.2, 0.3, false)?),
        ("perceptron, DP-SGD", run(perceptron, 0.2, 0.0, true)?),
        ("text bag", run(text_bag.clone(), 2.0, 0.0, false)?),
        ("text bag, DP-SGD", run(text_bag, 2.0, 0.0, true)?),
        ("cnn", run(cnn, 0.2, 0.0, false)?),
    ]))
}

/// [`runs`] as JSON.
///
/// # Errors
/// What went wrong.
pub(crate) fn json() -> Result<String, String> {
    let runs = runs().map_err(|error| error.to_string())?;
    serde_json::to_string(&runs).map_err(|error| error.to_string())
}

fn run(family: Family, learning_rate: f32, proximal_mu: f32, private: bool) -> Result<Run, TrainError> {
    let model = ModelSpec { labels: (0..10).map(|class| format!("class {class}")).collect(), family };
    // Four steps an epoch.
    let dataset = Dataset { examples: (0..4 * BATCH).map(|number| example(&model, number)).collect() };
    let weights = fresh_weights(&model, 6);
    let plan = Plan {
        fingerprint: model.fingerprint(),
        model,
        epochs: STEPS / 4,
        batch_size: BATCH,
        learning_rate,
        proximal_mu,
        time_limit: Duration::from_secs(30),
        max_weight: 1000,
        holdout_permille: 0,
        seed: 5,
        privacy: Privacy::None,
    };
    let mut trainer = DatasetTrainer::new(dataset, Backend::Flex);
    if private {
        trainer.protect(ExamplePrivacy::new(0.7, 0.3)?);
    }
    let mut losses = Vec::new();
    let training = trainer.begin(&plan, &weights, &[3; 32])?;
    let trained = run_to_end(training, &mut || false, &mut |progressed| losses.extend(progressed.loss))?;
    let distances = trained.weights.iter().zip(&weights).map(|(end, start)| (end - start).abs());
    Ok(Run { losses, moved: distances.fold(0.0, f32::max), weights: trained.weights })
}

/// Something to learn: examples of one class are alike.
fn example(model: &ModelSpec, number: u32) -> Example {
    let label = number % model.classes();
    let input = match &model.family {
        Family::TextBag { .. } => {
            let merchant = ["KAFFEE", "BENZIN", "BROT", "KINO", "STROM", "HOTEL", "BAHN", "BUCH", "ARZT", "MIETE"];
            Input::Text(format!("{} {} {}", merchant[label as usize], number * 7919 % 1009, number % 7).into())
        }
        Family::Mlp { inputs, .. } => Input::Dense(numbers(label, number, *inputs)),
        Family::Cnn { height, width, channels, .. } => Input::Dense(numbers(label, number, height * width * channels)),
    };
    Example::new(&number.to_string(), input, label)
}

/// Small whole numbers, halved: exact in every arithmetic.
fn numbers(label: u32, number: u32, len: u32) -> Vec<f32> {
    (0..len).map(|at| ((at * (label + 3) % 5) as f32 + (at * (number + 1) % 3) as f32) / 2.0 - 1.5).collect()
}
