//! The model on hashed n-grams: an embedding bag with a linear layer.
//!
//! A batch uses a few hundred of the table's tens of thousands of rows, and a dense gradient of the whole table would
//! cost a thousand times more than that of these rows. The table is therefore one flat `Vec<f32>`. The weighted sums of
//! its rows are a leaf of burn's graph, and the gradient of this leaf is distributed over the rows (the sum is linear,
//! so this *is* the gradient of the table). The linear layer and the loss are computed by burn.
//!
//! The proximal term changes every row in every step: in a step that does not use a row, its distance from the anchor
//! is multiplied by `1 - lr * mu`. The product over such steps is applied when the row is next read, so the result
//! equals that of dense steps.
//!
//! The noise of DP-SGD is dense too, and is deferred in the same way. No row is read between two batches that use it,
//! so its noise for all of these steps is drawn at once when it is next read, with the variance of their sum (the noise
//! of each step decayed by the later proximal factors). A sum of Gaussians is Gaussian, so the distribution is exactly
//! that of dense noise, and every gradient is computed with the noise that precedes it. A step draws noise for the rows
//! it reads, and a round one dense noise vector at its end.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use scale_proto::model::{Family, ModelSpec};

use super::per_example::{self, Watched, watch};
use super::tensors::{Leaf, cross_entropy, measure, read};
use super::text::{NgramHasher, WeightedRow};
use super::{
    Backend, Example, Features, Input, Learner, Measured, PREDICTED_AT_ONCE, Prepared, Protection, StepConfig,
    check_label, check_step, probabilities,
};
use crate::trainer::TrainError;

/// If the running product of the proximal factors falls below this, it is applied to all rows, long before it
/// underflows.
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
    /// The weights from [`Learner::load`], flat.
    anchor: Vec<f32>,
    /// Totals of the deferred changes since the load.
    now: Debts,
    /// For each row, `now` when it was last brought up to date; empty while no step had a proximal term or noise.
    settled_at: Vec<Debts>,
    protection: Option<Protection>,
    /// The accumulated gradient of a step in progress whose batch comes in parts.
    pending: Option<Pending>,
}

/// The accumulated gradient of a large batch. Dense, because so many examples use most of the rows.
struct Pending {
    /// Gradient of the table, `[buckets, dim]`.
    table: Vec<f32>,
    /// Whether at least one of the examples uses a row, by row index.
    touched: Vec<bool>,
    /// Gradient of the linear layer: weight, then bias.
    head: [Vec<f32>; 2],
}

/// Running totals of the changes that apply to every row.
#[derive(Clone, Copy)]
struct Debts {
    /// Product of `1 - lr * mu`.
    pull: f64,
    /// Variance of the noise. The variance of each step is divided by `pull²` as it was after that step, because
    /// earlier noise decays by the later factors.
    noise: f64,
}

impl Debts {
    const NONE: Self = Self { pull: 1.0, noise: 0.0 };
}

impl TextBag {
    /// Zero weights in the spec's shapes. The spec has been checked by [`super::build`].
    pub(super) fn new(spec: &ModelSpec, backend: Backend) -> Self {
        let device = backend.device();
        let (hasher, dim) = match &spec.family {
            Family::TextBag { buckets, dim, ngram_min, ngram_max } => {
                (NgramHasher { buckets: *buckets, ngram_min: *ngram_min, ngram_max: *ngram_max }, *dim)
            }
            // Not reachable: `build` calls this for text bags only. A model without rows would predict from its bias.
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
            now: Debts::NONE,
            settled_at: Vec::new(),
            protection: None,
            pending: None,
        }
    }

