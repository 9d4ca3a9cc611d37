//! The status of an installation.

use std::collections::HashMap;

use scale_client_core::{app, device, host};
use serde::Serialize;

use super::Phase;

/// The status of an installation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Phase of the participation that runs in this process; null: none does.
    pub phase: Option<Phase>,
    /// The earliest time at which `participate` asks for work again; null: it does so at once.
    pub next: Option<u64>,
    /// The conditions that currently keep the device from joining a round.
    pub missing: Vec<Missing>,
    /// How the last participation ended.
    pub last: Option<LastRun>,
    /// The model on this device; null before the first download.
    pub model: Option<ModelInfo>,
    /// Counts of the stored examples.
    pub examples: ExampleCounts,
    /// Whether the platform may delete stored data on its own.
    pub storage: Durability,
    /// Whether the installation is enrolled; false also after the coordinator has refused its token.
    pub enrolled: bool,
    /// When its token ends, as far as the coordinator has said: `enroll` renews it in the 30 days before.
    pub enrollment_ends: Option<u64>,
}

/// A condition that the device is waiting for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Missing {
    /// `online`, `unmetered`, `power`, `idle` or `not_saving`.
    pub code: String,
    /// The same, for the user.
    pub sentence: String,
}

/// How the last participation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct LastRun {
    /// When it ended, by the device's clock.
    pub at: u64,
    /// `contributed`, `paused`, `waited`, `left` or `enrollment_needed`.
    pub outcome: String,
    /// Stable code of the cause; empty for a contribution.
    pub code: String,
    /// What happened, for the user.
    pub sentence: String,
}

/// The model on this device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ModelInfo {
    /// Version within its task.
    pub version: u64,
    /// SHA-256 of the model file, as hex.
    pub digest: String,
    /// Names of its classes.
    pub labels: Vec<String>,
}

/// Counts of the stored examples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ExampleCounts {
    /// All of them.
    pub total: u32,
    /// By label.
    pub by_label: HashMap<String, u32>,
    /// Those whose label the model does not know.
    pub unknown_label: u32,
    /// Parts of the store, of 64, whose examples are lost. Put their examples again.
    pub damaged: u32,
}

/// Whether the platform may delete stored data on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Enum))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// It stays until the app or the user deletes it.
    Persistent,
    /// The platform may delete it when space is short, or after a time without use.
    BestEffort,
}

impl From<app::ModelInfo> for ModelInfo {
    fn from(model: app::ModelInfo) -> Self {
        Self { version: model.version.0, digest: model.digest.hex(), labels: model.labels }
    }
}

impl From<device::Condition> for Missing {
    fn from(condition: device::Condition) -> Self {
        Self { code: condition.code().to_owned(), sentence: condition.sentence().to_owned() }
    }
}

impl From<app::LastRun> for LastRun {
    fn from(last: app::LastRun) -> Self {
        let app::LastRun { at, outcome, code, sentence } = last;
        Self { at: at.as_millis(), outcome, code, sentence }
    }
}

impl From<app::Status> for Status {
    fn from(status: app::Status) -> Self {
        let examples = status.examples;
        Self {
            phase: status.phase.map(Phase::from),
            next: status.next.map(|next| next.as_millis()),
            missing: status.missing.into_iter().map(Missing::from).collect(),
            last: status.last.map(LastRun::from),
            model: status.model.map(ModelInfo::from),
            examples: ExampleCounts {
                total: examples.total,
                by_label: examples.by_label.into_iter().collect(),
                unknown_label: examples.unknown_label,
                damaged: examples.damaged,
            },
            storage: match status.storage {
                host::Durability::Persistent => Durability::Persistent,
                host::Durability::BestEffort => Durability::BestEffort,
            },
            enrolled: status.enrolled,
            enrollment_ends: status.enrollment_ends.map(|ends| ends.as_millis()),
        }
    }
}
