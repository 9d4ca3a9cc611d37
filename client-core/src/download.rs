//! Model files from a signed URL: resumed where they broke off, never larger than announced, verified, and kept by digest.
//!
//! A file lies in the store in pieces of [`PIECE_BYTES`], so that a device that was killed goes on with the next one:
//! `model/<digest>/<n>`, and `models` lists what is there. Anything that does not add up is deleted and loaded anew.

use scale_proto::ids::Digest;
use scale_proto::limits::MODEL_BYTES;
use serde::{Deserialize, Serialize};

use crate::error::{CallError, Error, HostError, ModelError};
use crate::host::{Body as _, Host, MaybeSend, Store, Transport as _};

/// Bytes of one stored piece.
pub const PIECE_BYTES: usize = 1 << 20;
/// Model files kept; older ones are deleted.
const KEPT: usize = 2;
const INDEX: &str = "models";

/// A file to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Signed URL.
    pub url: String,
    /// Size of the file, 1 to [`MODEL_BYTES`].
    pub bytes: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// A file whose digest has been compared; only [`ModelFile::verify`] makes one.
#[derive(Clone, PartialEq, Eq)]
pub struct ModelFile {
    digest: Digest,
    bytes: Vec<u8>,
}

impl ModelFile {
    /// Hashes the bytes.
    ///
    /// # Errors
    /// [`ModelError::DigestMismatch`].
    pub fn verify(bytes: Vec<u8>, digest: Digest) -> Result<Self, ModelError> {
        if Digest::of(&bytes) == digest { Ok(Self { digest, bytes }) } else { Err(ModelError::DigestMismatch) }
    }

    /// SHA-256 of the file.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for ModelFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModelFile({}, {} bytes)", self.digest, self.bytes.len())
    }
}

/// Gives the file, from the store if it is there, else from its URL; goes on where an earlier call broke off.
///
/// `progress`: told how many bytes are here.
///
/// # Errors
/// [`Error::Model`] when the file is not what was announced; [`Error::Call`] when the connection broke, in which case the
/// next call resumes; [`Error::Host`].
pub async fn fetch<H: Host>(
    host: &H,
    wanted: &Wanted,
    mut progress: impl FnMut(u64) + MaybeSend,
) -> Result<ModelFile, Error> {
    if wanted.bytes == 0 || wanted.bytes > MODEL_BYTES {
        return Err(ModelError::TooLarge { announced: MODEL_BYTES }.into());
    }
    let cache = Cache { store: host.store(), wanted };
    cache.make_room().await?;
    let mut data = cache.load().await?;
    let resumed = !data.is_empty();
    let mut result = complete(host, &cache, &mut data, &mut progress).await;
    if resumed && matches!(result, Err(Error::Model(_))) {
        // The stored pieces may be the bad ones; the server gets one chance to send everything.
        data.clear();
        result = complete(host, &cache, &mut data, &mut progress).await;
    }
    result
}

/// Loads what `data` lacks and verifies the whole. Deletes the pieces when they cannot be right.
async fn complete<H: Host>(
    host: &H,
    cache: &Cache<'_, H::Store>,
    data: &mut Vec<u8>,
    progress: &mut (impl FnMut(u64) + MaybeSend),
) -> Result<ModelFile, Error> {
    let wanted = cache.wanted;
    let file = match stream(host, cache, data, progress).await {
        Ok(()) => ModelFile::verify(std::mem::take(data), wanted.digest),
        Err(Error::Model(error)) => Err(error),
        Err(error) => return Err(error),
    };
    match file {
        Ok(file) => Ok(file),
        Err(error) => {
            cache.delete_pieces(&wanted.digest, wanted.bytes).await?;
            Err(error.into())
        }
    }
}

