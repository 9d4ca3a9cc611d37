//! Storage of secrets by name, and a key store built on it: a platform only implements the storage.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scale_privacy::ledger::Count;
use scale_proto::ids::Digest;
use scale_secagg::roster::Certificate;
use zeroize::Zeroizing;

use super::{KeyStore, LedgerCount, MaybeSend, MaybeSync, Randomness};
use crate::error::HostError;

/// Stores a few small secrets by name, inaccessible to other apps and to backups: a keychain, a key store, a private
/// folder. Names consist of `a-z`, `0-9` and `-`. A change is durable when its call returns.
pub trait Vault: MaybeSend + MaybeSync {
    /// The bytes of `name`; `None` if nothing is stored.
    ///
    /// # Errors
    /// [`HostError`] `key_store`, also while the vault is locked or otherwise inaccessible: `None` would then be taken
    /// for a new installation.
    fn get(&self, name: &str) -> impl Future<Output = Result<Option<Zeroizing<Vec<u8>>>, HostError>> + MaybeSend;

    /// Stores `bytes` unless `name` is already stored. Returns false, and changes nothing, if it is. Of several
    /// concurrent calls, also from other processes, exactly one returns true.
    ///
    /// # Errors
    /// [`HostError`] `key_store`.
    fn put_new(&self, name: &str, bytes: &[u8]) -> impl Future<Output = Result<bool, HostError>> + MaybeSend;

    /// Stores `bytes` under `name`, atomically replacing an earlier value.
    ///
    /// # Errors
    /// [`HostError`] `key_store`.
    fn put(&self, name: &str, bytes: &[u8]) -> impl Future<Output = Result<(), HostError>> + MaybeSend;

    /// Removes `name`, if it is stored.
    ///
    /// # Errors
    /// [`HostError`] `key_store`.
    fn delete(&self, name: &str) -> impl Future<Output = Result<(), HostError>> + MaybeSend;
}

/// Both secrets: the seed of the identity, then the sealing key.
const KEYS: &str = "keys";
/// The count of the privacy ledger's log. Written before the keys, so that keys without a count reveal its loss.
const LEDGER_COUNT: &str = "ledger-count";
const CERTIFICATE: &str = "certificate";

const SECRET_BYTES: usize = 64;
const CHECKSUM_BYTES: usize = 8;
const NEVER: Count = Count { epoch: 0, records: 0 };

/// The key store of an installation, in a [`Vault`]. Both keys are created on first use, read once and kept in memory.
/// Clones share them.
///
/// Keys and count are created together, so that the loss of one of them is detected: [`HostError::what`] is then
/// `keys_lost` or `ledger_count_lost`. A vault that was emptied completely counts as a new installation.
#[derive(Clone)]
pub struct VaultKeys<V> {
    vault: V,
    randomness: Arc<dyn Randomness>,
    kept: Arc<Mutex<Option<Arc<Secrets>>>>,
}

pub(super) struct Secrets(Zeroizing<[u8; SECRET_BYTES]>);

impl Secrets {
    pub(super) fn draw(randomness: &dyn Randomness) -> Result<Self, HostError> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        randomness.fill(&mut *bytes)?;
        Ok(Self(bytes))
    }

    fn half(&self, second: bool) -> Zeroizing<[u8; 32]> {
        let mut out = Zeroizing::new([0; 32]);
        let (identity, sealing) = self.0.split_at(SECRET_BYTES / 2);
        out.copy_from_slice(if second { sealing } else { identity });
        out
    }

    pub(super) fn identity(&self) -> Zeroizing<[u8; 32]> {
        self.half(false)
    }
}

impl<V: Vault> VaultKeys<V> {
    /// A key store in this vault. Nothing is read or written yet. `randomness`: source of new keys.
    pub fn over(vault: V, randomness: impl Randomness + 'static) -> Self {
        Self { vault, randomness: Arc::new(randomness), kept: Arc::default() }
    }

    /// Stores the certificate that the app obtained from the authority, replacing an older one.
    ///
    /// # Errors
    /// [`HostError`] `key_store`.
    pub async fn put_certificate(&self, certificate: &Certificate) -> Result<(), HostError> {
        self.vault.put(CERTIFICATE, &with_checksum(CERTIFICATE, &certificate.encode())).await
    }

    /// The vault that stores the secrets.
    pub fn vault(&self) -> &V {
        &self.vault
    }

