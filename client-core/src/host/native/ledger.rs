//! The privacy ledger's log as a file, with a lock file beside it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{private_file, private_folder, sync_folder, write_durably};
use crate::error::HostError;
use crate::host::{HeldLog, LedgerLog, LogError};

/// A folder with two files: `log`, and `lock`, which the process that has the ledger keeps locked. The system lets go of
/// the lock when the process dies, however it dies.
#[derive(Clone, Debug)]
pub struct FileLedger(Arc<PathBuf>);

impl FileLedger {
    /// The folder, which is made if it is not there. Nothing is locked yet.
    ///
    /// # Errors
    /// [`HostError`] `ledger`.
    pub fn open(folder: &Path) -> Result<Self, HostError> {
        private_folder(folder).and_then(|()| sync_folder(folder)).map_err(|error| failed(folder, error))?;
        Ok(Self(Arc::new(folder.to_owned())))
    }

    /// The log's file.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

/// A [`FileLedger`] that this process has for itself.
#[derive(Debug)]
pub struct HeldFile {
    log: PathBuf,
    _lock: File,
}

impl LedgerLog for FileLedger {
    type Held = HeldFile;

    async fn hold(&self) -> Result<HeldFile, LogError> {
        let path = self.0.join("lock");
        let lock = blocking(path, |path| {
            let lock = private_file().create(true).truncate(false).write(true).open(path)?;
            match lock.try_lock() {
                Ok(()) => Ok(Some(lock)),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error),
            }
        });
        match lock.await? {
            Some(lock) => Ok(HeldFile { log: self.log(), _lock: lock }),
            None => Err(LogError::InUse),
        }
    }
}

impl HeldLog for HeldFile {
    async fn read(&mut self) -> Result<Vec<u8>, HostError> {
        blocking(self.log.clone(), |path| match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
            read => read,
        })
        .await
    }

    async fn append(&mut self, at: u64, bytes: &[u8]) -> Result<(), HostError> {
        let bytes = bytes.to_vec();
        blocking(self.log.clone(), move |path| append(path, at, &bytes)).await
    }

    async fn replace(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        let bytes = bytes.to_vec();
        blocking(self.log.clone(), move |path| write_durably(path, &bytes)).await
    }
}

/// A log that is missing is not made here: it would look as if it began in the middle.
fn append(path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    let length = file.metadata()?.len();
    if length != at {
        let problem = format!("it has {length} bytes instead of {at}: something else wrote to it, open it again");
        return Err(io::Error::other(problem));
    }
    if let Err(error) = file.write_all(bytes) {
        // A disk that is full: without the half record nothing is lost. If this fails too, it counts as a whole one.
        let _best_effort = file.set_len(at).and_then(|()| file.sync_all());
        return Err(error);
    }
    file.sync_all()
}

async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, HostError> {
    let result = tokio::task::spawn_blocking(move || work(&path).map_err(|error| failed(&path, error)));
    result.await.map_err(|error| HostError::new("ledger", error.to_string()))?
}

fn failed(path: &Path, error: io::Error) -> HostError {
    HostError::new("ledger", format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_grows_only_at_its_end_and_has_one_holder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ledger = FileLedger::open(&folder.path().join("ledger")).expect("opens");
        let mut held = ledger.hold().await.expect("free");
        assert_eq!(ledger.hold().await.err(), Some(LogError::InUse));
        assert_eq!(held.read().await, Ok(vec![]));
        assert_eq!(held.append(0, b"x").await.expect_err("no log").what, "ledger");
        held.replace(b"one").await.expect("writes");
        held.append(3, b"two").await.expect("writes");
        for at in [0, 3, 7] {
            assert_eq!(held.append(at, b"x").await.expect_err("another length").what, "ledger");
        }
        assert_eq!(held.read().await, Ok(b"onetwo".to_vec()));
        drop(held);
        let mut held = ledger.hold().await.expect("free again");
        held.replace(b"new").await.expect("writes");
        assert_eq!(held.read().await, Ok(b"new".to_vec()));
    }
}
