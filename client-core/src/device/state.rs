//! The state machine: it takes events and returns effects. It has no I/O, no clock and no randomness of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_privacy::ledger::Ledger;
use scale_proto::answer::{CheckIn, CheckInAnswer, Leave, Progress, StageDown, Wait};
use scale_proto::ids::{ModelVersion, RoundId, SessionId, TaskId};
use scale_proto::stage::StageUp;
use scale_proto::time::{RetryWindow, Timestamp};
use scale_secagg::check::Check;
use scale_secagg::client;
use scale_secagg::error::{Reason, Refusal};
use scale_secagg::keys::IdentityKey;
use scale_secagg::prg::Stream;
use scale_secagg::roster::Certificate;
use zeroize::Zeroizing;

use super::payload::{Paying, Payload, Releasing, Sealed, StoredInput};
use super::{Cause, Effect, Event, History, Outgoing, Participation, Phase, Round, Rules, TrainingInput};
use crate::download::ModelFile;
use crate::model;
use crate::trainer::{TrainError, Trained};
use crate::update::{QuantizedUpdate, Update};

/// When a device whose upload is committed asks for the survivors.
const COMMITTED: RetryWindow = RetryWindow { after: Duration::from_millis(200), before: Duration::from_millis(1000) };

/// The state of a device in its round. Each state contains only what later states need.
#[derive(Debug)]
pub enum State {
    /// No round yet.
    Idle,
    /// The manifest is checked; the model is being downloaded.
    Joined(Box<Round>),
    /// The model is verified; training runs.
    Training(Box<Round>, Arc<Zeroizing<Vec<f32>>>),
    /// The update is rounded to the grid. It is rounded only once, also across restarts.
    Trained(Box<Round>, QuantizedUpdate),
    /// The message of stage 0 (AdvertiseKeys) is made.
    Keyed(Box<Round>, QuantizedUpdate, client::Keyed, Bytes),
    /// The message of stage 1 (ShareKeys) is made.
    Shared(Box<Session>, QuantizedUpdate, client::Shared, Bytes),
    /// The shares of stage 2 are checked; the privacy ledger records the cost of the round. Not stored: a device that
    /// is killed here has paid the cost and leaves the round.
    Paying(Box<Session>, Box<Paying>),
    /// Stage 2: the only masked input of the round, read from the store after a restart. Whether it may be sent is to
    /// be looked up in the privacy ledger.
    Sealed(Box<Session>, Sealed),
    /// Stage 2: the masked input, while its digest is being written to the privacy ledger.
    Releasing(Box<Session>, Releasing),
    /// Stage 2: the masked input, released by the privacy ledger for sending. It is kept until the list of survivors
    /// arrives.
    Masked(Box<Session>, client::Masked, Payload),
    /// Stage 3: the only statement about the survivors that this device signs in the round.
    Agreed(Box<Session>, client::Agreed, Bytes),
    /// Stage 4: the shares for unmasking are made; all other secrets are wiped.
    Revealing(Box<Session>, Bytes),
    /// No round for this device now.
    Waited(Wait),
    /// The update is in the sum, and the device has completed the round.
    Done(Contribution),
    /// The device left before the end; nothing of the round is kept.
    Left(Option<RoundId>, Cause),
}

/// A round in which a session has formed.
#[derive(Debug)]
pub struct Session {
    pub(super) round: Round,
    pub(super) id: SessionId,
}

/// The round that a device has contributed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// Task of the round.
    pub task: TaskId,
    /// Id of the round.
    pub round: RoundId,
    /// Session number within the task.
    pub number: u64,
    /// Version of the model that was trained.
    pub version: ModelVersion,
}

/// The environment of a step.
#[derive(Debug)]
pub struct Env<'a> {
    /// Current time.
    pub now: Timestamp,
    /// Pinned keys and local rules.
    pub rules: &'a Rules,
    /// Rounds joined before.
    pub history: &'a History,
    /// Identity key; signs the messages of stages 0 and 3.
    pub identity: &'a IdentityKey,
    /// The pinned authority's certificate for this identity; only the malicious profile needs it.
    pub certificate: Option<&'a Certificate>,
    /// Random stream for keys, shares and pauses.
    pub keys: &'a mut ChaCha20Rng,
    /// Random stream for rounding; must not be the same as `keys`.
    pub rounding: &'a mut Stream,
    /// Random stream for the noise, seeded from the system for this participation; must not be the same as the other
    /// two.
    pub noise: &'a mut Stream,
    /// The privacy ledger, which this process has locked.
    pub ledger: &'a mut Ledger,
}

