//! Performs what the machine asks for, through the platform's host.

use std::collections::VecDeque;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use scale_proto::answer::{Enroll, Enrolled, JobCredential, ModelRequest, Progress, StageAnswer, UploadAnswer};
use scale_proto::ids::{DeviceId, ModelVersion, RoundId, SessionId, TaskId};
use scale_proto::model::ModelSpec;
use scale_proto::stage::UploadPiece;
use scale_proto::time::RetryWindow;
use scale_secagg::keys::IdentityKey;
use scale_secagg::prg::Stream;
use scale_secagg::roster::Certificate;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::books::Books;
use super::stored::Parts;
use super::{
    CancelHandle, ClientConfig, Contribution, Effect, Env, Event, History, Observer, Outgoing, Payload, Phase, Reason,
    Report, Requirements, Rules, State,
};
use crate::download::{self, Wanted};
use crate::error::{CallError, Error, HostError};
use crate::host::{
    Clock as _, Conditions as _, DeviceToken, Host, KeyStore as _, MaybeSend, Randomness as _, Transport as _,
};
use crate::model::{self, Model};
use crate::storage;
use crate::trainer::{LocalTrainer, TrainError, Trained};

/// Keys of the store. Their contents are sealed under these names.
const ENROLLMENT: &str = "enrollment";
const HISTORY: &str = "history";

/// Bytes of one piece of an upload.
const PIECE_BYTES: usize = 512 << 10;
/// Answers without progress before an upload counts as broken.
const STALLS: u32 = 3;
/// When to ask again for an upload that is complete and not committed.
const COMMIT_RETRY: RetryWindow =
    RetryWindow { after: Duration::from_millis(200), before: Duration::from_millis(1000) };
/// When to look again at a device that is in use.
const CONDITIONS_RETRY: RetryWindow =
    RetryWindow { after: Duration::from_secs(15 * 60), before: Duration::from_secs(30 * 60) };

/// How a participation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The update is in the sum and the device has done its part.
    Contributed(Contribution),
    /// No round now.
    Waited {
        /// When coming back helps, counted from now.
        retry: RetryWindow,
        /// One stable word.
        code: String,
        /// Why, for a person.
        sentence: String,
    },
    /// The device left its round. Coming back later is fine.
    Left {
        /// The round; `None` if the coordinator did not even let the device ask.
        round: Option<RoundId>,
        /// Why.
        reason: Reason,
    },
}

/// One installation of an app: enrolls once, then takes part in rounds.
#[derive(Debug)]
pub struct Client<H> {
    pub(super) host: H,
    pub(super) rules: Rules,
    requirements: Requirements,
    cancel: CancelHandle,
    job: Option<JobCredential>,
}

/// What enrollment gave, as it is stored.
#[derive(Serialize, Deserialize)]
struct Enrollment {
    device: DeviceId,
    token: String,
}

impl Drop for Enrollment {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

/// What one participation works with.
struct Run<H: Host> {
    books: Books<H>,
    token: DeviceToken,
    identity: IdentityKey,
    certificate: Option<Certificate>,
    history: History,
    keys: ChaCha20Rng,
    rounding: Stream,
    noise: Stream,
    /// Broken calls in a row.
    broken: u32,
    /// The furthest report, so that a progress bar never falls.
    reported: Option<Report>,
    /// What is stored of the round.
    parts: Parts,
}

impl<H: Host> Client<H> {
    /// A client on this host. Nothing happens yet.
    pub fn new(host: H, config: ClientConfig) -> Self {
        let ClientConfig { tasks, task_key, identity_root, families, guardrails, requirements } = config;
        let rules = Rules { task_key, identity_root, tasks, families, guardrails };
        Self { host, rules, requirements, cancel: CancelHandle::default(), job: None }
    }

    /// The host.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Says which training job of the REST facade the next rounds belong to, so that the person's screens show them;
    /// `None`: none. The coordinator learns with it which person this device belongs to.
    pub fn set_job(&mut self, job: Option<JobCredential>) {
        self.job = job;
    }

