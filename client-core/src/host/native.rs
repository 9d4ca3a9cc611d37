//! A native program as a host: a folder for state, a file for keys, the system's clock and randomness.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ring::rand::{SecureRandom as _, SystemRandom};
use scale_privacy::ledger::Count;
use scale_proto::time::Timestamp;
use scale_secagg::roster::Certificate;
use zeroize::Zeroizing;

use super::memory::FixedConditions;
use super::{Clock, DeviceConditions, KeyStore, LedgerCount, Parts, Randomness, Store};
use crate::error::HostError;
use crate::transport::native::{Connection, GrpcTransport};

mod ledger;

pub use ledger::{FileLedger, HeldFile};

/// A device in a folder. A program without batteries: conditions are always fine.
pub type NativeHost =
    Parts<GrpcTransport, FolderStore, FileKeys, FixedConditions, SystemClock, SystemRandomness, FileLedger>;

impl NativeHost {
    /// Opens the folder (it is made if it is not there) and prepares the connection; nothing is sent yet. Needs a tokio
    /// runtime around it.
    ///
    /// # Errors
    /// [`HostError`]: `store` when the folder cannot be used or another process uses it, `key_store`, or `transport`
    /// for an unusable URL or certificate.
    pub fn open(folder: &Path, connection: Connection) -> Result<Self, HostError> {
        let store = FolderStore::open(&folder.join("state"))?;
        Ok(Self {
            transport: GrpcTransport::new(connection)?,
            keys: FileKeys::open(&folder.join("keys"))?,
            store,
            conditions: FixedConditions(DeviceConditions::FINE),
            clock: SystemClock,
            randomness: SystemRandomness,
            ledger: FileLedger::open(&folder.join("ledger"))?,
        })
    }
}

/// One file per key. Writes go to a new file that then takes the old one's place, and are on the disk when they return.
#[derive(Clone, Debug)]
pub struct FolderStore {
    folder: Arc<PathBuf>,
    /// Locked while any clone lives.
    _lock: Arc<File>,
}

impl FolderStore {
    /// Opens the folder for this process alone.
    ///
    /// # Errors
    /// [`HostError`] `store`.
    pub fn open(folder: &Path) -> Result<Self, HostError> {
        let at = |error: io::Error| HostError::new("store", format!("{}: {error}", folder.display()));
        private_folder(folder).map_err(at)?;
        let lock = private_file().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(at)?;
        lock.try_lock()
            .map_err(|_| HostError::new("store", format!("{} is in use by another process", folder.display())))?;
        Ok(Self { folder: Arc::new(folder.to_owned()), _lock: Arc::new(lock) })
    }

    fn path(&self, key: &str) -> Result<PathBuf, HostError> {
        let fine = |part: &str| {
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
            !part.is_empty() && part.chars().all(allowed)
        };
        if !key.split('/').all(fine) || key == "lock" {
            return Err(HostError::new("store", format!("{key:?} is no key of this store")));
        }
        let mut path = self.folder.join("data");
        path.extend(key.split('/'));
        // Keys may be prefixes of others; files may not be folders of others.
        path.as_mut_os_string().push(".bin");
        Ok(path)
    }

    /// File operations may wait for the disk: they run where waiting is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        key: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, HostError> {
        let path = self.path(key)?;
        let result = tokio::task::spawn_blocking(move || {
            work(&path).map_err(|error| HostError::new("store", format!("{}: {error}", path.display())))
        });
        result.await.map_err(|error| HostError::new("store", error.to_string()))?
    }
}

impl Store for FolderStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.blocking(key, |path| match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), HostError> {
        let bytes = bytes.to_vec();
        self.blocking(key, move |path| write_durably(path, &bytes)).await
    }

    async fn delete(&self, key: &str) -> Result<(), HostError> {
        self.blocking(key, |path| match fs::remove_file(path) {
            Ok(()) => sync_folder(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }
}

/// Writes a file, all or nothing, readable by its owner only.
fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        private_folder(folder)?;
    }
    let new = path.with_extension("new");
    let mut file = private_file().create(true).truncate(true).write(true).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder(path)
}

/// Makes a folder and those above it, where they are not there; new ones are for their owner only.
///
/// # Errors
/// What the system says.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

