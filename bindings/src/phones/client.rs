//! The calls of an app.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use scale_client_core::app::{self, App};
use scale_client_core::device::{self, Cancel};
use scale_client_core::error::Error;
use scale_client_core::examples::TextExample;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::callbacks::{ConditionSource, ProgressListener, SecretVault};
use super::configuration::Configuration;
use super::error::ScaleError;
use super::host::PhoneHost;
use super::installation::Installation;
use super::listener::{self, Told};
use crate::types::{
    ErrorKind, Example, Failure, Guardrails, ModelInfo, Outcome, Prediction, PrivacyReport, PutSummary, RunOptions,
    Status,
};

/// Ends the calls that it was passed to, and no others. It cannot be reset: give a new one to the next call.
#[derive(Debug, Default, uniffi::Object)]
pub struct Stop(Cancel);

#[uniffi::export]
impl Stop {
    /// Ends nothing yet.
    #[uniffi::constructor]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The device leaves its round; other calls fail with `Cancelled`.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// A participation returns at once, as if its budget were used up: the round is kept for the next call.
    pub fn pause(&self) {
        self.0.pause();
    }

    /// Whether `cancel` was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// What [`App::forget`] deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Forget {
    /// The examples, permanently. Identity, model and privacy ledger stay.
    Examples,
    /// All data of this installation: examples, models, an unfinished round, identity and privacy ledger. The next enrollment
    /// creates a new device. The record of the privacy budget spent is deleted too, so offer the user the privacy report first.
    Everything,
}

/// A client of one installation. Clients of the same folder and configuration share it.
#[derive(uniffi::Object)]
pub struct NativeClient {
    state: Mutex<State>,
    /// Calls of this client hold it for reading, and its end for writing.
    calls: Arc<RwLock<()>>,
}

struct State {
    /// Nothing after [`NativeClient::shut_down`].
    installation: Option<Arc<Installation>>,
    /// Tokens of the calls that run.
    running: Vec<Weak<Stop>>,
}

/// A call that was let in: the client does not close before it is over.
struct Call {
    installation: Arc<Installation>,
    running: OwnedRwLockReadGuard<()>,
}

#[uniffi::export]
impl NativeClient {
    /// Opens the installation in the configuration's folder; nothing is sent yet. `vault`: where its secrets are; without one in
    /// files of the folder. `conditions`: says when the device may join a round; without one nothing is known of the device. Of
    /// several clients of one folder, the first one's are used, and either all have a vault or none has.
    ///
    /// # Errors
    /// `Configuration`; `Storage` if the folder cannot be used; `Usage` with the code `folder_in_use` if a client with another
    /// configuration has it open in this process.
    #[uniffi::constructor]
    pub fn new(
        configuration: Configuration,
        vault: Option<Arc<dyn SecretVault>>,
        conditions: Option<Arc<dyn ConditionSource>>,
    ) -> Result<Arc<Self>, ScaleError> {
        let installation = Installation::open(configuration, vault, conditions)?;
        let state = Mutex::new(State { installation: Some(installation), running: vec![] });
        Ok(Arc::new(Self { state, calls: Arc::default() }))
    }

    /// Exchanges an enrollment token for a device identity, or renews the device token if it was refused or ends soon.
    /// Otherwise nothing is sent. Returns the device id.
    pub async fn enroll(&self, token: String, stop: Arc<Stop>) -> Result<String, ScaleError> {
        let cancel = stop.0.clone();
        let enroll =
            move |app: App<_>| async move { app.enroll(&token, &cancel).await.map(|device| device.to_string()) };
        self.run(Some(&stop), enroll).await
    }

    /// Stores examples. One whose id is already stored replaces the old one. Durable when it returns; all or none.
    pub async fn put(&self, examples: Vec<Example>) -> Result<PutSummary, ScaleError> {
        let examples = examples.into_iter().map(TextExample::from).collect();
        self.run(None, move |app| async move { app.put_examples(examples).await.map(PutSummary::from) }).await
    }

    /// Deletes examples permanently. Returns how many of the ids were found.
    pub async fn remove(&self, ids: Vec<String>) -> Result<u32, ScaleError> {
        self.run(None, move |app| async move { app.remove_examples(&ids).await }).await
    }

    /// The most probable labels of each text, at most `top` of them, from the model on this device.
    pub async fn predict(&self, texts: Vec<String>, top: u32) -> Result<Vec<Prediction>, ScaleError> {
        let predictions = |all: Vec<app::Prediction>| all.into_iter().map(Prediction::from).collect();
        self.run(None, move |app| async move { app.predict(&texts, top).await.map(predictions) }).await
    }

    /// Downloads the newest model; nothing if it is there already.
    pub async fn refresh_model(&self, stop: Arc<Stop>) -> Result<Option<ModelInfo>, ScaleError> {
        let cancel = stop.0.clone();
        let refresh = move |app: App<_>| async move { Ok(app.refresh_model(&cancel).await?.map(ModelInfo::from)) };
        self.run(Some(&stop), refresh).await
    }