    /// Stops [`Self::participate`] from elsewhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// The name that enrollment gave; `None` before.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub async fn device(&self) -> Result<Option<DeviceId>, Error> {
        Ok(self.enrollment().await?.map(|enrollment| enrollment.device))
    }

    /// Turns an enrollment token into an identity. An installation that has one keeps it, and nothing is sent.
    ///
    /// # Errors
    /// [`Error::TaskKeyMismatch`] when the coordinator's key is not the pinned one; [`Error::Call`], [`Error::Host`].
    pub async fn enroll(&self, token: &str) -> Result<DeviceId, Error> {
        if let Some(enrollment) = self.enrollment().await? {
            return Ok(enrollment.device);
        }
        let identity = IdentityKey::from_seed(&*self.host.keys().identity_seed().await?);
        let identity_key = identity.public();
        let signature = identity.sign(&Enroll::signed_bytes(token, &identity_key));
        let request = Enroll { enroll_token: token.to_owned(), identity_key, signature };
        let Enrolled { device, device_token, task_key } = self.host.transport().enroll(request).await?;
        let enrollment = Enrollment { device, token: device_token };
        if task_key != self.rules.task_key {
            return Err(Error::TaskKeyMismatch);
        }
        storage::put_json(&self.host, ENROLLMENT, &enrollment).await?;
        tracing::info!(%device, "enrolled");
        Ok(device)
    }

    /// Takes part in one round, or goes on with the one that a killed process left.
    ///
    /// Training runs on the calling thread ([`LocalTrainer`]). Dropping the future is like killing the process: the next
    /// call goes on where the last durable step was. [`CancelHandle::cancel`] leaves in good order instead.
    ///
    /// # Errors
    /// [`Error::NotEnrolled`], [`Error::Host`]; [`Error::LedgerInUse`], [`Error::LedgerLocked`], [`Error::Ledger`] before
    /// anything is sent. Everything that happens in a round is an [`Outcome`].
    pub async fn participate(
        &mut self,
        trainer: &mut (impl LocalTrainer + MaybeSend),
        observer: &mut (impl Observer + MaybeSend),
    ) -> Result<Outcome, Error> {
        let result = self.run(trainer, observer).await;
        self.cancel.reset();
        result
    }

    /// The newest model of a task, or the version asked for: downloaded, verified, cached.
    ///
    /// A published model is not signed; its digest is as good as the connection to the coordinator. In a round the digest
    /// is under the task key.
    ///
    /// # Errors
    /// [`Error::NotEnrolled`], [`Error::Call`], [`Error::Model`], [`Error::Host`].
    pub async fn fetch_model(&self, task: &TaskId, version: Option<ModelVersion>) -> Result<Model, Error> {
        let enrollment = self.enrollment().await?.ok_or(Error::NotEnrolled)?;
        let request = ModelRequest { task: task.clone(), version };
        let found = self.host.transport().get_model(&DeviceToken::new(enrollment.token.clone()), request).await?;
        let spec: ModelSpec = found.model;
        spec.check().map_err(CallError::Malformed)?;
        if found.fingerprint != spec.fingerprint() {
            return Err(crate::error::ModelError::FingerprintMismatch.into());
        }
        let wanted = Wanted { url: found.url, bytes: found.bytes, digest: found.digest };
        let file = download::fetch(&self.host, &wanted, |_| ()).await?;
        let weights = model::weights(file.bytes(), task, &spec)?;
        Ok(Model { task: task.clone(), version: found.version, digest: found.digest, spec, weights })
    }

