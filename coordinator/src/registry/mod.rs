//! Models: files as safetensors, written once; lineage rows; the optimizer's state beside each version.

mod account;

use scale_proto::ids::{Digest, ModelVersion, RoundId, TaskId};
use scale_proto::time::Timestamp;

use bytes::Bytes;
use scale_proto::model::ModelSpec;
use scale_proto::model_file::{ModelFileError, decode, encode};

use crate::blobs::{BlobError, Blobs};
use crate::rows::{ModelRow, Origin};
use crate::spent::Spent;

pub(crate) use account::account;

/// What goes wrong between weights and their blobs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A blob that a row names is not there, or is not what the row says.
    #[error("model file {0} is missing or damaged")]
    Damaged(String),
    /// A model file is not what it should be.
    #[error("{0}")]
    File(#[from] ModelFileError),
    /// The blob store.
    #[error("{0}")]
    Blob(#[from] BlobError),
}

/// What a new version is made of.
#[derive(Debug)]
pub struct Draft<'a> {
    /// The task.
    pub task: &'a TaskId,
    /// The architecture.
    pub spec: &'a ModelSpec,
    /// The new version.
    pub version: ModelVersion,
    /// What it was made from.
    pub parent: Option<ModelVersion>,
    /// The round that made it.
    pub round: Option<RoundId>,
    /// Devices in the sum.
    pub cohort: u32,
    /// Where it comes from.
    pub origin: Origin,
    /// Clip norm of rounds that train it, where it follows the devices.
    pub clip: Option<f64>,
    /// What its making has cost in privacy.
    pub spent: Spent,
    /// The flat weights.
    pub weights: &'a [f32],
    /// The optimizer's state after this version; empty for none.
    pub optimizer: Vec<u8>,
    /// Now.
    pub created_at: Timestamp,
}

/// Writes the blobs of a version and returns the row that makes it known. Until that row is committed nobody sees it, and
/// writing again is harmless: names hold the content's digest.
///
/// # Errors
/// [`Error`]; blobs that no row names may be left.
pub async fn write(blobs: &Blobs, draft: Draft<'_>) -> Result<ModelRow, Error> {
    let Draft { task, spec, version, weights, optimizer, .. } = draft;
    let file = encode(task, version, spec, weights)?;
    let (digest, bytes) = (Digest::of(&file), file.len() as u64);
    let blob = format!("models/{task}/{:08}-{}.safetensors", version.0, &digest.hex()[..16]);
    blobs.put_new(&blob, Bytes::from(file)).await?;
    let optimizer_blob = if optimizer.is_empty() {
        None
    } else {
        let path = format!("optimizer/{task}/{:08}-{}.bin", version.0, &Digest::of(&optimizer).hex()[..16]);
        blobs.put_new(&path, Bytes::from(optimizer)).await?;
        Some(path)
    };
    Ok(ModelRow {
        task: task.clone(),
        version,
        parent: draft.parent,
        round: draft.round,
        cohort: draft.cohort,
        digest,
        fingerprint: spec.fingerprint(),
        bytes,
        blob,
        optimizer_blob,
        origin: draft.origin,
        clip: draft.clip,
        spent: Some(draft.spent),
        created_at: draft.created_at,
    })
}

/// Reads the flat weights of a version; the file's digest is checked.
///
/// # Errors
/// [`Error`].
pub async fn weights(blobs: &Blobs, spec: &ModelSpec, row: &ModelRow) -> Result<Vec<f32>, Error> {
    let damaged = || Error::Damaged(row.blob.clone());
    let file = blobs.get(&row.blob).await?.ok_or_else(damaged)?;
    if Digest::of(&file) != row.digest {
        return Err(damaged());
    }
    Ok(decode(spec, &file)?)
}

/// Reads the optimizer's state after a version; empty when it has none.
///
/// # Errors
/// [`Error`].
pub async fn optimizer_state(blobs: &Blobs, row: &ModelRow) -> Result<Bytes, Error> {
    match &row.optimizer_blob {
        None => Ok(Bytes::new()),
        Some(path) => blobs.get(path).await?.ok_or_else(|| Error::Damaged(path.clone())),
    }
}
