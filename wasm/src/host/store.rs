//! The store: an object store of IndexedDB, and Web Locks for its turns.

use scale_client_core::error::HostError;
use scale_client_core::host::{Durability, Store};
use wasm_bindgen::JsValue;

use super::copied;
use crate::platform::{Platform, Release, bytes, sentence};

#[derive(Debug)]
pub(crate) struct IndexedStore(pub(crate) Platform);

fn failed(error: JsValue) -> HostError {
    HostError::new("store", sentence(&error))
}

impl Store for IndexedStore {
    type Turn = Option<Release>;

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, HostError> {
        Ok(bytes(&self.0.store_get(key).await.map_err(failed)?))
    }

    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), HostError> {
        self.0.store_put(key, copied(bytes)).await.map_err(failed)
    }

    async fn delete(&self, key: &str) -> Result<(), HostError> {
        self.0.store_delete(key).await.map_err(failed)
    }

    async fn clear(&self) -> Result<(), HostError> {
        self.0.store_clear().await.map_err(failed)
    }

    async fn turn(&self, name: &str) -> Result<Self::Turn, HostError> {
        Ok(Release::from_js(self.0.turn(name).await.map_err(failed)?))
    }

    fn durability(&self) -> Durability {
        if self.0.persistent() { Durability::Persistent } else { Durability::BestEffort }
    }
}
