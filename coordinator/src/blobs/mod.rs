//! Models and partial sums: bytes with a name, written once and never changed.
//!
//! [`Blobs`] stands in front of any `object_store`; embedded, that is the folder `blobs` in the data folder, and a write
//! has reached the disk (file and folder) before it is acknowledged. [`sign`] makes and checks the URLs by which devices
//! fetch them without a token.

mod path;
pub mod sign;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{GetOptions, GetResult, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};

pub use path::BlobPath;

/// Blobs by name. Clones share the same store.
#[derive(Clone, Debug)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
}

/// What became of a blob that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there now, durably.
    Created,
    /// There was one of this name; it is unchanged.
    Exists,
}

/// A failed operation on a blob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The name is not one.
    #[error("a blob's name is a relative path of segments of a-z, 0-9, '-', '_' and '.'")]
    Path,
    /// The disk, or a quota, is full; nothing was written.
    #[error("the blob store is full ({0}); free some space")]
    Full(String),
    /// It cannot be read or written now.
    #[error("the blob store cannot be used at the moment: {0}")]
    Unavailable(String),
}

impl BlobError {
    /// One stable word per cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Path => "blob_path",
            Self::Full(_) => "storage_full",
            Self::Unavailable(_) => "storage",
        }
    }

    /// Whether the same call may succeed later.
    pub const fn retry_helps(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Unavailable(_))
    }
}

impl Blobs {
    /// Blobs in a folder, which is created if it is not there.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`] when the folder cannot be used.
    pub fn local(folder: &Path) -> Result<Self, BlobError> {
        let explain = |error: std::io::Error| BlobError::Unavailable(format!("{}: {error}", folder.display()));
        std::fs::create_dir_all(folder).map_err(explain)?;
        let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| classify(&error))?;
        Ok(Self::over(Arc::new(store.with_fsync(true))))
    }

    /// Blobs that end with the last clone of this value, for tests.
    pub fn in_memory() -> Self {
        Self::over(Arc::new(InMemory::new()))
    }

    /// Blobs in any object store.
    pub fn over(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// Writes a blob if there is none of this name, durably.
    ///
    /// # Errors
    /// [`BlobError`]; there is no blob of this name then, unless there was one before.
    pub async fn put_new(&self, path: &str, bytes: Bytes) -> Result<Put, BlobError> {
        let path = BlobPath::parse(path)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&path.object(), PutPayload::from_bytes(bytes), options).await {
            Ok(_) => Ok(Put::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Exists),
            Err(error) => Err(classify(&error)),
        }
    }

    /// A whole blob; `None` when there is none of this name.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, BlobError> {
        let path = BlobPath::parse(path)?;
        let found = match self.store.get(&path.object()).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(classify(&error)),
        };
        found.bytes().await.map(Some).map_err(|error| classify(&error))
    }

    /// A blob, or a part of one, as it is read from the store; `None` when there is none of this name.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn open(&self, path: &BlobPath, options: GetOptions) -> Result<Option<GetResult>, BlobError> {
        match self.store.get_opts(&path.object(), options).await {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(classify(&error)),
        }
    }

    /// Removes a blob; one that is not there is fine.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn delete(&self, path: &str) -> Result<(), BlobError> {
        let path = BlobPath::parse(path)?;
        match self.store.delete(&path.object()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(classify(&error)),
        }
    }

    /// Names of all blobs in a folder and below, sorted.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, BlobError> {
        let folder = BlobPath::parse(folder.trim_end_matches('/'))?;
        let found = self.store.list(Some(&folder.object())).map_ok(|entry| entry.location.to_string());
        let mut names: Vec<String> = found.try_collect().await.map_err(|error| classify(&error))?;
        names.sort_unstable();
        Ok(names)
    }
}

/// Sorts an object store's error by what helps.
fn classify(error: &object_store::Error) -> BlobError {
    let text = error.to_string();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(kind, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)) {
            return BlobError::Full(text);
        }
        cause = error.source();
    }
    BlobError::Unavailable(text)
}
