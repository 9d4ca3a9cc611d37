//! Parameters as leaves of burn's graph, with the SGD step that all models share.

use burn::tensor::{Device, Gradients, Int, Tensor, TensorData, activation::log_softmax};

use super::{Measured, StepConfig};
use crate::trainer::TrainError;

/// Number of gradient entries that are processed at a time, so that they stay in the second-level cache.
const PART: usize = 1 << 14;

/// One parameter tensor.
pub(super) struct Leaf<const D: usize> {
    /// Always a leaf that requires a gradient.
    tensor: Tensor<D>,
    shape: [usize; D],
    /// Whether the back end is on the CPU, where a step works on the buffer itself instead of using tensor operations.
    on_cpu: bool,
}

impl<const D: usize> Leaf<D> {
    pub(super) fn zeros(shape: &[u32], device: &Device, on_cpu: bool) -> Self {
        let mut sides = [0; D];
        for (side, &wanted) in sides.iter_mut().zip(shape) {
            *side = wanted as usize;
        }
        let tensor = Tensor::zeros(sides, device).autodiff().require_grad();
        Self { tensor, shape: sides, on_cpu }
    }

    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The tensor for a forward pass.
    pub(super) fn get(&self) -> Tensor<D> {
        self.tensor.clone()
    }

    /// The tensor for a forward pass whose backward pass does not compute its gradient.
    pub(super) fn constant(&self) -> Tensor<D> {
        self.tensor.clone().inner()
    }

    /// Replaces the values; `values` has [`Leaf::len`] entries.
    pub(super) fn load(&mut self, values: &[f32], device: &Device) {
        let data = TensorData::new(values.to_vec(), self.shape);
        self.tensor = Tensor::from_data(data, device).autodiff().require_grad();
    }

    /// Appends the values to a flat vector.
    pub(super) fn flatten(&self, out: &mut Vec<f32>) -> Result<(), TrainError> {
        out.extend(read(self.tensor.clone().inner())?);
        Ok(())
    }

    /// `w -= lr * (g + mu * (w - anchor))`; `anchor` has [`Leaf::len`] entries.
    pub(super) fn step(
        &mut self,
        gradients: &mut Gradients,
        step: StepConfig,
        anchor: &[f32],
    ) -> Result<(), TrainError> {
        let Some(gradient) = self.tensor.grad_remove(gradients) else { return Ok(()) };
        if self.on_cpu {
            let mut gradient = gradient.into_data();
            let slopes = gradient.as_mut_slice::<f32>().map_err(failed)?;
            return self.step_on_host(slopes, 1.0, step, anchor, |_| ());
        }
        // On other back ends, reading the values back would wait for the accelerator at every step.
        let StepConfig { learning_rate: rate, proximal_mu: mu } = step;
        let device = self.tensor.device().inner();
        let weights = self.tensor.clone().inner();
        let pull = if mu > 0.0 {
            let anchor = Tensor::<D>::from_data(TensorData::new(anchor.to_vec(), self.shape), &device);
            gradient + (weights.clone() - anchor).mul_scalar(mu)
        } else {
            gradient
        };
        self.tensor = (weights - pull.mul_scalar(rate)).autodiff().require_grad();
        Ok(())
    }

    /// The gradient of this parameter in the host's memory; `None` if the backward pass did not reach it.
    pub(super) fn gradient(&self, gradients: &mut Gradients) -> Result<Option<Vec<f32>>, TrainError> {
        self.tensor.grad_remove(gradients).map(read).transpose()
    }

    /// [`Self::step`] with a gradient in the host's memory. `finish` can modify each part of the gradient, in order and
    /// shortly before its use; then the part is multiplied by `scale`. `gradient` has [`Leaf::len`] entries.
    pub(super) fn step_on_host(
        &mut self,
        gradient: &mut [f32],
        scale: f32,
        step: StepConfig,
        anchor: &[f32],
        mut finish: impl FnMut(&mut [f32]),
    ) -> Result<(), TrainError> {
        let StepConfig { learning_rate: rate, proximal_mu: mu } = step;
        let device = self.tensor.device().inner();
        // Moves the tensor out, so that its buffer has one owner and is changed in place.
        let mut data = std::mem::replace(&mut self.tensor, Tensor::zeros([0; D], &device)).inner().into_data();
        let values = data.as_mut_slice::<f32>().map_err(failed)?;
        let parts = values.chunks_mut(PART).zip(gradient.chunks_mut(PART)).zip(anchor.chunks(PART));
        for ((weights, slopes), anchors) in parts {
            finish(slopes);
            for ((weight, slope), anchor) in weights.iter_mut().zip(slopes).zip(anchors) {
                *weight -= rate * (scale * *slope + mu * (*weight - anchor));
            }
        }
        self.tensor = Tensor::from_data(data, &device).autodiff().require_grad();
        Ok(())
    }
}

/// Values of a tensor on the host.
pub(super) fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainError> {
    tensor.try_into_data().map_err(failed)?.try_into_vec::<f32>().map_err(failed)
}

/// From logits `[batch, classes]`, computes the losses `[batch, 1]` of the examples, for the backward pass, and the
/// measurements of the batch.
pub(super) fn cross_entropy(
    logits: Tensor<2>,
    labels: &[u32],
    device: &Device,
) -> Result<(Tensor<2>, Measured), TrainError> {
    let batch = labels.len();
    let log_probabilities = log_softmax(logits, 1);
    let measured = measure(&read(log_probabilities.clone().inner())?, labels);
    let index: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
    let index = Tensor::<2, Int>::from_data(TensorData::new(index, [batch, 1]), device);
    Ok((log_probabilities.gather(1, index).neg(), measured))
}

/// The measurements of log-probabilities `[batch, classes]` against the labels.
pub(super) fn measure(log_probabilities: &[f32], labels: &[u32]) -> Measured {
    let classes = log_probabilities.len() / labels.len().max(1);
    let mut out = Measured::default();
    for (row, &label) in log_probabilities.chunks(classes.max(1)).zip(labels) {
        let own = row[label as usize];
        out.loss_sum -= f64::from(own);
        // Among equally probable classes the first one counts, as everywhere in this crate.
        let beaten = row[..label as usize].iter().any(|&other| other >= own) || row.iter().any(|&other| other > own);
        out.correct += u64::from(!beaten && own.is_finite());
    }
    out
}

/// Converts an error of the training library to text, because its types must not appear in public signatures.
pub(super) fn failed(error: impl std::fmt::Display) -> TrainError {
    TrainError::Failed(error.to_string())
}