/// How to open a file that, if it is new, is for its owner only.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a rename or removal durable. Only Unix can open folders; elsewhere the file system's journal has to do.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Both secrets in one file, mode 0600, made on first use. The certificate lies beside it, in a file whose name ends in
/// `.certificate`, and the count of the privacy ledger's records in one that ends in `.ledger-count`.
///
/// Files are no secure element: who sets back log and count together is not found out.
#[derive(Clone)]
pub struct FileKeys {
    secrets: Arc<Zeroizing<[u8; 64]>>,
    certificate: PathBuf,
    ledger_count: PathBuf,
}

impl FileKeys {
    /// Reads the file, or makes it.
    ///
    /// # Errors
    /// [`HostError`] `key_store`. A damaged file is not replaced: that would change the device's identity silently.
    pub fn open(path: &Path) -> Result<Self, HostError> {
        let at = |error: io::Error| HostError::new("key_store", format!("{}: {error}", path.display()));
        let mut keys = Zeroizing::new([0; 64]);
        match fs::read(path).map(Zeroizing::new) {
            Ok(bytes) if bytes.len() == keys.len() => keys.copy_from_slice(&bytes),
            Ok(bytes) => {
                let problem = format!("{} has {} bytes instead of 64: it is damaged", path.display(), bytes.len());
                return Err(HostError::new("key_store", problem));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                SystemRandomness.fill(&mut *keys)?;
                write_durably(path, &*keys).map_err(at)?;
            }
            Err(error) => return Err(at(error)),
        }
        Ok(Self {
            secrets: Arc::new(keys),
            certificate: path.with_added_extension("certificate"),
            ledger_count: path.with_added_extension("ledger-count"),
        })
    }

    /// Keeps the certificate that the app got from the authority, in place of an older one.
    ///
    /// # Errors
    /// [`HostError`] `key_store`.
    pub fn put_certificate(&self, certificate: &Certificate) -> Result<(), HostError> {
        write_durably(&self.certificate, &certificate.encode()).map_err(|error| self.at_certificate(error))
    }

    fn read_certificate(&self) -> Result<Option<Certificate>, HostError> {
        match fs::read(&self.certificate) {
            Ok(bytes) => Certificate::decode(&bytes).map(Some).map_err(|refusal| self.at_certificate(refusal)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.at_certificate(error)),
        }
    }

    fn read_ledger_count(&self) -> Result<LedgerCount, HostError> {
        match fs::read(&self.ledger_count) {
            Ok(bytes) => match bytes.as_chunks::<8>() {
                ([epoch, records], []) => {
                    let (epoch, records) = (u64::from_le_bytes(*epoch), u64::from_le_bytes(*records));
                    Ok(LedgerCount::At(Count { epoch, records }))
                }
                _ => Err(self.at_ledger_count("it is damaged: restore it, or remove it and reset the privacy ledger")),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LedgerCount::Never),
            Err(error) => Err(self.at_ledger_count(error)),
        }
    }

    fn at_ledger_count(&self, problem: impl std::fmt::Display) -> HostError {
        HostError::new("key_store", format!("{}: {problem}", self.ledger_count.display()))
    }

    fn at_certificate(&self, problem: impl std::fmt::Display) -> HostError {
        HostError::new("key_store", format!("{}: {problem}", self.certificate.display()))
    }

    fn half(&self, second: bool) -> Zeroizing<[u8; 32]> {
        let mut out = Zeroizing::new([0; 32]);
        let (identity, sealing) = self.secrets.split_at(32);
        out.copy_from_slice(if second { sealing } else { identity });
        out
    }
}

impl std::fmt::Debug for FileKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileKeys(redacted)")
    }
}

impl KeyStore for FileKeys {
    async fn identity_seed(&self) -> Result<Zeroizing<[u8; 32]>, HostError> {
        Ok(self.half(false))
    }
    async fn sealing_key(&self) -> Result<Zeroizing<[u8; 32]>, HostError> {
        Ok(self.half(true))
    }
    async fn certificate(&self) -> Result<Option<Certificate>, HostError> {
        let keys = self.clone();
        let read = tokio::task::spawn_blocking(move || keys.read_certificate()).await;
        read.map_err(|error| self.at_certificate(error))?
    }
    async fn ledger_count(&self) -> Result<LedgerCount, HostError> {
        let keys = self.clone();
        let read = tokio::task::spawn_blocking(move || keys.read_ledger_count()).await;
        read.map_err(|error| self.at_ledger_count(error))?
    }
    async fn put_ledger_count(&self, count: Count) -> Result<(), HostError> {
        let bytes = [count.epoch.to_le_bytes(), count.records.to_le_bytes()].concat();
        let path = self.ledger_count.clone();
        let written = tokio::task::spawn_blocking(move || write_durably(&path, &bytes)).await;
        written.map_err(|error| self.at_ledger_count(error))?.map_err(|error| self.at_ledger_count(error))
    }
}

