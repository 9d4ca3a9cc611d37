//! One participation: performs the effects of the state machine through the platform's host, until the state is final,
//! the time budget is used up or the coordinator refuses the device token.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use scale_proto::answer::{JobCredential, Progress as WireProgress, StageAnswer, UploadAnswer};
use scale_proto::error::{Problem, Remedy};
use scale_proto::ids::SessionId;
use scale_proto::stage::UploadPiece;
use scale_proto::time::{RetryWindow, Timestamp};
use scale_secagg::keys::IdentityKey;
use scale_secagg::prg::Stream;
use scale_secagg::roster::Certificate;
use zeroize::Zeroizing;

use super::activity::Activity;
use super::budget::Budget;
use super::ledger_store::{self, OpenLedger};
use super::stored::StoredRound;
use super::upload::{Received, UploadCursor};
use super::{
    Cancel, Cause, Effect, Env, Event, History, Observer, Outgoing, Payload, Phase, Progress, ProgressEvent, Rules,
    State, TrainingInput,
};
use crate::download::{self, Wanted};
use crate::error::{CallError, Error, HostError};
use crate::host::{Clock as _, DeviceToken, Host, KeyStore as _, MaybeSend, Randomness as _, Transport as _};
use crate::storage;
use crate::trainer::{TrainError, Trained, Trainer};

/// Key in the store; the value is sealed under this name.
const HISTORY: &str = "history";

/// Longest time for which training runs before it yields to the platform's event loop.
const BREATHE_EVERY: Duration = Duration::from_millis(50);
/// Longest time that a device spends on informing the coordinator that it leaves; shorter for a cancelled call, which
/// has to return soon.
const GOODBYE: Duration = Duration::from_secs(5);
const CANCELLED_GOODBYE: Duration = Duration::from_millis(100);

/// The context of one participation.
pub(super) struct Run<'a, H: Host> {
    host: &'a H,
    rules: &'a Rules,
    activity: &'a Activity,
    cancel: &'a Cancel,
    job: Option<JobCredential>,
    /// End of the time budget; `None` without one.
    budget: Option<Budget>,
    token: DeviceToken,
    ledger: OpenLedger<H>,
    identity: IdentityKey,
    certificate: Option<Certificate>,
    history: History,
    keys: ChaCha20Rng,
    rounding: Stream,
    noise: Stream,
    /// Number of consecutive calls without an answer.
    broken: u32,
    /// The furthest progress reported so far, so that a progress bar never moves back.
    reported: Option<Progress>,
    stored: StoredRound,
}

/// The inputs of one participation.
pub(super) struct Setting<'a, H: Host> {
    pub(super) host: &'a H,
    pub(super) rules: &'a Rules,
    pub(super) activity: &'a Activity,
    pub(super) cancel: &'a Cancel,
    pub(super) job: Option<JobCredential>,
    pub(super) budget: Option<Budget>,
    pub(super) token: DeviceToken,
}

/// How a participation ended.
pub(super) enum Ended {
    /// The state is final: [`State::Waited`], [`State::Done`] or [`State::Left`].
    Over(Box<State>),
    /// The round is stored, and is to be continued in this window.
    Paused(RetryWindow, Phase),
    /// The coordinator refuses the device token. A round that was joined stays stored.
    EnrollmentNeeded(Problem),
}

/// Why a piece of work was stopped.
enum Stopped {
    Cancelled,
    OutOfBudget,
}

/// The result of performing effects.
enum Performed {
    Event(Event),
    Paused(RetryWindow),
    EnrollmentNeeded(Problem),
    Nothing,
}

impl<'a, H: Host> Run<'a, H> {
    /// Locks the privacy ledger and reads what is stored. Also returns the stored state of a killed or paused process,
    /// if there is one.
    ///
    /// # Errors
    /// [`Error::LedgerInUse`], [`Error::LedgerLocked`], [`Error::Ledger`], [`Error::Host`]; nothing was sent.
    pub(super) async fn open(setting: Setting<'a, H>) -> Result<(Self, Option<State>), Error> {
        let Setting { host, rules, activity, cancel, job, budget, token } = setting;
        let ledger = OpenLedger::open(host, &rules.guardrails.privacy).await?;
        let (stored, state) = StoredRound::open(host, rules).await?;
        let history = storage::get_json(host, HISTORY, "the history of joined rounds").await?.unwrap_or_default();
        let mut this = Self {
            host,
            rules,
            activity,
            cancel,
            job,
            budget,
            token,
            ledger,
            identity: IdentityKey::from_seed(&*host.keys().identity_seed().await?),
            certificate: host.keys().certificate().await?,
            history,
            keys: ChaCha20Rng::from_seed(*seed(host)?),
            rounding: Stream::new(&*seed(host)?),
            noise: Stream::new(&*seed(host)?),
            broken: 0,
            reported: None,
            stored,
        };
        this.publish().await?;
        Ok((this, state))
    }

