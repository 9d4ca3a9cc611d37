//! Where rounds, models and uploads are kept, as the sections `[database]` and `[blobs]` say.

use std::sync::Arc;
use std::time::Duration;

use scale_clock::SharedClock;
use scale_coordinator::blobs::sign::UrlSigner;
use scale_coordinator::blobs::{Blobs, ModelUrls};
use scale_coordinator::staging::Staging;
use scale_coordinator::store::{FolderLock, Options, Store};

use crate::cli::Failure;
use crate::config::Config;
use crate::files;

/// Pages of the database have 4 KiB.
const PAGES_PER_MB: u32 = 256;

/// What is kept, and where.
pub(super) struct Storage {
    /// Rounds.
    pub(super) store: Store,
    /// Models and partial sums.
    pub(super) blobs: Blobs,
    /// Uploads.
    pub(super) staging: Staging,
    /// Whether the database of rounds was made just now.
    pub(super) is_new: bool,
    /// The data folder is one process's, wherever the database is.
    pub(super) _lock: Option<FolderLock>,
}

/// Opens what the sections `[database]` and `[blobs]` name. The data folder is held for this process before anything else in
/// it is touched.
///
/// # Errors
/// What cannot be opened.
pub(super) async fn open(config: &Config) -> Result<Storage, Failure> {
    let folder = &config.data.folder;
    let Rows { store, is_new, _lock } = rows(config).await?;
    let blobs = blobs(config)?;
    if config.blobs.url.is_empty() && store.is_shared() {
        tracing::warn!(
            "rounds are in Postgres and models in the data folder of this machine: other replicas cannot read them; name \
             an object store in blobs.url, or start only this one"
        );
    }
    if !config.blobs.url.is_empty() {
        blobs.probe().await?;
    }
    let staging = if store.is_shared() {
        Staging::objects(blobs.clone())
    } else {
        let staging = folder.join("staging");
        Staging::folder(staging.clone()).map_err(|error| Failure::unwritable(&staging, &error))?
    };
    Ok(Storage { store, blobs, staging, is_new, _lock })
}

/// Rounds, for this process to write.
pub(in crate::cli) struct Rows {
    pub(in crate::cli) store: Store,
    /// Whether the database was made just now.
    pub(in crate::cli) is_new: bool,
    _lock: Option<FolderLock>,
}

/// Opens what `[database]` names, and holds the data folder for this process.
///
/// # Errors
/// What cannot be opened.
pub(in crate::cli) async fn rows(config: &Config) -> Result<Rows, Failure> {
    let folder = &config.data.folder;
    if config.database.url.is_empty() {
        let options = Options {
            max_pages: Some(config.data.database_max_mb.saturating_mul(PAGES_PER_MB)).filter(|pages| *pages > 0),
        };
        let database = folder.join(files::DATABASE);
        let is_new = !database.exists();
        return Ok(Rows { store: Store::open_with(&database, options).await?, is_new, _lock: None });
    }
    let lock = FolderLock::take(folder)?;
    let store = Store::postgres(config.database.url.expose(), config.database.max_connections).await?;
    let is_new = store.is_new().await?;
    Ok(Rows { store, is_new, _lock: Some(lock) })
}

/// Rounds, to read beside the processes that write them.
///
/// # Errors
/// What cannot be opened; nothing is made.
pub(in crate::cli) async fn rows_to_read(config: &Config) -> Result<Store, Failure> {
    if !config.database.url.is_empty() {
        return Ok(Store::postgres(config.database.url.expose(), 1).await?);
    }
    let database = config.data.folder.join(files::DATABASE);
    if !database.is_file() {
        let sentence = format!(
            "there is no {}; name the data folder of a coordinator with --data, or its configuration with --config",
            database.display()
        );
        return Err(Failure::new("no_data_folder", sentence));
    }
    Ok(Store::open_to_read(&database).await?)
}

/// Models and partial sums, where `[blobs]` says. An object store is not asked yet.
///
/// # Errors
/// What cannot be opened.
pub(in crate::cli) fn blobs(config: &Config) -> Result<Blobs, Failure> {
    Ok(match config.blobs.location()? {
        None => Blobs::local(&config.data.folder.join("blobs"))?,
        Some(location) => Blobs::open(&location)?,
    })
}

/// Who makes the URLs of models.
///
/// # Errors
/// An address of a CDN that is none.
pub(super) fn model_urls(
    config: &Config,
    blobs: &Blobs,
    signer: &Arc<UrlSigner>,
    clock: &SharedClock,
    ttl: Duration,
) -> Result<ModelUrls, Failure> {
    if let Some(cdn) = config.blobs.cdn()? {
        return Ok(ModelUrls::cdn(cdn));
    }
    Ok(match blobs.signer() {
        Some(signer) => ModelUrls::store(signer.clone(), ttl),
        None => ModelUrls::own(signer.clone(), clock.clone(), ttl),
    })
}
