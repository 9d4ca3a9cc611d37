//! Gradients of single examples, clipped and summed, at about the cost of the batch's gradient.
//!
//! The weights are not part of the graph; instead a leaf is added to the output of every layer. One backward pass of
//! the *summed* loss then gives each example's slope (the gradient of the layer's output), and no gradient of the
//! batch. From the slopes:
//!
//! | layer | one example's gradient | its squared norm | clipped sum |
//! |---|---|---|---|
//! | linear | `a ⊗ g`, bias `g` | `(‖a‖² + 1) ‖g‖²`, without computing the gradient | `Aᵀ (c ∘ G)` |
//! | embedding bag | `counts ⊗ s` | `‖counts‖² ‖s‖²`; a row that comes twice has one count | rows of the batch |
//! | convolution | `G · columnsᵀ` per example, as many products as for the batch | of the computed gradient | weighted sum |
//!
//! ("Ghost clipping": Goodfellow 2015, arXiv 1510.01799; Li et al. 2022, arXiv 2110.05679.) Norms are over all
//! parameters together.

use burn::tensor::{Device, Gradients, Tensor, TensorData};

use super::tensors::read;
use crate::trainer::TrainError;

/// Largest number of examples whose convolution gradients are in memory at the same time.
pub(super) const EXAMPLES_AT_ONCE: usize = 64;

/// A layer's input, and the leaf on its output.
pub(super) enum Watched {
    /// Input `[batch, in]`, output `[batch, out]`.
    Linear { input: Tensor<2>, output: Tensor<2> },
    /// Columns of the input `[batch, in * 25, rows * columns]`, output `[batch, out, rows, columns]`.
    Conv { columns: Tensor<3>, output: Tensor<4> },
}

/// The values per example after the backward pass, from which gradients are computed.
pub(super) enum Slopes {
    /// Input `[batch, in]` and slope `[batch, out]`.
    Linear { input: Tensor<2>, slope: Tensor<2> },
    /// The gradients themselves: weight `[batch, out, in * 25]`, bias `[batch, out, 1]`.
    Conv { weight: Tensor<3>, bias: Tensor<3> },
}

/// Adds a leaf to a tensor's value. Returns the value for the next layer, and the leaf. The graph before this tensor
/// stays intact.
pub(super) fn watch<const D: usize>(value: Tensor<D>, device: &Device) -> (Tensor<D>, Tensor<D>) {
    let leaf = Tensor::<D>::zeros(value.dims(), device).autodiff().require_grad();
    (value + leaf.clone(), leaf)
}

impl Watched {
    /// The slopes of this layer from the backward pass; `None` if it did not reach the layer.
    pub(super) fn slopes(self, gradients: &mut Gradients) -> Option<Slopes> {
        Some(match self {
            Self::Linear { input, output } => Slopes::Linear { input, slope: output.grad_remove(gradients)? },
            Self::Conv { columns, output } => {
                let slope: Tensor<3> = output.grad_remove(gradients)?.flatten(2, 3);
                Slopes::Conv { bias: slope.clone().sum_dim(2), weight: slope.matmul(columns.swap_dims(1, 2)) }
            }
        })
    }
}

impl Slopes {
    /// Adds each example's squared norm to `norms`, one entry per example.
    pub(super) fn add_square_norms(&self, norms: &mut [f64]) -> Result<(), TrainError> {
        let squares = match self {
            Self::Linear { input, slope } => (row_squares(input).add_scalar(1.0) * row_squares(slope)).squeeze_dim(1),
            Self::Conv { weight, bias } => {
                let weight: Tensor<2> = weight.clone().flatten(1, 2);
                let bias: Tensor<2> = bias.clone().flatten(1, 2);
                (row_squares(&weight) + row_squares(&bias)).squeeze_dim::<1>(1)
            }
        };
        for (norm, square) in norms.iter_mut().zip(read(squares)?) {
            *norm += f64::from(square);
        }
        Ok(())
    }

    /// The sum of the examples' gradients, each times its factor `[batch, 1]`: weight, then bias, flat.
    pub(super) fn weighted_sum(self, factors: &Tensor<2>) -> Result<[Vec<f32>; 2], TrainError> {
        match self {
            Self::Linear { input, slope } => {
                let slope = slope * factors.clone();
                Ok([read(input.transpose().matmul(slope.clone()))?, read(slope.sum_dim(0))?])
            }
            Self::Conv { weight, bias } => {
                let factors = factors.clone().unsqueeze_dim::<3>(2);
                Ok([read((weight * factors.clone()).sum_dim(0))?, read((bias * factors).sum_dim(0))?])
            }
        }
    }
}

/// The squared norms of the rows of `[batch, n]`, as `[batch, 1]`.
fn row_squares(rows: &Tensor<2>) -> Tensor<2> {
    (rows.clone() * rows.clone()).sum_dim(1)
}

/// The clipping factor of each example's gradient: 1 for norms up to `clip`, less beyond.
///
/// # Errors
/// The indices of the examples with finite gradients, if some are not finite: those cannot be clipped, so the step is
/// made without them.
pub(super) fn factors(square_norms: &[f64], clip: f32) -> Result<Vec<f32>, Vec<usize>> {
    let finite = |index: &usize| square_norms[*index].is_finite();
    if !(0..square_norms.len()).all(|index| finite(&index)) {
        return Err((0..square_norms.len()).filter(finite).collect());
    }
    let clip = f64::from(clip);
    Ok(square_norms.iter().map(|square| (clip / square.sqrt()).min(1.0) as f32).collect())
}

/// [`factors`] as a tensor `[batch, 1]`.
pub(super) fn column(factors: Vec<f32>, device: &Device) -> Tensor<2> {
    let len = factors.len();
    Tensor::from_data(TensorData::new(factors, [len, 1]), device)
}

/// Every 5x5 patch of images `[batch, channels, rows, columns]` with a border of 2 zeros, as a column:
/// `[batch, channels * 25, rows * columns]`, in the order of a convolution's weights.
pub(super) fn columns(images: Tensor<4>) -> Tensor<3> {
    let [batch, channels, rows, columns] = images.dims();
    let padded = Tensor::<4>::zeros([batch, channels, rows + 4, columns + 4], &images.device())
        .slice_assign([0..batch, 0..channels, 2..rows + 2, 2..columns + 2], images);
    let patches = (0..25).map(|at| {
        let (down, right) = (at / 5, at % 5);
        let part = padded.clone().slice([0..batch, 0..channels, down..down + rows, right..right + columns]);
        part.reshape([batch, channels, 1, rows * columns])
    });
    Tensor::cat(patches.collect(), 2).reshape([batch, channels * 25, rows * columns])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_bound_every_norm() {
        assert_eq!(factors(&[0.0, 0.25, 4.0, 1e40], 0.5).expect("finite"), [1.0, 1.0, 0.25, 0.5e-20]);
        assert_eq!(factors(&[1.0, f64::NAN, 2.0, f64::INFINITY], 0.5), Err(vec![0, 2]));
    }
}