/// The next state, and the effects to perform in order.
pub type Step = (State, Vec<Effect>);

impl State {
    /// Handles an event. Takes `self`, so that a step cannot run twice and a failed check ends the round with all
    /// secrets wiped.
    pub fn handle(self, event: Event, env: &mut Env<'_>) -> Step {
        if self.is_over() {
            return (self, vec![]);
        }
        match event {
            Event::Cancel => return self.leave(Cause::Cancelled),
            Event::Failed(cause) => return self.leave(cause),
            Event::Refused(problem) => return self.on_refused(problem, env),
            Event::Broken(attempt) => return self.on_broken(attempt, env),
            Event::Wait(retry) => return self.pause(retry, env),
            _ => {}
        }
        if let Some(deadline) = self.deadline()
            && env.now >= deadline
        {
            return self.leave(Refusal::by(Check::C25, Reason::Deadline).into());
        }
        match (self, event) {
            (Self::Idle, Event::Start | Event::Woke) => {
                let Rules { tasks, families, .. } = env.rules;
                let check_in = CheckIn { tasks: tasks.clone(), families: families.clone() };
                (Self::Idle, vec![Effect::CheckIn(check_in)])
            }
            (Self::Idle, Event::CheckedIn(CheckInAnswer::Wait(wait))) => (Self::Waited(wait), vec![]),
            (Self::Idle, Event::CheckedIn(CheckInAnswer::Manifest(manifest))) => {
                let id = manifest.round;
                match Round::check(manifest, env) {
                    Ok(round) => Self::Joined(Box::new(round)).enter(),
                    Err(cause) => left(Some(id), cause),
                }
            }
            (Self::Joined(round), Event::Priced(price)) => on_priced(round, price, env),
            (Self::Joined(round), Event::Downloaded(file)) => on_model(round, &file, env.now, env.rules),
            (Self::Training(round, global), Event::Trained(result)) => on_trained(round, &global, result, env),
            (Self::Trained(round, update), Event::Woke | Event::Resume) => on_keys_wanted(round, update, env),
            (Self::Keyed(round, update, keyed, _), Event::Down(down)) if down.stage == 1 => {
                on_roster(round, update, keyed, &down, env)
            }
            (Self::Shared(session, update, shared, _), Event::Down(down)) if down.stage == 2 => {
                on_shares(session, update, shared, &down, env)
            }
            (Self::Paying(session, paying), Event::Recorded) => on_reserved(session, *paying, env),
            (Self::Sealed(session, sealed), Event::Woke | Event::Resume) => on_sealed(session, sealed, env),
            (Self::Releasing(session, releasing), Event::Recorded) => on_released(session, releasing, env),
            (Self::Masked(session, masked, _), Event::Down(down)) if down.stage == 3 => {
                on_survivors(session, masked, &down, env)
            }
            (state @ Self::Masked(..), Event::Committed) => state.pause(COMMITTED, env),
            (Self::Agreed(session, agreed, _), Event::Down(down)) if down.stage == 4 => {
                on_signatures(session, agreed, &down, env)
            }
            (Self::Revealing(session, _), Event::Accepted) => {
                let contribution = Contribution {
                    task: session.round.task().clone(),
                    round: session.round.manifest().round,
                    number: session.round.config().round,
                    version: session.round.manifest().model_version,
                };
                (Self::Done(contribution), vec![Effect::DeleteSnapshot])
            }
            (state, Event::Woke | Event::Resume) => {
                let effects = state.ask(true);
                (state, effects)
            }
            (state, Event::Down(down)) => {
                let refusal = state.out_of_turn(down.stage);
                state.leave(refusal.into())
            }
            (state, event) => {
                let problem = format!("event `{}` is not allowed in state `{}`", event.name(), state.name());
                state.leave(Cause::StageOrder(problem))
            }
        }
    }

