//! The model files in the device's store, in pieces, and their list.

use scale_proto::ids::{Digest, ModelVersion, TaskId};
use scale_proto::limits::MODEL_BYTES;
use scale_proto::model::ModelSpec;
use serde::{Deserialize, Serialize};

use super::ModelFile;
use crate::error::HostError;
use crate::host::{Host, Store};
use crate::model::{self, Model};

/// Size of one stored piece, in bytes.
pub const PIECE_BYTES: usize = 256 << 10;
/// Number of model files that are kept in addition to the installed ones; older files are deleted.
const KEPT: usize = 2;
const INDEX: &str = "models";

/// Describes an installed model: what is needed to predict with it and to identify it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The task that it belongs to.
    pub task: TaskId,
    /// Version of the model within its task.
    pub version: ModelVersion,
    /// SHA-256 of the model file.
    pub digest: Digest,
    /// Architecture and labels.
    pub spec: ModelSpec,
}

/// An entry of the list under `models`, which is ordered from the oldest file on.
#[derive(Serialize, Deserialize)]
struct Entry {
    digest: Digest,
    bytes: u64,
    #[serde(default)]
    installed: Option<Installed>,
}

/// Installs the file, which [`super::fetch`] has verified, as the model of its task, replacing an older version.
/// Returns false, and changes nothing, if the file is not stored or its version is older than the installed one.
///
/// # Errors
/// [`HostError`] of the store.
pub async fn install<H: Host>(host: &H, model: &Installed) -> Result<bool, HostError> {
    let store = host.store();
    let _turn = store.turn(INDEX).await?;
    let mut entries = list(store).await?;
    let newer = |entry: &Entry| {
        entry.installed.as_ref().is_some_and(|old| old.task == model.task && old.version >= model.version)
    };
    let there = entries.iter().any(|entry| entry.digest == model.digest);
    if !there || entries.iter().any(newer) {
        return Ok(false);
    }
    for entry in &mut entries {
        if entry.installed.as_ref().is_some_and(|old| old.task == model.task) {
            entry.installed = None;
        }
        if entry.digest == model.digest {
            entry.installed = Some(model.clone());
        }
    }
    put_list(store, &entries).await?;
    Ok(true)
}

/// The description of the installed model of a task, without reading its file.
///
/// # Errors
/// [`HostError`] of the store.
pub async fn installed_info<H: Host>(host: &H, task: &TaskId) -> Result<Option<Installed>, HostError> {
    let entries = list(host.store()).await?;
    Ok(entries.into_iter().filter_map(|entry| entry.installed).find(|model| model.task == *task))
}

/// The installed model of a task, verified again; `None` if there is none. A model whose file is damaged is
/// uninstalled, and the next [`super::fetch`] downloads it again.
///
/// # Errors
/// [`HostError`] of the store.
pub async fn installed<H: Host>(host: &H, task: &TaskId) -> Result<Option<Model>, HostError> {
    let store = host.store();
    let of_task = |entry: Entry| Some((entry.bytes, entry.installed.filter(|model| model.task == *task)?));
    let Some((bytes, model)) = list(store).await?.into_iter().find_map(of_task) else { return Ok(None) };
    let Installed { task, version, digest, spec } = model;
    let bytes = Cache { store, digest, bytes }.load().await?;
    let verified = ModelFile::verify(bytes, digest).and_then(|file| model::weights(file.bytes(), &task, &spec));
    match verified {
        Ok(weights) => Ok(Some(Model { task, version, digest, spec, weights })),
        Err(problem) => {
            tracing::warn!(%problem, "the installed model is damaged: it has to be loaded again");
            uninstall(store, digest).await?;
            Ok(None)
        }
    }
}

/// The file counts as not installed from now on.
async fn uninstall<S: Store>(store: &S, digest: Digest) -> Result<(), HostError> {
    let _turn = store.turn(INDEX).await?;
    let mut entries = list(store).await?;
    entries.iter_mut().filter(|entry| entry.digest == digest).for_each(|entry| entry.installed = None);
    put_list(store, &entries).await
}

/// One model file in the store.
pub(super) struct Cache<'a, S> {
    pub(super) store: &'a S,
    pub(super) digest: Digest,
    pub(super) bytes: u64,
}

impl<S: Store> Cache<'_, S> {
    /// Adds the file to the list before any piece of it is written, and deletes the oldest files beyond [`KEPT`].
    pub(super) async fn make_room(&self) -> Result<(), HostError> {
        let _turn = self.store.turn(INDEX).await?;
        let mut entries = list(self.store).await?;
        if entries.last().is_some_and(|entry| entry.digest == self.digest && entry.bytes == self.bytes) {
            return Ok(());
        }
        let listed = entries.iter().position(|entry| entry.digest == self.digest);
        let entry = listed.map(|place| entries.remove(place));
        // An earlier announcement may have named another size.
        let installed = entry.and_then(|entry| entry.installed);
        entries.push(Entry { digest: self.digest, bytes: self.bytes, installed });
        let free = |entries: &[Entry]| entries.iter().filter(|entry| entry.installed.is_none()).count();
        while free(&entries) > KEPT {
            let Some(oldest) = entries.iter().position(|entry| entry.installed.is_none()) else { break };
            let Entry { digest, bytes, .. } = entries.remove(oldest);
            Cache { store: self.store, digest, bytes }.delete_pieces().await?;
        }
        put_list(self.store, &entries).await
    }

    /// The bytes of the stored pieces, from the start to the first gap.
    pub(super) async fn load(&self) -> Result<Vec<u8>, HostError> {
        let total = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let mut data = Vec::new();
        while data.len() < total {
            let Some(piece) = self.store.get(&self.name(data.len() / PIECE_BYTES)).await? else { break };
            if piece.len() != PIECE_BYTES.min(total - data.len()) {
                break;
            }
            super::reserve(&mut data, self.bytes);
            data.extend_from_slice(&piece);
        }
        Ok(data)
    }

    pub(super) async fn put(&self, piece: usize, bytes: &[u8]) -> Result<(), HostError> {
        self.store.put(&self.name(piece), bytes).await
    }

    pub(super) async fn delete_pieces(&self) -> Result<(), HostError> {
        // Limited, because the size in a damaged list entry may be too large.
        for piece in 0..self.bytes.min(MODEL_BYTES).div_ceil(PIECE_BYTES as u64) as usize {
            self.store.delete(&self.name(piece)).await?;
        }
        Ok(())
    }

    fn name(&self, piece: usize) -> String {
        format!("model/{}/{piece}", self.digest.hex())
    }
}

/// The list. A damaged one counts as empty, so that the files are downloaded again.
async fn list<S: Store>(store: &S) -> Result<Vec<Entry>, HostError> {
    let stored = store.get(INDEX).await?;
    Ok(stored.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

async fn put_list<S: Store>(store: &S, entries: &[Entry]) -> Result<(), HostError> {
    let list = serde_json::to_vec(entries).map_err(|error| HostError::new("store", error.to_string()))?;
    store.put(INDEX, &list).await
}
