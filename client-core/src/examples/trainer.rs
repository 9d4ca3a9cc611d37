//! Training on the app's examples.

use std::sync::{Arc, Mutex, PoisonError};

use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_proto::plan::Plan;

use super::dataset;
use super::shard::{Entry, IdDigest};
use crate::train::{Backend, DatasetTrainer};
use crate::trainer::{TrainError, Trainer, Training};

/// Trains on the examples of an app as they were when this trainer was created
/// ([`Examples::trainer`](super::Examples::trainer)).
///
/// The plan's model defines the labels. Examples with other labels are left out of the training. If no example is left,
/// training fails with [`TrainError::NoExamples`].
pub struct ExampleTrainer {
    examples: Vec<(IdDigest, Arc<Entry>)>,
    backend: Backend,
    /// The trainer for the labels of the last plan, with these labels.
    trainer: Mutex<Option<(Vec<String>, DatasetTrainer)>>,
}

impl ExampleTrainer {
    pub(super) fn new(examples: Vec<(IdDigest, Arc<Entry>)>, backend: Backend) -> Self {
        Self { examples, backend, trainer: Mutex::default() }
    }
}

impl Trainer for ExampleTrainer {
    fn price(&self, plan: &Plan) -> Result<Option<DpSgd>, TrainError> {
        // A poisoned lock is harmless: the value is only ever replaced as a whole.
        let mut kept = self.trainer.lock().unwrap_or_else(PoisonError::into_inner);
        over_labels(&mut kept, &self.examples, self.backend, &plan.model.labels).price(plan)
    }

    fn begin<'a>(
        &'a mut self,
        plan: &'a Plan,
        weights: &[f32],
        secret: &[u8; 32],
    ) -> Result<Box<dyn Training + Send + 'a>, TrainError> {
        let kept = self.trainer.get_mut().unwrap_or_else(PoisonError::into_inner);
        over_labels(kept, &self.examples, self.backend, &plan.model.labels).begin(plan, weights, secret)
    }
}

/// A trainer over the examples with these labels: the existing one if its labels are the same, else a new one.
fn over_labels<'a>(
    kept: &'a mut Option<(Vec<String>, DatasetTrainer)>,
    examples: &[(IdDigest, Arc<Entry>)],
    backend: Backend,
    labels: &[String],
) -> &'a mut DatasetTrainer {
    if kept.as_ref().is_some_and(|(of, _)| of != labels) {
        *kept = None;
    }
    let (_, trainer) = kept.get_or_insert_with(|| {
        let (dataset, _skipped) = dataset(examples.iter().map(|(digest, entry)| (digest, entry)), labels);
        (labels.to_vec(), DatasetTrainer::new(dataset, backend))
    });
    trainer
}
