//! A [`Store`] of files.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::files::{self, Folder};
use super::lock;
use crate::error::HostError;
use crate::host::Store;

/// A store with one file per key. A write goes to a new file, which then replaces the old one; it is durable when the
/// call returns.
///
/// No lock is held between two calls, so a process may be suspended. If two clients share a folder, the privacy ledger's
/// lock allows only one at a time to take part in a round.
#[derive(Clone, Debug)]
pub struct FolderStore(Folder);

impl FolderStore {
    /// Opens the folder, created if missing.
    ///
    /// # Errors
    /// [`HostError`] `store`.
    pub fn open(folder: &Path) -> Result<Self, HostError> {
        Folder::open("store", folder).map(Self)
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn path(&self, key: &str) -> Result<PathBuf, HostError> {
        let fine = |part: &str| {
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
            !part.is_empty() && part.chars().all(allowed)
        };
        if !key.split('/').all(fine) {
            return Err(HostError::new(
                "store",
                format!("{key:?} is not a valid key of this store: use a-z, 0-9, '-', '_' and '/'"),
            ));
        }
        let mut path = self.data();
        path.extend(key.split('/'));
        // A key may be a prefix of another one, but a file cannot be a folder: hence the extension.
        path.as_mut_os_string().push(".bin");
        Ok(path)
    }
}

/// A turn: its file stays open, and the system's lock on it ends with the file. Fields are dropped in their order.
#[derive(Debug)]
#[allow(dead_code, reason = "only its end matters")]
pub struct FolderTurn {
    file: File,
    within: tokio::sync::OwnedMutexGuard<()>,
}

impl Store for FolderStore {
    type Turn = FolderTurn;

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.0.run(self.path(key)?, files::read).await
    }

    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), HostError> {
        let bytes = bytes.to_vec();
        self.0.run(self.path(key)?, move |path| files::write_durably(path, &bytes)).await
    }

    async fn delete(&self, key: &str) -> Result<(), HostError> {
        self.0.run(self.path(key)?, files::remove_durably).await
    }

    async fn clear(&self) -> Result<(), HostError> {
        self.0.run(self.data(), files::remove_folder_durably).await
    }

    /// Beside the values, so that [`Self::clear`] deletes no file that somebody has locked.
    async fn turn(&self, name: &str) -> Result<FolderTurn, HostError> {
        let take = |path: &Path| {
            let file = files::private_file().create(true).truncate(false).write(true).open(path)?;
            lock::wait_for(&file)?;
            Ok(file)
        };
        let path = self.0.path().join(format!("{name}.lock"));
        // One thread of this process waits for the lock at a time: hundreds would leave none for whoever has it.
        let within = self.0.turn_at(&path).await;
        let file = self.0.run_aside(path, take).await?;
        Ok(FolderTurn { file, within })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::conformance;

    #[tokio::test]
    async fn a_folder_does_what_every_store_has_to() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        conformance::store(async || FolderStore::open(folder.path()).expect("opens, also beside another one")).await;
    }

    /// More calls than tokio has threads that may block.
    #[tokio::test]
    async fn a_thousand_calls_take_turns() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = FolderStore::open(folder.path()).expect("opens");
        let calls = (0..1000).map(|number: u32| {
            let store = store.clone();
            tokio::spawn(async move {
                let _turn = store.turn("examples").await.expect("its turn");
                store.put("last", &number.to_le_bytes()).await.expect("writes");
            })
        });
        let calls: Vec<_> = calls.collect();
        for call in calls {
            tokio::time::timeout(std::time::Duration::from_secs(60), call).await.expect("in time").expect("no panic");
        }
    }

    #[tokio::test]
    async fn keys_do_not_leave_the_folder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = FolderStore::open(folder.path()).expect("opens");
        for bad in ["", "/a", "a/", "../a", "a//b", "A", "a.b"] {
            let error = store.put(bad, b"").await.expect_err(bad);
            assert!(error.what == "store" && error.sentence.contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_says_why() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("file");
        fs::write(&file, b"").expect("writable");
        let error = FolderStore::open(&file.join("state")).expect_err("below a file");
        assert_eq!(error.what, "store");
        let words = fs::create_dir(file.join("state")).expect_err("below a file").to_string();
        assert!(error.sentence.contains(&words) && error.sentence.contains("file"), "{error}");
    }
}
