//! The interface for apps: one [`App`] per installation and task. It is the same in Swift, Kotlin and the browser;
//! their bindings only convert types and manage threads.
//!
//! | an app wants to | it calls | file |
//! |---|---|---|
//! | register this installation with the coordinator | [`App::enroll`] | |
//! | add, correct and delete examples | [`App::put_examples`], [`App::remove_examples`] | [`crate::examples`] |
//! | classify lines without a network | [`App::predict`], [`App::refresh_model`] | `model.rs` |
//! | take part in a round | [`App::participate`] | [`crate::device`] |
//! | show the status and the privacy report | [`App::status`], [`App::privacy_report`] | `status.rs` |
//! | sign a person out | [`App::forget`] | `forget.rs` |
//!
//! Every method takes `&self`, and clones share their state. One participation runs at a time; all other methods can be
//! called meanwhile. Between two calls no lock is held and nothing is written.

mod config;
mod forget;
mod model;
mod status;

use std::sync::Arc;

use scale_proto::ids::{DeviceId, TaskId};
use scale_proto::time::Timestamp;
use tokio::sync::{Mutex, RwLock};

pub use config::AppConfig;
pub use forget::Forget;
pub use model::{ModelInfo, Prediction, Scored};
pub use status::{LastRun, Status};

use crate::device::{Cancel, Client, Guardrails, Observer, Outcome, PrivacyReport, RunOptions};
use crate::error::Error;
use crate::examples::{ExampleLimits, ExampleTrainer, Examples, PutSummary, TextExample};
use crate::host::{Host, MaybeSend, Store};
use crate::train::Backend;
use crate::trainer::Trainer;
use model::Predictor;

/// The turn of calls that read, change and write the examples.
const EXAMPLES: &str = "examples";

type Turn<H> = <<H as Host>::Store as Store>::Turn;

/// One installation of an app, for one task that classifies lines of text. Clones share the same installation.
#[derive(Debug)]
pub struct App<H: Host>(Arc<Inner<H>>);

impl<H: Host> Clone for App<H> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[derive(Debug)]
struct Inner<H> {
    client: Client<H>,
    task: TaskId,
    limits: ExampleLimits,
    backend: Backend,
    /// Held for reading by everything that writes, and for writing by [`App::forget`].
    installation: RwLock<()>,
    /// Loaded by the first prediction.
    predictor: Mutex<Option<Predictor>>,
}

impl<H: Host> App<H> {
    /// Creates an app on this host. Nothing is read, written or sent yet.
    pub fn new(host: H, config: AppConfig) -> Self {
        let (task, limits, backend) = (config.task.clone(), config.examples, config.backend);
        let client = Client::new(host, config.into_client());
        let (predictor, installation) = (Mutex::default(), RwLock::default());
        Self(Arc::new(Inner { client, task, limits, backend, predictor, installation }))
    }

    /// The underlying client, for programs and tests that use trainers of their own.
    pub fn client(&self) -> &Client<H> {
        &self.0.client
    }

    /// Exchanges an enrollment token for a device identity, or renews the device token if it was refused or expires
    /// soon. Otherwise the identity stays as it is and nothing is sent. See [`Client::enroll`].
    ///
    /// # Errors
    /// Those of [`Client::enroll`].
    pub async fn enroll(&self, token: &str, cancel: &Cancel) -> Result<DeviceId, Error> {
        let _not_forgotten = self.0.installation.read().await;
        self.0.client.enroll(token, cancel).await
    }

    /// Stores examples. An example whose id is already stored replaces the old one. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::Example`] if an example is refused: then none of the call is stored; [`Error::Host`].
    pub async fn put_examples(&self, examples: Vec<TextExample>) -> Result<PutSummary, Error> {
        let _not_forgotten = self.0.installation.read().await;
        let (_turn, mut stored) = self.examples().await?;
        Ok(stored.put(self.host(), examples).await?)
    }

    /// Deletes examples permanently. Returns how many of the ids were found.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub async fn remove_examples(&self, ids: &[String]) -> Result<u32, Error> {
        let _not_forgotten = self.0.installation.read().await;
        let (_turn, mut stored) = self.examples().await?;
        Ok(stored.remove(self.host(), ids).await?)
    }

    /// Takes part in one round with the current examples, or continues a round that was interrupted.
    ///
    /// # Errors
    /// Those of [`Client::participate`].
    pub async fn participate(
        &self,
        options: RunOptions,
        cancel: &Cancel,
        observer: &mut (impl Observer + MaybeSend),
    ) -> Result<Outcome, Error> {
        let mut trainer = self.trainer().await?;
        self.participate_with(options, &mut trainer, cancel, observer).await
    }

    /// A trainer over the current examples: for programs that run many rounds, or wrap it in a trainer of their own.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub async fn trainer(&self) -> Result<ExampleTrainer, Error> {
        Ok(self.examples().await?.1.trainer(self.0.backend))
    }

    /// [`Self::participate`] with a trainer of the caller's.
    ///
    /// # Errors
    /// Those of [`Client::participate`].
    pub async fn participate_with(
        &self,
        options: RunOptions,
        trainer: &mut (impl Trainer + MaybeSend),
        cancel: &Cancel,
        observer: &mut (impl Observer + MaybeSend),
    ) -> Result<Outcome, Error> {
        let _not_forgotten = self.0.installation.read().await;
        let outcome = self.0.client.participate(options, trainer, cancel, observer).await?;
        if let Err(error) = status::remember(self.host(), &outcome).await {
            // What became of the round stands, and the app has to hear it.
            tracing::warn!(%error, "how the participation ended is not stored");
        }
        Ok(outcome)
    }

    /// The report of the user's privacy ledger. While a round runs, it is as of the last durable record.
    ///
    /// # Errors
    /// Those of [`Client::privacy_report`].
    pub async fn privacy_report(&self) -> Result<PrivacyReport, Error> {
        self.0.client.privacy_report().await
    }

    /// Replaces a locked privacy ledger by a new one. Returns false, and changes nothing, if the ledger is intact. See
    /// [`Client::reset_privacy_ledger`].
    ///
    /// # Errors
    /// Those of [`Client::reset_privacy_ledger`].
    pub async fn reset_privacy_ledger(&self) -> Result<bool, Error> {
        self.0.client.reset_privacy_ledger().await
    }

    /// The effective limits: for each, the stricter of the app's and the compiled one.
    pub fn guardrails(&self) -> Guardrails {
        self.0.client.guardrails()
    }

    /// The earliest time at which [`Self::participate`] asks for work again; `None`: it does so at once.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub async fn due(&self) -> Result<Option<Timestamp>, Error> {
        self.0.client.due().await
    }

    /// Waits until the calls of all clones that write are over; cancel a running participation first, or drop its future.
    /// Afterwards no lock is held and nothing is written, and the process may be suspended or ended. A participation whose
    /// future is dropped loses what it has not stored yet; the next call continues from what is stored.
    pub async fn close(self) {
        let _alone = self.0.installation.write().await;
        drop(self.0.predictor.lock().await.take());
    }

    fn host(&self) -> &H {
        self.0.client.host()
    }

    /// The examples as they are in the store: another process of the installation, such as a background task or another
    /// tab, may have changed them since the last call. Nobody else changes them until the turn is dropped.
    async fn examples(&self) -> Result<(Turn<H>, Examples), Error> {
        let turn = self.host().store().turn(EXAMPLES).await?;
        Ok((turn, Examples::open(self.host(), self.0.limits).await?))
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