    /// Takes part in one round with the current examples, or continues one that was interrupted.
    pub async fn participate(
        &self,
        options: RunOptions,
        stop: Arc<Stop>,
        listener: Option<Arc<dyn ProgressListener>>,
    ) -> Result<Outcome, ScaleError> {
        let participate = move |app: App<PhoneHost>, options, cancel, mut told: Told| async move {
            app.participate(options, &cancel, &mut told).await
        };
        self.take_part(options, stop, listener, participate).await
    }

    /// What an app shows of this installation; also while a round runs.
    pub async fn status(&self) -> Result<Status, ScaleError> {
        self.run(None, |app| async move { app.status().await.map(Status::from) }).await
    }

    /// The report of the user's privacy ledger. While a round runs, as of the last durable record.
    pub async fn privacy_report(&self) -> Result<PrivacyReport, ScaleError> {
        self.run(None, |app| async move { app.privacy_report().await.map(PrivacyReport::from) }).await
    }

    /// The report as JSON for the user to keep, in the format that every platform exports.
    pub async fn export_privacy_report(&self) -> Result<String, ScaleError> {
        self.run(None, |app| async move { app.privacy_report().await.map(|report| report.to_json()) }).await
    }

    /// Replaces a locked privacy ledger by a new one. Returns false, and changes nothing, if the ledger is intact.
    pub async fn reset_privacy_ledger(&self) -> Result<bool, ScaleError> {
        self.run(None, |app| async move { app.reset_privacy_ledger().await }).await
    }

    /// The limits as they hold: for each, the stricter of the app's and the compiled one.
    pub fn guardrails(&self) -> Result<Guardrails, ScaleError> {
        Ok(self.enter(None)?.installation.app.guardrails().into())
    }

    /// Deletes a user's data. Durable when it returns.
    pub async fn forget(&self, what: Forget) -> Result<(), ScaleError> {
        let what = match what {
            Forget::Examples => app::Forget::Examples,
            Forget::Everything => app::Forget::Everything,
        };
        self.run(None, move |app| async move { app.forget(what).await }).await
    }

    /// Pauses what runs through this client, and waits until it is over: nothing is written and no lock is held then. Later
    /// calls fail with the code `closed`. Other clients of the folder go on.
    pub async fn shut_down(&self) -> Result<(), ScaleError> {
        let State { installation, running } = {
            let mut state = self.lock();
            State { installation: state.installation.take(), running: std::mem::take(&mut state.running) }
        };
        running.iter().filter_map(Weak::upgrade).for_each(|stop| stop.pause());
        let _over = self.calls.write().await;
        if let Some(threads) = installation.and_then(|installation| installation.leave()) {
            threads.end().await;
        }
        Ok(())
    }
}

impl NativeClient {
    /// Runs a call of the core on the installation's threads. `stop`: what ends it.
    pub(crate) async fn run<T, F>(
        &self,
        stop: Option<&Arc<Stop>>,
        work: impl FnOnce(App<PhoneHost>) -> F + Send,
    ) -> Result<T, ScaleError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let Call { installation, running } = self.enter(stop)?;
        let work = work(installation.app.clone());
        installation
            .run(async move {
                let _running = running;
                work.await.map_err(ScaleError::from)
            })
            .await
    }

    /// Runs a participation, and adds the receipt of what it has contributed.
    pub(crate) async fn take_part<F>(
        &self,
        options: RunOptions,
        stop: Arc<Stop>,
        listener: Option<Arc<dyn ProgressListener>>,
        work: impl FnOnce(App<PhoneHost>, device::RunOptions, Cancel, Told) -> F + Send,
    ) -> Result<Outcome, ScaleError>
    where
        F: Future<Output = Result<device::Outcome, Error>> + Send + 'static,
    {
        let options = options.into_core()?;
        let cancel = stop.0.clone();
        let participate = move |app: App<PhoneHost>| {
            let (told, telling) = listener::tell(listener);
            let work = work(app.clone(), options, cancel, told);
            async move {
                let telling = telling.start();
                let outcome = work.await;
                telling.end().await;
                let outcome = outcome?;
                // A receipt is an extra: that the report cannot be read changes nothing about the round.
                let receipt = match &outcome {
                    device::Outcome::Contributed(done) => {
                        app.privacy_report().await.ok().and_then(|report| report.receipt_of(done).cloned())
                    }
                    _ => None,
                };
                Ok(Outcome::new(outcome, receipt))
            }
        };
        self.run(Some(&stop), participate).await
    }

    /// Lets a call in.
    fn enter(&self, stop: Option<&Arc<Stop>>) -> Result<Call, ScaleError> {
        let closed = || Failure::invalid(ErrorKind::Usage, "closed", "this client was closed: make a new one");
        let mut state = self.lock();
        let installation = state.installation.clone().ok_or_else(closed)?;
        let running = self.calls.clone().try_read_owned().map_err(|_| closed())?;
        state.running.retain(|stop| stop.strong_count() > 0);
        state.running.extend(stop.map(Arc::downgrade));
        Ok(Call { installation, running })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock is harmless: every change is one assignment or one call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client that was not shut down: its calls are over, or nobody waits for them.
impl Drop for NativeClient {
    fn drop(&mut self) {
        if let Some(installation) = self.lock().installation.take() {
            drop(installation.leave());
        }
    }
}
