//! The privacy ledger's log: one entry of IndexedDB, and a Web Lock for who writes it.

use scale_client_core::error::HostError;
use scale_client_core::host::{HeldLog, LedgerLog, LogError};
use wasm_bindgen::JsValue;

use super::{copied, shared};
use crate::platform::{Platform, Release, bytes, sentence};

#[derive(Debug)]
pub(crate) struct IndexedLedger(pub(crate) Platform);

/// The log, locked by this worker.
#[derive(Debug)]
pub(crate) struct HeldLedger {
    platform: Platform,
    _lock: Release,
}

fn failed(error: JsValue) -> HostError {
    HostError::new("ledger", sentence(&error))
}

async fn read(platform: &Platform) -> Result<Vec<u8>, HostError> {
    Ok(bytes(&platform.ledger_read().await.map_err(failed)?).unwrap_or_default())
}

impl LedgerLog for IndexedLedger {
    type Held = HeldLedger;

    async fn hold(&self) -> Result<HeldLedger, LogError> {
        let lock = self.0.ledger_hold().await.map_err(failed)?;
        let lock = Release::from_js(lock).ok_or(LogError::InUse)?;
        Ok(HeldLedger { platform: shared(&self.0), _lock: lock })
    }

    async fn read(&self) -> Result<Vec<u8>, HostError> {
        read(&self.0).await
    }
}

impl HeldLog for HeldLedger {
    async fn read(&mut self) -> Result<Vec<u8>, HostError> {
        read(&self.platform).await
    }

    async fn append(&mut self, at: u64, bytes: &[u8]) -> Result<(), HostError> {
        // A log of 2^53 bytes fits in no browser.
        self.platform.ledger_append(at as f64, copied(bytes)).await.map_err(failed)
    }

    async fn replace(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        self.platform.ledger_replace(copied(bytes)).await.map_err(failed)
    }

    async fn remove(&mut self) -> Result<(), HostError> {
        self.platform.ledger_remove().await.map_err(failed)
    }
}
