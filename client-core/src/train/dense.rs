//! Multilayer perceptron and convolutional network, computed by burn entirely.

use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};
use scale_proto::model::{Family, ModelSpec};

use super::per_example::{self, Slopes, Watched, columns, watch};
use super::tensors::{Leaf, cross_entropy, measure, read};
use super::{
    Backend, Example, Features, Input, Learner, Measured, PREDICTED_AT_ONCE, Prepared, Protection, StepConfig,
    check_label, check_step, probabilities,
};
use crate::trainer::TrainError;

/// A linear layer, weight `[in, out]`.
struct Linear {
    weight: Leaf<2>,
    bias: Leaf<1>,
}

/// A 5x5 convolution with padding 2, weight `[out, in, 5, 5]`.
struct Conv {
    weight: Leaf<4>,
    bias: Leaf<1>,
}

impl Linear {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.get()) + self.bias.get().unsqueeze()
    }

    /// The same with a [`Watched`] output, and without a gradient of the layer's own weights.
    fn watched(&self, x: Tensor<2>, device: &Device) -> (Tensor<2>, Watched) {
        let input = x.clone().inner();
        let (x, output) = watch(x.matmul(self.weight.constant()) + self.bias.constant().unsqueeze(), device);
        (x, Watched::Linear { input, output })
    }
}

impl Conv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        conv2d(x, self.weight.get(), Some(self.bias.get()), Self::options())
    }

    /// The same with a [`Watched`] output, and without a gradient of the layer's own weights.
    fn watched(&self, x: Tensor<4>, device: &Device) -> (Tensor<4>, Watched) {
        let columns = columns(x.clone().inner());
        let x = conv2d(x, self.weight.constant(), Some(self.bias.constant()), Self::options());
        let (x, output) = watch(x, device);
        (x, Watched::Conv { columns, output })
    }

    fn options() -> ConvOptions<2> {
        ConvOptions::new([1, 1], [2, 2], [1, 1], 1)
    }
}

/// ReLU and 2x2 max pooling, after each convolution.
fn pool(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(relu(x), MaxPoolOptions::new([2, 2]))
}

/// Convolutions (none for a perceptron), then linear layers with ReLU between them.
pub(super) struct Dense {
    device: Device,
    classes: u32,
    /// Shape of one example: `[channels, rows, columns]`, or `[inputs]`.
    input: Vec<usize>,
    convolutions: Vec<Conv>,
    linears: Vec<Linear>,
    /// The weights from [`Learner::load`].
    anchor: Vec<f32>,
    protection: Option<Protection>,
    /// The accumulated gradient of a step in progress whose batch comes in parts, one vector per parameter; without
    /// vectors while no example had a finite gradient.
    pending: Option<Vec<Vec<f32>>>,
}

impl Dense {
    /// Zero weights in the spec's shapes. The spec has been checked by [`super::build`].
    pub(super) fn new(spec: &ModelSpec, backend: Backend) -> Self {
        let device = backend.device();
        let on_cpu = backend.on_cpu();
        let input = match &spec.family {
            Family::Cnn { height, width, channels, .. } => vec![*channels, *height, *width],
            Family::Mlp { inputs, .. } => vec![*inputs],
            Family::TextBag { dim, .. } => vec![*dim],
        };
        let (mut convolutions, mut linears) = (Vec::new(), Vec::new());
        for pair in spec.tensors().chunks_exact(2) {
            let bias = Leaf::zeros(&pair[1].shape, &device, on_cpu);
            match pair[0].shape.len() {
                4 => convolutions.push(Conv { weight: Leaf::zeros(&pair[0].shape, &device, on_cpu), bias }),
                _ => linears.push(Linear { weight: Leaf::zeros(&pair[0].shape, &device, on_cpu), bias }),
            }
        }
        Self {
            device,
            classes: spec.classes(),
            input: input.into_iter().map(|side| side as usize).collect(),
            convolutions,
            linears,
            anchor: vec![0.0; spec.flat_len() as usize],
            protection: None,
            pending: None,
        }
    }

