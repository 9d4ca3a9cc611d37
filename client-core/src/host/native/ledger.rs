//! The privacy ledger's log as a file, with a lock file beside it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{self, Folder};
use super::lock;
use crate::error::HostError;
use crate::host::{HeldLog, LedgerLog, LogError};

/// A folder with two files: `log`, and `lock`, which the process that uses the ledger keeps locked. The system releases
/// the lock when the process ends, however it ends.
#[derive(Clone, Debug)]
pub struct FileLedger(Folder);

impl FileLedger {
    /// Opens the folder, created if missing. Nothing is locked yet.
    ///
    /// # Errors
    /// [`HostError`] `ledger`.
    pub fn open(folder: &Path) -> Result<Self, HostError> {
        Folder::open("ledger", folder).map(Self)
    }

    /// Path of the log.
    pub fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }

    async fn read_all(&self) -> Result<Vec<u8>, HostError> {
        self.0.run(self.log(), |path| files::read(path).map(Option::unwrap_or_default)).await
    }
}

/// A [`FileLedger`] that this process has locked.
#[derive(Debug)]
pub struct HeldFile {
    ledger: FileLedger,
    lock: Arc<File>,
}

impl LedgerLog for FileLedger {
    type Held = HeldFile;

    async fn hold(&self) -> Result<HeldFile, LogError> {
        let lock = self.0.run(self.0.path().join("lock"), |path| {
            let file = files::private_file().create(true).truncate(false).write(true).open(path)?;
            Ok(lock::take(&file)?.then_some(file))
        });
        match lock.await? {
            Some(lock) => Ok(HeldFile { ledger: self.clone(), lock: Arc::new(lock) }),
            None => Err(LogError::InUse),
        }
    }

    async fn read(&self) -> Result<Vec<u8>, HostError> {
        self.read_all().await
    }
}

impl HeldFile {
    /// Writes to the log. The lock is held until the write is done, even if the future and this value are dropped
    /// before.
    async fn write(&mut self, work: impl FnOnce(&Path) -> io::Result<()> + Send + 'static) -> Result<(), HostError> {
        let lock = self.lock.clone();
        let write = move |path: &Path| {
            let _lock = lock;
            work(path)
        };
        self.ledger.0.run(self.ledger.log(), write).await
    }
}

impl HeldLog for HeldFile {
    async fn read(&mut self) -> Result<Vec<u8>, HostError> {
        self.ledger.read_all().await
    }

    async fn append(&mut self, at: u64, bytes: &[u8]) -> Result<(), HostError> {
        let bytes = bytes.to_vec();
        self.write(move |path| append(path, at, &bytes)).await
    }

    async fn replace(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        let bytes = bytes.to_vec();
        self.write(move |path| files::write_durably(path, &bytes)).await
    }

    async fn remove(&mut self) -> Result<(), HostError> {
        self.write(files::remove_durably).await
    }
}

/// Does not create a missing log, which would then begin in its middle.
fn append(path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    let length = file.metadata()?.len();
    if length != at || at == 0 {
        let problem = format!("it has {length} bytes instead of {at}: something else wrote to it, open it again");
        return Err(io::Error::other(problem));
    }
    if let Err(error) = file.write_all(bytes) {
        // On a full disk, removes the incomplete record, so that nothing is lost. If this fails too, the record counts
        // as a damaged one.
        let _best_effort = file.set_len(at).and_then(|()| file.sync_all());
        return Err(error);
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::conformance;

    #[tokio::test]
    async fn a_file_does_what_every_log_has_to() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path().join("ledger");
        conformance::ledger(async || FileLedger::open(&folder).expect("opens")).await;
    }

    #[tokio::test]
    async fn a_lock_that_cannot_be_had_at_all_is_not_in_use() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ledger = FileLedger::open(folder.path()).expect("opens");
        fs::create_dir(folder.path().join("lock")).expect("writable");
        let words = File::options().write(true).open(folder.path().join("lock")).expect_err("a folder").to_string();
        let Err(LogError::Host(error)) = ledger.hold().await else { panic!("the file cannot be opened") };
        assert!(error.what == "ledger" && error.sentence.contains(&words), "{error}");
    }

    /// Dropping a participation drops what holds the log, perhaps in the middle of a write.
    #[tokio::test]
    async fn a_holder_that_is_dropped_while_it_writes_lets_go_afterwards() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ledger = FileLedger::open(folder.path()).expect("opens");
        let mut held = ledger.hold().await.expect("free");
        held.replace(b"one").await.expect("writes");
        let (begin, begun) = std::sync::mpsc::channel();
        let writing = tokio::spawn(async move {
            let work = move |path: &Path| {
                begun.recv().map_err(io::Error::other)?;
                append(path, 3, b"two")
            };
            held.write(work).await
        });
        // Until the work waits on a thread of its own.
        while ledger.0.is_free() {
            tokio::task::yield_now().await;
        }
        writing.abort();
        assert!(writing.await.expect_err("dropped").is_cancelled());
        let next = ledger.hold();
        begin.send(()).expect("somebody waits");
        let mut next = next.await.expect("free once the write is done");
        assert_eq!(next.read().await, Ok(b"onetwo".to_vec()));
    }
}
