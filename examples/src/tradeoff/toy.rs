//! The learning task: softmax regression on a mixture of Gaussians, one per class, of which every device sees few classes.

use crate::random::Random;

/// L2 norm to which devices clip their updates. Their mean length stays above this to the last round, so most devices
/// bring all the signal that they may.
pub const CLIP: f64 = 0.3;

/// Examples of one step; a device passes over its examples once per round.
const BATCH: usize = 5;
/// Step size on the device.
const RATE: f32 = 0.2;

/// Sizes of the task. The defaults are those of the experiment; tests take smaller ones.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Shape {
    /// Classes, all as likely over the whole world.
    pub classes: usize,
    /// Numbers per example, without the constant 1 that stands for the bias.
    pub features: usize,
    /// Examples on each device.
    pub examples: usize,
    /// Examples that no device sees, from all classes.
    pub tests: usize,
    /// Standard deviation of the coordinates of the classes' centers; examples lie around these with deviation 1.
    pub spread: f64,
    /// How alike devices are: parameter of the Dirichlet distribution over classes.
    pub alpha: f64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { classes: 10, features: 64, examples: 20, tests: 2000, spread: 0.45, alpha: 0.5 }
    }
}

impl Shape {
    /// Weights of the model: one per class and feature, and one bias per class.
    pub const fn dim(&self) -> usize {
        self.classes * (self.features + 1)
    }

    /// Accuracy of guessing.
    pub fn chance(&self) -> f64 {
        1.0 / self.classes as f64
    }
}

/// Examples, one after the other: `features` numbers and a 1 each.
#[derive(Clone, Debug, Default)]
struct Examples {
    inputs: Vec<f32>,
    labels: Vec<usize>,
}

/// What all devices of one seed see, and the test that the model is judged by. The first devices of a larger world are
/// those of a smaller one.
#[derive(Clone, Debug)]
pub struct World {
    shape: Shape,
    devices: Vec<Examples>,
    test: Examples,
}

impl World {
    /// Draws centers, devices and test.
    pub fn new(shape: Shape, devices: usize, seed: u64) -> Self {
        let mut random = Random::new(seed, "trade-off");
        let centers: Vec<f64> = (0..shape.classes * shape.features).map(|_| random.normal() * shape.spread).collect();
        let mut draw = |labels: Vec<usize>| {
            let mut inputs = Vec::with_capacity(labels.len() * (shape.features + 1));
            for label in &labels {
                let center = &centers[label * shape.features..][..shape.features];
                inputs.extend(center.iter().map(|coordinate| (coordinate + random.normal()) as f32));
                inputs.push(1.0);
            }
            Examples { inputs, labels }
        };
        let test = draw((0..shape.tests).map(|index| index % shape.classes).collect());
        let mut habits = Random::new(seed, "trade-off, classes");
        let devices = (0..devices)
            .map(|_| {
                let shares = habits.dirichlet(shape.classes, shape.alpha);
                draw((0..shape.examples).map(|_| habits.weighted(&shares)).collect())
            })
            .collect();
        Self { shape, devices, test }
    }

    /// Sizes of the task.
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The model that every run starts from: it knows nothing.
    pub fn fresh(&self) -> Vec<f32> {
        vec![0.0; self.shape.dim()]
    }

    /// What `device` adds to `weights` by training on its own examples, not clipped yet.
    ///
    /// # Panics
    /// If there is no such device, or `weights` is not of [`Shape::dim`].
    pub fn train(&self, device: usize, weights: &[f32]) -> Vec<f32> {
        let mut own = weights.to_vec();
        let mut gradient = self.fresh();
        let mut errors = vec![0.0; self.shape.classes];
        for batch in self.rows(&self.devices[device]).collect::<Vec<_>>().chunks(BATCH) {
            gradient.fill(0.0);
            for &(input, label) in batch {
                self.logits(&own, input, &mut errors);
                softmax(&mut errors);
                errors[label] -= 1.0;
                for (row, error) in gradient.chunks_exact_mut(input.len()).zip(&errors) {
                    row.iter_mut().zip(input).for_each(|(sum, x)| *sum += error * x);
                }
            }
            let step = RATE / batch.len() as f32;
            own.iter_mut().zip(&gradient).for_each(|(weight, slope)| *weight -= step * slope);
        }
        own.iter_mut().zip(weights).for_each(|(after, before)| *after -= before);
        own
    }

