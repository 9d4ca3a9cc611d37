//! What the federated model is compared with: the same model, the same code, trained where all data lies together, and
//! by one device on its own.

use scale_client_core::train::{Backend, Dataset, DatasetTrainer, fresh_weights};
use scale_client_core::trainer::{TrainError, Trainer as _, run_to_end};
use scale_proto::plan::Plan;
use scale_proto::privacy::Privacy;
use scale_proto::task::TaskConfig;

use crate::demo;

/// Plain SGD needs larger steps than devices whose updates a server optimizer rescales.
pub const LEARNING_RATE: f32 = 1.0;

/// Passes over the pooled data; more make the central model worse, not better, on merchants that it has not seen.
pub const CENTRAL_EPOCHS: u32 = 8;

/// Passes of a device on its own: its data is a thirtieth, so it needs more of them.
pub const ALONE_EPOCHS: u32 = 20;

/// Trains the task's model on everybody's data in one place. Returns its weights.
///
/// # Errors
/// As [`run_to_end`].
pub fn central<'a>(
    task: &TaskConfig,
    people: impl IntoIterator<Item = &'a Dataset>,
    seed: u64,
) -> Result<Vec<f32>, TrainError> {
    let pooled = people.into_iter().flat_map(|dataset| dataset.examples.iter().cloned()).collect();
    train(task, pooled, CENTRAL_EPOCHS, seed)
}

/// Trains the task's model on one person's data alone. Returns its weights.
///
/// # Errors
/// As [`run_to_end`].
pub fn alone(task: &TaskConfig, person: &Dataset, seed: u64) -> Result<Vec<f32>, TrainError> {
    train(task, person.clone(), ALONE_EPOCHS, seed)
}

fn train(task: &TaskConfig, dataset: Dataset, epochs: u32, seed: u64) -> Result<Vec<f32>, TrainError> {
    let plan = Plan {
        epochs,
        batch_size: demo::BATCH,
        learning_rate: LEARNING_RATE,
        proximal_mu: 0.0,
        holdout_permille: 0,
        privacy: Privacy::None,
        ..Plan::of(task, seed)
    };
    let initial = fresh_weights(&task.model, seed);
    let mut trainer = DatasetTrainer::new(dataset, Backend::Flex);
    // Without noise nothing is secret.
    let training = trainer.begin(&plan, &initial, &[0; 32])?;
    Ok(run_to_end(training, &mut || false, &mut |_| ())?.weights)
}
