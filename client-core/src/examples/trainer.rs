//! Training on the app's examples.

use std::sync::{Arc, Mutex, PoisonError};

use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_proto::plan::Plan;

use super::dataset;
use super::shard::{Entry, IdDigest};
use crate::train::{Backend, DatasetTrainer};
use crate::trainer::{TrainError, Trainer, Training};

/// Trains on the examples of an app as they were when it was made ([`Examples::trainer`](super::Examples::trainer)).
///
/// What a label is, a plan says: those that it does not know cost their examples, not the round. Without a single example
/// that fits, a plan is answered with [`TrainError::NoExamples`].
pub struct ExampleTrainer {
    examples: Vec<(IdDigest, Arc<Entry>)>,
    backend: Backend,
    /// Over the labels of the last plan.
    trainer: Mutex<Option<(Vec<String>, DatasetTrainer)>>,
}

impl ExampleTrainer {
    pub(super) fn new(examples: Vec<(IdDigest, Arc<Entry>)>, backend: Backend) -> Self {
        Self { examples, backend, trainer: Mutex::default() }
    }
}

impl Trainer for ExampleTrainer {
    fn price(&self, plan: &Plan) -> Result<Option<DpSgd>, TrainError> {
        // Whole after any panic: it is put there when it is complete.
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

/// A trainer on the examples whose labels are among these: the one that is there, if it is over the same ones.
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
