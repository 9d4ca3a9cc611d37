//! Prediction with the model stored on the device, which needs no network.

use scale_proto::ids::{Digest, ModelVersion};

use super::App;
use crate::device::Cancel;
use crate::download;
use crate::error::Error;
use crate::host::Host;
use crate::model::Model;
use crate::train::{Backend, Input, Learner, build};
use crate::trainer::TrainError;

/// Identifies the model on this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Version of the model within its task.
    pub version: ModelVersion,
    /// SHA-256 of the model file.
    pub digest: Digest,
    /// Names of its classes, in the order of the model's outputs.
    pub labels: Vec<String>,
}

impl From<&Model> for ModelInfo {
    fn from(model: &Model) -> Self {
        Self { version: model.version, digest: model.digest, labels: model.spec.labels.clone() }
    }
}

/// The prediction for one line.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The most probable labels, in decreasing order of probability.
    pub top: Vec<Scored>,
}

/// A label with its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Name of the class.
    pub label: String,
    /// Probability, 0 to 1. The probabilities of all of the model's labels add up to 1.
    pub probability: f32,
}

/// A model that is loaded into memory.
pub(super) struct Predictor {
    info: ModelInfo,
    learner: Box<dyn Learner + Send>,
}

impl std::fmt::Debug for Predictor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Predictor").field("version", &self.info.version).finish_non_exhaustive()
    }
}

impl Predictor {
    fn new(model: &Model, backend: Backend) -> Result<Self, TrainError> {
        let mut learner = build(&model.spec, backend)?;
        learner.load(&model.weights)?;
        Ok(Self { info: ModelInfo::from(model), learner })
    }

    fn predict(&mut self, texts: &[String], top: usize) -> Result<Vec<Prediction>, TrainError> {
        let inputs: Vec<Input> = texts.iter().map(|text| Input::Text(text.as_str().into())).collect();
        let probabilities = self.learner.predict_batch(&inputs)?;
        Ok(probabilities
            .iter()
            .map(|of_one| Prediction { top: most_probable(&self.info.labels, of_one, top) })
            .collect())
    }
}

impl<H: Host> App<H> {
    /// Classifies lines with the model on this device, without network. `top`: number of labels to return for each
    /// line, at least 1. The first call loads the model from the store.
    ///
    /// # Errors
    /// [`Error::NoModel`] before the first [`Self::refresh_model`] or round; [`Error::Training`] if this build cannot
    /// evaluate the model; [`Error::Host`].
    pub async fn predict(&self, texts: &[String], top: u32) -> Result<Vec<Prediction>, Error> {
        let mut loaded = self.0.predictor.lock().await;
        // A round, or another process, may have installed a newer model.
        let installed = download::installed_info(self.host(), &self.0.task).await?;
        if let (Some(old), Some(new)) = (&*loaded, &installed)
            && old.info.digest != new.digest
        {
            *loaded = None;
        }
        let predictor = match &mut *loaded {
            Some(predictor) => predictor,
            empty => {
                let model = download::installed(self.host(), &self.0.task).await?.ok_or(Error::NoModel)?;
                empty.insert(Predictor::new(&model, self.0.backend)?)
            }
        };
        Ok(predictor.predict(texts, top.max(1) as usize)?)
    }

    /// Downloads the newest model of the task if it is not on this device yet. `None`: the installed model is the
    /// newest.
    ///
    /// # Errors
    /// [`Error::NotEnrolled`], [`Error::Cancelled`], [`Error::Call`], [`Error::Model`], [`Error::Host`]; the installed
    /// model then stays.
    pub async fn refresh_model(&self, cancel: &Cancel) -> Result<Option<ModelInfo>, Error> {
        let _not_forgotten = self.0.installation.read().await;
        let Some(model) = self.0.client.refresh_model(&self.0.task, cancel).await? else { return Ok(None) };
        Ok(Some(ModelInfo::from(&model)))
    }
}

fn most_probable(labels: &[String], probabilities: &[f32], top: usize) -> Vec<Scored> {
    let mut order: Vec<usize> = (0..labels.len().min(probabilities.len())).collect();
    order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
    let scored = |class: &usize| Scored { label: labels[*class].clone(), probability: probabilities[*class] };
    order.iter().take(top).map(scored).collect()
}