    /// The random stream for pauses.
    pub(super) fn rng(&mut self) -> &mut ChaCha20Rng {
        &mut self.keys
    }

    /// Runs the state machine from `state` until the participation ends.
    ///
    /// # Errors
    /// [`Error::Host`]: the platform failed; the next call continues from what was stored last.
    pub(super) async fn drive(
        &mut self,
        mut state: State,
        mut event: Event,
        trainer: &mut (impl Trainer + MaybeSend),
        observer: &mut (impl Observer + MaybeSend),
    ) -> Result<Ended, Error> {
        loop {
            let name = event.name();
            let mut env = Env {
                now: self.host.clock().now(),
                rules: self.rules,
                history: &self.history,
                identity: &self.identity,
                certificate: self.certificate.as_ref(),
                keys: &mut self.keys,
                rounding: &mut self.rounding,
                noise: &mut self.noise,
                ledger: &mut self.ledger.account,
            };
            let (next, effects) = state.handle(event, &mut env);
            tracing::debug!(event = name, state = next.name(), "step");
            state = next;
            self.report(observer, state.phase(), 0, ProgressEvent::Entered);
            match self.perform(&state, effects.into(), trainer, observer).await? {
                Performed::Event(next) => event = next,
                Performed::Paused(window) => return Ok(Ended::Paused(window, state.phase())),
                Performed::EnrollmentNeeded(problem) => return Ok(Ended::EnrollmentNeeded(problem)),
                Performed::Nothing => return Ok(Ended::Over(Box::new(state))),
            }
        }
    }

    /// Performs effects in order. Only the last one may have an answer, which is the next event.
    async fn perform(
        &mut self,
        state: &State,
        mut effects: VecDeque<Effect>,
        trainer: &mut (impl Trainer + MaybeSend),
        observer: &mut (impl Observer + MaybeSend),
    ) -> Result<Performed, Error> {
        let host = self.host;
        while let Some(effect) = effects.pop_front() {
            let done = match effect {
                Effect::Persist(snapshot) => {
                    self.stored.put(host, &snapshot).await?;
                    continue;
                }
                Effect::Remember(task, number) => {
                    if self.history.remember(&task, number, host.clock().now()) {
                        storage::put_json(host, HISTORY, &self.history).await?;
                    }
                    continue;
                }
                Effect::Note(participation) => {
                    ledger_store::note(host, participation).await?;
                    continue;
                }
                Effect::DeleteSnapshot => {
                    self.stored.delete(host).await?;
                    continue;
                }
                Effect::Install(model) => {
                    download::install(host, &model).await?;
                    continue;
                }
                Effect::Report(progress) => {
                    self.tell(progress).await;
                    continue;
                }
                Effect::Leave(leave) => {
                    tracing::info!(round = %leave.round, reason = %leave.reason, "leaving the round");
                    let longest = if self.cancel.is_cancelled() { CANCELLED_GOODBYE } else { GOODBYE };
                    let _best_effort = within(host, longest, host.transport().leave(&self.token, leave)).await;
                    continue;
                }
                Effect::Record(append) => {
                    self.ledger.append(host, &append).await?;
                    Performed::Event(Event::Recorded)
                }
                Effect::CheckIn(check_in) => {
                    let call = host.transport().check_in(&self.token, check_in);
                    let call = self.interruptible(call).await;
                    self.answered(state, call, Event::CheckedIn)
                }
                Effect::Price(plan) => Performed::Event(Event::Priced(trainer.price(&plan))),
                Effect::Download(wanted) => self.download(state, &wanted, observer).await?,
                Effect::Train(input) => self.train(state, *input, trainer, observer).await?,
                Effect::Send(outgoing) => {
                    let call = send(host, &self.token, outgoing);
                    let call = self.interruptible(call).await;
                    self.answered(state, call, |answer| match answer {
                        StageAnswer::Down(down) => Event::Down(down),
                        StageAnswer::Wait(wait) => Event::Wait(wait.retry),
                        StageAnswer::Accepted => Event::Accepted,
                    })
                }
                Effect::Upload { session, payload, ask } => {
                    let call = self.upload(session, &payload, ask, observer).await;
                    self.answered(state, call, |event| event)
                }
                Effect::WakeAt(time) => self.wake_at(state, time).await,
            };
            if let (State::Paying(..), Performed::Event(Event::Recorded)) = (state, &done) {
                self.paid(observer).await?;
            }
            return Ok(done);
        }
        Ok(Performed::Nothing)
    }

