//! A [`Vault`] of files.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::files::{self, Folder};
use super::{SystemRandomness, lock};
use crate::error::HostError;
use crate::host::{Vault, VaultKeys};

/// The key store of a native program.
///
/// Files are not a secure element: if the ledger's log and its count are set back together, this is not detected.
pub type FileKeys = VaultKeys<FileVault>;

impl FileKeys {
    /// The key store in this folder, created if missing.
    ///
    /// # Errors
    /// [`HostError`] `key_store`.
    pub fn open(folder: &Path) -> Result<Self, HostError> {
        Ok(Self::over(FileVault::open(folder)?, SystemRandomness))
    }
}

/// A folder with one file per secret. Folder and files are accessible to their owner only.
#[derive(Clone, Debug)]
pub struct FileVault(Folder);

impl FileVault {
    /// Opens the folder, created if missing.
    ///
    /// # Errors
    /// [`HostError`] `key_store`.
    pub fn open(folder: &Path) -> Result<Self, HostError> {
        if folder.is_file() {
            let problem = format!(
                "{} is a file, as an earlier version kept its keys in, and not a folder: remove the installation's \
                 folder and enroll again",
                folder.display()
            );
            return Err(HostError::new("key_store", problem));
        }
        Folder::open("key_store", folder).map(Self)
    }

    fn file(&self, name: &str) -> Result<PathBuf, HostError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(HostError::new(
                "key_store",
                format!("{name:?} is not a valid name of a secret: use a-z, 0-9 and '-'"),
            ));
        }
        Ok(self.0.path().join(name).with_added_extension("secret"))
    }
}

impl Vault for FileVault {
    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, HostError> {
        Ok(self.0.run(self.file(name)?, files::read).await?.map(Zeroizing::new))
    }

    /// Uses a file lock between processes, because not every system can rename a file without replacing an existing
    /// one.
    async fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, HostError> {
        let lock_file = self.0.path().join("lock");
        let bytes = Zeroizing::new(bytes.to_vec());
        let put = move |path: &Path| {
            let lock = files::private_file().create(true).truncate(false).write(true).open(lock_file)?;
            lock::wait_for(&lock)?;
            let is_new = !path.try_exists()?;
            if is_new {
                files::write_durably(path, &bytes)?;
            }
            Ok(is_new)
        };
        self.0.run(self.file(name)?, put).await
    }

    async fn put(&self, name: &str, bytes: &[u8]) -> Result<(), HostError> {
        let bytes = Zeroizing::new(bytes.to_vec());
        self.0.run(self.file(name)?, move |path| files::write_durably(path, &bytes)).await
    }

    async fn delete(&self, name: &str) -> Result<(), HostError> {
        self.0.run(self.file(name)?, files::remove_durably).await
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::{KeyStore as _, conformance};

    #[tokio::test]
    async fn files_do_what_every_vault_and_key_store_has_to() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (vault, keys) = (folder.path().join("vault"), folder.path().join("keys"));
        conformance::vault(async || FileVault::open(&vault).expect("opens")).await;
        conformance::keys(async || FileKeys::open(&keys).expect("opens")).await;
    }

    #[tokio::test]
    async fn of_two_processes_one_is_the_first() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let vault = FileVault::open(folder.path()).expect("opens");
        // What another process does, in slow motion.
        let lock = fs::File::create(folder.path().join("lock")).expect("writable");
        assert!(lock::take(&lock).expect("free"));
        let putting = tokio::spawn({
            let vault = vault.clone();
            async move { vault.put_new("keys", b"mine").await }
        });
        while vault.0.is_free() {
            tokio::task::yield_now().await;
        }
        fs::write(vault.file("keys").expect("a name"), b"theirs").expect("writable");
        drop(lock);
        assert_eq!(putting.await.expect("no panic"), Ok(false));
        assert_eq!(vault.get("keys").await.expect("readable").expect("there").as_slice(), b"theirs");
    }

    #[tokio::test]
    async fn a_folder_of_secrets_refuses_what_it_cannot_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let old = folder.path().join("keys");
        fs::write(&old, [1; 64]).expect("writable");
        let error = FileKeys::open(&old).expect_err("an old one");
        assert!(error.what == "key_store" && error.sentence.contains("enroll again"), "{error}");
        assert_eq!(fs::read(&old).expect("still there"), [1; 64]);

        let path = folder.path().join("new");
        let keys = FileKeys::open(&path).expect("opens");
        keys.identity_seed().await.expect("made");
        let file = path.join("keys.secret");
        fs::write(&file, b"short").expect("writable");
        let error = FileKeys::open(&path).expect("opens").identity_seed().await.expect_err("damaged");
        assert!(error.what == "key_store" && error.sentence.contains("damaged"), "{error}");
        assert_eq!(fs::read(&file).expect("still there"), b"short", "it is not replaced");
        for bad in ["", "a/b", "..", "A", "lock.secret"] {
            assert!(keys.vault().get(bad).await.is_err(), "{bad:?}");
        }
    }
}