    /// Name of the state, for messages and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Joined(..) => "joined",
            Self::Training(..) => "training",
            Self::Trained(..) => "trained",
            Self::Keyed(..) => "keyed",
            Self::Shared(..) => "shared",
            Self::Paying(..) => "paying",
            Self::Sealed(..) => "sealed",
            Self::Releasing(..) => "releasing",
            Self::Masked(..) => "masked",
            Self::Agreed(..) => "agreed",
            Self::Revealing(..) => "revealing",
            Self::Waited(..) => "waited",
            Self::Done(..) => "done",
            Self::Left(..) => "left",
        }
    }

    /// The phase that the user sees.
    pub const fn phase(&self) -> Phase {
        match self {
            Self::Idle => Phase::CheckingIn,
            Self::Joined(..) => Phase::Downloading,
            Self::Training(..) => Phase::Training,
            Self::Trained(..) | Self::Keyed(..) => Phase::Keys,
            Self::Shared(..) => Phase::Shares,
            Self::Paying(..) | Self::Sealed(..) | Self::Releasing(..) | Self::Masked(..) => Phase::Uploading,
            Self::Agreed(..) => Phase::Agreeing,
            Self::Revealing(..) => Phase::Unmasking,
            Self::Waited(..) | Self::Done(..) | Self::Left(..) => Phase::Over,
        }
    }

    /// Whether this is a final state.
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Waited(..) | Self::Done(..) | Self::Left(..))
    }

    /// The round that the device is in; `None` before it has joined one and in final states.
    pub fn round(&self) -> Option<&Round> {
        match self {
            Self::Joined(round) | Self::Training(round, _) | Self::Trained(round, _) | Self::Keyed(round, ..) => {
                Some(round)
            }
            Self::Shared(session, ..)
            | Self::Paying(session, _)
            | Self::Sealed(session, _)
            | Self::Releasing(session, _)
            | Self::Masked(session, ..)
            | Self::Agreed(session, ..)
            | Self::Revealing(session, _) => Some(&session.round),
            Self::Idle | Self::Waited(_) | Self::Done(_) | Self::Left(..) => None,
        }
    }

    /// The signed closing time by which the device must have left this state.
    pub fn deadline(&self) -> Option<Timestamp> {
        let stage = match self {
            Self::Keyed(..) => 1,
            Self::Shared(..) | Self::Paying(..) => 2,
            Self::Sealed(..) | Self::Releasing(..) | Self::Masked(..) => 3,
            Self::Agreed(..) | Self::Revealing(..) => 4,
            _ => 0,
        };
        self.round().map(|round| round.closing(stage))
    }

    /// The effect that requests what this state waits for. `again`: it was requested before.
    fn ask(&self, again: bool) -> Vec<Effect> {
        let stage = |session: &Session, payload: &Bytes| StageUp { handle: session.id, payload: payload.clone() };
        let send = |outgoing| vec![Effect::Send(outgoing)];
        match self {
            // The price comes before the download: a device whose budget is used up neither downloads nor trains.
            Self::Joined(round) => vec![Effect::Price(round.plan().clone())],
            Self::Keyed(round, .., payload) => {
                let up = StageUp { handle: round.manifest().round, payload: payload.clone() };
                // The number must be durable before the keys are sent, also if the device was killed in between (check
                // C03).
                vec![remember(round), Effect::Send(Outgoing::AdvertiseKeys(up))]
            }
            Self::Shared(session, .., payload) => send(Outgoing::ShareKeys(stage(session, payload))),
            Self::Paying(session, paying) => {
                let round = &session.round;
                vec![Effect::Note(Participation::of(round, paying.cohort())), Effect::Record(paying.record())]
            }
            Self::Releasing(_, releasing) => vec![Effect::Record(releasing.record())],
            Self::Masked(session, _, payload) => {
                vec![Effect::Upload { session: session.id, payload: payload.clone(), ask: again }]
            }
            Self::Agreed(session, _, payload) => send(Outgoing::ConfirmSurvivors(stage(session, payload))),
            Self::Revealing(session, payload) => send(Outgoing::RevealShares(stage(session, payload))),
            // Training is never requested twice; the other states wait for nothing.
            Self::Idle | Self::Training(..) | Self::Trained(..) | Self::Sealed(..) => vec![],
            Self::Waited(_) | Self::Done(_) | Self::Left(..) => vec![],
        }
    }

    /// Enters a new state: stores it first, then requests what it waits for.
    fn enter(self) -> Step {
        let mut effects: Vec<Effect> = self.snapshot().map(Effect::Persist).into_iter().collect();
        effects.extend(self.ask(false));
        (self, effects)
    }

    /// Why a message of this stage does not belong here (docs/protocol/session.md, "Order, retries, times").
    const fn out_of_turn(&self, stage: u8) -> Refusal {
        match (self, stage) {
            (Self::Paying(..) | Self::Sealed(..) | Self::Releasing(..) | Self::Masked(..), 2) => {
                Refusal::by(Check::C15, Reason::SecondInput)
            }
            (Self::Agreed(..), 3) => Refusal::by(Check::C19, Reason::SecondStatement),
            _ => Refusal::by(Check::C22, Reason::StageOrder),
        }
    }

    fn leave(self, cause: Cause) -> Step {
        left(self.round().map(|round| round.manifest().round), cause)
    }
}

