//! The accuracy of published models, and the figures of a round that has ended.

use anyhow::Context as _;
use scale_client_core::app::App;
use scale_client_core::device::Cancel;
use scale_client_core::host::Host;
use scale_proto::ids::{ModelVersion, TaskId};
use scale_proto::wire::RoundInfo;

use super::promise::Promise;
use super::report::RoundRow;
use crate::evaluate::Evaluator;

/// Measures the accuracy of published models, downloaded and verified by a device's client as in an app.
pub(super) struct Judge<H: Host> {
    pub(super) watcher: App<H>,
    pub(super) names: Evaluator,
    pub(super) task: TaskId,
    /// Weights of the last model that was measured.
    pub(super) last: Vec<f32>,
}

impl<H: Host> Judge<H> {
    pub(super) async fn score(&mut self, version: u64) -> anyhow::Result<f64> {
        let model = self.watcher.client().fetch_model(&self.task, Some(ModelVersion(version)), &Cancel::new()).await;
        self.last = model.with_context(|| format!("cannot fetch model version {version}"))?.weights;
        tokio::task::block_in_place(|| Ok(self.names.score(&self.last)?.accuracy))
    }

    /// The figures of a round that has ended. `place`: its number within the run, from 1.
    pub(super) async fn row(&mut self, place: u64, round: &RoundInfo, promise: &Promise) -> anyhow::Result<RoundRow> {
        let abandoned = (round.phase == "abandoned").then(|| round.reason.clone());
        let accuracy = if abandoned.is_none() { self.score(round.new_version).await? } else { 0.0 };
        let spent = promise.spent(place)?;
        Ok(RoundRow {
            round: place,
            cohort: round.cohort,
            survivors: round.survivors,
            loss: promise.tells_loss().then_some(round.loss),
            accuracy,
            epsilon: spent.map(|spent| spent.epsilon),
            epsilon_alone: spent.and_then(|spent| spent.alone),
            bytes_up: round.bytes_up_per_device,
            seconds: round.closed_at_ms.saturating_sub(round.opened_at_ms) as f64 / 1000.0,
            abandoned,
        })
    }
}

/// True once nothing more comes of the round.
pub(super) fn is_over(round: &RoundInfo) -> bool {
    round.phase == "finished" || round.phase == "abandoned"
}
