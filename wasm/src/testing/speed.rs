//! What masking and training cost in a browser: exports for `tests/speed`.

use scale_client_core::train::{Backend, Example, Input, Learner, Prepared, StepConfig, build, fresh_weights};
use scale_proto::model::{Family, ModelSpec};
use scale_secagg::prg::{self, MaskKey, Sign};
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

/// The seed of the initial weights.
const SEED: u64 = 1;

/// A model that is trained on batches of one size, whose steps the caller times.
#[wasm_bindgen]
pub struct SpeedTraining {
    learner: Box<dyn Learner + Send>,
    examples: Vec<Prepared>,
    batch: usize,
    step: StepConfig,
    /// Index of the next batch.
    next: usize,
}

#[wasm_bindgen]
impl SpeedTraining {
    /// A perceptron on the caller's numbers: `inputs` holds `widths[0]` numbers per label; `widths` ends with the number
    /// of classes.
    ///
    /// # Errors
    /// If the numbers do not fit the model.
    pub fn perceptron(
        widths: &[u32],
        inputs: &[f32],
        labels: &[u32],
        batch: usize,
        rate: f32,
    ) -> Result<SpeedTraining, JsError> {
        let [first, hidden @ .., classes] = widths else {
            return Err(JsError::new("a perceptron has at least the widths of its input and of its output"));
        };
        let spec = spec(*classes, Family::Mlp { inputs: *first, hidden: hidden.to_vec() });
        let rows = inputs.chunks_exact(*first as usize).zip(labels);
        let examples = rows.map(|(row, &label)| Example::new("", Input::Dense(row.to_vec()), label));
        Self::new(&spec, examples, batch, rate)
    }

    /// The demo's text bag on the caller's lines of text, one per label.
    ///
    /// # Errors
    /// If a label is not one of the model's 18 classes.
    pub fn text_bag(lines: Vec<String>, labels: &[u32], batch: usize, rate: f32) -> Result<SpeedTraining, JsError> {
        let spec = spec(18, Family::TextBag { buckets: 65_536, dim: 18, ngram_min: 2, ngram_max: 5 });
        let examples =
            lines.into_iter().zip(labels).map(|(line, &label)| Example::new("", Input::Text(line.into()), label));
        Self::new(&spec, examples, batch, rate)
    }

    /// The weights, in the order of the model's tensors.
    ///
    /// # Errors
    /// If the back end cannot read its memory.
    pub fn weights(&mut self) -> Result<Vec<f32>, JsError> {
        Ok(self.learner.flatten()?)
    }

    /// Makes so many steps, over the batches in turn. Returns the mean loss of the last step's batch before that step.
    ///
    /// # Errors
    /// If a step fails.
    pub fn steps(&mut self, count: usize) -> Result<f64, JsError> {
        let batches = self.examples.len() / self.batch;
        let mut loss = f64::NAN;
        for _ in 0..count {
            let batch: Vec<&Prepared> = self.examples[self.next * self.batch..][..self.batch].iter().collect();
            loss = self.learner.train_step(&batch, self.step)?.loss_sum / self.batch as f64;
            self.next = (self.next + 1) % batches;
        }
        Ok(loss)
    }
}

impl SpeedTraining {
    fn new(
        spec: &ModelSpec,
        examples: impl Iterator<Item = Example>,
        batch: usize,
        learning_rate: f32,
    ) -> Result<Self, JsError> {
        let mut learner = build(spec, Backend::Flex)?;
        learner.load(&fresh_weights(spec, SEED))?;
        let examples = examples.map(|example| learner.prepare(&example)).collect::<Result<Vec<_>, _>>()?;
        if batch == 0 || examples.len() < batch {
            return Err(JsError::new("there must be at least one batch of at least one example"));
        }
        let step = StepConfig { learning_rate, proximal_mu: 0.0 };
        Ok(Self { learner, examples, batch, step, next: 0 })
    }
}

fn spec(classes: u32, family: Family) -> ModelSpec {
    ModelSpec { labels: (0..classes).map(|class| class.to_string()).collect(), family }
}

/// A device's input, which is masked as a round does it.
#[wasm_bindgen]
pub struct SpeedMasking {
    values: Vec<u32>,
    keys: Vec<MaskKey>,
    upload: Vec<u8>,
}

#[wasm_bindgen]
impl SpeedMasking {
    /// An input of so many entries, and the keys of its own mask and of the masks with so many neighbors.
    #[wasm_bindgen(constructor)]
    pub fn new(entries: usize, neighbors: u32) -> Self {
        let key = |number: u32| {
            let mut bytes = [7; 32];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            MaskKey::new(&bytes)
        };
        Self { values: vec![1; entries], keys: (0..=neighbors).map(key).collect(), upload: Vec::new() }
    }

    /// The implementation of the masks that this build uses.
    pub fn backend(&self) -> String {
        prg::backend().to_owned()
    }

    /// Adds and subtracts every mask and packs the result, `bits` of each entry: the work of a device's stage 2 that
    /// grows with the model. Returns a check value of the packed bytes, which depends on every mask.
    pub fn mask(&mut self, bits: u8) -> u32 {
        let signed = |(index, key)| (if index % 2 == 0 { Sign::Plus } else { Sign::Minus }, key);
        let masks: Vec<(Sign, &MaskKey)> = self.keys.iter().enumerate().map(signed).collect();
        prg::accumulate(&mut self.values, 0, 0, &masks);
        self.upload.clear();
        scale_secagg::pack::pack(&self.values, bits, &mut self.upload);
        self.upload.iter().fold(0, |sum: u32, &byte| sum.rotate_left(5) ^ u32::from(byte))
    }
}
