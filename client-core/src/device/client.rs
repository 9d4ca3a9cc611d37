//! One installation of an app towards its coordinator: enrolls once, then takes part in rounds.

use std::time::Duration;

use rand_core::Rng;
use scale_proto::answer::{JobCredential, ModelManifest, ModelRequest};
use scale_proto::ids::{DeviceId, ModelVersion, RoundId, TaskId};
use scale_proto::time::{RetryWindow, Timestamp};

use super::activity::Activity;
use super::enrollment::{self, Enrollment};
use super::ledger_store::{self, OpenLedger};
use super::pace::Pace;
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

/// Key of the store. Its content is sealed under this name.
const PACE: &str = "pace";

/// When to look again at a device that is in use.
const CONDITIONS_RETRY: Duration = Duration::from_secs(15 * 60);
/// Longest wait between two check-ins that a call with a budget sits out; beyond it the app is told when to come back.
const SITTING_OUT: Duration = Duration::from_secs(60);

/// What an app decides for one participation.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Time after which the call answers [`Outcome::Paused`] instead of waiting on. A call with a budget also sits out
    /// short waits between check-ins. `None`: stays until its round is over, and checks in once.
    pub budget: Option<Duration>,
    /// The training job of the REST facade that the round belongs to, so that the person's screens show it. The coordinator
    /// learns with it which person this device belongs to.
    pub job: Option<JobCredential>,
    /// Joins a round whatever the device's conditions are: a person has asked for it.
    pub ignore_conditions: bool,
}

/// How a participation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The update is in the sum and the device has done its part.
    Contributed(Contribution),
    /// The budget is used up. The round is stored and goes on with the next call, which the process need not live for.
    Paused {
        /// When to call again, counted from now; after its end the round is lost for this device.
        resume: RetryWindow,
        /// Where the round is.
        phase: Phase,
    },
    /// No round now.
    Waited {
        /// When coming back helps; a call before answers the same without asking anybody.
        until: Timestamp,
        /// One stable word.
        code: String,
        /// Why, for a person.
        sentence: String,
    },
    /// The device left its round.
    Left {
        /// The round; `None` if the coordinator did not even let the device ask.
        round: Option<RoundId>,
        /// Why.
        cause: Cause,
        /// When coming back helps.
        until: Timestamp,
    },
    /// The coordinator does not know this installation, or its token has ended: [`Client::enroll`] with a fresh enrollment
    /// token mends it. The device and its history stay the same, and a round that was joined goes on.
    EnrollmentNeeded {
        /// One stable word.
        code: String,
        /// Why, for a person.
        sentence: String,
    },
}

/// One installation of an app. Shared by reference: one participation runs at a time, and everything else answers
/// meanwhile.
#[derive(Debug)]
pub struct Client<H> {
    host: H,
    rules: Rules,
    requirements: Requirements,
    activity: Activity,
}

impl<H: Host> Client<H> {
    /// A client on this host. Nothing happens yet.
    pub fn new(host: H, config: ClientConfig) -> Self {
        let ClientConfig { tasks, task_key, identity_root, families, guardrails, requirements } = config;
        let rules = Rules { task_key, identity_root, tasks, families, guardrails };
        Self { host, rules, requirements, activity: Activity::default() }
    }

    /// The host.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// What the device knows by itself when a manifest arrives.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The limits as they hold: the app's where they are stricter, else the compiled ones.
    pub fn guardrails(&self) -> Guardrails {
        self.rules.guardrails.tightened()
    }

    /// What has to hold before the device joins a round.
    pub fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    /// Where the running participation is; `None`: none runs.
    pub fn phase(&self) -> Option<Phase> {
        self.activity.phase()
    }

