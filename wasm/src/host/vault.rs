//! The vault: entries of IndexedDB, sealed by a key of WebCrypto that cannot be exported.

use scale_client_core::error::HostError;
use scale_client_core::host::Vault;
use wasm_bindgen::JsValue;
use zeroize::Zeroizing;

use super::copied;
use crate::platform::{Platform, bytes, sentence};

#[derive(Debug)]
pub(crate) struct BrowserVault(pub(crate) Platform);

fn failed(error: JsValue) -> HostError {
    HostError::new("key_store", sentence(&error))
}

impl Vault for BrowserVault {
    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, HostError> {
        Ok(bytes(&self.0.vault_get(name).await.map_err(failed)?).map(Zeroizing::new))
    }

    async fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, HostError> {
        Ok(self.0.vault_put_new(name, copied(bytes)).await.map_err(failed)?.is_truthy())
    }

    async fn put(&self, name: &str, bytes: &[u8]) -> Result<(), HostError> {
        self.0.vault_put(name, copied(bytes)).await.map_err(failed)
    }

    async fn delete(&self, name: &str) -> Result<(), HostError> {
        self.0.vault_delete(name).await.map_err(failed)
    }
}
