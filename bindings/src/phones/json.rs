//! The values as JSON, in the shapes of the npm package (`wasm/package/src/types.ts`): for React Native, whose screens are
//! written in TypeScript.

use serde::Serialize;

use super::configuration::Configuration;
use super::error::ScaleError;
use crate::types::{
    ErrorKind, Example, Failure, Guardrails, ModelInfo, Outcome, Prediction, PrivacyReport, Progress, PutSummary,
    RunOptions, Status,
};

fn json(value: &impl Serialize) -> String {
    // Plain data with string keys.
    serde_json::to_string(value).expect("plain data")
}

/// Reads a configuration.
///
/// # Errors
/// `Configuration`, with the code `bad_option`.
#[uniffi::export]
pub fn configuration_from_json(json: String) -> Result<Configuration, ScaleError> {
    let invalid = |error| Failure::invalid(ErrorKind::Configuration, "bad_option", format!("the options: {error}"));
    Ok(serde_json::from_str(&json).map_err(invalid)?)
}

/// Reads the options of a participation.
///
/// # Errors
/// `Usage`, with the code `bad_option`.
#[uniffi::export]
pub fn run_options_from_json(json: String) -> Result<RunOptions, ScaleError> {
    Ok(RunOptions::parse(&json)?)
}

/// Reads a list of examples.
///
/// # Errors
/// `Usage`, with the code `bad_argument`.
#[uniffi::export]
pub fn examples_from_json(json: String) -> Result<Vec<Example>, ScaleError> {
    // Without serde's words, which may repeat a value: it is a person's.
    let expected =
        "the argument `examples` is not a list of { id, text, label, time? }: three strings, and Unix milliseconds";
    let invalid = |_| Failure::invalid(ErrorKind::Usage, "bad_argument", expected);
    Ok(serde_json::from_str(&json).map_err(invalid)?)
}

/// An outcome as JSON.
#[uniffi::export]
pub fn outcome_to_json(outcome: Outcome) -> String {
    json(&outcome)
}

/// Progress as JSON.
#[uniffi::export]
pub fn progress_to_json(progress: Progress) -> String {
    json(&progress)
}

/// A status as JSON.
#[uniffi::export]
pub fn status_to_json(status: Status) -> String {
    json(&status)
}

/// A privacy report as JSON.
#[uniffi::export]
pub fn privacy_report_to_json(report: PrivacyReport) -> String {
    json(&report)
}

/// Predictions as JSON.
#[uniffi::export]
pub fn predictions_to_json(predictions: Vec<Prediction>) -> String {
    json(&predictions)
}

/// What `put` did, as JSON.
#[uniffi::export]
pub fn put_summary_to_json(summary: PutSummary) -> String {
    json(&summary)
}

/// A model's description as JSON.
#[uniffi::export]
pub fn model_info_to_json(model: ModelInfo) -> String {
    json(&model)
}

/// The limits that hold, as JSON.
#[uniffi::export]
pub fn guardrails_to_json(guardrails: Guardrails) -> String {
    json(&guardrails)
}