    /// Reports progress to the coordinator. Best effort: the round does not depend on it.
    async fn tell(&self, progress: WireProgress) {
        let progress = WireProgress { job: self.job.clone(), ..progress };
        let call = self.host.transport().report_progress(&self.token, progress);
        let _best_effort = self.interruptible(call).await;
    }

    async fn wake_at(&self, state: &State, time: Timestamp) -> Performed {
        let now = self.host.clock().now();
        let wait = now.until(time);
        if !wait.is_zero() && self.budget.is_some_and(|budget| budget.left(self.host.clock()) <= wait) {
            return Performed::Paused(resume_at(state, time, now));
        }
        match self.cancel.unless(self.host.clock().sleep(wait)).await {
            Some(()) => Performed::Event(Event::Woke),
            None if self.cancel.is_cancelled() => Performed::Event(Event::Cancel),
            None => Performed::Paused(resume_at(state, time, self.host.clock().now())),
        }
    }

    async fn download(
        &mut self,
        state: &State,
        wanted: &Wanted,
        observer: &mut (impl Observer + MaybeSend),
    ) -> Result<Performed, Error> {
        let host = self.host;
        let (mut reported, activity) = (self.reported, self.activity);
        let progress = |bytes: u64| {
            let event = ProgressEvent::Downloaded { bytes, of: wanted.bytes };
            report(&mut reported, activity, observer, Phase::Downloading, permille(bytes, wanted.bytes), event);
        };
        let file = self.interruptible(download::fetch(host, wanted, progress)).await;
        self.reported = reported;
        Ok(match file {
            Err(stopped) => stopped.performed(state, host.clock().now()),
            Ok(Ok(file)) => {
                self.broken = 0;
                Performed::Event(Event::Downloaded(file))
            }
            Ok(Err(Error::Model(error))) => Performed::Event(Event::Failed(error.into())),
            Ok(Err(Error::Call(error))) => self.failed(error),
            Ok(Err(error)) => return Err(error),
        })
    }

    /// Trains step by step, and yields to the platform's event loop in between. If the time budget ends meanwhile,
    /// training stops as at a time limit, and its result so far is used.
    async fn train(
        &mut self,
        state: &State,
        input: TrainingInput,
        trainer: &mut (impl Trainer + MaybeSend),
        observer: &mut (impl Observer + MaybeSend),
    ) -> Result<Performed, Error> {
        let TrainingInput { round, plan, weights, limit } = input;
        // The user's screens show this job: report that training has begun.
        if self.job.is_some() {
            self.tell(WireProgress { round, done_permille: 0, job: None }).await;
        }
        let clock = self.host.clock();
        let secret = seed(self.host)?;
        let start = clock.now();
        // A tenth of the remaining budget is reserved for sending the keys to the coordinator.
        let budget = self.budget.map(|budget| Budget::starting(clock, budget.left(clock).mul_f64(0.9)));
        let until = start.plus(limit);
        let mut breathed = start;
        let mut steps = 0;
        let mut training = match trainer.begin(&plan, &weights, &secret) {
            Ok(training) => training,
            Err(error) => return Ok(Performed::Event(Event::Trained(Err(error)))),
        };
        let trained: Result<Trained, TrainError> = loop {
            let now = clock.now();
            if breathed.until(now) >= BREATHE_EVERY || now < breathed {
                clock.breathe().await;
                breathed = clock.now();
            }
            if self.cancel.is_cancelled() {
                return Ok(Performed::Event(Event::Cancel));
            }
            if self.cancel.is_paused() {
                // There is no time to finish what was begun: the next call trains again.
                let now = clock.now();
                return Ok(Performed::Paused(resume_at(state, now, now)));
            }
            let spent = budget.is_some_and(|budget| budget.left(clock).is_zero());
            if spent && steps == 0 {
                // Nothing is learned and nothing is paid yet: the next call starts again from the stored model.
                let now = clock.now();
                return Ok(Performed::Paused(resume_at(state, now, now)));
            }
            if spent || clock.now() >= until {
                break training.finish();
            }
            let progressed = match training.step() {
                Ok(progressed) => progressed,
                Err(error) => break Err(error),
            };
            steps = progressed.done;
            let event = ProgressEvent::Step { step: progressed.done, of: progressed.of, loss: progressed.loss };
            let done = permille(progressed.done.into(), progressed.of.into());
            if progressed.done > 0 {
                self.report(observer, Phase::Training, done, event);
            }
            if progressed.over {
                break training.finish();
            }
        };
        Ok(Performed::Event(Event::Trained(trained)))
    }

