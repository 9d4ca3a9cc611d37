//! One installation of an app as its coordinator sees it: it enrolls once, then takes part in rounds.

use std::time::Duration;

use rand_core::Rng;
use scale_proto::answer::{JobCredential, ModelManifest, ModelRequest};
use scale_proto::ids::{DeviceId, ModelVersion, RoundId, TaskId};
use scale_proto::time::{RetryWindow, Timestamp};
use tokio::sync::Mutex;

use super::activity::Activity;
use super::budget::Budget;
use super::enrollment::{self, Enrollment};
use super::ledger_store::{self, OpenLedger};
use super::pace::{Next, Pace, WaitReason};
use super::run::{Ended, Run, Setting};
use super::{
    Cancel, Cause, ClientConfig, Contribution, Event, Guardrails, Observer, Phase, PrivacyReport, Receipt,
    Requirements, Rules, State,
};
use crate::download::{self, Installed, Wanted};
use crate::error::{CallError, Error, ModelError};
use crate::host::{
    Clock as _, Conditions as _, DeviceToken, HeldLog as _, Host, KeyStore as _, LedgerLog as _, MaybeSend, Store as _,
    Transport as _,
};
use crate::model::{self, Model};
use crate::storage;
use crate::trainer::Trainer;

/// Key in the store; the value is sealed under this name.
const PACE: &str = "pace";

/// Retry interval when the device's conditions do not allow a round.
const CONDITIONS_RETRY: Duration = Duration::from_secs(15 * 60);
/// Longest wait between two check-ins during which a call with a budget sleeps. For a longer one it returns the time at
/// which to call again.
const SITTING_OUT: Duration = Duration::from_secs(60);

/// The options of one participation.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Time after which the call returns [`Outcome::Paused`] instead of waiting any longer. A call with a budget also
    /// waits through short pauses between check-ins. `None`: the call checks in once and stays until its round is over.
    pub budget: Option<Duration>,
    /// The training job of the REST API that the round belongs to, so that the user's screens show its progress. It
    /// tells the coordinator which user this device belongs to.
    pub job: Option<JobCredential>,
    /// Joins a round regardless of the device's conditions, because the user asked for it.
    pub ignore_conditions: bool,
}

/// How a participation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The device's update is in the sum, and the device has completed the round.
    Contributed(Contribution),
    /// The time budget is used up. The round is stored and continues with the next call, also from a new process.
    Paused {
        /// When to call again, relative to now. After the end of the window the device can no longer complete the
        /// round.
        resume: RetryWindow,
        /// Phase in which the round is paused.
        phase: Phase,
    },
    /// There is no round to join now.
    Waited {
        /// When to call again. An earlier call returns the same outcome without contacting the coordinator.
        until: Timestamp,
        /// Stable machine-readable code.
        code: String,
        /// The reason, as a sentence for the user.
        sentence: String,
    },
    /// The device left its round.
    Left {
        /// The round; `None` if the coordinator had not offered one yet.
        round: Option<RoundId>,
        /// Why the device left.
        cause: Cause,
        /// When to call again.
        until: Timestamp,
    },
    /// The coordinator does not know this installation, or the device token has expired. Call [`Client::enroll`] with a
    /// fresh enrollment token. The device and its history stay the same, and a round that was joined continues.
    EnrollmentNeeded {
        /// Stable machine-readable code.
        code: String,
        /// The reason, as a sentence for the user.
        sentence: String,
    },
}

/// One installation of an app. Shared by reference: one participation runs at a time, and all other methods can be
/// called meanwhile.
#[derive(Debug)]
pub struct Client<H> {
    host: H,
    rules: Rules,
    requirements: Requirements,
    activity: Activity,
    /// Held while a call of this process opens the privacy ledger, so that no two of them exclude each other.
    ledger_turn: Mutex<()>,
}

impl<H: Host> Client<H> {
    /// Creates a client on this host. Nothing is read, written or sent yet.
    pub fn new(host: H, config: ClientConfig) -> Self {
        let ClientConfig { tasks, task_key, identity_root, families, guardrails, requirements } = config;
        let rules = Rules { task_key, identity_root, tasks, families, guardrails };
        Self { host, rules, requirements, activity: Activity::default(), ledger_turn: Mutex::default() }
    }

