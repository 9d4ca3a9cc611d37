//! What an app calls: one [`App`] per installation and task, the same in Swift, Kotlin and the browser, whose bindings
//! convert types and own threads and have no rule of their own.
//!
//! | an app wants to | it calls | file |
//! |---|---|---|
//! | know this installation to the coordinator | [`App::enroll`] | |
//! | hand over, correct and delete examples | [`App::put_examples`], [`App::remove_examples`] | [`crate::examples`] |
//! | classify lines without a network | [`App::predict`], [`App::refresh_model`] | `model.rs` |
//! | take part in a round | [`App::participate`] | [`crate::device`] |
//! | show how things stand | [`App::status`], [`App::privacy_report`] | `status.rs` |
//! | sign a person out | [`App::forget`] | `forget.rs` |
//!
//! Every method takes `&self`, and clones share everything: one participation runs at a time, and everything else answers
//! meanwhile. Nothing is locked or written between two calls.

mod config;
mod forget;
mod model;
mod status;

use std::sync::Arc;

use scale_proto::ids::{DeviceId, TaskId};
use scale_proto::time::Timestamp;
use tokio::sync::{Mutex, MutexGuard};

pub use config::AppConfig;
pub use forget::Forget;
pub use model::{ModelInfo, Prediction, Scored};
pub use status::{LastRun, Status};

use crate::device::{Cancel, Client, Guardrails, Observer, Outcome, PrivacyReport, RunOptions};
use crate::error::Error;
use crate::examples::{ExampleLimits, ExampleTrainer, Examples, PutSummary, TextExample};
use crate::host::{Host, MaybeSend};
use crate::train::Backend;
use crate::trainer::Trainer;
use model::Predictor;

/// One installation of an app, for one task on lines of text. Clones are the same one.
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
    /// Opened by the first call that needs them.
    examples: Mutex<Option<Examples>>,
    /// Loaded by the first prediction.
    predictor: Mutex<Option<Predictor>>,
}

impl<H: Host> App<H> {
    /// An app on this host. Nothing is read, written or sent yet.
    pub fn new(host: H, config: AppConfig) -> Self {
        let (task, limits, backend) = (config.task.clone(), config.examples, config.backend);
        let client = Client::new(host, config.into_client());
        let (examples, predictor) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { client, task, limits, backend, examples, predictor }))
    }

    /// The device below: for researchers and tests, who bring trainers of their own.
    pub fn client(&self) -> &Client<H> {
        &self.0.client
    }

    /// Turns an enrollment token into an identity, or renews one whose token is refused or near its end; otherwise the
    /// identity stays and nothing is sent. See [`Client::enroll`].
    ///
    /// # Errors
    /// Those of [`Client::enroll`].
    pub async fn enroll(&self, token: &str, cancel: &Cancel) -> Result<DeviceId, Error> {
        self.0.client.enroll(token, cancel).await
    }

    /// Keeps examples: an id that is known already is replaced. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::Example`] for one that is refused, and then none is kept; [`Error::Host`].
    pub async fn put_examples(&self, examples: Vec<TextExample>) -> Result<PutSummary, Error> {
        let mut open = self.examples().await?;
        Ok(opened(&mut open).put(self.host(), examples).await?)
    }

    /// Deletes examples for good; gives how many of them there were.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub async fn remove_examples(&self, ids: &[String]) -> Result<u32, Error> {
        let mut open = self.examples().await?;
        Ok(opened(&mut open).remove(self.host(), ids).await?)
    }

    /// Takes part in one round with the examples as they are now, or goes on with one that was interrupted.
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

    /// A trainer over the examples as they are now: for programs that run many rounds, or wrap it in another one.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub async fn trainer(&self) -> Result<ExampleTrainer, Error> {
        Ok(opened(&mut *self.examples().await?).trainer(self.0.backend))
    }

    /// As [`Self::participate`], with another trainer.
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
        let outcome = self.0.client.participate(options, trainer, cancel, observer).await?;
        // The round may have brought a newer model.
        *self.0.predictor.lock().await = None;
        status::remember(self.host(), &outcome).await?;
        Ok(outcome)
    }

    /// What the person's privacy ledger says. While a round runs: as of its last durable record.
    ///
    /// # Errors
    /// Those of [`Client::privacy_report`].
    pub async fn privacy_report(&self) -> Result<PrivacyReport, Error> {
        self.0.client.privacy_report().await
    }

    /// Begins a new privacy ledger in place of one that is locked; false if it is whole. See
    /// [`Client::reset_privacy_ledger`].
    ///
    /// # Errors
    /// Those of [`Client::reset_privacy_ledger`].
    pub async fn reset_privacy_ledger(&self) -> Result<bool, Error> {
        self.0.client.reset_privacy_ledger().await
    }

    /// The limits as they hold: the app's where they are stricter, else the compiled ones.
    pub fn guardrails(&self) -> Guardrails {
        self.0.client.guardrails()
    }

    /// When [`Self::participate`] will ask for work again; `None`: at once.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub async fn due(&self) -> Result<Option<Timestamp>, Error> {
        self.0.client.due().await
    }

    /// Waits until nothing is being written any more. Nothing is locked then, and the process may be suspended or ended;
    /// what a participation has not stored by now is lost with its future, and the next call goes on from there.
    pub async fn close(self) {
        drop(self.0.examples.lock().await.take());
        drop(self.0.predictor.lock().await.take());
    }

    fn host(&self) -> &H {
        self.0.client.host()
    }

    async fn examples(&self) -> Result<MutexGuard<'_, Option<Examples>>, Error> {
        let mut open = self.0.examples.lock().await;
        if open.is_none() {
            *open = Some(Examples::open(self.host(), self.0.limits).await?);
        }
        Ok(open)
    }
}

/// [`App::examples`] has opened them.
fn opened(open: &mut Option<Examples>) -> &mut Examples {
    open.as_mut().expect("opened under this lock")
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