    /// Sends the pieces that the coordinator does not have yet. Accepts only a payload that the privacy ledger has
    /// released.
    async fn upload(
        &mut self,
        session: SessionId,
        payload: &Payload,
        ask: bool,
        observer: &mut (impl Observer + MaybeSend),
    ) -> Result<Result<Event, CallError>, Stopped> {
        let (bytes, digest) = (payload.bytes(), payload.digest());
        let total = bytes.len() as u64;
        let mut cursor = UploadCursor::new(bytes.len(), ask);
        loop {
            let range = cursor.piece();
            let offset = range.start as u64;
            let piece = UploadPiece { session, offset, total, digest, data: bytes.slice(range) };
            let call = self.host.transport().upload(&self.token, piece);
            let answer = match self.interruptible(call).await? {
                Ok(answer) => answer,
                Err(error) => return Ok(Err(error)),
            };
            let received = match answer {
                UploadAnswer::Committed => {
                    let event = ProgressEvent::Uploaded { bytes: total, of: total };
                    self.report(observer, Phase::Uploading, 1000, event);
                    return Ok(Ok(Event::Committed));
                }
                UploadAnswer::Down(down) => return Ok(Ok(Event::Down(down))),
                UploadAnswer::Wait(wait) => return Ok(Ok(Event::Wait(wait.retry))),
                UploadAnswer::Received(received) => received,
            };
            match cursor.received(received) {
                Received::GoOn => {}
                Received::Complete(retry) => return Ok(Ok(Event::Wait(retry))),
                Received::Stalled => {
                    return Ok(Err(CallError::Unreachable(
                        "the upload makes no progress: the coordinator asked for the same bytes again and again".into(),
                    )));
                }
            }
            let sent = received.min(total);
            let event = ProgressEvent::Uploaded { bytes: sent, of: total };
            self.report(observer, Phase::Uploading, permille(sent, total), event);
        }
    }

    /// The output of `work`, unless the call is cancelled or the time budget ends first.
    async fn interruptible<T>(&self, work: impl Future<Output = T> + MaybeSend) -> Result<T, Stopped> {
        let work = async {
            match self.budget {
                None => Some(work.await),
                Some(budget) => within(self.host, budget.left(self.host.clock()), work).await,
            }
        };
        match self.cancel.unless(work).await {
            None if self.cancel.is_cancelled() => Err(Stopped::Cancelled),
            None => Err(Stopped::OutOfBudget),
            Some(None) => Err(Stopped::OutOfBudget),
            Some(Some(done)) => Ok(done),
        }
    }

    /// Converts the result of a call, which may have been stopped or have failed, to the next event.
    fn answered<T>(
        &mut self,
        state: &State,
        call: Result<Result<T, CallError>, Stopped>,
        event: impl FnOnce(T) -> Event,
    ) -> Performed {
        match call {
            Err(stopped) => stopped.performed(state, self.host.clock().now()),
            Ok(Ok(answer)) => {
                self.broken = 0;
                Performed::Event(event(answer))
            }
            Ok(Err(error)) => self.failed(error),
        }
    }