fn left(round: Option<RoundId>, cause: Cause) -> Step {
    let mut effects = vec![Effect::DeleteSnapshot];
    if let Some(round) = round {
        effects.push(Effect::Leave(Leave { round, reason: cause.code().to_owned() }));
    }
    (State::Left(round, cause), effects)
}

fn remember(round: &Round) -> Effect {
    Effect::Remember(round.task().clone(), round.config().round)
}

/// Checks the estimated cost of training before the download. What is charged later is the actual cost.
fn on_priced(round: Box<Round>, price: Result<Option<DpSgd>, TrainError>, env: &mut Env<'_>) -> Step {
    let affordable = price.map_err(Cause::from).and_then(|price| match round.facts(price) {
        Some(facts) if price.is_some() => Ok(env.ledger.would_pay(&facts, env.now.as_millis())?),
        _ => Ok(()),
    });
    match affordable {
        Ok(()) => {
            let effects = vec![Effect::Download(round.model())];
            (State::Joined(round), effects)
        }
        Err(cause) => left(Some(round.manifest().round), cause),
    }
}

fn on_model(round: Box<Round>, file: &ModelFile, now: Timestamp, rules: &Rules) -> Step {
    let id = round.manifest().round;
    if file.digest().0 != round.config().model_digest {
        return left(Some(id), Refusal::by(Check::C02, Reason::ModelDigest).into());
    }
    match model::weights(file.bytes(), round.task(), &round.plan().model) {
        Ok(weights) => {
            // A tenth of the remaining time is reserved for sending the keys to the coordinator.
            let left = now.until(round.closing(0)).mul_f64(0.9);
            let limit = round.plan().time_limit.min(rules.guardrails.tightened().training).min(left);
            let weights = Arc::new(Zeroizing::new(weights));
            let input = TrainingInput { round: id, plan: round.plan().clone(), weights: weights.clone(), limit };
            let installed = round.installed();
            (
                State::Training(round, weights),
                vec![Effect::Install(Box::new(installed)), Effect::Train(Box::new(input))],
            )
        }
        Err(error) => left(Some(id), error.into()),
    }
}

fn on_trained(round: Box<Round>, global: &[f32], result: Result<Trained, TrainError>, env: &mut Env<'_>) -> Step {
    let id = round.manifest().round;
    let update = result
        .map_err(Cause::from)
        .and_then(|trained| Ok(Update::new(round.plan(), global, trained)?.quantize(round.config(), env.rounding)?));
    match update {
        Ok(update) => {
            let (state, mut effects) = State::Trained(round, update).enter();
            effects.push(Effect::Report(Progress { round: id, done_permille: 1000, job: None }));
            // Keys are made in a separate step, because it has to check the deadline against the current time.
            effects.push(Effect::WakeAt(Timestamp::default()));
            (state, effects)
        }
        Err(cause) => left(Some(id), cause),
    }
}

fn on_keys_wanted(round: Box<Round>, update: QuantizedUpdate, env: &mut Env<'_>) -> Step {
    let manifest = round.manifest();
    let advertised = client::advertise(
        &manifest.round_config,
        &manifest.config_signature,
        &round.policy(env.history),
        env.now.as_millis(),
        env.identity,
        env.certificate,
        env.keys,
    );
    match advertised {
        Ok((keyed, payload)) => State::Keyed(round, update, keyed, payload.into()).enter(),
        Err(refusal) => left(Some(manifest.round), refusal.into()),
    }
}