    /// The platform that this client runs on.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// The pinned keys and local rules that manifests are checked against.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The limits as they hold: the app's where they are stricter, else the compiled ones.
    pub fn guardrails(&self) -> Guardrails {
        self.rules.guardrails.tightened()
    }

    /// Conditions that must hold before the device joins a round.
    pub fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    /// Phase of the running participation; `None`: none is running.
    pub fn phase(&self) -> Option<Phase> {
        self.activity.phase()
    }

    /// The device id assigned at enrollment; `None` before enrollment.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub async fn device(&self) -> Result<Option<DeviceId>, Error> {
        Ok(Enrollment::load(&self.host).await?.map(|enrollment| enrollment.device))
    }

    /// Whether the installation has a device token that the coordinator has not refused.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub async fn is_enrolled(&self) -> Result<bool, Error> {
        Ok(Enrollment::load(&self.host).await?.is_some_and(|enrollment| enrollment.refused.is_none()))
    }

    /// When the installation's token ends, as far as the coordinator has said; `None` also before enrollment. An app brings an
    /// enrollment token in the 30 days before, or when it is told [`Outcome::EnrollmentNeeded`].
    ///
    /// # Errors
    /// [`Error::Host`].
    pub async fn enrollment_ends(&self) -> Result<Option<Timestamp>, Error> {
        Ok(Enrollment::load(&self.host).await?.and_then(|enrollment| enrollment.expires_at))
    }

    /// The earliest time at which the installation may ask for work again; `None`: at once.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub async fn due(&self) -> Result<Option<Timestamp>, Error> {
        Ok(self.pace().await?.due(self.host.clock().now()).map(|next| next.at))
    }

    /// Exchanges an enrollment token for a device identity, or renews the device token if it was refused or expires
    /// within 30 days. The same identity key keeps the same device id. Otherwise the identity stays as it is and
    /// nothing is sent.
    ///
    /// # Errors
    /// [`Error::TaskKeyMismatch`] if the coordinator's key is not the pinned one; [`Error::Cancelled`]: the coordinator
    /// may have enrolled the device nevertheless, and the call may be repeated; [`Error::Call`], [`Error::Host`].
    pub async fn enroll(&self, token: &str, cancel: &Cancel) -> Result<DeviceId, Error> {
        let stored = Enrollment::load(&self.host).await?;
        if let Some(stored) = stored.filter(|stored| !stored.needs_renewal(self.host.clock().now())) {
            return Ok(stored.device);
        }
        let enrolled = cancel.unless(enrollment::enroll(&self.host, &self.rules.task_key, token)).await;
        let device = enrolled.ok_or(Error::Cancelled)??;
        // The stored wait may have been caused by the old token.
        let mut pace = self.pace().await?;
        if pace != Pace::default() {
            pace.clear();
            storage::put_json(&self.host, PACE, &pace).await?;
        }
        Ok(device)
    }

    /// Takes part in one round, or continues the stored round of a process that was killed or paused.
    ///
    /// Training runs on the calling thread, in steps ([`Trainer`]). Dropping the future has the effect of killing the
    /// process: the next call continues from the last durable step. [`Cancel::pause`] does the same and says when to call
    /// again. [`Cancel::cancel`] instead leaves the round and informs the coordinator.
    ///
    /// # Errors
    /// [`Error::AlreadyRunning`]; [`Error::Host`]; [`Error::LedgerInUse`], [`Error::LedgerLocked`], [`Error::Ledger`]
    /// before anything is sent. Events within a round are not errors but an [`Outcome`].
    pub async fn participate(
        &self,
        options: RunOptions,
        trainer: &mut (impl Trainer + MaybeSend),
        cancel: &Cancel,
        observer: &mut (impl Observer + MaybeSend),
    ) -> Result<Outcome, Error> {
        let _running = self.activity.start()?;
        let budget = options.budget.map(|budget| Budget::starting(self.host.clock(), budget));
        loop {
            if cancel.is_cancelled() {
                let until = self.host.clock().now();
                return Ok(Outcome::Left { round: None, cause: Cause::Cancelled, until });
            }
            // A paused call does not sit out anything.
            let sitting = budget.filter(|_| !cancel.is_paused());
            if let Some(outcome) = self.not_yet(sitting, cancel).await? {
                return Ok(outcome);
            }
            let outcome = self.once(&options, budget, trainer, cancel, observer).await?;
            match outcome {
                // `not_yet` sleeps through the wait if it is short, else it returns the same outcome.
                Outcome::Waited { .. } if budget.is_some() && self.due().await?.is_some() => {}
                outcome => return Ok(outcome),
            }
        }
    }

    /// Sleeps until the stored time if it is near and within the budget; otherwise returns the outcome that says when
    /// to call again.
    async fn not_yet(&self, budget: Option<Budget>, cancel: &Cancel) -> Result<Option<Outcome>, Error> {
        let clock = self.host.clock();
        let pace = self.pace().await?;
        let now = clock.now();
        let Some(next) = pace.due(now) else { return Ok(None) };
        let wait = now.until(next.at);
        let sits_out = match next.reason {
            WaitReason::CheckIn => wait <= SITTING_OUT,
            WaitReason::Round { .. } => true,
            WaitReason::Enrollment => false,
        };
        if sits_out && budget.is_some_and(|budget| wait < budget.left(clock)) {
            let _cancelled = cancel.unless(clock.sleep(wait)).await;
            return Ok(None);
        }
        let Next { at, code, sentence, .. } = next.clone();
        Ok(Some(match next.reason {
            WaitReason::CheckIn => Outcome::Waited { until: at, code, sentence },
            WaitReason::Enrollment => Outcome::EnrollmentNeeded { code, sentence },
            WaitReason::Round { phase, lost_at } => {
                let resume = RetryWindow { after: wait, before: now.until(lost_at).max(wait) };
                Outcome::Paused { resume, phase }
            }
        }))
    }

    /// Continues the stored round, or makes one check-in and runs the round that results from it.
    async fn once(
        &self,
        options: &RunOptions,
        budget: Option<Budget>,
        trainer: &mut (impl Trainer + MaybeSend),
        cancel: &Cancel,
        observer: &mut (impl Observer + MaybeSend),
    ) -> Result<Outcome, Error> {
        let Some(enrollment) = Enrollment::load(&self.host).await? else {
            let sentence = Error::NotEnrolled.to_string();
            return Ok(Outcome::EnrollmentNeeded { code: "not_enrolled".into(), sentence });
        };
        let setting = Setting {
            host: &self.host,
            rules: &self.rules,
            activity: &self.activity,
            cancel,
            job: options.job.clone(),
            budget,
            token: DeviceToken::new(enrollment.token.clone()),
        };
        let (mut run, stored) = {
            let _turn = self.ledger_turn.lock().await;
            Run::open(setting).await?
        };
        let (state, event) = match stored {
            Some(state) => (state, Event::Resume),
            None => {
                if let Some(waited) = self.unfit(options).await {
                    return Ok(waited);
                }
                (State::Idle, Event::Start)
            }
        };
        let ended = run.drive(state, event, trainer, observer).await?;
        let now = self.host.clock().now();
        let mut pace = self.pace().await?;
        let outcome = match ended {
            Ended::EnrollmentNeeded(problem) => {
                enrollment.mark_refused(&self.host, &problem.code).await?;
                pace.refused(&problem.code, &problem.sentence, now, run.rng());
                Outcome::EnrollmentNeeded { code: problem.code, sentence: problem.sentence }
            }
            Ended::Paused(_, Phase::CheckingIn) if cancel.is_paused() => {
                let sentence = "the app paused the call before a round was joined".to_owned();
                Outcome::Waited { until: now, code: "paused".into(), sentence }
            }
            // No round is stored yet: the coordinator has not answered in time. The pause grows, or an app with short
            // budgets would ask again and again.
            Ended::Paused(_, Phase::CheckingIn) => {
                let (code, sentence) =
                    ("unreachable", "the coordinator has not answered within the budget of the call");
                let until = pace.left(None, code, sentence, now, run.rng());
                Outcome::Waited { until, code: code.into(), sentence: sentence.into() }
            }
            Ended::Paused(resume, phase) => {
                pace.paused(resume, phase, now);
                Outcome::Paused { resume, phase }
            }
            Ended::Over(state) => over(*state, &mut pace, now, run.rng()),
        };
        if let Err(error) = storage::put_json(&self.host, PACE, &pace).await {
            // What became of the round stands, and the app has to hear it.
            tracing::warn!(%error, "the time of the next check-in is not stored");
        }
        Ok(outcome)
    }

    /// The newest model of a task, or the requested version: downloaded, verified and cached.
    ///
    /// A published model is not signed, so its digest is as trustworthy as the connection to the coordinator. In a
    /// round, the digest is signed with the task key.
    ///
    /// # Errors
    /// [`Error::NotEnrolled`], [`Error::Cancelled`], [`Error::Call`], [`Error::Model`], [`Error::Host`].
    pub async fn fetch_model(
        &self,
        task: &TaskId,
        version: Option<ModelVersion>,
        cancel: &Cancel,
    ) -> Result<Model, Error> {
        cancel.unless(self.load_model(task, version)).await.ok_or(Error::Cancelled)?
    }

    /// The newest model of a task, downloaded, verified and installed; `None` if the installed one is as new.
    ///
    /// # Errors
    /// Those of [`Self::fetch_model`].
    pub async fn refresh_model(&self, task: &TaskId, cancel: &Cancel) -> Result<Option<Model>, Error> {
        let work = async {
            let found = self.find_model(task, None).await?;
            let installed = download::installed_info(&self.host, task).await?;
            if installed.is_some_and(|installed| installed.version >= found.version) {
                return Ok(None);
            }
            let model = self.load_found(task, found).await?;
            let Model { task, version, digest, spec, .. } = &model;
            let (task, version, digest, spec) = (task.clone(), *version, *digest, spec.clone());
            download::install(&self.host, &Installed { task, version, digest, spec }).await?;
            Ok(Some(model))
        };
        cancel.unless(work).await.ok_or(Error::Cancelled)?
    }

    async fn load_model(&self, task: &TaskId, version: Option<ModelVersion>) -> Result<Model, Error> {
        let found = self.find_model(task, version).await?;
        self.load_found(task, found).await
    }

    async fn find_model(&self, task: &TaskId, version: Option<ModelVersion>) -> Result<ModelManifest, Error> {
        let enrollment = Enrollment::load(&self.host).await?.ok_or(Error::NotEnrolled)?;
        let request = ModelRequest { task: task.clone(), version };
        let found = self.host.transport().get_model(&DeviceToken::new(enrollment.token.clone()), request).await?;
        found.model.check().map_err(CallError::Malformed)?;
        if found.fingerprint != found.model.fingerprint() {
            return Err(ModelError::FingerprintMismatch.into());
        }
        Ok(found)
    }

    async fn load_found(&self, task: &TaskId, found: ModelManifest) -> Result<Model, Error> {
        let wanted = Wanted { url: found.url, bytes: found.bytes, digest: found.digest };
        let file = download::fetch(&self.host, &wanted, |_| ()).await?;
        let weights = model::weights(file.bytes(), task, &found.model)?;
        Ok(Model { task: task.clone(), version: found.version, digest: found.digest, spec: found.model, weights })
    }

    /// The report of the user's privacy ledger: every participation, its cost, and the assumptions behind the numbers.
    /// While a participation runs, it is as of the last durable record.
    ///
    /// # Errors
    /// [`Error::LedgerInUse`] at the moment in which another process writes a record; [`Error::LedgerLocked`], [`Error::Ledger`],
    /// [`Error::Host`].
    pub async fn privacy_report(&self) -> Result<PrivacyReport, Error> {
        let _turn = self.ledger_turn.lock().await;
        if let Some(report) = self.activity.report() {
            return Ok(report);
        }
        match OpenLedger::open(&self.host, &self.rules.guardrails.privacy).await {
            Ok(opened) => ledger_store::report(&self.host, &opened.account).await,
            // Another process participates: its durable records can be read all the same.
            Err(Error::LedgerInUse) => {
                let account = OpenLedger::peek(&self.host).await?.ok_or(Error::LedgerInUse)?;
                ledger_store::report(&self.host, &account).await
            }
            Err(error) => Err(error),
        }
    }

    /// The participations of [`Self::privacy_report`], oldest first.
    ///
    /// # Errors
    /// Those of [`Self::privacy_report`].
    pub async fn receipts(&self) -> Result<Vec<Receipt>, Error> {
        Ok(self.privacy_report().await?.receipts)
    }

    /// Replaces a locked privacy ledger by a new one. Call it only on the user's request, after telling them that the
    /// budget spent before will be unknown; every later report says so. Returns false, and changes nothing, if the
    /// ledger is intact: an app cannot refill a budget this way.
    ///
    /// # Errors
    /// [`Error::LedgerInUse`], [`Error::Ledger`], [`Error::Host`].
    pub async fn reset_privacy_ledger(&self) -> Result<bool, Error> {
        let _turn = self.ledger_turn.lock().await;
        OpenLedger::reset(&self.host, &self.rules.guardrails.privacy).await
    }

    /// Deletes all data of this installation: store, privacy ledger and keys. The next use starts as a new
    /// installation. A call that failed half way may be repeated.
    ///
    /// # Errors
    /// [`Error::AlreadyRunning`], and [`Error::LedgerInUse`] while another process participates; in both cases nothing
    /// is deleted. [`Error::Host`].
    pub async fn forget_everything(&self) -> Result<(), Error> {
        let _running = self.activity.start()?;
        let _turn = self.ledger_turn.lock().await;
        let mut log = self.host.ledger().hold().await?;
        self.host.store().clear().await?;
        log.remove().await?;
        Ok(self.host.keys().delete_all().await?)
    }

    async fn pace(&self) -> Result<Pace, Error> {
        Ok(storage::get_json_or_none(&self.host, PACE).await?.unwrap_or_default())
    }

    /// The outcome if the device's conditions do not allow a round now. Not stored, because conditions may change at
    /// any time.
    async fn unfit(&self, options: &RunOptions) -> Option<Outcome> {
        if options.ignore_conditions {
            return None;
        }
        let missing = self.requirements.missing(&self.host.conditions().current().await);
        let sentences: Vec<_> = missing.iter().map(|condition| condition.sentence()).collect();
        (!missing.is_empty()).then(|| Outcome::Waited {
            until: self.host.clock().now().plus(CONDITIONS_RETRY),
            code: "conditions".into(),
            sentence: sentences.join(". "),
        })
    }
}

/// Converts a final state to an outcome, and sets when the device may ask for work again.
fn over(state: State, pace: &mut Pace, now: Timestamp, rng: &mut impl Rng) -> Outcome {
    match state {
        State::Done(contribution) => {
            tracing::info!(round = %contribution.round, task = %contribution.task, "contributed");
            pace.clear();
            Outcome::Contributed(contribution)
        }
        State::Waited(wait) => {
            pace.waited(wait.retry, &wait.code, &wait.sentence, now, rng);
            let until = pace.due(now).map_or(now, |next| next.at);
            Outcome::Waited { until, code: wait.code, sentence: wait.sentence }
        }
        State::Left(round, cause) => {
            let until = match cause {
                // The app cancelled, so there is no pause before the next participation.
                Cause::Cancelled => now,
                _ => pace.left(cause.until(), cause.code(), &cause.to_string(), now, rng),
            };
            Outcome::Left { round, cause, until }
        }
        // Not reachable: every other state requests an effect, so the state machine receives another event.
        state => {
            let cause = Cause::StageOrder(format!(
                "the participation ended in state `{}`, which is not a final state",
                state.name()
            ));
            Outcome::Left { round: None, cause, until: now }
        }
    }
}

#[cfg(test)]
mod tests;