    async fn run(
        &self,
        trainer: &mut (impl LocalTrainer + MaybeSend),
        observer: &mut (impl Observer + MaybeSend),
    ) -> Result<Outcome, Error> {
        let enrollment = self.enrollment().await?.ok_or(Error::NotEnrolled)?;
        let mut run = Run {
            books: Books::open(&self.host, &self.rules.guardrails.privacy).await?,
            token: DeviceToken::new(enrollment.token.clone()),
            identity: IdentityKey::from_seed(&*self.host.keys().identity_seed().await?),
            certificate: self.host.keys().certificate().await?,
            history: self.history().await?,
            keys: ChaCha20Rng::from_seed(*self.seed()?),
            rounding: Stream::new(&*self.seed()?),
            noise: Stream::new(&*self.seed()?),
            broken: 0,
            reported: None,
            parts: Parts::default(),
        };
        let (mut state, mut event) = match self.stored_state(&mut run.parts).await? {
            Some(state) => (state, Event::Resume),
            None => {
                if let Some(waited) = self.unfit().await {
                    return Ok(waited);
                }
                (State::Idle, Event::Start)
            }
        };
        loop {
            let name = event.name();
            let mut env = Env {
                now: self.host.clock().now(),
                rules: &self.rules,
                history: &run.history,
                identity: &run.identity,
                certificate: run.certificate.as_ref(),
                keys: &mut run.keys,
                rounding: &mut run.rounding,
                noise: &mut run.noise,
                ledger: &mut run.books.account,
            };
            let (next, effects) = state.handle(event, &mut env);
            tracing::debug!(event = name, state = next.name(), "step");
            state = next;
            run.report(observer, state.phase(), 0);
            match self.perform(&mut run, &state, effects.into(), trainer, observer).await? {
                Some(next) => event = next,
                None => return Ok(outcome(state)),
            }
        }
    }

    /// Performs effects in order. At most the last one asks something; its answer is the next event.
    async fn perform(
        &self,
        run: &mut Run<H>,
        state: &State,
        mut effects: VecDeque<Effect>,
        trainer: &mut (impl LocalTrainer + MaybeSend),
        observer: &mut (impl Observer + MaybeSend),
    ) -> Result<Option<Event>, Error> {
        while let Some(effect) = effects.pop_front() {
            let transport = self.host.transport();
            let event = match effect {
                Effect::Persist(snapshot) => {
                    self.store_state(&snapshot, &mut run.parts).await?;
                    continue;
                }
                Effect::Remember(task, number) => {
                    if run.history.remember(&task, number, self.host.clock().now()) {
                        storage::put_json(&self.host, HISTORY, &run.history).await?;
                    }
                    continue;
                }
                Effect::Note(participation) => {
                    self.note(participation).await?;
                    continue;
                }
                Effect::Record(append) => {
                    run.books.append(&self.host, &append).await?;
                    Event::Recorded
                }
                Effect::DeleteSnapshot => {
                    self.forget_state().await?;
                    run.parts = Parts::default();
                    continue;
                }
                Effect::Report(progress) => {
                    self.tell(run, progress).await;
                    continue;
                }
                Effect::Leave(leave) => {
                    tracing::info!(round = %leave.round, reason = %leave.reason, "leaving the round");
                    let _best_effort = transport.leave(&run.token, leave).await;
                    continue;
                }
                Effect::CheckIn(check_in) => {
                    let call = self.cancel.unless(transport.check_in(&run.token, check_in)).await;
                    run.answered(call, Event::CheckedIn)
                }
                Effect::Download(wanted) => match self.unaffordable(run, state, trainer) {
                    Some(reason) => Event::Failed(reason),
                    None => self.download(run, &wanted, observer).await?,
                },
                Effect::Train(limit) => {
                    // Somebody watches this job: it has begun.
                    if let (Some(_), State::Training(round, _)) = (&self.job, state) {
                        let progress = Progress { round: round.manifest().round, done_permille: 0, job: None };
                        self.tell(run, progress).await;
                    }
                    self.train(run, state, limit, trainer, observer)
                }
                Effect::Send(outgoing) => {
                    let call = self.cancel.unless(self.send(&run.token, outgoing)).await;
                    run.answered(call, |answer| match answer {
                        StageAnswer::Down(down) => Event::Down(down),
                        StageAnswer::Wait(wait) => Event::Wait(wait.retry),
                        StageAnswer::Accepted => Event::Accepted,
                    })
                }
                Effect::Upload { session, payload, ask } => {
                    let call = self.cancel.unless(self.upload(run, session, &payload, ask, observer)).await;
                    run.answered(call, |event| event)
                }
                Effect::WakeAt(time) => {
                    let sleep = self.host.clock().sleep(self.host.clock().now().until(time));
                    self.cancel.unless(sleep).await.map_or(Event::Cancel, |()| Event::Woke)
                }
            };
            return Ok(Some(event));
        }
        Ok(None)
    }

