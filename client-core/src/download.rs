//! Downloads model files from signed URLs: resumable, never larger than announced, verified, and cached by digest.
//!
//! A file is stored in pieces of [`PIECE_BYTES`] under `model/<digest>/<n>`, so that a device that was killed continues
//! with the next piece; the key `models` lists the stored files. Inconsistent or damaged files are deleted and
//! downloaded again. The newest verified model of each task is [`install`]ed: it is kept when other files are
//! downloaded, and can be used without a network.

use scale_proto::ids::Digest;
use scale_proto::limits::MODEL_BYTES;

use crate::error::{CallError, Error, ModelError};
use crate::host::{Body as _, Host, MaybeSend, Transport as _};

mod cache;

use cache::Cache;
pub use cache::{Installed, PIECE_BYTES, install, installed, installed_info};

/// A file to download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Signed URL.
    pub url: String,
    /// Size of the file, 1 to [`MODEL_BYTES`].
    pub bytes: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// A file whose digest is verified; only [`ModelFile::verify`] creates one.
#[derive(Clone, PartialEq, Eq)]
pub struct ModelFile {
    digest: Digest,
    bytes: Vec<u8>,
}

impl ModelFile {
    /// Checks that the bytes have this digest.
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

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for ModelFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModelFile({}, {} bytes)", self.digest, self.bytes.len())
    }
}

/// Returns the file from the store, or downloads it from its URL, continuing an earlier download that was interrupted.
///
/// `progress`: called with the number of bytes received so far.
///
/// # Errors
/// [`Error::Model`] if the file does not have the announced size or digest; [`Error::Call`] if the connection broke,
/// after which the next call resumes; [`Error::Host`].
pub async fn fetch<H: Host>(
    host: &H,
    wanted: &Wanted,
    mut progress: impl FnMut(u64) + MaybeSend,
) -> Result<ModelFile, Error> {
    if wanted.bytes == 0 || wanted.bytes > MODEL_BYTES {
        return Err(ModelError::TooLarge { announced: MODEL_BYTES }.into());
    }
    let cache = Cache { store: host.store(), digest: wanted.digest, bytes: wanted.bytes };
    cache.make_room().await?;
    let mut data = cache.load().await?;
    let resumed = !data.is_empty();
    let mut result = complete(host, &cache, wanted, &mut data, &mut progress).await;
    if resumed && matches!(result, Err(Error::Model(_))) {
        // The stored pieces may be the damaged ones, so the whole file is downloaded once more.
        data.clear();
        result = complete(host, &cache, wanted, &mut data, &mut progress).await;
    }
    result
}

/// Downloads what `data` lacks and verifies the whole. Deletes the stored pieces if verification fails.
async fn complete<H: Host>(
    host: &H,
    cache: &Cache<'_, H::Store>,
    wanted: &Wanted,
    data: &mut Vec<u8>,
    progress: &mut (impl FnMut(u64) + MaybeSend),
) -> Result<ModelFile, Error> {
    let file = match stream(host, cache, wanted, data, progress).await {
        Ok(()) => ModelFile::verify(std::mem::take(data), wanted.digest),
        Err(Error::Model(error)) => Err(error),
        Err(error) => return Err(error),
    };
    match file {
        Ok(file) => Ok(file),
        Err(error) => {
            cache.delete_pieces().await?;
            Err(error.into())
        }
    }
}

async fn stream<H: Host>(
    host: &H,
    cache: &Cache<'_, H::Store>,
    wanted: &Wanted,
    data: &mut Vec<u8>,
    progress: &mut (impl FnMut(u64) + MaybeSend),
) -> Result<(), Error> {
    progress(data.len() as u64);
    if data.len() as u64 == wanted.bytes {
        return Ok(());
    }
    let mut download = host.transport().download(&wanted.url, data.len() as u64).await?;
    if download.from == 0 {
        data.clear();
    } else if download.from != data.len() as u64 {
        let problem = format!("the server resumes at byte {}, but byte {} was requested", download.from, data.len());
        return Err(CallError::Unreachable(problem).into());
    }
    while let Some(bytes) = download.body.next().await? {
        let before = data.len() / PIECE_BYTES;
        if data.len() as u64 + bytes.len() as u64 > wanted.bytes {
            return Err(ModelError::TooLarge { announced: wanted.bytes }.into());
        }
        reserve(data, wanted.bytes);
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

/// Makes room for a file that is about to be read piece by piece: a buffer that doubles needs three times the file. Beyond a
/// limit it doubles all the same, because the announced size is the server's word.
fn reserve(data: &mut Vec<u8>, announced: u64) {
    const LIMIT: u64 = 16 << 20;
    // At most the limit.
    let wanted = announced.min(LIMIT) as usize;
    if data.is_empty() {
        data.reserve_exact(wanted);
    }
}

#[cfg(test)]
mod tests;