async fn stream<H: Host>(
    host: &H,
    cache: &Cache<'_, H::Store>,
    data: &mut Vec<u8>,
    progress: &mut (impl FnMut(u64) + MaybeSend),
) -> Result<(), Error> {
    let wanted = cache.wanted;
    progress(data.len() as u64);
    if data.len() as u64 == wanted.bytes {
        return Ok(());
    }
    let mut download = host.transport().download(&wanted.url, data.len() as u64).await?;
    if download.from == 0 {
        data.clear();
    } else if download.from != data.len() as u64 {
        let problem = format!("the server resumes at byte {}, {} was asked for", download.from, data.len());
        return Err(CallError::Unreachable(problem).into());
    }
    while let Some(bytes) = download.body.next().await? {
        let before = data.len() / PIECE_BYTES;
        if data.len() as u64 + bytes.len() as u64 > wanted.bytes {
            return Err(ModelError::TooLarge { announced: wanted.bytes }.into());
        }
        data.extend_from_slice(&bytes);
        for piece in before..data.len() / PIECE_BYTES {
            cache.put(piece, &data[piece * PIECE_BYTES..][..PIECE_BYTES]).await?;
        }
        progress(data.len() as u64);
    }
    if (data.len() as u64) < wanted.bytes {
        let problem = format!("the download ended after {} of {} bytes", data.len(), wanted.bytes);
        return Err(CallError::Unreachable(problem).into());
    }
    let whole = data.len() / PIECE_BYTES;
    if !data.len().is_multiple_of(PIECE_BYTES) {
        cache.put(whole, &data[whole * PIECE_BYTES..]).await?;
    }
    Ok(())
}

/// What `models` lists, oldest first.
#[derive(Serialize, Deserialize)]
struct Entry {
    digest: Digest,
    bytes: u64,
}

struct Cache<'a, S> {
    store: &'a S,
    wanted: &'a Wanted,
}

impl<S: Store> Cache<'_, S> {
    /// Lists the wanted file before any piece of it is written, and deletes the oldest files beyond [`KEPT`].
    async fn make_room(&self) -> Result<(), HostError> {
        let stored = self.store.get(INDEX).await?;
        // A damaged list only means that files are loaded again.
        let mut entries: Vec<Entry> = stored.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        if entries.last().is_some_and(|entry| entry.digest == self.wanted.digest) {
            return Ok(());
        }
        entries.retain(|entry| entry.digest != self.wanted.digest);
        entries.push(Entry { digest: self.wanted.digest, bytes: self.wanted.bytes });
        while entries.len() > KEPT {
            let oldest = entries.remove(0);
            self.delete_pieces(&oldest.digest, oldest.bytes).await?;
        }
        let list = serde_json::to_vec(&entries).map_err(|error| HostError::new("store", error.to_string()))?;
        self.store.put(INDEX, &list).await
    }

    /// The pieces from the start, as far as they go without a gap.
    async fn load(&self) -> Result<Vec<u8>, HostError> {
        let total = usize::try_from(self.wanted.bytes).unwrap_or(usize::MAX);
        let mut data = Vec::new();
        while data.len() < total {
            let Some(piece) = self.store.get(&name(&self.wanted.digest, data.len() / PIECE_BYTES)).await? else {
                break;
            };
            if piece.len() != PIECE_BYTES.min(total - data.len()) {
                break;
            }
            data.extend_from_slice(&piece);
        }
        Ok(data)
    }

    async fn put(&self, piece: usize, bytes: &[u8]) -> Result<(), HostError> {
        self.store.put(&name(&self.wanted.digest, piece), bytes).await
    }

    async fn delete_pieces(&self, digest: &Digest, bytes: u64) -> Result<(), HostError> {
        // A list entry may be damaged: no file has more pieces than the largest model.
        for piece in 0..bytes.min(MODEL_BYTES).div_ceil(PIECE_BYTES as u64) as usize {
            self.store.delete(&name(digest, piece)).await?;
        }
        Ok(())
    }
}

fn name(digest: &Digest, piece: usize) -> String {
    format!("model/{}/{piece}", digest.hex())
}

#[cfg(test)]
mod tests;