    /// Logits `[batch, classes]` of concatenated examples. `conv` and `linear` apply a layer.
    fn logits(
        &self,
        examples: Vec<f32>,
        batch: usize,
        mut conv: impl FnMut(&Conv, Tensor<4>) -> Tensor<4>,
        mut linear: impl FnMut(&Linear, Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let len: usize = self.input.iter().product();
        let flat = Tensor::<2>::from_data(TensorData::new(examples, [batch, len]), &self.device).autodiff();
        let mut x = match self.input[..] {
            [channels, rows, columns] => {
                let mut image = flat.reshape([batch, channels, rows, columns]);
                for layer in &self.convolutions {
                    image = pool(conv(layer, image));
                }
                image.flatten(1, 3)
            }
            _ => flat,
        };
        for (index, layer) in self.linears.iter().enumerate() {
            if index > 0 {
                x = relu(x);
            }
            x = linear(layer, x);
        }
        x
    }

    fn forward(&self, examples: Vec<f32>, batch: usize) -> Tensor<2> {
        self.logits(examples, batch, Conv::forward, Linear::forward)
    }

    /// The sum of the clipped gradients of the examples, one flat vector per parameter; without vectors if no example
    /// has a finite gradient.
    fn clipped_sum(&self, batch: &[&Prepared], clip: f32) -> Result<(Vec<Vec<f32>>, Measured), TrainError> {
        let (values, labels) = self.gather(batch);
        let layers = std::cell::RefCell::new(Vec::with_capacity(self.convolutions.len() + self.linears.len()));
        let logits = self.logits(
            values,
            labels.len(),
            |conv, x| {
                let (x, watched) = conv.watched(x, &self.device);
                layers.borrow_mut().push(watched);
                x
            },
            |linear, x| {
                let (x, watched) = linear.watched(x, &self.device);
                layers.borrow_mut().push(watched);
                x
            },
        );
        let (losses, measured) = cross_entropy(logits, &labels, &self.device)?;
        let mut gradients = losses.sum().backward();
        let slopes = layers.into_inner().into_iter().filter_map(|layer| layer.slopes(&mut gradients));
        let slopes: Vec<Slopes> = slopes.collect();
        let mut norms = vec![0.0; labels.len()];
        for layer in &slopes {
            layer.add_square_norms(&mut norms)?;
        }
        match per_example::factors(&norms, clip) {
            Ok(factors) => {
                let factors = per_example::column(factors, &self.device);
                let mut sum = Vec::with_capacity(2 * slopes.len());
                for layer in slopes {
                    sum.extend(layer.weighted_sum(&factors)?);
                }
                Ok((sum, measured))
            }
            Err(finite) if finite.is_empty() => Ok((Vec::new(), measured)),
            Err(finite) => {
                let finite: Vec<&Prepared> = finite.into_iter().map(|index| batch[index]).collect();
                Ok((self.clipped_sum(&finite, clip)?.0, measured))
            }
        }
    }

    /// The gradient of the batch's summed loss divided by `of`, one vector per parameter.
    fn mean_gradient(&self, batch: &[&Prepared], of: usize) -> Result<(Vec<Vec<f32>>, Measured), TrainError> {
        let (values, labels) = self.gather(batch);
        let logits = self.forward(values, labels.len());
        let (losses, measured) = cross_entropy(logits, &labels, &self.device)?;
        let mut gradients = losses.sum().mul_scalar(1.0 / of.max(1) as f32).backward();
        let mut out = Vec::with_capacity(2 * (self.convolutions.len() + self.linears.len()));
        for Conv { weight, bias } in &self.convolutions {
            out.extend([weight.gradient(&mut gradients)?, bias.gradient(&mut gradients)?]);
        }
        for Linear { weight, bias } in &self.linears {
            out.extend([weight.gradient(&mut gradients)?, bias.gradient(&mut gradients)?]);
        }
        Ok((out.into_iter().map(Option::unwrap_or_default).collect(), measured))
    }

    fn gather(&self, batch: &[&Prepared]) -> (Vec<f32>, Vec<u32>) {
        let mut values = Vec::with_capacity(batch.len() * self.input.iter().product::<usize>());
        for example in batch {
            // `prepare` of this model creates no other examples.
            if let Features::Dense(numbers) = &example.features {
                values.extend_from_slice(numbers);
            }
        }
        (values, batch.iter().map(|example| example.label).collect())
    }

    fn numbers<'a>(&self, input: &'a Input) -> Result<&'a [f32], TrainError> {
        let wanted: usize = self.input.iter().product();
        match input {
            Input::Dense(values) if values.len() == wanted => Ok(values),
            Input::Dense(values) => Err(TrainError::Unsupported(format!(
                "an example has {} numbers, but the model reads {wanted}",
                values.len()
            ))),
            Input::Text(_) => Err(TrainError::Unsupported("an example is text, but the model reads numbers".into())),
        }
    }
}

impl Learner for Dense {
    fn flat_len(&self) -> usize {
        self.anchor.len()
    }

    fn load(&mut self, weights: &[f32]) -> Result<(), TrainError> {
        super::check_len(weights, self.anchor.len())?;
        self.protection = None;
        self.pending = None;
        self.anchor.copy_from_slice(weights);
        let mut rest = weights;
        let mut next = |len: usize| {
            let (own, others) = rest.split_at(len);
            rest = others;
            own
        };
        for conv in &mut self.convolutions {
            conv.weight.load(next(conv.weight.len()), &self.device);
            conv.bias.load(next(conv.bias.len()), &self.device);
        }
        for linear in &mut self.linears {
            linear.weight.load(next(linear.weight.len()), &self.device);
            linear.bias.load(next(linear.bias.len()), &self.device);
        }
        Ok(())
    }

    fn flatten(&mut self) -> Result<Vec<f32>, TrainError> {
        let mut out = Vec::with_capacity(self.anchor.len());
        for conv in &self.convolutions {
            conv.weight.flatten(&mut out)?;
            conv.bias.flatten(&mut out)?;
        }
        for linear in &self.linears {
            linear.weight.flatten(&mut out)?;
            linear.bias.flatten(&mut out)?;
        }
        Ok(out)
    }