    fn failed(&mut self, error: CallError) -> Performed {
        tracing::debug!(code = error.code(), "a call failed");
        Performed::Event(match error {
            CallError::Refused(problem) if problem.remedy == Remedy::Enroll => {
                return Performed::EnrollmentNeeded(problem);
            }
            CallError::Refused(problem) => Event::Refused(problem),
            CallError::Malformed(invalid) => Event::Failed(Cause::MalformedAnswer(invalid)),
            CallError::Unreachable(_) => {
                self.broken += 1;
                Event::Broken(self.broken)
            }
        })
    }

    /// The reservation is durable: publishes it in the report, and informs the observer.
    async fn paid(&mut self, observer: &mut (impl Observer + MaybeSend)) -> Result<(), Error> {
        self.publish().await?;
        if let Some(receipt) = self.ledger.account.receipts().last() {
            let event = ProgressEvent::Paid { round: receipt.epsilon, total: receipt.total };
            self.report(observer, Phase::Uploading, 0, event);
        }
        Ok(())
    }

    /// Publishes the privacy report as of the last durable record, because the ledger cannot be opened while this
    /// participation runs.
    async fn publish(&mut self) -> Result<(), Error> {
        let report = ledger_store::report(self.host, &self.ledger.account).await?;
        self.activity.publish(report);
        Ok(())
    }

    fn report(&mut self, observer: &mut impl Observer, phase: Phase, phase_permille: u32, event: ProgressEvent) {
        report(&mut self.reported, self.activity, observer, phase, phase_permille, event);
    }
}

/// Informs the observer, unless further progress was already reported.
fn report(
    reported: &mut Option<Progress>,
    activity: &Activity,
    observer: &mut impl Observer,
    phase: Phase,
    phase_permille: u32,
    event: ProgressEvent,
) {
    let progress = Progress { phase, phase_permille, event };
    let before = reported.map_or(0, |before| before.permille());
    let entered = reported.is_none_or(|before| before.phase < phase);
    let paid = matches!(event, ProgressEvent::Paid { .. });
    if entered || paid || (event != ProgressEvent::Entered && progress.permille() >= before) {
        *reported = Some(progress);
        activity.enter(phase);
        observer.on_progress(progress);
    }
}

impl Stopped {
    fn performed(self, state: &State, now: Timestamp) -> Performed {
        match self {
            Self::Cancelled => Performed::Event(Event::Cancel),
            Self::OutOfBudget => Performed::Paused(resume_at(state, now, now)),
        }
    }
}

/// The window from `time` until the signed closing time of the state, relative to `now`.
fn resume_at(state: &State, time: Timestamp, now: Timestamp) -> RetryWindow {
    let after = now.until(time);
    let before = state.deadline().map_or(after, |deadline| now.until(deadline));
    RetryWindow { after, before: before.max(after) }
}

/// The output of `work`, or `None` if it takes longer than `longest`.
async fn within<H: Host, T>(host: &H, longest: Duration, work: impl Future<Output = T> + MaybeSend) -> Option<T> {
    let mut sleep = std::pin::pin!(host.clock().sleep(longest));
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        // The work is polled first, so a result that is ready counts even if the time is over.
        if let std::task::Poll::Ready(done) = work.as_mut().poll(context) {
            return std::task::Poll::Ready(Some(done));
        }
        sleep.as_mut().poll(context).map(|()| None)
    })
    .await
}

async fn send<H: Host>(host: &H, token: &DeviceToken, outgoing: Outgoing) -> Result<StageAnswer, CallError> {
    let transport = host.transport();
    match outgoing {
        Outgoing::AdvertiseKeys(up) => transport.advertise_keys(token, up).await,
        Outgoing::ShareKeys(up) => transport.share_keys(token, up).await,
        Outgoing::ConfirmSurvivors(up) => transport.confirm_survivors(token, up).await,
        Outgoing::RevealShares(up) => transport.reveal_shares(token, up).await,
    }
}

/// The seed of one random stream, from the system's randomness.
fn seed<H: Host>(host: &H) -> Result<Zeroizing<[u8; 32]>, HostError> {
    let mut seed = Zeroizing::new([0; 32]);
    host.randomness().fill(&mut *seed)?;
    Ok(seed)
}

fn permille(part: u64, whole: u64) -> u32 {
    // At most 1000.
    (u128::from(part.min(whole)) * 1000 / u128::from(whole.max(1))) as u32
}