    /// Weighted sums of the rows, `[batch, dim]`, flat.
    fn pool<'a>(&mut self, bags: impl Iterator<Item = &'a [WeightedRow]>, batch: usize) -> Vec<f32> {
        let mut pooled = vec![0.0; batch * self.dim];
        for (out, bag) in pooled.chunks_exact_mut(self.dim).zip(bags) {
            for feature in bag {
                if !self.settled_at.is_empty() {
                    self.settle(feature.row as usize);
                }
                let row = &self.table[feature.row as usize * self.dim..][..self.dim];
                add_scaled(out, row, feature.weight);
            }
        }
        pooled
    }

    /// Distributes the gradient of the sums, `[batch, dim]`, over the rows.
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

    /// Applies the deferred proximal steps and noise to a row.
    fn settle(&mut self, row: usize) {
        let Some(at) = self.settled_at.get_mut(row) else { return };
        let Debts { pull, noise } = std::mem::replace(at, self.now);
        let missed = (self.now.pull / pull) as f32;
        let deviation = self.now.pull * (self.now.noise - noise).max(0.0).sqrt();
        let range = row * self.dim..(row + 1) * self.dim;
        if missed < 1.0 {
            for (value, anchor) in self.table[range.clone()].iter_mut().zip(&self.anchor[range.clone()]) {
                *value = anchor + (*value - anchor) * missed;
            }
        }
        if let (Some(protection), true) = (&mut self.protection, deviation > 0.0) {
            protection.noise.add_to(&mut self.table[range], deviation as f32);
        }
    }

    fn settle_all(&mut self) {
        for row in 0..self.settled_at.len() {
            self.settle(row);
        }
    }

    /// One step on the rows: the proximal term, the gradient of the batch's sums, and noise of this standard deviation.
    fn step_rows(&mut self, batch: &[&Prepared], slopes: &[f32], step: StepConfig, deviation: f32) {
        self.pull_rows(bags(batch).flatten().map(|feature| feature.row as usize), step, deviation);
        self.scatter(bags(batch), slopes, step.learning_rate);
        self.owe_noise(step, deviation);
    }

    /// The proximal term of one step. It depends on the weights before the step, so it is applied before the gradient,
    /// and the rows that have a gradient are brought up to date here.
    fn pull_rows(&mut self, rows: impl Iterator<Item = usize>, step: StepConfig, deviation: f32) {
        let pulled = step.proximal_mu > 0.0;
        if (pulled || deviation > 0.0) && self.settled_at.is_empty() {
            self.settled_at = vec![self.now; self.hasher.buckets as usize];
        }
        if pulled {
            self.now.pull *= 1.0 - f64::from(step.learning_rate * step.proximal_mu);
            if self.now.pull < SMALLEST_PULL {
                self.settle_all();
                self.now = Debts::NONE;
                self.settled_at.fill(Debts::NONE);
            }
            rows.for_each(|row| self.settle(row));
        }
    }

    /// Records one step's noise of this standard deviation, to be drawn when a row is read.
    fn owe_noise(&mut self, step: StepConfig, deviation: f32) {
        self.now.noise += (f64::from(step.learning_rate * deviation) / self.now.pull).powi(2);
    }

    /// One step of DP-SGD.
    fn private_step(
        &mut self,
        batch: &[&Prepared],
        step: StepConfig,
        clip: f32,
        divisor: f32,
        deviation: f32,
    ) -> Result<Measured, TrainError> {
        let BatchGradient { mut slopes, head, measured } = self.clipped_sum(batch, clip)?;
        slopes.iter_mut().for_each(|slope| *slope /= divisor);
        self.step_head(head, divisor.recip(), step, deviation)?;
        self.step_rows(batch, &slopes, step, deviation / divisor);
        Ok(measured)
    }

    /// One step on the linear layer: adds noise of this standard deviation to the gradient, then multiplies it by
    /// `share`.
    fn step_head(
        &mut self,
        [mut weight, mut bias]: [Vec<f32>; 2],
        share: f32,
        step: StepConfig,
        deviation: f32,
    ) -> Result<(), TrainError> {
        let mut noise = |slopes: &mut [f32]| {
            if let Some(protection) = &mut self.protection {
                protection.noise.add_to(slopes, deviation);
            }
        };
        let anchors = self.anchor[self.table.len()..].split_at(self.weight.len());
        self.weight.step_on_host(&mut weight, share, step, anchors.0, &mut noise)?;
        self.bias.step_on_host(&mut bias, share, step, anchors.1, &mut noise)
    }

    /// The gradient of the batch's summed loss divided by `of`.
    fn mean_gradient(&mut self, batch: &[&Prepared], of: usize) -> Result<BatchGradient, TrainError> {
        let labels: Vec<u32> = batch.iter().map(|example| example.label).collect();
        let pooled = self.pool(bags(batch), labels.len());
        let pooled = self.leaf(pooled, labels.len());
        let (losses, measured) = cross_entropy(self.head(pooled.clone()), &labels, &self.device)?;
        let mut gradients = losses.sum().mul_scalar(1.0 / of.max(1) as f32).backward();
        let slopes = pooled.grad_remove(&mut gradients).map(read).transpose()?.unwrap_or_default();
        let head = [self.weight.gradient(&mut gradients)?, self.bias.gradient(&mut gradients)?];
        Ok(BatchGradient { slopes, head: head.map(Option::unwrap_or_default), measured })
    }

    fn clipped_sum(&mut self, batch: &[&Prepared], clip: f32) -> Result<BatchGradient, TrainError> {
        let mut out = BatchGradient {
            slopes: vec![0.0; batch.len() * self.dim],
            head: [vec![0.0; self.weight.len()], vec![0.0; self.bias.len()]],
            measured: Measured::default(),
        };
        if batch.is_empty() {
            return Ok(out);
        }
        let labels: Vec<u32> = batch.iter().map(|example| example.label).collect();
        let pooled = self.pool(bags(batch), labels.len());
        let pooled = self.leaf(pooled, labels.len());
        let logits = pooled.clone().matmul(self.weight.constant()) + self.bias.constant().unsqueeze();
        let (logits, output) = watch(logits, &self.device);
        let layer = Watched::Linear { input: pooled.clone().inner(), output };
        let (losses, measured) = cross_entropy(logits, &labels, &self.device)?;
        out.measured = measured;
        let mut gradients = losses.sum().backward();
        let slopes = pooled.grad_remove(&mut gradients).map(read).transpose()?;
        let (Some(slopes), Some(layer)) = (slopes, layer.slopes(&mut gradients)) else { return Ok(out) };
        let mut norms: Vec<f64> = slopes.chunks_exact(self.dim).zip(bags(batch)).map(bag_square_norm).collect();
        layer.add_square_norms(&mut norms)?;
        match per_example::factors(&norms, clip) {
            Ok(factors) => {
                for ((out, slope), factor) in
                    out.slopes.chunks_exact_mut(self.dim).zip(slopes.chunks_exact(self.dim)).zip(&factors)
                {
                    out.iter_mut().zip(slope).for_each(|(out, slope)| *out = factor * slope);
                }
                out.head = layer.weighted_sum(&per_example::column(factors, &self.device))?;
            }
            Err(finite) => {
                let kept: Vec<&Prepared> = finite.iter().map(|&index| batch[index]).collect();
                let rest = self.clipped_sum(&kept, clip)?;
                for (slope, index) in rest.slopes.chunks_exact(self.dim).zip(finite) {
                    out.slopes[index * self.dim..][..self.dim].copy_from_slice(slope);
                }
                out.head = rest.head;
            }
        }
        Ok(out)
    }

    /// Logits `[batch, classes]` of the sums `pooled`.
    fn head(&self, pooled: Tensor<2>) -> Tensor<2> {
        pooled.matmul(self.weight.get()) + self.bias.get().unsqueeze()
    }

    fn leaf(&self, pooled: Vec<f32>, batch: usize) -> Tensor<2> {
        Tensor::from_data(TensorData::new(pooled, [batch, self.dim]), &self.device).autodiff().require_grad()
    }

    fn bag(&self, input: &Input) -> Result<Vec<WeightedRow>, TrainError> {
        match input {
            Input::Text(text) => Ok(self.hasher.rows(text)),
            Input::Dense(_) => {
                Err(TrainError::Unsupported("an example consists of numbers, but the model reads text".into()))
            }
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

/// The gradient of a batch.
struct BatchGradient {
    /// Gradient of the sums of rows, `[batch, dim]`: one row per example.
    slopes: Vec<f32>,
    /// Gradient of the linear layer, of all examples together: weight, then bias.
    head: [Vec<f32>; 2],
    measured: Measured,
}

/// `sums[i] += weight * row[i]`. Uses indices because this is most of the work of a prediction, and in unoptimized
/// builds, such as tests, iterators take several times as long.
fn add_scaled(sums: &mut [f32], row: &[f32], weight: f32) {
    let mut at = 0;
    while at < sums.len() {
        sums[at] += weight * row[at];
        at += 1;
    }
}

/// Squared norm of one example's gradient of the table. Every row occurs at most once in the bag.
fn bag_square_norm((slope, bag): (&[f32], &[WeightedRow])) -> f64 {
    let counts: f64 = bag.iter().map(|feature| f64::from(feature.weight).powi(2)).sum();
    counts * slope.iter().map(|slope| f64::from(*slope).powi(2)).sum::<f64>()
}

/// The rows of prepared texts. `prepare` of this model creates no other examples.
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
        self.now = Debts::NONE;
        self.settled_at.clear();
        self.protection = None;
        self.pending = None;
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

    fn protect(&mut self, protection: Protection) {
        self.settle_all();
        self.pending = None;
        self.protection = Some(protection);
    }

    fn train_step(&mut self, batch: &[&Prepared], step: StepConfig) -> Result<Measured, TrainError> {
        check_step(step)?;
        self.pending = None;
        if let Some(protection) = &self.protection {
            let (clip, divisor, deviation) = (protection.clip(), protection.divisor(), protection.deviation());
            return self.private_step(batch, step, clip, divisor, deviation);
        }
        if batch.is_empty() {
            return Ok(Measured::default());
        }
        let labels: Vec<u32> = batch.iter().map(|example| example.label).collect();
        let pooled = self.pool(bags(batch), labels.len());
        let pooled = self.leaf(pooled, labels.len());
        let (losses, measured) = cross_entropy(self.head(pooled.clone()), &labels, &self.device)?;
        let mut gradients = losses.mean().backward();
        let slopes = pooled.grad_remove(&mut gradients).map(read).transpose()?.unwrap_or_default();

        let (weight, bias) = self.anchor[self.table.len()..].split_at(self.weight.len());
        self.weight.step(&mut gradients, step, weight)?;
        self.bias.step(&mut gradients, step, bias)?;
        self.step_rows(batch, &slopes, step, 0.0);
        Ok(measured)
    }

    fn accumulate(&mut self, part: &[&Prepared], of: usize) -> Result<Measured, TrainError> {
        if part.is_empty() {
            return Ok(Measured::default());
        }
        let clip = self.protection.as_ref().map(Protection::clip);
        let BatchGradient { slopes, head, measured } = match clip {
            Some(clip) => self.clipped_sum(part, clip)?,
            None => self.mean_gradient(part, of)?,
        };
        let pending = self.pending.get_or_insert_with(|| Pending {
            table: vec![0.0; self.table.len()],
            touched: vec![false; self.hasher.buckets as usize],
            head: [vec![0.0; self.weight.len()], vec![0.0; self.bias.len()]],
        });
        for (slope, bag) in slopes.chunks_exact(self.dim).zip(bags(part)) {
            for feature in bag {
                let row = feature.row as usize;
                pending.touched[row] = true;
                let sums = &mut pending.table[row * self.dim..][..self.dim];
                sums.iter_mut().zip(slope).for_each(|(sum, slope)| *sum += feature.weight * slope);
            }
        }
        for (sums, slopes) in pending.head.iter_mut().zip(head) {
            sums.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
        }
        Ok(measured)
    }

    fn apply(&mut self, step: StepConfig) -> Result<(), TrainError> {
        check_step(step)?;
        let Some(Pending { table, touched, head }) = self.pending.take() else {
            return self.train_step(&[], step).map(drop);
        };
        let (divisor, deviation) =
            self.protection.as_ref().map_or((1.0, 0.0), |protection| (protection.divisor(), protection.deviation()));
        self.step_head(head, divisor.recip(), step, deviation)?;
        let rows = || touched.iter().enumerate().filter_map(|(row, touched)| touched.then_some(row));
        self.pull_rows(rows(), step, deviation / divisor);
        for row in rows() {
            let range = row * self.dim..(row + 1) * self.dim;
            for (value, slope) in self.table[range.clone()].iter_mut().zip(&table[range]) {
                *value -= step.learning_rate * (slope / divisor);
            }
        }
        self.owe_noise(step, deviation / divisor);
        Ok(())
    }

    fn evaluate(&mut self, batch: &[&Prepared]) -> Result<Measured, TrainError> {
        if batch.is_empty() {
            return Ok(Measured::default());
        }
        let labels: Vec<u32> = batch.iter().map(|example| example.label).collect();
        Ok(measure(&self.log_probabilities(bags(batch), labels.len())?, &labels))
    }

    fn predict_batch(&mut self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, TrainError> {
        let bags = inputs.iter().map(|input| self.bag(input)).collect::<Result<Vec<_>, _>>()?;
        let mut out = Vec::with_capacity(bags.len());
        for part in bags.chunks(PREDICTED_AT_ONCE) {
            let logs = self.log_probabilities(part.iter().map(Vec::as_slice), part.len())?;
            out.extend(probabilities(&logs, self.classes));
        }
        Ok(out)
    }
}
