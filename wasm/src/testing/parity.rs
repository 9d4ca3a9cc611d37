//! Training in a browser, for a comparison with the same training natively.
#![allow(unreachable_pub, reason = "JavaScript reaches it")]

use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use super::training;

/// What the trainings come to in this build, as JSON: `{ name: { losses, weights } }`. Natively: `tests/parity.rs`.
///
/// # Errors
/// If a training fails.
#[wasm_bindgen]
pub fn parity_runs() -> Result<String, JsError> {
    training::json().map_err(|problem| JsError::new(&problem))
}
