//! The one method that clients of the testing build have in addition.

use js_sys::Function;
use scale_client_core::device::RunOptions;
use scale_client_core::host::{VaultKeys, conformance};
use scale_fl_sdk::types::Outcome;
use serde_json::json;
use wasm_bindgen::prelude::*;

use super::moves::Asked;
use crate::client::{Client, Stop, argument, failed, json, told};
use crate::host::{BrowserVault, IndexedLedger, IndexedStore, WebRandomness, WorkerClock, shared};

/// Bytes of a page of WebAssembly's memory.
const PAGE: usize = 64 << 10;

#[wasm_bindgen]
impl Client {
    /// `move`: takes part with a trainer whose update is known. `panic`: traps. `memory`: bytes of this module's memory.
    /// `conformance_…`: runs a suite over the platform's storage, which has to be empty; a failure is a panic.
    pub async fn testing(
        &self,
        what: String,
        options: String,
        stop: &Stop,
        on_progress: Function,
    ) -> Result<String, JsValue> {
        let platform = || shared(&self.platform);
        match what.as_str() {
            "move" => {
                let asked: Asked = argument("options", "{ by, examples, steps?, stepMs? }", &options)?;
                let mut moves = asked.trainer();
                let clock = WorkerClock(platform());
                let mut observer = told(&clock, on_progress);
                let run = RunOptions::default();
                let outcome = self.app.participate_with(run, &mut moves, &stop.0, &mut observer).await;
                return Ok(json(&Outcome::new(outcome.map_err(failed)?, None)));
            }
            "panic" => panic!("a fault of the library, on purpose"),
            "memory" => return Ok(json!({ "wasm": core::arch::wasm32::memory_size(0) * PAGE }).to_string()),
            "conformance_store" => conformance::store(async || IndexedStore(platform())).await,
            "conformance_ledger" => conformance::ledger(async || IndexedLedger(platform())).await,
            "conformance_vault" => conformance::vault(async || BrowserVault(platform())).await,
            "conformance_keys" => {
                conformance::keys(async || VaultKeys::over(BrowserVault(platform()), WebRandomness)).await;
            }
            other => panic!("no such call: {other}"),
        }
        Ok("null".to_owned())
    }
}