    fn kept(&self) -> MutexGuard<'_, Option<Arc<Secrets>>> {
        // A poisoned lock is harmless: every change is one assignment.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn secrets(&self) -> Result<Arc<Secrets>, HostError> {
        if let Some(kept) = &*self.kept() {
            return Ok(kept.clone());
        }
        let secrets = match self.stored().await? {
            Some(secrets) => secrets,
            None => self.make().await?,
        };
        Ok(self.kept().insert(Arc::new(secrets)).clone())
    }

    async fn stored(&self) -> Result<Option<Secrets>, HostError> {
        let Some(entry) = self.vault.get(KEYS).await? else { return Ok(None) };
        let secrets = without_checksum(KEYS, &entry)?.try_into().map_err(|_| damaged(KEYS))?;
        Ok(Some(Secrets(Zeroizing::new(secrets))))
    }

    /// Creates the keys. If several processes do so concurrently, all of them use the keys of the first.
    async fn make(&self) -> Result<Secrets, HostError> {
        let counted = self.count().await?.is_some_and(|count| count != NEVER);
        if !counted {
            self.vault.put_new(LEDGER_COUNT, &count_entry(NEVER)).await?;
            let drawn = Secrets::draw(&*self.randomness)?;
            if self.vault.put_new(KEYS, &keys_entry(&drawn)).await? {
                return Ok(drawn);
            }
        }
        // Another process created them meanwhile, or they are lost.
        self.stored().await?.ok_or_else(|| {
            let sentence = "the keys of this installation are gone, and the count of its privacy ledger is still there: \
                            stored data cannot be read any more. Restore the keys, or forget everything and enroll again";
            HostError::new("keys_lost", sentence)
        })
    }

    async fn count(&self) -> Result<Option<Count>, HostError> {
        let Some(entry) = self.vault.get(LEDGER_COUNT).await? else { return Ok(None) };
        match without_checksum(LEDGER_COUNT, &entry)?.as_chunks::<8>() {
            ([epoch, records], []) => {
                let (epoch, records) = (u64::from_le_bytes(*epoch), u64::from_le_bytes(*records));
                Ok(Some(Count { epoch, records }))
            }
            _ => Err(damaged(LEDGER_COUNT)),
        }
    }
}

impl<V> std::fmt::Debug for VaultKeys<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VaultKeys(redacted)")
    }
}

impl<V: Vault> KeyStore for VaultKeys<V> {
    async fn identity_seed(&self) -> Result<Zeroizing<[u8; 32]>, HostError> {
        Ok(self.secrets().await?.identity())
    }

    async fn sealing_key(&self) -> Result<Zeroizing<[u8; 32]>, HostError> {
        Ok(self.secrets().await?.half(true))
    }

    async fn certificate(&self) -> Result<Option<Certificate>, HostError> {
        let Some(entry) = self.vault.get(CERTIFICATE).await? else { return Ok(None) };
        let bytes = without_checksum(CERTIFICATE, &entry)?;
        Certificate::decode(bytes).map(Some).map_err(|_| damaged(CERTIFICATE))
    }

    async fn ledger_count(&self) -> Result<LedgerCount, HostError> {
        let mut count = self.count().await?;
        if count.is_none() && self.stored().await?.is_some() {
            // Another process may have created both in the meantime.
            count = self.count().await?;
            if count.is_none() {
                let sentence = "the count of the privacy ledger is gone, and the keys of this installation are still \
                                there: without it a ledger that was set back cannot be detected. Restore the count, or forget \
                                everything and enroll again";
                return Err(HostError::new("ledger_count_lost", sentence));
            }
        }
        Ok(count.filter(|count| *count != NEVER).map_or(LedgerCount::Never, LedgerCount::At))
    }

    async fn put_ledger_count(&self, count: Count) -> Result<(), HostError> {
        self.vault.put(LEDGER_COUNT, &count_entry(count)).await
    }

    /// The keys are deleted first: from then on no sealed value can be read.
    async fn delete_all(&self) -> Result<(), HostError> {
        *self.kept() = None;
        for name in [KEYS, LEDGER_COUNT, CERTIFICATE] {
            self.vault.delete(name).await?;
        }
        Ok(())
    }
}

pub(super) fn keys_entry(secrets: &Secrets) -> Zeroizing<Vec<u8>> {
    with_checksum(KEYS, &*secrets.0)
}

fn count_entry(count: Count) -> Zeroizing<Vec<u8>> {
    with_checksum(LEDGER_COUNT, &[count.epoch.to_le_bytes(), count.records.to_le_bytes()].concat())
}

/// An entry with a checksum over its name and bytes, so that damaged entries, and entries stored under another name,
/// are detected.
fn with_checksum(name: &str, bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut entry = Zeroizing::new(Vec::with_capacity(bytes.len() + CHECKSUM_BYTES));
    entry.extend_from_slice(bytes);
    entry.extend_from_slice(&checksum(name, bytes));
    entry
}

fn without_checksum<'a>(name: &str, entry: &'a [u8]) -> Result<&'a [u8], HostError> {
    let (bytes, found) = entry.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(|| damaged(name))?;
    if *found == checksum(name, bytes) { Ok(bytes) } else { Err(damaged(name)) }
}

fn checksum(name: &str, bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Digest::of(&Zeroizing::new([b"FLSA1/vault/", name.as_bytes(), b"/", bytes].concat()));
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&digest.0[..CHECKSUM_BYTES]);
    checksum
}

fn damaged(name: &str) -> HostError {
    let help = match name {
        CERTIFICATE => "fetch the certificate again",
        _ => "restore it, or forget everything and enroll again",
    };
    HostError::new("key_store", format!("the entry `{name}` of this installation's vault is damaged: {help}"))
}

#[cfg(test)]
mod tests;
