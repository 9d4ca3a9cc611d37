//! How good a model is: accuracy on merchants and on lines of statements, and model files.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use scale_client_core::train::{Backend, Dataset, Learner, Prepared, build};
use scale_proto::model::ModelSpec;
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
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let metadata = header.metadata().as_ref().context("it has no metadata")?;
    let spec: ModelSpec = serde_json::from_str(metadata.get("spec").context("its metadata lacks `spec`")?)?;
    let fingerprint = metadata.get("fingerprint").context("its metadata lacks `fingerprint`")?;
    ensure!(fingerprint.eq_ignore_ascii_case(&spec.fingerprint().hex()), "its fingerprint is not that of its spec");
    let file = SafeTensors::deserialize(bytes)?;
    let mut weights = Vec::new();
    for wanted in spec.tensors() {
        let tensor = file.tensor(&wanted.name).with_context(|| format!("tensor `{}`", wanted.name))?;
        let shape: Vec<usize> = wanted.shape.iter().map(|&side| side as usize).collect();
        ensure!(
            tensor.dtype() == Dtype::F32 && tensor.shape() == shape,
            "tensor `{}` is {:?} {:?} instead of F32 {shape:?}",
            wanted.name,
            tensor.dtype(),
            tensor.shape()
        );
        let (entries, _) = tensor.data().as_chunks::<4>();
        weights.extend(entries.iter().map(|entry| f32::from_le_bytes(*entry)));
    }
    Ok((spec, weights))
}

/// Writes a file that [`read_model`] reads.
///
/// # Errors
/// The weights do not fit the spec, or the file cannot be written.
pub fn write_model(path: &Path, spec: &ModelSpec, weights: &[f32]) -> anyhow::Result<()> {
    ensure!(weights.len() as u64 == spec.flat_len(), "{} weights for a model of {}", weights.len(), spec.flat_len());
    let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    let (mut views, mut offset) = (Vec::new(), 0);
    for tensor in spec.tensors() {
        let end = offset + 4 * tensor.len() as usize;
        let shape = tensor.shape.iter().map(|&side| side as usize).collect();
        views.push((tensor.name.clone(), TensorView::new(Dtype::F32, shape, &bytes[offset..end])?));
        offset = end;
    }
    let metadata = HashMap::from([
        ("spec".to_owned(), serde_json::to_string(spec)?),
        ("fingerprint".to_owned(), spec.fingerprint().hex()),
    ]);
    let file = safetensors::serialize(views, Some(metadata))?;
    std::fs::write(path, file).with_context(|| format!("cannot write {}", path.display()))
}
