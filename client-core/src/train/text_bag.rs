//! Hashed n-grams: an embedding bag with a linear layer.
//!
//! A batch touches a few hundred of the table's tens of thousands of rows, and a dense gradient of the whole table
//! would cost a thousand times what those rows cost. So the table is one flat `Vec<f32>`: the weighted sums of its rows
//! are a leaf of burn's graph, and the leaf's gradient is spread back over the rows (the sum is linear, so this *is*
//! the gradient of the table). The linear layer and the loss are burn's.
//!
//! The proximal term moves every row at every step, touched or not: for an untouched row a step multiplies its distance
//! from the anchor by `1 - lr * mu`. The product over the steps that a row has missed is caught up with when the row is
//! next read, so the result is the dense one.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use scale_proto::model::{Family, ModelSpec};

use super::tensors::{Leaf, cross_entropy, measure, read};
use super::text::{NgramHasher, WeightedRow};
use super::{Backend, Example, Features, Input, Learner, Measured, Prepared, StepConfig, check_label, check_step};
use crate::trainer::TrainError;

/// Below this the running product of the proximal factors is folded into the rows, long before it underflows.
const SMALLEST_PULL: f64 = 1e-100;

pub(super) struct TextBag {
    device: Device,
    classes: u32,
    hasher: NgramHasher,
    dim: usize,
    /// `[buckets, dim]`
    table: Vec<f32>,
    weight: Leaf<2>,
    bias: Leaf<1>,
    /// The weights that [`Learner::load`] brought, flat.
    anchor: Vec<f32>,
    /// Product of `1 - lr * mu` over all steps since the load.
    pull: f64,
    /// `pull` when a row was last brought up to date; empty while no step had a proximal term.
    settled_at: Vec<f64>,
}

impl TextBag {
    /// Zero weights in the spec's shapes. The spec has been checked by [`super::build`].
    pub(super) fn new(spec: &ModelSpec, backend: Backend) -> Self {
        let device = backend.device();
        let (hasher, dim) = match &spec.family {
            Family::TextBag { buckets, dim, ngram_min, ngram_max } => {
                (NgramHasher { buckets: *buckets, ngram_min: *ngram_min, ngram_max: *ngram_max }, *dim)
            }
            // `build` comes here with this family alone; a model without rows answers from its bias.
            Family::Mlp { .. } | Family::Cnn { .. } => (NgramHasher { buckets: 0, ngram_min: 1, ngram_max: 1 }, 0),
        };
        Self {
            weight: Leaf::zeros(&[dim, spec.classes()], &device, backend.on_cpu()),
            bias: Leaf::zeros(&[spec.classes()], &device, backend.on_cpu()),
            device,
            classes: spec.classes(),
            hasher,
            dim: dim as usize,
            table: vec![0.0; hasher.buckets as usize * dim as usize],
            anchor: vec![0.0; spec.flat_len() as usize],
            pull: 1.0,
            settled_at: Vec::new(),
        }
    }

    /// Weighted sums of the rows, `[batch, dim]` end to end.
    fn pool<'a>(&mut self, bags: impl Iterator<Item = &'a [WeightedRow]>, batch: usize) -> Vec<f32> {
        let mut pooled = vec![0.0; batch * self.dim];
        for (out, bag) in pooled.chunks_exact_mut(self.dim).zip(bags) {
            for feature in bag {
                self.settle(feature.row as usize);
                let row = &self.table[feature.row as usize * self.dim..][..self.dim];
                for (sum, value) in out.iter_mut().zip(row) {
                    *sum += feature.weight * value;
                }
            }
        }
        pooled
    }

    /// Spreads the gradient of the sums, `[batch, dim]`, over the rows.
    fn scatter<'a>(&mut self, bags: impl Iterator<Item = &'a [WeightedRow]>, slopes: &[f32], rate: f32) {
        for (slope, bag) in slopes.chunks_exact(self.dim).zip(bags) {
            for feature in bag {
                let row = &mut self.table[feature.row as usize * self.dim..][..self.dim];
                for (value, slope) in row.iter_mut().zip(slope) {
                    *value -= rate * feature.weight * slope;
                }
            }
        }
    }

    /// Makes up for the proximal steps that a row has missed.
    fn settle(&mut self, row: usize) {
        let Some(at) = self.settled_at.get_mut(row) else { return };
        let missed = (self.pull / *at) as f32;
        *at = self.pull;
        if missed < 1.0 {
            let range = row * self.dim..(row + 1) * self.dim;
            for (value, anchor) in self.table[range.clone()].iter_mut().zip(&self.anchor[range]) {
                *value = anchor + (*value - anchor) * missed;
            }
        }
    }

    fn settle_all(&mut self) {
        for row in 0..self.settled_at.len() {
            self.settle(row);
        }
    }

    /// Counts one step's proximal term for all rows.
    fn pull_all(&mut self, step: StepConfig) {
        if step.proximal_mu == 0.0 {
            return;
        }
        if self.settled_at.is_empty() {
            self.settled_at = vec![self.pull; self.hasher.buckets as usize];
        }
        self.pull *= 1.0 - f64::from(step.learning_rate * step.proximal_mu);
        if self.pull < SMALLEST_PULL {
            self.settle_all();
            self.pull = 1.0;
            self.settled_at.fill(1.0);
        }
    }

    /// Logits `[batch, classes]` of a leaf of sums.
    fn head(&self, pooled: Tensor<2>) -> Tensor<2> {
        pooled.matmul(self.weight.get()) + self.bias.get().unsqueeze()
    }

    fn leaf(&self, pooled: Vec<f32>, batch: usize) -> Tensor<2> {
        Tensor::from_data(TensorData::new(pooled, [batch, self.dim]), &self.device).autodiff().require_grad()
    }

    fn bag(&self, input: &Input) -> Result<Vec<WeightedRow>, TrainError> {
        match input {
            Input::Text(text) => Ok(self.hasher.rows(text)),
            Input::Dense(_) => Err(TrainError::Unsupported("an example is numbers, the model reads text".into())),
        }
    }

    fn log_probabilities<'a>(
        &mut self,
        bags: impl Iterator<Item = &'a [WeightedRow]>,
        batch: usize,
    ) -> Result<Vec<f32>, TrainError> {
        let pooled = self.pool(bags, batch);
        read(log_softmax(self.head(self.leaf(pooled, batch)).inner(), 1))
    }
}