    /// Share of the test that `weights` get right, 0 to 1.
    ///
    /// # Panics
    /// If `weights` is not of [`Shape::dim`].
    pub fn accuracy(&self, weights: &[f32]) -> f64 {
        let mut logits = vec![0.0; self.shape.classes];
        let right = self.rows(&self.test).filter(|&(input, label)| {
            self.logits(weights, input, &mut logits);
            // Of equals the last one: a model of zeros guesses.
            logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).is_some_and(|(best, _)| best == label)
        });
        right.count() as f64 / self.test.labels.len().max(1) as f64
    }

    fn rows<'a>(&self, examples: &'a Examples) -> impl Iterator<Item = (&'a [f32], usize)> {
        examples.inputs.chunks_exact(self.shape.features + 1).zip(examples.labels.iter().copied())
    }

    fn logits(&self, weights: &[f32], input: &[f32], logits: &mut [f32]) {
        assert_eq!(weights.len(), self.shape.dim(), "weights of another model");
        for (logit, row) in logits.iter_mut().zip(weights.chunks_exact(input.len())) {
            *logit = dot(row, input);
        }
    }
}

/// Sums in eight lanes, which compilers turn into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(lane, (a, b))| *lane += a * b);
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// Turns logits into probabilities.
fn softmax(logits: &mut [f32]) {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter_mut().for_each(|logit| *logit = (*logit - top).exp());
    let sum: f32 = logits.iter().sum();
    logits.iter_mut().for_each(|logit| *logit /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Shape = Shape { classes: 4, features: 8, examples: 20, tests: 200, spread: 1.0, alpha: 0.5 };

    #[test]
    fn a_smaller_world_is_the_beginning_of_a_larger_one() {
        let (small, large) = (World::new(SMALL, 3, 5), World::new(SMALL, 30, 5));
        let weights = vec![0.1; SMALL.dim()];
        for device in 0..3 {
            assert_eq!(small.train(device, &weights), large.train(device, &weights));
        }
        assert_eq!(small.test.inputs, large.test.inputs);
        assert_ne!(small.test.inputs, World::new(SMALL, 3, 6).test.inputs, "another seed is another world");
    }

    #[test]
    fn devices_see_few_classes_and_the_test_sees_all() {
        let world = World::new(Shape { classes: 10, ..SMALL }, 50, 1);
        let seen = |examples: &Examples| (0..10).filter(|class| examples.labels.contains(class)).count();
        assert_eq!(seen(&world.test), 10);
        let mean = world.devices.iter().map(seen).sum::<usize>() as f64 / 50.0;
        assert!((3.0..8.0).contains(&mean), "{mean} classes on a device");
    }

    #[test]
    fn a_fresh_model_guesses_and_training_helps() {
        let world = World::new(SMALL, 20, 1);
        let mut weights = world.fresh();
        assert_eq!(world.accuracy(&weights), SMALL.chance(), "the test has as many examples of each class");
        for _ in 0..10 {
            let updates: Vec<_> = (0..20).map(|device| world.train(device, &weights)).collect();
            for update in updates {
                weights.iter_mut().zip(update).for_each(|(weight, entry)| *weight += entry / 20.0);
            }
        }
        assert!(world.accuracy(&weights) > 0.8, "{}", world.accuracy(&weights));
    }

    #[test]
    fn lanes_add_up() {
        for len in [0, 1, 7, 8, 9, 17] {
            let a: Vec<f32> = (0..len).map(|x| x as f32).collect();
            assert_eq!(dot(&a, &a), (0..len).map(|x| (x * x) as f32).sum::<f32>());
        }
    }
}