    fn prepare(&self, example: &Example) -> Result<Prepared, TrainError> {
        check_label(example.label, self.classes)?;
        let numbers = self.numbers(&example.input)?;
        Ok(Prepared { features: Features::Dense(numbers.to_vec()), label: example.label })
    }

    fn protect(&mut self, protection: Protection) {
        self.pending = None;
        self.protection = Some(protection);
    }

    fn train_step(&mut self, batch: &[&Prepared], step: StepConfig) -> Result<Measured, TrainError> {
        check_step(step)?;
        self.pending = None;
        if self.protection.is_some() {
            let measured = self.accumulate(batch, batch.len())?;
            self.apply(step)?;
            return Ok(measured);
        }
        if batch.is_empty() {
            return Ok(Measured::default());
        }
        let (values, labels) = self.gather(batch);
        let logits = self.forward(values, labels.len());
        let (losses, measured) = cross_entropy(logits, &labels, &self.device)?;
        // Consumes the graph, which references the weights' buffers, so that the step can change them in place.
        let mut gradients = losses.mean().backward();
        let mut rest = &self.anchor[..];
        let mut next = |len: usize| {
            let (own, others) = rest.split_at(len);
            rest = others;
            own
        };
        for conv in &mut self.convolutions {
            conv.weight.step(&mut gradients, step, next(conv.weight.len()))?;
            conv.bias.step(&mut gradients, step, next(conv.bias.len()))?;
        }
        for linear in &mut self.linears {
            linear.weight.step(&mut gradients, step, next(linear.weight.len()))?;
            linear.bias.step(&mut gradients, step, next(linear.bias.len()))?;
        }
        Ok(measured)
    }

    fn accumulate(&mut self, part: &[&Prepared], of: usize) -> Result<Measured, TrainError> {
        let (clip, at_once) = match &self.protection {
            Some(protection) => (Some(protection.clip()), per_example::EXAMPLES_AT_ONCE),
            None => (None, part.len().max(1)),
        };
        let mut measured = Measured::default();
        for part in part.chunks(at_once) {
            let (sum, own) = match clip {
                Some(clip) => self.clipped_sum(part, clip)?,
                None => self.mean_gradient(part, of)?,
            };
            measured.loss_sum += own.loss_sum;
            measured.correct += own.correct;
            match &mut self.pending {
                Some(pending) if !pending.is_empty() => {
                    let pairs = pending.iter_mut().flatten().zip(sum.iter().flatten());
                    pairs.for_each(|(pending, part)| *pending += part);
                }
                pending => *pending = Some(sum),
            }
        }
        Ok(measured)
    }

    fn apply(&mut self, step: StepConfig) -> Result<(), TrainError> {
        check_step(step)?;
        let Self { convolutions, linears, anchor, protection, pending, .. } = self;
        let pending = pending.take();
        if pending.is_none() && protection.is_none() {
            return Ok(());
        }
        let (deviation, share) =
            protection.as_ref().map_or((0.0, 1.0), |protection| (protection.deviation(), protection.divisor().recip()));
        let mut sums = pending.unwrap_or_default().into_iter();
        let mut rest = &anchor[..];
        let mut next = |len: usize| {
            let (anchor, anchors) = rest.split_at(len);
            rest = anchors;
            // Without an example the step consists of noise only.
            (sums.next().unwrap_or_else(|| vec![0.0; len]), anchor)
        };
        let mut noise = |slopes: &mut [f32]| {
            if let Some(protection) = protection {
                protection.noise.add_to(slopes, deviation);
            }
        };
        for Conv { weight, bias } in convolutions {
            let (mut slope, anchor) = next(weight.len());
            weight.step_on_host(&mut slope, share, step, anchor, &mut noise)?;
            let (mut slope, anchor) = next(bias.len());
            bias.step_on_host(&mut slope, share, step, anchor, &mut noise)?;
        }
        for Linear { weight, bias } in linears {
            let (mut slope, anchor) = next(weight.len());
            weight.step_on_host(&mut slope, share, step, anchor, &mut noise)?;
            let (mut slope, anchor) = next(bias.len());
            bias.step_on_host(&mut slope, share, step, anchor, &mut noise)?;
        }
        Ok(())
    }

    fn evaluate(&mut self, batch: &[&Prepared]) -> Result<Measured, TrainError> {
        if batch.is_empty() {
            return Ok(Measured::default());
        }
        let (values, labels) = self.gather(batch);
        let logits = self.forward(values, labels.len()).inner();
        Ok(measure(&read(log_softmax(logits, 1))?, &labels))
    }

    fn predict_batch(&mut self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, TrainError> {
        let inputs = inputs.iter().map(|input| self.numbers(input)).collect::<Result<Vec<_>, _>>()?;
        let mut out = Vec::with_capacity(inputs.len());
        for part in inputs.chunks(PREDICTED_AT_ONCE) {
            let logits = self.forward(part.concat(), part.len()).inner();
            out.extend(probabilities(&read(log_softmax(logits, 1))?, self.classes));
        }
        Ok(out)
    }
}