/// The rows of prepared texts; `prepare` of this model makes nothing else.
fn bags<'a>(batch: &'a [&'a Prepared]) -> impl Iterator<Item = &'a [WeightedRow]> {
    batch.iter().map(|example| match &example.features {
        Features::Rows(rows) => &rows[..],
        Features::Dense(_) => &[],
    })
}

impl Learner for TextBag {
    fn flat_len(&self) -> usize {
        self.anchor.len()
    }

    fn load(&mut self, weights: &[f32]) -> Result<(), TrainError> {
        super::check_len(weights, self.anchor.len())?;
        self.anchor.copy_from_slice(weights);
        let (table, head) = weights.split_at(self.table.len());
        let (weight, bias) = head.split_at(self.weight.len());
        self.table.copy_from_slice(table);
        self.weight.load(weight, &self.device);
        self.bias.load(bias, &self.device);
        self.pull = 1.0;
        self.settled_at.clear();
        Ok(())
    }

    fn flatten(&mut self) -> Result<Vec<f32>, TrainError> {
        self.settle_all();
        let mut out = Vec::with_capacity(self.anchor.len());
        out.extend_from_slice(&self.table);
        self.weight.flatten(&mut out)?;
        self.bias.flatten(&mut out)?;
        Ok(out)
    }

    fn prepare(&self, example: &Example) -> Result<Prepared, TrainError> {
        check_label(example.label, self.classes)?;
        Ok(Prepared { features: Features::Rows(self.bag(&example.input)?), label: example.label })
    }

    fn train_step(&mut self, batch: &[&Prepared], step: StepConfig) -> Result<Measured, TrainError> {
        check_step(step)?;
        if batch.is_empty() {
            return Ok(Measured::default());
        }
        let labels: Vec<u32> = batch.iter().map(|example| example.label).collect();
        let pooled = self.pool(bags(batch), labels.len());
        let pooled = self.leaf(pooled, labels.len());
        let (loss, measured) = cross_entropy(self.head(pooled.clone()), &labels, &self.device)?;
        let mut gradients = loss.backward();
        drop(loss);
        let slopes = pooled.grad_remove(&mut gradients).map(read).transpose()?.unwrap_or_default();

        let (_, head) = self.anchor.split_at(self.table.len());
        let (weight, bias) = head.split_at(self.weight.len());
        self.weight.step(&mut gradients, step, weight)?;
        self.bias.step(&mut gradients, step, bias)?;
        // The pull comes first: it acts on the weights before the step.
        self.pull_all(step);
        for feature in bags(batch).flatten() {
            self.settle(feature.row as usize);
        }
        self.scatter(bags(batch), &slopes, step.learning_rate);
        Ok(measured)
    }

    fn evaluate(&mut self, batch: &[&Prepared]) -> Result<Measured, TrainError> {
        if batch.is_empty() {
            return Ok(Measured::default());
        }
        let labels: Vec<u32> = batch.iter().map(|example| example.label).collect();
        Ok(measure(&self.log_probabilities(bags(batch), labels.len())?, &labels))
    }

    fn predict(&mut self, input: &Input) -> Result<Vec<f32>, TrainError> {
        let bag = self.bag(input)?;
        let logs = self.log_probabilities(std::iter::once(&bag[..]), 1)?;
        Ok(logs.into_iter().map(f32::exp).collect())
    }
}
