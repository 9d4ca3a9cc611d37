//! Models and partial sums: bytes with a name, written once and never changed.
//!
//! [`Blobs`] stands in front of any object store; embedded, that is the folder `blobs` in the data folder, and a write
//! has reached the disk (file and folder) before it is acknowledged. A [`BlobLocation`] names the store. [`ModelUrls`]
//! makes the URLs by which devices fetch models without a token: the store's own, or those of [`sign`].

mod connect;
mod error;
mod location;
mod path;
pub mod sign;
mod urls;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{GetOptions, GetResult, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};

pub use error::BlobError;
use error::{classify, is_absent};
pub use location::{BlobLocation, Provider, StoreLocation};
pub use path::BlobPath;
pub use urls::{Cdn, ModelUrls, StoreSigner};

/// Blobs by name. Clones share the same store.
#[derive(Clone, Debug)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    signer: Option<StoreSigner>,
}

/// A blob as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobEntry {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub modified: SystemTime,
}

/// What became of a blob that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there now, durably.
    Created,
    /// There was one of this name; it is unchanged.
    Exists,
}

impl Blobs {
    /// Blobs where a location says, with the keys that are in the environment of this process. An object store is not
    /// asked yet: see [`Self::probe`].
    ///
    /// # Errors
    /// [`BlobError::Unavailable`] when the folder cannot be used, [`BlobError::Forbidden`] when keys are missing or
    /// unreadable.
    pub fn open(location: &BlobLocation) -> Result<Self, BlobError> {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::open_with(location, std::env::vars_os().filter_map(text))
    }

    /// [`Self::open`] with other variables than those of this process.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        location: &BlobLocation,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, BlobError> {
        match location {
            BlobLocation::Folder(folder) => Self::local(folder),
            BlobLocation::Store(location) => {
                let connect::Connected { store, signer } = connect::connect(location, environment.into_iter())?;
                Ok(Self { store, signer: Some(signer) })
            }
        }
    }

    /// What signs this store's URLs; a folder has no server of its own.
    pub fn signer(&self) -> Option<&StoreSigner> {
        self.signer.as_ref()
    }

    /// Does once all that a coordinator does with its blobs, with a blob that is gone afterwards: so that wrong keys,
    /// missing rights, and a server that ignores the condition of a write show at the start and not in the middle of a
    /// round.
    ///
    /// # Errors
    /// [`BlobError::Forbidden`] says what is missing; [`BlobError::Full`], [`BlobError::Unavailable`].
    pub async fn probe(&self) -> Result<(), BlobError> {
        let name = format!("probe/{}", uuid::Uuid::now_v7());
        let content = Bytes::from_static(b"one");
        self.put_new(&name, content.clone()).await?;
        let again = self.put_new(&name, Bytes::from_static(b"another")).await?;
        let (found, listed) = (self.get(&name).await?, self.list("probe").await?);
        self.delete(&name).await?;
        if again != Put::Exists || found != Some(content) {
            return Err(BlobError::Forbidden(
                "it replaced a blob although it was told to write only where there is none (If-None-Match: *); a server \
                 that does not know this condition cannot be used"
                    .into(),
            ));
        }
        if !listed.contains(&name) {
            return Err(BlobError::Forbidden("it does not list a blob that was just written".into()));
        }
        Ok(())
    }

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
        Self { store, signer: None }
    }

    /// Writes a blob if there is none of this name, durably. [`Put::Exists`] may be this very call's own blob, when the
    /// store's answer to the first try was lost on the way.
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
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(classify(&error)),
        };
        found.bytes().await.map(Some).map_err(|error| classify(&error))
    }

    /// A blob, or a part of one, as it is read from the store; `None` when there is none of this name.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn read(&self, path: &BlobPath, options: GetOptions) -> Result<Option<GetResult>, BlobError> {
        match self.store.get_opts(&path.object(), options).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_absent(&error) => Ok(None),
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
            Err(error) if !is_absent(&error) => Err(classify(&error)),
            _ => Ok(()),
        }
    }

    /// Removes blobs, many at a time where the store can; those that are not there are fine.
    ///
    /// # Errors
    /// [`BlobError`]; some of them may be gone then.
    pub async fn delete_all(&self, names: Vec<String>) -> Result<(), BlobError> {
        let paths =
            names.iter().map(|name| Ok(BlobPath::parse(name)?.object())).collect::<Result<Vec<_>, BlobError>>()?;
        let mut gone = self.store.delete_stream(futures::stream::iter(paths.into_iter().map(Ok)).boxed());
        while let Some(result) = gone.next().await {
            match result {
                Err(error) if !is_absent(&error) => return Err(classify(&error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Names of all blobs in a folder and below, sorted.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, BlobError> {
        Ok(self.entries(folder).await?.into_iter().map(|entry| entry.name).collect())
    }

    /// All blobs in a folder and below, sorted by name.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn entries(&self, folder: &str) -> Result<Vec<BlobEntry>, BlobError> {
        let folder = BlobPath::parse(folder.trim_end_matches('/'))?;
        let found = self.store.list(Some(&folder.object())).map_ok(|entry| BlobEntry {
            name: entry.location.to_string(),
            size: entry.size,
            modified: entry.last_modified.into(),
        });
        let mut entries: Vec<BlobEntry> = found.try_collect().await.map_err(|error| classify(&error))?;
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Names of the folders directly within a folder, sorted, without the path to them.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>, BlobError> {
        let folder = BlobPath::parse(folder.trim_end_matches('/'))?;
        let found = self.store.list_with_delimiter(Some(&folder.object())).await.map_err(|error| classify(&error))?;
        let mut names: Vec<String> =
            found.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }
}