    /// The name that enrollment gave; `None` before.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub async fn device(&self) -> Result<Option<DeviceId>, Error> {
        Ok(Enrollment::load(&self.host).await?.map(|enrollment| enrollment.device))
    }

    /// Whether the installation has a token that the coordinator has not refused yet.
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

    /// When the installation may ask for work again; `None`: at once.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub async fn due(&self) -> Result<Option<Timestamp>, Error> {
        Ok(self.pace().await?.due(self.host.clock().now()).map(|next| next.at))
    }

    /// Turns an enrollment token into an identity, or renews the token of one that is refused or ends within 30 days: the
    /// same key gets the same device. Otherwise the identity stays and nothing is sent.
    ///
    /// # Errors
    /// [`Error::TaskKeyMismatch`] when the coordinator's key is not the pinned one; [`Error::Cancelled`], after which the
    /// coordinator may have enrolled the device all the same, and calling again is fine; [`Error::Call`], [`Error::Host`].
    pub async fn enroll(&self, token: &str, cancel: &Cancel) -> Result<DeviceId, Error> {
        let stored = Enrollment::load(&self.host).await?;
        if let Some(stored) = stored.filter(|stored| !stored.needs_renewal(self.host.clock().now())) {
            return Ok(stored.device);
        }
        let enrolled = cancel.unless(enrollment::enroll(&self.host, &self.rules.task_key, token)).await;
        let device = enrolled.ok_or(Error::Cancelled)??;
        // What the device waited for may have been its token.
        let mut pace = self.pace().await?;
        if pace != Pace::default() {
            pace.clear();
            storage::put_json(&self.host, PACE, &pace).await?;
        }
        Ok(device)
    }

    /// Takes part in one round, or goes on with the one that a killed or paused process left.
    ///
    /// Training runs on the calling thread, in steps ([`Trainer`]). Dropping the future is like killing the process: the
    /// next call goes on where the last durable step was. [`Cancel::cancel`] leaves in good order instead.
    ///
    /// # Errors
    /// [`Error::AlreadyRunning`]; [`Error::Host`]; [`Error::LedgerInUse`], [`Error::LedgerLocked`], [`Error::Ledger`]
    /// before anything is sent. Everything that happens in a round is an [`Outcome`].
    pub async fn participate(
        &self,
        options: RunOptions,
        trainer: &mut (impl Trainer + MaybeSend),
        cancel: &Cancel,
        observer: &mut (impl Observer + MaybeSend),
    ) -> Result<Outcome, Error> {
        let _running = self.activity.start()?;
        let until = options.budget.map(|budget| self.host.clock().now().plus(budget));
        loop {
            if cancel.is_cancelled() {
                let until = self.host.clock().now();
                return Ok(Outcome::Left { round: None, cause: Cause::Cancelled, until });
            }
            if let Some(outcome) = self.not_yet(until, cancel).await? {
                return Ok(outcome);
            }
            let outcome = self.once(&options, until, trainer, cancel, observer).await?;
            match outcome {
                // `not_yet` sits the wait out, or answers the same.
                Outcome::Waited { .. } if until.is_some() && self.due().await?.is_some() => {}
                outcome => return Ok(outcome),
            }
        }
    }

    /// Waits for the stored time if it is near and the budget allows; the answer if it is not.
    async fn not_yet(&self, until: Option<Timestamp>, cancel: &Cancel) -> Result<Option<Outcome>, Error> {
        let clock = self.host.clock();
        let pace = self.pace().await?;
        let now = clock.now();
        let Some(next) = pace.due(now) else { return Ok(None) };
        let wait = now.until(next.at);
        if until.is_some_and(|until| next.at < until) && (wait <= SITTING_OUT || next.paused.is_some()) {
            let _cancelled = cancel.unless(clock.sleep(wait)).await;
            return Ok(None);
        }
        Ok(Some(match next.paused {
            Some(phase) => Outcome::Paused { resume: RetryWindow { after: wait, before: wait }, phase },
            None => Outcome::Waited { until: next.at, code: next.code.clone(), sentence: next.sentence.clone() },
        }))
    }

    /// One check-in and what comes of it, or the stored round.
    async fn once(
        &self,
        options: &RunOptions,
        until: Option<Timestamp>,
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
            until,
            token: DeviceToken::new(enrollment.token.clone()),
        };
        let (mut run, stored) = Run::open(setting).await?;
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
                return Ok(Outcome::EnrollmentNeeded { code: problem.code, sentence: problem.sentence });
            }
            Ended::Paused(resume, phase) => {
                pace.paused(now.plus(resume.after), phase, now);
                Outcome::Paused { resume, phase }
            }
            Ended::Over(state) => over(*state, &mut pace, now, run.rng()),
        };
        storage::put_json(&self.host, PACE, &pace).await?;
        Ok(outcome)
    }

    /// The newest model of a task, or the version asked for: downloaded, verified, cached.
    ///
    /// A published model is not signed; its digest is as good as the connection to the coordinator. In a round the digest
    /// is under the task key.
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

    /// The newest model of a task, if it is newer than the installed one: then it is loaded, verified and installed.
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

    /// What the person's privacy ledger says: every participation and what it cost, with what the numbers rest on. While a
    /// participation runs: as of its last durable record.
    ///
    /// # Errors
    /// [`Error::LedgerInUse`] while another process participates; [`Error::LedgerLocked`], [`Error::Ledger`],
    /// [`Error::Host`].
    pub async fn privacy_report(&self) -> Result<PrivacyReport, Error> {
        if let Some(report) = self.activity.report() {
            return Ok(report);
        }
        match OpenLedger::open(&self.host, &self.rules.guardrails.privacy).await {
            Ok(opened) => ledger_store::report(&self.host, &opened.account).await,
            // A participation may have begun in between.
            Err(Error::LedgerInUse) => self.activity.report().ok_or(Error::LedgerInUse),
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

    /// Begins a new privacy ledger in place of one that is locked. Only for a user who asks for it and was told: what was
    /// spent before is unknown from here on, and every report will say so. False, and nothing changes, if the ledger is
    /// whole: no app refills a budget this way.
    ///
    /// # Errors
    /// [`Error::LedgerInUse`], [`Error::Ledger`], [`Error::Host`].
    pub async fn reset_privacy_ledger(&self) -> Result<bool, Error> {
        OpenLedger::reset(&self.host, &self.rules.guardrails.privacy).await
    }

    /// Deletes everything of this installation: store, privacy ledger, keys. The next call makes a new one. A call that
    /// failed half way may be repeated.
    ///
    /// # Errors
    /// [`Error::AlreadyRunning`], and [`Error::LedgerInUse`] while another process participates: nothing is deleted then;
    /// [`Error::Host`].
    pub async fn forget_everything(&self) -> Result<(), Error> {
        let _running = self.activity.start()?;
        let mut log = self.host.ledger().hold().await?;
        self.host.store().clear().await?;
        log.remove().await?;
        Ok(self.host.keys().delete_all().await?)
    }

    async fn pace(&self) -> Result<Pace, Error> {
        Ok(storage::get_json(&self.host, PACE, "the time of the next round").await?.unwrap_or_default())
    }

    /// Why the device does not join now, if it does not. Not stored: conditions may change at any time.
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

/// The outcome of a machine that is done, and when the device may ask again.
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
                // The app wanted it so, and may come back when it likes.
                Cause::Cancelled => now,
                _ => pace.left(cause.until(), cause.code(), &cause.to_string(), now, rng),
            };
            Outcome::Left { round, cause, until }
        }
        // Every other state asks for something, so that the machine has another event.
        state => {
            let cause = Cause::StageOrder(format!("stuck in {}", state.name()));
            Outcome::Left { round: None, cause, until: now }
        }
    }
}

#[cfg(test)]
mod tests;
