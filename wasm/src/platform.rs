//! What the worker provides: one object, whose methods are in `wasm/package/src/worker`.

use js_sys::{Error, Function, JsString, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// The browser, as the worker gives it. A method whose promise is rejected has failed with a sentence for people.
    #[derive(Debug)]
    pub type Platform;

    /// The bytes of a key; undefined: not stored.
    #[wasm_bindgen(method, catch, js_name = storeGet)]
    pub(crate) async fn store_get(this: &Platform, key: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, js_name = storePut)]
    pub(crate) async fn store_put(this: &Platform, key: &str, bytes: Uint8Array) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch, js_name = storeDelete)]
    pub(crate) async fn store_delete(this: &Platform, key: &str) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch, js_name = storeClear)]
    pub(crate) async fn store_clear(this: &Platform) -> Result<(), JsValue>;
    /// Whether the browser keeps stored data until it is deleted.
    #[wasm_bindgen(method)]
    pub(crate) fn persistent(this: &Platform) -> bool;
    /// Waits for the turn; a function that ends it.
    #[wasm_bindgen(method, catch)]
    pub(crate) async fn turn(this: &Platform, name: &str) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = vaultGet)]
    pub(crate) async fn vault_get(this: &Platform, name: &str) -> Result<JsValue, JsValue>;
    /// Whether it was stored; false: there was an entry.
    #[wasm_bindgen(method, catch, js_name = vaultPutNew)]
    pub(crate) async fn vault_put_new(this: &Platform, name: &str, bytes: Uint8Array) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, js_name = vaultPut)]
    pub(crate) async fn vault_put(this: &Platform, name: &str, bytes: Uint8Array) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch, js_name = vaultDelete)]
    pub(crate) async fn vault_delete(this: &Platform, name: &str) -> Result<(), JsValue>;

    /// A function that lets go of the ledger; undefined: another tab has it.
    #[wasm_bindgen(method, catch, js_name = ledgerHold)]
    pub(crate) async fn ledger_hold(this: &Platform) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, js_name = ledgerRead)]
    pub(crate) async fn ledger_read(this: &Platform) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, js_name = ledgerAppend)]
    pub(crate) async fn ledger_append(this: &Platform, at: f64, bytes: Uint8Array) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch, js_name = ledgerReplace)]
    pub(crate) async fn ledger_replace(this: &Platform, bytes: Uint8Array) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch, js_name = ledgerRemove)]
    pub(crate) async fn ledger_remove(this: &Platform) -> Result<(), JsValue>;

    /// Sends one gRPC-web request; an [`Answer`].
    #[wasm_bindgen(method, catch)]
    pub(crate) async fn unary(
        this: &Platform,
        path: &str,
        authorization: Option<&str>,
        body: Uint8Array,
    ) -> Result<JsValue, JsValue>;
    /// Starts a download; an [`Opened`].
    #[wasm_bindgen(method, catch)]
    pub(crate) async fn download(this: &Platform, url: &str, from: f64) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method)]
    pub(crate) fn conditions(this: &Platform) -> Known;
    /// Milliseconds that no clock setting moves.
    #[wasm_bindgen(method)]
    pub(crate) fn steady(this: &Platform) -> f64;
    #[wasm_bindgen(method, js_name = startTimer)]
    pub(crate) fn start_timer(this: &Platform, milliseconds: f64) -> Timer;
    /// Ends after the worker's other events.
    #[wasm_bindgen(method, catch)]
    pub(crate) async fn breathe(this: &Platform) -> Result<(), JsValue>;
    /// `level`: `error` or `warn`.
    #[wasm_bindgen(method)]
    pub(crate) fn log(this: &Platform, level: &str, text: &str);

    /// The answer to a gRPC-web request.
    #[derive(Debug)]
    pub(crate) type Answer;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn http(this: &Answer) -> u16;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn status(this: &Answer) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn message(this: &Answer) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn details(this: &Answer) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn body(this: &Answer) -> Uint8Array;

    /// A download that has started.
    #[derive(Debug)]
    pub(crate) type Opened;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn http(this: &Opened) -> u16;
    #[wasm_bindgen(method, getter, js_name = contentRange)]
    pub(crate) fn content_range(this: &Opened) -> Option<String>;
    /// The next bytes; undefined at the end.
    #[wasm_bindgen(method, catch)]
    pub(crate) async fn next(this: &Opened) -> Result<JsValue, JsValue>;
    /// Nothing more is wanted.
    #[wasm_bindgen(method)]
    pub(crate) fn stop(this: &Opened);

    /// The conditions that the browser reports; undefined: unknown.
    #[derive(Debug)]
    pub(crate) type Known;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn online(this: &Known) -> Option<bool>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn charging(this: &Known) -> Option<bool>;
    #[wasm_bindgen(method, getter, js_name = batteryFine)]
    pub(crate) fn battery_fine(this: &Known) -> Option<bool>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn unmetered(this: &Known) -> Option<bool>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn idle(this: &Known) -> Option<bool>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn saving(this: &Known) -> Option<bool>;

    /// A timer that runs.
    #[derive(Debug)]
    pub(crate) type Timer;
    #[wasm_bindgen(method, catch)]
    pub(crate) async fn over(this: &Timer) -> Result<(), JsValue>;
    #[wasm_bindgen(method)]
    pub(crate) fn stop(this: &Timer);
}

/// A function that the platform gave to be called once, when this value is dropped.
#[derive(Debug)]
pub(crate) struct Release(Function);

impl Release {
    /// `None` for undefined.
    pub(crate) fn from_js(value: JsValue) -> Option<Self> {
        value.dyn_into().ok().map(Self)
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        // Lets go of a lock, which does not fail.
        let _released = self.0.call0(&JsValue::UNDEFINED);
    }
}

/// Bytes that JavaScript gave; `None` for undefined.
pub(crate) fn bytes(value: &JsValue) -> Option<Vec<u8>> {
    (!value.is_undefined()).then(|| Uint8Array::new(value).to_vec())
}

/// What a rejected promise says.
pub(crate) fn sentence(error: &JsValue) -> String {
    if let Some(error) = error.dyn_ref::<Error>() {
        return error.message().into();
    }
    // A DOMException is not an Error for `instanceof` in every realm.
    let message = Reflect::get(error, &"message".into()).ok().and_then(|message| message.dyn_into::<JsString>().ok());
    message.map_or_else(|| "the browser gave no reason".to_owned(), String::from)
}