/// The system's clock, and tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::default().plus(since)
    }
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&self, out: &mut [u8]) -> Result<(), HostError> {
        let failed = |_| HostError::new("randomness", "the operating system gives no random bytes");
        SystemRandom::new().fill(out).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads a device's folder reads its keys and what its ledger says of a person.
    #[cfg(unix)]
    #[tokio::test]
    async fn nobody_else_can_read_what_a_device_keeps() {
        use std::os::unix::fs::PermissionsExt as _;

        use crate::host::{HeldLog as _, LedgerLog as _};

        fn walk(path: &Path, seen: &mut Vec<(PathBuf, u32)>) {
            let found = fs::metadata(path).expect("there");
            seen.push((path.to_owned(), found.permissions().mode() & 0o077));
            if found.is_dir() {
                fs::read_dir(path).expect("readable").for_each(|entry| walk(&entry.expect("there").path(), seen));
            }
        }
        let outer = tempfile::tempdir().expect("a temporary folder");
        let device = outer.path().join("app/device");
        let store = FolderStore::open(&device.join("state")).expect("opens");
        store.put("a/b", b"one").await.expect("writes");
        let keys = FileKeys::open(&device.join("keys")).expect("makes keys");
        keys.put_ledger_count(Count { epoch: 1, records: 2 }).await.expect("writes");
        keys.put_certificate(&Certificate { not_after_ms: 5, signature: [7; 64] }).expect("writes");
        let mut log = FileLedger::open(&device.join("ledger")).expect("opens").hold().await.expect("free");
        log.replace(b"record").await.expect("writes");
        let mut seen = vec![];
        walk(&outer.path().join("app"), &mut seen);
        assert!(seen.len() >= 12, "{seen:?}");
        let open: Vec<_> = seen.iter().filter(|(_, others)| *others != 0).collect();
        assert!(open.is_empty(), "others can read {open:?}");
    }

    #[tokio::test]
    async fn a_folder_keeps_what_was_put() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = FolderStore::open(folder.path()).expect("opens");
        assert_eq!(store.get("a/b").await, Ok(None));
        store.put("a/b", b"one").await.expect("writes");
        store.put("a", b"beside its own folder").await.expect("writes");
        store.put("a/b", b"two").await.expect("replaces");
        assert_eq!(FolderStore::open(folder.path()).expect_err("locked").what, "store");
        drop(store);
        let store = FolderStore::open(folder.path()).expect("opens again");
        assert_eq!(store.get("a/b").await, Ok(Some(b"two".to_vec())));
        store.delete("a/b").await.expect("deletes");
        store.delete("a/b").await.expect("deletes nothing");
        assert_eq!(store.get("a/b").await, Ok(None));
        for bad in ["", "/a", "a/", "../a", "a//b", "A", "lock", "a.b"] {
            assert!(store.put(bad, b"").await.is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn keys_are_made_once_and_a_damaged_file_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("keys");
        let first = FileKeys::open(&path).expect("makes keys");
        let again = FileKeys::open(&path).expect("reads keys");
        let seed = first.identity_seed().await.expect("there");
        assert_eq!(again.identity_seed().await.expect("there"), seed);
        assert_ne!(first.sealing_key().await.expect("there"), seed);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(first.certificate().await, Ok(None));
        let certificate = Certificate { not_after_ms: 5, signature: [7; 64] };
        first.put_certificate(&certificate).expect("writes");
        assert_eq!(again.certificate().await, Ok(Some(certificate)));
        fs::write(folder.path().join("keys.certificate"), b"short").expect("writes");
        assert_eq!(again.certificate().await.expect_err("damaged").what, "key_store");
        assert_eq!(first.ledger_count().await, Ok(LedgerCount::Never));
        let count = Count { epoch: 1, records: 2 };
        first.put_ledger_count(count).await.expect("writes");
        assert_eq!(again.ledger_count().await, Ok(LedgerCount::At(count)));
        assert_ne!(first.ledger_key().await.expect("there"), first.sealing_key().await.expect("there"));
        fs::write(folder.path().join("keys.ledger-count"), b"short").expect("writes");
        assert_eq!(again.ledger_count().await.expect_err("damaged").what, "key_store");
        fs::write(&path, b"short").expect("writes");
        assert_eq!(FileKeys::open(&path).expect_err("damaged").what, "key_store");
    }
}
