//! The core's host over what an app brings, and files for everything else.

use std::path::Path;
use std::sync::Arc;

use scale_client_core::error::HostError;
use scale_client_core::host::native::{FileLedger, FileVault, FolderStore, SystemClock, SystemRandomness};
use scale_client_core::host::{Conditions as CoreConditions, DeviceConditions, Parts, Vault, VaultKeys};
use scale_client_core::transport::native::{Connection, GrpcTransport};
use zeroize::Zeroizing;

use super::callbacks::{CallbackError, ConditionSource, SecretVault};

/// The host of a phone.
pub(crate) type PhoneHost = Parts<
    GrpcTransport,
    FolderStore,
    VaultKeys<PhoneVault>,
    PhoneConditions,
    SystemClock,
    SystemRandomness,
    FileLedger,
>;

/// Opens the folder and prepares the connection; nothing is sent yet. Must be called within a tokio runtime.
///
/// # Errors
/// [`HostError`] `store`, `key_store` or `ledger` if the folder cannot be used; `transport` for an invalid address or
/// certificate.
pub(super) fn open(
    folder: &Path,
    connection: Connection,
    vault: Option<Arc<dyn SecretVault>>,
    conditions: Option<Arc<dyn ConditionSource>>,
) -> Result<PhoneHost, HostError> {
    let transport = GrpcTransport::new(connection)?;
    let store = FolderStore::open(&folder.join("state"))?;
    let vault = match vault {
        Some(vault) => PhoneVault::App(vault),
        None => PhoneVault::Files(FileVault::open(&folder.join("keys"))?),
    };
    Ok(Parts {
        transport,
        store,
        keys: VaultKeys::over(vault, SystemRandomness),
        conditions: PhoneConditions(conditions),
        clock: SystemClock,
        randomness: SystemRandomness,
        ledger: FileLedger::open(&folder.join("ledger"))?,
    })
}

/// Where the secrets of an installation are.
#[derive(Clone)]
pub(crate) enum PhoneVault {
    /// In files of the installation's folder.
    Files(FileVault),
    /// Where the app puts them: a keychain or a key store.
    App(Arc<dyn SecretVault>),
}

impl PhoneVault {
    /// Asks the app, on a thread that may block.
    async fn ask<T: Send + 'static>(
        vault: &Arc<dyn SecretVault>,
        question: impl FnOnce(&dyn SecretVault) -> Result<T, CallbackError> + Send + 'static,
    ) -> Result<T, HostError> {
        let vault = vault.clone();
        let failed = |sentence: String| HostError::new("key_store", sentence);
        match tokio::task::spawn_blocking(move || question(&*vault)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(CallbackError::Failed { sentence })) => Err(failed(format!("the app's secret vault: {sentence}"))),
            Err(_panic) => Err(failed("the app's secret vault has failed".to_owned())),
        }
    }
}

impl Vault for PhoneVault {
    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, HostError> {
        match self {
            Self::Files(files) => files.get(name).await,
            Self::App(vault) => {
                let name = name.to_owned();
                Ok(Self::ask(vault, move |vault| vault.get(name)).await?.map(Zeroizing::new))
            }
        }
    }

    async fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, HostError> {
        match self {
            Self::Files(files) => files.put_new(name, bytes).await,
            Self::App(vault) => {
                let (name, bytes) = (name.to_owned(), bytes.to_vec());
                Self::ask(vault, move |vault| vault.put_new(name, bytes)).await
            }
        }
    }

    async fn put(&self, name: &str, bytes: &[u8]) -> Result<(), HostError> {
        match self {
            Self::Files(files) => files.put(name, bytes).await,
            Self::App(vault) => {
                let (name, bytes) = (name.to_owned(), bytes.to_vec());
                Self::ask(vault, move |vault| vault.put(name, bytes)).await
            }
        }
    }

    async fn delete(&self, name: &str) -> Result<(), HostError> {
        match self {
            Self::Files(files) => files.delete(name).await,
            Self::App(vault) => {
                let name = name.to_owned();
                Self::ask(vault, move |vault| vault.delete(name)).await
            }
        }
    }
}

/// The device's conditions as the app reports them; unknown if it does not.
#[derive(Clone)]
pub(crate) struct PhoneConditions(Option<Arc<dyn ConditionSource>>);

impl CoreConditions for PhoneConditions {
    async fn current(&self) -> DeviceConditions {
        let Some(source) = self.0.clone() else { return DeviceConditions::UNKNOWN };
        match tokio::task::spawn_blocking(move || source.current()).await {
            Ok(Ok(now)) => DeviceConditions {
                online: now.online,
                charging: now.charging,
                battery_fine: now.battery_fine,
                unmetered: now.unmetered,
                idle: now.idle,
                saving: now.saving,
            },
            Ok(Err(error)) => {
                tracing::warn!(%error, "the app does not say the device's conditions: they count as unknown");
                DeviceConditions::UNKNOWN
            }
            Err(_panic) => DeviceConditions::UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, PoisonError};

    use scale_client_core::host::conformance;

    use super::*;

    #[derive(Default)]
    struct InMemory(Mutex<BTreeMap<String, Vec<u8>>>);

    impl InMemory {
        fn entries<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> Result<T, CallbackError> {
            Ok(work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)))
        }
    }

    impl SecretVault for InMemory {
        fn get(&self, name: String) -> Result<Option<Vec<u8>>, CallbackError> {
            self.entries(|entries| entries.get(&name).cloned())
        }
        fn put_new(&self, name: String, bytes: Vec<u8>) -> Result<bool, CallbackError> {
            self.entries(|entries| {
                let free = !entries.contains_key(&name);
                entries.entry(name).or_insert(bytes);
                free
            })
        }
        fn put(&self, name: String, bytes: Vec<u8>) -> Result<(), CallbackError> {
            self.entries(|entries| drop(entries.insert(name, bytes)))
        }
        fn delete(&self, name: String) -> Result<(), CallbackError> {
            self.entries(|entries| drop(entries.remove(&name)))
        }
    }

    #[tokio::test]
    async fn an_apps_vault_does_what_every_vault_has_to() {
        let (vault, keys) = (Arc::new(InMemory::default()), Arc::new(InMemory::default()));
        conformance::vault(async || PhoneVault::App(vault.clone())).await;
        conformance::keys(async || VaultKeys::over(PhoneVault::App(keys.clone()), SystemRandomness)).await;
    }

    struct Broken;

    impl SecretVault for Broken {
        fn get(&self, _: String) -> Result<Option<Vec<u8>>, CallbackError> {
            Err(CallbackError::Failed { sentence: "unlock the phone".to_owned() })
        }
        fn put_new(&self, _: String, _: Vec<u8>) -> Result<bool, CallbackError> {
            panic!("on purpose")
        }
        fn put(&self, _: String, _: Vec<u8>) -> Result<(), CallbackError> {
            Ok(())
        }
        fn delete(&self, _: String) -> Result<(), CallbackError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_vault_that_fails_is_an_error_of_the_key_store() {
        let vault = PhoneVault::App(Arc::new(Broken));
        let error = vault.get("keys").await.expect_err("locked");
        assert!(error.what == "key_store" && error.sentence.contains("unlock the phone"), "{error}");
        assert_eq!(vault.put_new("keys", b"").await.expect_err("a panic").what, "key_store");
    }
}
