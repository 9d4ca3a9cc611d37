//! The installation's secrets as files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use scale_privacy::ledger::Count;
use scale_secagg::roster::Certificate;
use zeroize::Zeroizing;

use super::SystemRandomness;
use super::files::write_durably;
use crate::error::HostError;
use crate::host::{KeyStore, LedgerCount, Randomness as _};

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

#[cfg(test)]
mod tests {
    use super::*;

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
