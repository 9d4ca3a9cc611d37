//! The calls of an app, as JavaScript sees them. Values cross as JSON; a failed call is rejected with the JSON of a
//! [`Failure`].

use std::time::Duration;

use js_sys::Function;
use scale_client_core::app::{App, Forget};
use scale_client_core::device::{self, Cancel, Observer, Sparingly};
use scale_client_core::error::Error;
use scale_client_core::examples::TextExample;
use scale_fl_sdk::types::{
    ErrorKind, Example, Failure, Guardrails, Installation, ModelInfo, Outcome, Prediction, PrivacyReport, Progress,
    PutSummary, RunOptions, Status,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;

use crate::host::{BrowserHost, WorkerClock, host, shared};
use crate::log;
use crate::platform::Platform;

/// A message for each training step would keep the page busy.
const REPORT_EVERY: Duration = Duration::from_millis(50);

/// One installation.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Client {
    pub(crate) app: App<BrowserHost>,
    pub(crate) platform: Platform,
}

/// Ends the calls that it was passed to.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct Stop(pub(crate) Cancel);

#[wasm_bindgen]
impl Stop {
    /// Ends nothing yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// The device leaves its round.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// The round is kept for the next call.
    pub fn pause(&self) {
        self.0.pause();
    }
}

#[wasm_bindgen]
impl Client {
    /// `options`: JSON of an [`Installation`].
    ///
    /// # Errors
    /// JSON of a [`Failure`] of kind `configuration`.
    #[wasm_bindgen(constructor)]
    pub fn new(platform: Platform, options: &str) -> Result<Self, JsValue> {
        log::to(&platform);
        let config = Installation::parse(options).and_then(Installation::into_config).map_err(thrown)?;
        Ok(Self { app: App::new(host(&platform), config), platform })
    }

    /// The device id.
    pub async fn enroll(&self, token: String, stop: &Stop) -> Result<String, JsValue> {
        self.app.enroll(&token, &stop.0).await.map(|device| device.to_string()).map_err(failed)
    }

    /// `examples`: JSON of a list of [`Example`]; JSON of a [`PutSummary`].
    pub async fn put(&self, examples: String) -> Result<String, JsValue> {
        let expected = "a list of { id, text, label, time? }: three strings, and Unix milliseconds";
        let examples: Vec<Example> = argument("examples", expected, &examples)?;
        let examples = examples.into_iter().map(TextExample::from).collect();
        let summary = self.app.put_examples(examples).await.map_err(failed)?;
        Ok(json(&PutSummary::from(summary)))
    }

    /// `ids`: JSON of a list of strings; how many were there.
    pub async fn remove(&self, ids: String) -> Result<u32, JsValue> {
        let ids: Vec<String> = argument("ids", "a list of strings", &ids)?;
        self.app.remove_examples(&ids).await.map_err(failed)
    }

    /// `texts`: JSON of a list of strings; JSON of a list of [`Prediction`].
    pub async fn predict(&self, texts: String, top: u32) -> Result<String, JsValue> {
        let texts: Vec<String> = argument("texts", "a list of strings", &texts)?;
        let predictions = self.app.predict(&texts, top).await.map_err(failed)?;
        Ok(json(&predictions.into_iter().map(Prediction::from).collect::<Vec<_>>()))
    }

    /// JSON of a [`ModelInfo`], or of null: the installed model is the newest.
    #[wasm_bindgen(js_name = refreshModel)]
    pub async fn refresh_model(&self, stop: &Stop) -> Result<String, JsValue> {
        let model = self.app.refresh_model(&stop.0).await.map_err(failed)?;
        Ok(json(&model.map(ModelInfo::from)))
    }

    /// `options`: JSON of [`RunOptions`]; `on_progress`: called with the JSON of a [`Progress`]. JSON of an [`Outcome`].
    pub async fn participate(&self, options: String, stop: &Stop, on_progress: Function) -> Result<String, JsValue> {
        let options = RunOptions::parse(&options).and_then(RunOptions::into_core).map_err(thrown)?;
        let clock = WorkerClock(shared(&self.platform));
        let mut observer = told(&clock, on_progress);
        let outcome = self.app.participate(options, &stop.0, &mut observer).await.map_err(failed)?;
        // A receipt is an extra: that the report cannot be read changes nothing about the round.
        let receipt = match &outcome {
            device::Outcome::Contributed(done) => {
                self.app.privacy_report().await.ok().and_then(|report| report.receipt_of(done).cloned())
            }
            _ => None,
        };
        Ok(json(&Outcome::new(outcome, receipt)))
    }

    /// JSON of a [`Status`].
    pub async fn status(&self) -> Result<String, JsValue> {
        Ok(json(&Status::from(self.app.status().await.map_err(failed)?)))
    }

    /// JSON of a [`PrivacyReport`].
    #[wasm_bindgen(js_name = privacyReport)]
    pub async fn privacy_report(&self) -> Result<String, JsValue> {
        Ok(json(&PrivacyReport::from(self.app.privacy_report().await.map_err(failed)?)))
    }

    /// The report as JSON for the user to keep, in the format that every platform exports.
    #[wasm_bindgen(js_name = exportPrivacyReport)]
    pub async fn export_privacy_report(&self) -> Result<String, JsValue> {
        Ok(self.app.privacy_report().await.map_err(failed)?.to_json())
    }

    /// Whether the ledger was locked, and is a new one now.
    #[wasm_bindgen(js_name = resetPrivacyLedger)]
    pub async fn reset_privacy_ledger(&self) -> Result<bool, JsValue> {
        self.app.reset_privacy_ledger().await.map_err(failed)
    }

    /// JSON of the [`Guardrails`] as they hold.
    pub fn guardrails(&self) -> String {
        json(&Guardrails::from(self.app.guardrails()))
    }

    /// `what`: `examples` or `everything`.
    pub async fn forget(&self, what: String) -> Result<(), JsValue> {
        let what = match what.as_str() {
            "examples" => Forget::Examples,
            "everything" => Forget::Everything,
            other => {
                let problem =
                    format!("{other:?} is nothing that can be forgotten: give \"examples\" or \"everything\"");
                return Err(thrown(Failure::invalid(ErrorKind::Usage, "bad_argument", problem)));
            }
        };
        self.app.forget(what).await.map_err(failed)
    }

    /// Waits until nothing is written any more.
    pub async fn close(&self) {
        self.app.clone().close().await;
    }
}

/// An observer that calls JavaScript with the JSON of a [`Progress`].
pub(crate) fn told(clock: &WorkerClock, on_progress: Function) -> impl Observer + '_ {
    let tell = move |progress: device::Progress| {
        if let Some(progress) = Progress::new(&progress) {
            // The worker's own function, which does not throw.
            let _called = on_progress.call1(&JsValue::UNDEFINED, &json(&progress).into());
        }
    };
    Sparingly::new(clock, REPORT_EVERY, tell)
}

pub(crate) fn json(value: &impl Serialize) -> String {
    // Plain data with string keys.
    serde_json::to_string(value).expect("plain data")
}

/// The error does not repeat what was given: it is a person's.
pub(crate) fn argument<T: DeserializeOwned>(name: &str, expected: &str, json: &str) -> Result<T, JsValue> {
    serde_json::from_str(json).map_err(|error| {
        let problem = format!("the argument `{name}` is not {expected} (JSON, column {})", error.column());
        thrown(Failure::invalid(ErrorKind::Usage, "bad_argument", problem))
    })
}

fn thrown(failure: Failure) -> JsValue {
    failure.to_json().into()
}

pub(crate) fn failed(error: Error) -> JsValue {
    thrown(error.into())
}
