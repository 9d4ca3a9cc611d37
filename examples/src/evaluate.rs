//! How good a model is: accuracy on merchants and on lines of statements, and model files.

use std::path::Path;

use anyhow::{Context as _, ensure};
use scale_client_core::train::{Backend, Dataset, Learner, Prepared, build};
use scale_proto::ids::ModelVersion;
use scale_proto::model::ModelSpec;
use scale_proto::model_file;
use serde::Serialize;

use crate::merchants::Merchant;
use crate::random::Random;
use crate::statements;

/// Examples of one pass.
const BATCH: usize = 512;

/// Lines that [`statement_lines`] makes per merchant.
const LINES: usize = 2;

/// How a model does on a set of examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Share of examples whose most probable class is theirs, 0 to 1.
    pub accuracy: f64,
    /// Examples.
    pub n: usize,
}

/// The merchants' names as they stand in the list.
pub fn names(merchants: &[Merchant]) -> Dataset {
    let mut out = Dataset::default();
    for merchant in merchants {
        out.push_text(&merchant.name, merchant.label);
    }
    out
}

/// Lines of statements about the merchants, each in one of the countries where it trades.
pub fn statement_lines(merchants: &[Merchant], seed: u64) -> Dataset {
    let mut random = Random::new(seed, "statement lines to measure on");
    let mut out = Dataset::default();
    for merchant in merchants {
        for _ in 0..LINES {
            let country = if merchant.countries.is_empty() { "us" } else { random.pick(&merchant.countries) };
            out.push_text(statements::line(&merchant.name, country, &mut random), merchant.label);
        }
    }
    out
}

/// Measures models on one data set; its texts are hashed once.
pub struct Evaluator {
    learner: Box<dyn Learner + Send>,
    examples: Vec<Prepared>,
}

impl Evaluator {
    /// Prepares a data set for models of this spec.
    ///
    /// # Errors
    /// The spec makes no model, or the examples do not fit it.
    pub fn new(spec: &ModelSpec, dataset: &Dataset) -> anyhow::Result<Self> {
        ensure!(!dataset.is_empty(), "there is nothing to measure on");
        let learner = build(spec, Backend::Flex)?;
        let examples = dataset.examples.iter().map(|example| learner.prepare(example)).collect::<Result<_, _>>()?;
        Ok(Self { learner, examples })
    }

    /// Measures one model.
    ///
    /// # Errors
    /// The weights do not fit the spec.
    pub fn score(&mut self, weights: &[f32]) -> anyhow::Result<Score> {
        self.learner.load(weights)?;
        let mut correct = 0;
        for part in self.examples.chunks(BATCH) {
            let part: Vec<&Prepared> = part.iter().collect();
            correct += self.learner.evaluate(&part)?.correct;
        }
        let n = self.examples.len();
        Ok(Score { accuracy: correct as f64 / n as f64, n })
    }
}

/// Reads a model file: safetensors with one f32 tensor per parameter, and the metadata `spec` and `fingerprint`.
///
/// # Errors
/// It is no such file, or its tensors are not those of its spec.
pub fn read_model(path: &Path) -> anyhow::Result<(ModelSpec, Vec<f32>)> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    model_of(&bytes).with_context(|| format!("{} is not a model of this system", path.display()))
}

fn model_of(bytes: &[u8]) -> anyhow::Result<(ModelSpec, Vec<f32>)> {
    let spec = model_file::describe(bytes)?.spec.context("its metadata lacks `spec`")?;
    let weights = model_file::decode(&spec, bytes)?;
    Ok((spec, weights))
}

/// Writes a file that [`read_model`] reads.
///
/// # Errors
/// The weights do not fit the spec, or the file cannot be written.
pub fn write_model(path: &Path, spec: &ModelSpec, weights: &[f32]) -> anyhow::Result<()> {
    // Made by a program, not published: no version.
    let file = model_file::encode(&"local".parse()?, ModelVersion(0), spec, weights)?;
    std::fs::write(path, file).with_context(|| format!("cannot write {}", path.display()))
}
