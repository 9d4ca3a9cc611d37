//! Test fixtures of this crate in addition to [`crate::testing`]: model files with faults, and a trainer.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};
use scale_proto::model::ModelSpec;
use scale_proto::plan::Plan;

use crate::error::HostError;
use crate::host::Store;
use crate::host::memory::MemoryStore;
use crate::testing::Training;
pub(crate) use crate::testing::setting::*;
use crate::trainer::{TrainError, Trained, Trainer, Training as Session, in_one_step};

pub(crate) mod coordinator;

/// Gives the executor a turn before and after each change, so that a test can kill the device there.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlowStore(pub(crate) MemoryStore);

impl Store for SlowStore {
    type Turn = <MemoryStore as Store>::Turn;

    async fn turn(&self, name: &str) -> Result<Self::Turn, HostError> {
        self.0.turn(name).await
    }
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.0.get(key).await
    }
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), HostError> {
        coordinator::turn().await;
        self.0.put(key, bytes).await?;
        coordinator::turn().await;
        Ok(())
    }
    async fn delete(&self, key: &str) -> Result<(), HostError> {
        coordinator::turn().await;
        self.0.delete(key).await?;
        coordinator::turn().await;
        Ok(())
    }
    async fn clear(&self) -> Result<(), HostError> {
        coordinator::turn().await;
        self.0.clear().await?;
        coordinator::turn().await;
        Ok(())
    }
}

/// A model file with any weights.
pub(crate) fn model_file(spec: &ModelSpec, weights: &[f32]) -> Vec<u8> {
    model_file_with(spec, weights, str::to_owned)
}

/// A model file whose tensors are renamed.
pub(crate) fn model_file_with(spec: &ModelSpec, weights: &[f32], rename: impl Fn(&str) -> String) -> Vec<u8> {
    let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    let mut at = 0;
    let tensors: Vec<_> = spec
        .tensors()
        .into_iter()
        .map(|tensor| {
            let end = at + 4 * tensor.len() as usize;
            let shape = tensor.shape.iter().map(|&side| side as usize).collect();
            let view = TensorView::new(Dtype::F32, shape, &bytes[at..end]).expect("shape and bytes agree");
            at = end;
            (rename(&tensor.name), view)
        })
        .collect();
    let metadata = HashMap::from([
        ("task".to_owned(), task().to_string()),
        ("version".to_owned(), "1".to_owned()),
        ("fingerprint".to_owned(), spec.fingerprint().hex()),
        ("spec".to_owned(), serde_json::to_string(spec).expect("plain data")),
    ]);
    safetensors::serialize(tensors, Some(metadata)).expect("distinct names")
}

/// A trainer that adds `step` to every weight, and reports `examples` examples.
pub(crate) struct ConstantTrainer {
    pub(crate) step: f32,
    pub(crate) examples: u32,
}

impl ConstantTrainer {
    pub(crate) fn result(&self, weights: &[f32]) -> Trained {
        Training::even(self.step, self.examples).result(weights)
    }
}

impl Trainer for ConstantTrainer {
    fn begin<'a>(
        &'a mut self,
        _: &'a Plan,
        weights: &[f32],
        _: &[u8; 32],
    ) -> Result<Box<dyn Session + Send + 'a>, TrainError> {
        let result = self.result(weights);
        Ok(in_one_step(move || Ok(result)))
    }
}