    /// Best effort: nothing of a round depends on it.
    async fn tell(&self, run: &Run<H>, progress: Progress) {
        let progress = Progress { job: self.job.clone(), ..progress };
        let call = self.host.transport().report_progress(&run.token, progress);
        let _best_effort = self.cancel.unless(call).await;
    }

    async fn send(&self, token: &DeviceToken, outgoing: Outgoing) -> Result<StageAnswer, CallError> {
        let transport = self.host.transport();
        match outgoing {
            Outgoing::AdvertiseKeys(up) => transport.advertise_keys(token, up).await,
            Outgoing::ShareKeys(up) => transport.share_keys(token, up).await,
            Outgoing::ConfirmSurvivors(up) => transport.confirm_survivors(token, up).await,
            Outgoing::RevealShares(up) => transport.reveal_shares(token, up).await,
        }
    }

    /// Why this device's ledger would not pay for what training costs, before anything is done for it. What is charged in
    /// the end is what training did cost.
    fn unaffordable(&self, run: &Run<H>, state: &State, trainer: &impl LocalTrainer) -> Option<Reason> {
        let State::Joined(round) = state else { return None };
        let price = match trainer.price(round.plan()) {
            Ok(price) => price?,
            Err(error) => return Some(error.into()),
        };
        let facts = round.facts(Some(price))?;
        run.books.account.would_pay(&facts, self.host.clock().now().as_millis()).err().map(Reason::from)
    }

    async fn download(
        &self,
        run: &mut Run<H>,
        wanted: &Wanted,
        observer: &mut (impl Observer + MaybeSend),
    ) -> Result<Event, Error> {
        let progress = |bytes: u64| run.report(observer, Phase::Downloading, permille(bytes, wanted.bytes));
        let file = self.cancel.unless(download::fetch(&self.host, wanted, progress)).await;
        match file {
            None => Ok(Event::Cancel),
            Some(Ok(file)) => {
                run.broken = 0;
                Ok(Event::Downloaded(file))
            }
            Some(Err(Error::Model(error))) => Ok(Event::Failed(error.into())),
            Some(Err(Error::Call(error))) => Ok(run.failed(error)),
            Some(Err(error)) => Err(error),
        }
    }

    fn train(
        &self,
        run: &mut Run<H>,
        state: &State,
        limit: Duration,
        trainer: &mut impl LocalTrainer,
        observer: &mut impl Observer,
    ) -> Event {
        let State::Training(round, weights) = state else {
            return Event::Failed(Reason::new("stage_order", "there is nothing to train"));
        };
        let until = self.host.clock().now().plus(limit);
        let mut stop = || self.cancel.is_cancelled() || self.host.clock().now() >= until;
        let mut progress = |permille: u32| run.report(observer, Phase::Training, permille.min(1000));
        let result: Result<Trained, TrainError> = trainer.train(round.plan(), weights, &mut stop, &mut progress);
        if self.cancel.is_cancelled() { Event::Cancel } else { Event::Trained(result) }
    }

