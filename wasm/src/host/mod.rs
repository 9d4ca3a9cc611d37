//! The core's traits over the worker's [`Platform`].

mod caller;
mod clock;
mod conditions;
mod ledger;
mod store;
mod vault;

use js_sys::Uint8Array;
use scale_client_core::error::HostError;
use scale_client_core::host::{Parts, Randomness, VaultKeys};
use scale_client_core::transport::Grpc;
use wasm_bindgen::{JsCast as _, JsValue};

pub(crate) use caller::FetchCaller;
pub(crate) use clock::WorkerClock;
pub(crate) use conditions::PageConditions;
pub(crate) use ledger::IndexedLedger;
pub(crate) use store::IndexedStore;
pub(crate) use vault::BrowserVault;

use crate::platform::Platform;

/// A device in a browser.
pub(crate) type BrowserHost = Parts<
    Grpc<FetchCaller>,
    IndexedStore,
    VaultKeys<BrowserVault>,
    PageConditions,
    WorkerClock,
    WebRandomness,
    IndexedLedger,
>;

/// Everything in this one worker.
pub(crate) fn host(platform: &Platform) -> BrowserHost {
    Parts {
        transport: Grpc::over(FetchCaller(shared(platform))),
        store: IndexedStore(shared(platform)),
        keys: VaultKeys::over(BrowserVault(shared(platform)), WebRandomness),
        conditions: PageConditions(shared(platform)),
        clock: WorkerClock(shared(platform)),
        randomness: WebRandomness,
        ledger: IndexedLedger(shared(platform)),
    }
}

/// Another reference to the same object.
pub(crate) fn shared(platform: &Platform) -> Platform {
    let object: &JsValue = platform.as_ref();
    object.clone().unchecked_into()
}

/// The bytes as JavaScript's own: a view of this module's memory would move while a promise is pending.
fn copied(bytes: &[u8]) -> Uint8Array {
    Uint8Array::from(bytes)
}

/// `crypto.getRandomValues`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WebRandomness;

impl Randomness for WebRandomness {
    fn fill(&self, out: &mut [u8]) -> Result<(), HostError> {
        getrandom::fill(out).map_err(|error| HostError::new("randomness", error.to_string()))
    }
}
