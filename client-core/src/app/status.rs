//! The status of an installation.

use scale_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{App, ModelInfo};
use crate::device::{Condition, Outcome, Phase};
use crate::download;
use crate::error::Error;
use crate::examples::ExampleCounts;
use crate::host::{Clock as _, Conditions as _, Durability, Host, Store as _};
use crate::storage;

/// Key in the store; the value is sealed under this name.
const LAST_RUN: &str = "last-run";

/// The status of an installation.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Phase of the running participation; `None`: none is running.
    pub phase: Option<Phase>,
    /// The earliest time at which [`App::participate`] asks for work again; `None`: it does so at once.
    pub next: Option<Timestamp>,
    /// The conditions that currently keep the device from joining a round.
    pub missing: Vec<Condition>,
    /// How the last participation ended.
    pub last: Option<LastRun>,
    /// The model on this device; `None` before the first download.
    pub model: Option<ModelInfo>,
    /// Counts of the examples on this device, by the labels of its model.
    pub examples: ExampleCounts,
    /// Whether the platform may delete stored data on its own.
    pub storage: Durability,
    /// Whether the installation is enrolled; false also after the coordinator has refused its token.
    pub enrolled: bool,
    /// When its token ends, as far as the coordinator has said: [`App::enroll`] renews it in the 30 days before.
    pub enrollment_ends: Option<Timestamp>,
}

/// How a participation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// Time of its end, by the device's clock.
    pub at: Timestamp,
    /// `contributed`, `paused`, `waited`, `left` or `enrollment_needed`.
    pub outcome: String,
    /// Stable code of the cause; empty for a contribution.
    pub code: String,
    /// What happened, as a sentence for the user.
    pub sentence: String,
}

impl<H: Host> App<H> {
    /// The status of the installation. May also be called while a round runs.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub async fn status(&self) -> Result<Status, Error> {
        let host = self.host();
        let client = &self.0.client;
        let model = download::installed_info(host, &self.0.task).await?;
        let model =
            model.map(|model| ModelInfo { version: model.version, digest: model.digest, labels: model.spec.labels });
        let labels = model.as_ref().map(|model| model.labels.as_slice());
        let examples = self.examples().await?.1.counts(labels);
        Ok(Status {
            phase: client.phase(),
            next: client.due().await?,
            missing: client.requirements().missing(&host.conditions().current().await),
            last: storage::get_json_or_none(host, LAST_RUN).await?,
            model,
            examples,
            storage: host.store().durability(),
            enrolled: client.is_enrolled().await?,
            enrollment_ends: client.enrollment_ends().await?,
        })
    }
}

/// Stores how a participation ended.
///
/// # Errors
/// [`Error::Host`].
pub(super) async fn remember<H: Host>(host: &H, outcome: &Outcome) -> Result<(), Error> {
    let (kind, code, sentence) = match outcome {
        Outcome::Contributed(_) => ("contributed", "", "this device's update is in the sum".to_owned()),
        Outcome::Paused { phase, .. } => ("paused", "paused", phase.sentence().to_owned()),
        Outcome::Waited { code, sentence, .. } => ("waited", code.as_str(), sentence.clone()),
        Outcome::Left { cause, .. } => ("left", cause.code(), cause.to_string()),
        Outcome::EnrollmentNeeded { code, sentence } => ("enrollment_needed", code.as_str(), sentence.clone()),
    };
    let at = host.clock().now();
    let last = LastRun { at, outcome: kind.to_owned(), code: code.to_owned(), sentence };
    Ok(storage::put_json(host, LAST_RUN, &last).await?)
}