fn on_roster(
    round: Box<Round>,
    update: QuantizedUpdate,
    keyed: client::Keyed,
    down: &StageDown,
    env: &mut Env<'_>,
) -> Step {
    let shared = down
        .roster
        .ok_or(Refusal::from(Reason::Malformed))
        .and_then(|form| keyed.on_roster(form, &down.payload, env.now.as_millis(), env.keys));
    match shared {
        Ok((shared, payload)) => {
            let session = Box::new(Session { round: *round, id: down.session });
            State::Shared(session, update, shared, payload.into()).enter()
        }
        Err(refusal) => left(Some(round.manifest().round), refusal.into()),
    }
}

/// Decrypts the shares and reserves the cost in the privacy ledger. An abort before this costs no budget.
fn on_shares(
    session: Box<Session>,
    update: QuantizedUpdate,
    shared: client::Shared,
    down: &StageDown,
    env: &mut Env<'_>,
) -> Step {
    let paying = same_session(&session, down)
        .and_then(|()| shared.on_shares(&down.payload, env.now.as_millis()).map_err(Cause::from))
        .and_then(|cleared| Paying::reserve(&session.round, update, cleared, env.ledger, env.now));
    match paying {
        Ok(paying) => State::Paying(session, Box::new(paying)).enter(),
        Err(cause) => left(Some(session.round.manifest().round), cause),
    }
}

/// The reservation is durable: adds the noise and masks in one step, so that there is no state in between that could be
/// repeated.
fn on_reserved(session: Box<Session>, paying: Paying, env: &mut Env<'_>) -> Step {
    match paying.noise_and_mask(env.ledger, env.now, env.noise) {
        Ok(releasing) => State::Releasing(session, releasing).enter(),
        Err(cause) => left(Some(session.round.manifest().round), cause),
    }
}

/// A masked input from the store: the ledger decides whether it may be sent.
fn on_sealed(session: Box<Session>, sealed: Sealed, env: &mut Env<'_>) -> Step {
    match sealed.look_up(&session.round, env.ledger, env.now) {
        Ok(StoredInput::Released(masked, payload)) => {
            let state = State::Masked(session, masked, payload);
            let effects = state.ask(true);
            (state, effects)
        }
        Ok(StoredInput::Unreleased(releasing)) => {
            let state = State::Releasing(session, releasing);
            let effects = state.ask(true);
            (state, effects)
        }
        Err(cause) => left(Some(session.round.manifest().round), cause),
    }
}

/// Bytes and digest are durable: only now may the bytes be sent.
fn on_released(session: Box<Session>, releasing: Releasing, env: &mut Env<'_>) -> Step {
    match releasing.release(env.ledger) {
        Ok((masked, payload)) => {
            let state = State::Masked(session, masked, payload);
            let effects = state.ask(false);
            (state, effects)
        }
        Err(cause) => left(Some(session.round.manifest().round), cause),
    }
}

fn on_survivors(session: Box<Session>, masked: client::Masked, down: &StageDown, env: &mut Env<'_>) -> Step {
    let signed = same_session(&session, down)
        .and_then(|()| Ok(masked.on_survivors(&down.payload, env.now.as_millis(), env.identity)?));
    match signed {
        Ok((agreed, signature)) => State::Agreed(session, agreed, Bytes::copy_from_slice(&signature)).enter(),
        Err(cause) => left(Some(session.round.manifest().round), cause),
    }
}

fn on_signatures(session: Box<Session>, agreed: client::Agreed, down: &StageDown, env: &mut Env<'_>) -> Step {
    let revealed =
        same_session(&session, down).and_then(|()| Ok(agreed.on_signatures(&down.payload, env.now.as_millis())?));
    match revealed {
        Ok(shares) => State::Revealing(session, shares.into()).enter(),
        Err(cause) => left(Some(session.round.manifest().round), cause),
    }
}

fn same_session(session: &Session, down: &StageDown) -> Result<(), Cause> {
    if down.session == session.id {
        Ok(())
    } else {
        Err(Cause::StageOrder("the message belongs to another session".to_owned()))
    }
}

mod pauses;
#[cfg(test)]
mod tests;