    /// Sends the pieces that the coordinator lacks. Takes nothing but what the privacy ledger has released.
    async fn upload(
        &self,
        run: &mut Run<H>,
        session: SessionId,
        payload: &Payload,
        ask: bool,
        observer: &mut (impl Observer + MaybeSend),
    ) -> Result<Event, CallError> {
        let (bytes, digest) = (payload.bytes(), payload.digest());
        let total = bytes.len();
        let (mut offset, mut stalls) = (0, 0);
        let mut end = if ask { 0 } else { PIECE_BYTES.min(total) };
        loop {
            let piece = UploadPiece {
                session,
                offset: offset as u64,
                total: total as u64,
                digest,
                data: bytes.slice(offset..end),
            };
            match self.host.transport().upload(&run.token, piece).await? {
                UploadAnswer::Committed => return Ok(Event::Committed),
                UploadAnswer::Down(down) => return Ok(Event::Down(down)),
                UploadAnswer::Wait(wait) => return Ok(Event::Wait(wait.retry)),
                UploadAnswer::Received(received) => {
                    let received = usize::try_from(received).unwrap_or(usize::MAX).min(total);
                    if received == total && offset == total {
                        // All is there, yet not in the sum: the coordinator commits in batches.
                        return Ok(Event::Wait(COMMIT_RETRY));
                    }
                    // Told to send again what was just sent: fine a few times, not for ever.
                    stalls = if received < end { stalls + 1 } else { 0 };
                    if stalls > STALLS {
                        return Err(CallError::Unreachable("the upload does not get on".into()));
                    }
                    offset = received;
                    // With nothing left to send this is an empty piece, which asks.
                    end = (offset + PIECE_BYTES).min(total);
                    run.report(observer, Phase::Uploading, permille(offset as u64, total as u64));
                }
            }
        }
    }

    /// Why the device does not join now, if it does not.
    async fn unfit(&self) -> Option<Outcome> {
        let missing = self.requirements.missing(&self.host.conditions().current().await);
        let sentences: Vec<_> = missing.iter().map(|condition| condition.sentence()).collect();
        (!missing.is_empty()).then(|| Outcome::Waited {
            retry: CONDITIONS_RETRY,
            code: "conditions".into(),
            sentence: sentences.join(". "),
        })
    }

    async fn enrollment(&self) -> Result<Option<Enrollment>, Error> {
        Ok(storage::get_json(&self.host, ENROLLMENT, "the stored enrollment").await?)
    }

    async fn history(&self) -> Result<History, Error> {
        Ok(storage::get_json(&self.host, HISTORY, "the history of joined rounds").await?.unwrap_or_default())
    }

    /// Of one stream, from the system.
    fn seed(&self) -> Result<Zeroizing<[u8; 32]>, HostError> {
        let mut seed = Zeroizing::new([0; 32]);
        self.host.randomness().fill(&mut *seed)?;
        Ok(seed)
    }
}

impl<H: Host> Run<H> {
    /// The event of a call that may have been cancelled or have failed.
    fn answered<T>(&mut self, call: Option<Result<T, CallError>>, event: impl FnOnce(T) -> Event) -> Event {
        match call {
            None => Event::Cancel,
            Some(Ok(answer)) => {
                self.broken = 0;
                event(answer)
            }
            Some(Err(error)) => self.failed(error),
        }
    }

    fn failed(&mut self, error: CallError) -> Event {
        tracing::debug!(code = error.code(), "a call failed");
        match error {
            CallError::Refused(problem) => Event::Refused(problem),
            CallError::Malformed(_) => Event::Failed(Reason::new("malformed_answer", error.to_string())),
            CallError::Unreachable(_) => {
                self.broken += 1;
                Event::Broken(self.broken)
            }
        }
    }

    fn report(&mut self, observer: &mut impl Observer, phase: Phase, phase_permille: u32) {
        let report = Report { phase, phase_permille };
        let before = self.reported.map_or(0, |before| before.permille());
        let entered = self.reported.is_none_or(|before| before.phase < phase);
        if entered || report.permille() > before {
            self.reported = Some(report);
            observer.on_progress(report);
        }
    }
}

fn outcome(state: State) -> Outcome {
    match state {
        State::Done(contribution) => {
            tracing::info!(round = %contribution.round, task = %contribution.task, "contributed");
            Outcome::Contributed(contribution)
        }
        State::Waited(wait) => Outcome::Waited { retry: wait.retry, code: wait.code, sentence: wait.sentence },
        State::Left(round, reason) => Outcome::Left { round, reason },
        // Every other state asks for something, so that the loop has another event.
        state => {
            Outcome::Left { round: None, reason: Reason::new("stage_order", format!("stuck in {}", state.name())) }
        }
    }
}

fn permille(part: u64, whole: u64) -> u32 {
    // At most 1000.
    (u128::from(part.min(whole)) * 1000 / u128::from(whole.max(1))) as u32
}

#[cfg(test)]
mod tests;
