//! How a device joins: it enrolls, gets its examples, then takes part in rounds.

use std::sync::Arc;

use anyhow::Context as _;
use scale_client_core::app::App;
use scale_client_core::device::Cancel;
use scale_client_core::host::Host;
use scale_client_core::train::Dataset;
use scale_proto::ids::TaskId;
use tokio::sync::{Semaphore, mpsc, watch};

use super::device::{Behavior, Cores, Sighting, app, examples, live};

/// Number of devices that enroll concurrently. Few, because each writes a row, and the coordinator's database writes
/// one at a time.
pub(super) const ENROLLING: usize = 8;

/// What all devices of the fleet share.
#[derive(Clone)]
pub(super) struct Joining {
    pub(super) task: TaskId,
    pub(super) task_key: [u8; 32],
    pub(super) labels: Arc<[String]>,
    pub(super) enroll_token: String,
    pub(super) cores: Cores,
    /// Places for [`ENROLLING`] devices.
    pub(super) enrolling: Arc<Semaphore>,
    pub(super) behavior: Behavior,
    pub(super) rounds_over: watch::Receiver<u64>,
    pub(super) tell: mpsc::UnboundedSender<Sighting>,
}

impl Joining {
    /// Runs one device: it enrolls, then takes part in rounds.
    pub(super) async fn join<H: Host>(self, index: usize, host: H, statement: Dataset) -> anyhow::Result<()> {
        let app = self.enroll(index, host, statement).await?;
        live(index, app, self.cores, self.behavior, self.rounds_over, self.tell).await
    }

    /// An enrolled device with these examples.
    pub(super) async fn enroll<H: Host>(&self, index: usize, host: H, statement: Dataset) -> anyhow::Result<App<H>> {
        let app = app(host, &self.task, self.task_key);
        let _turn = self.enrolling.acquire().await?;
        app.enroll(&self.enroll_token, &Cancel::new())
            .await
            .with_context(|| format!("device {index} cannot enroll"))?;
        app.put_examples(examples(statement, &self.labels)).await?;
        Ok(app)
    }
}
