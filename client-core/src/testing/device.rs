//! The production state machine of a device, with its environment.

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use scale_privacy::gaussian::DiscreteGaussian;
use scale_privacy::guardrails::Limits;
use scale_privacy::ledger::{Append, Ledger};
use scale_proto::answer::{CheckInAnswer, StageDown, Wait};
use scale_proto::manifest::Manifest;
use scale_proto::time::Timestamp;
use scale_secagg::config::{Mechanism, RoundConfig};
use scale_secagg::keys::IdentityKey;
use scale_secagg::prg::Stream;
use scale_secagg::roster::Certificate;

use super::{Training, setting};
use crate::device::{
    Cause, Contribution, Effect, Env, Event, History, Outgoing, Participation, Rules, Snapshot, State, Step,
};
use crate::download::ModelFile;

/// One device: [`State`] with its identity, memory and storage. What the state machine stores (history, snapshot,
/// privacy ledger) is durable at once, so [`Self::restart`] is possible after every call, and [`Self::power`] can kill
/// the device in the middle of one.
///
/// The device's clock is the field [`Self::now`], which a test sets before each call.
pub struct Device {
    /// Pinned keys and local rules.
    pub rules: Rules,
    /// Rounds joined before. Durable.
    pub history: History,
    /// The identity key.
    pub identity: IdentityKey,
    /// The authority's certificate for the identity key.
    pub certificate: Option<Certificate>,
    /// Random stream for keys, shares and pauses.
    pub keys: ChaCha20Rng,
    /// Random stream for rounding.
    pub rounding: Stream,
    /// Random stream for the noise.
    pub noise: Stream,
    /// The privacy ledger in memory.
    pub ledger: Ledger,
    /// The durable log of the privacy ledger.
    pub log: Vec<u8>,
    /// Facts about the rounds in the ledger, oldest first. Durable.
    pub notes: Vec<Participation>,
    /// Current time on this device's clock.
    pub now: Timestamp,
    /// Defines the result of training.
    pub training: Training,
    /// Number of further points (at which something is stored or sent) before the device is killed; `None`: never. A
    /// message sent before that is still returned by the call, and the next call fails with [`Silence::Killed`].
    pub power: Option<u32>,
    pub(crate) state: State,
    killed: bool,
    disk: Option<Snapshot>,
    file: Vec<u8>,
    noise_seed: [u8; 32],
    input: Vec<Vec<i64>>,
    noised: Vec<Vec<i64>>,
    sent: Vec<Sent>,
    points: u32,
    /// Whether the state machine has requested the price of training.
    price_requested: bool,
}

/// One message that a device has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Stage, 0 to 4.
    pub stage: u8,
    /// The bytes of the message. A masked input is one message, not pieces.
    pub payload: Bytes,
}

/// Why a device has sent nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Silence {
    /// It has left the round.
    Left(Cause),
    /// It waits: there is no round, or the coordinator told it to come back later.
    Waits(Wait),
    /// It has contributed to the round.
    Done(Contribution),
    /// Its participation had already ended.
    Over,
    /// It was killed; [`Device::restart`] restarts it.
    Killed,
    /// Its state machine waits for something else.
    Quiet,
}

impl Silence {
    /// The cause for which a device has left.
    ///
    /// # Panics
    /// The device has not left.
    pub fn cause(self) -> Cause {
        match self {
            Self::Left(cause) => cause,
            other => panic!("the device has not left: {other:?}"),
        }
    }
}

impl Device {
    /// Device number `number`, from which identity and random streams are derived. It pins [`setting::task_key`], has
    /// an empty privacy ledger, and its clock shows [`setting::START_MS`].
    pub fn new(number: u32) -> Self {
        Self::at(number, setting::rules(), Timestamp::from_millis(setting::START_MS))
    }

    /// Device number `number` of an app with these rules, whose privacy ledger begins at `now`.
    ///
    /// # Panics
    /// The privacy limits of the rules are not valid budgets.
    pub fn at(number: u32, rules: Rules, now: Timestamp) -> Self {
        let seed = |stream: u8| {
            let mut seed = [stream; 32];
            seed[..4].copy_from_slice(&number.to_le_bytes());
            seed
        };
        let (ledger, log) = setting::ledger(&rules.guardrails.tightened().privacy, now.as_millis());
        Self {
            rules,
            history: History::default(),
            identity: IdentityKey::from_seed(&seed(1)),
            certificate: None,
            keys: ChaCha20Rng::from_seed(seed(2)),
            rounding: Stream::new(&seed(3)),
            noise: Stream::new(&seed(4)),
            ledger,
            log,
            notes: vec![],
            now,
            training: Training::of_device(number),
            power: None,
            state: State::Idle,
            killed: false,
            disk: None,
            file: vec![],
            noise_seed: seed(4),
            input: vec![],
            noised: vec![],
            sent: vec![],
            points: 0,
            price_requested: false,
        }
    }

    /// Replaces the device's privacy limits, and its ledger by a new one with these limits.
    pub fn limit(&mut self, limits: &Limits) {
        (self.ledger, self.log) = setting::ledger(limits, self.now.as_millis());
    }

    /// Pins `root` and gets its certificate for this device, which ends at `not_after_ms`, Unix milliseconds.
    pub fn certify(&mut self, root: &IdentityKey, not_after_ms: u64) {
        self.rules.identity_root = Some(root.public());
        self.certificate = Some(Certificate::issue(root, &self.identity.public(), not_after_ms));
    }

    /// The current state.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The stored snapshot of the round.
    pub const fn stored(&self) -> Option<&Snapshot> {
        self.disk.as_ref()
    }

    /// The result of training in the last round as integers: the update, then the statistics. In a round without noise
    /// this is what the device adds to the sum.
    pub fn input(&self) -> &[Vec<i64>] {
        &self.input
    }

    /// What the device adds to the sum: [`Self::input`] plus its noise. Empty until the update is masked.
    pub fn summand(&self) -> &[Vec<i64>] {
        &self.noised
    }

    /// Every message sent since the round was joined, in order, including repetitions.
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// Number of points passed so far, at which something was stored or sent.
    pub const fn points(&self) -> u32 {
        self.points
    }

    /// One step of the state machine from the given state. No effect is performed, and the device's own state is
    /// unchanged.
    pub fn step(&mut self, state: State, event: Event) -> Step {
        let Self { now, rules, history, identity, certificate, keys, rounding, noise, ledger, .. } = self;
        let (now, certificate) = (*now, certificate.as_ref());
        state.handle(event, &mut Env { now, rules, history, identity, certificate, keys, rounding, noise, ledger })
    }

    /// Passes an event to the state machine and performs its effects. Returns the message that the device sends, if
    /// any.
    ///
    /// # Errors
    /// Why the device cannot send anything.
    pub fn happen(&mut self, event: Event) -> Result<Option<Bytes>, Silence> {
        if self.killed {
            return Err(Silence::Killed);
        }
        if self.state.is_over() {
            return Err(Silence::Over);
        }
        let (mut next, mut out) = (Some(event), None);
        while let Some(event) = next.take() {
            let drawn = self.noise.drawn();
            let state = std::mem::replace(&mut self.state, State::Idle);
            let (state, effects) = self.step(state, event);
            self.state = state;
            self.record_summand(drawn);
            for effect in effects {
                match self.perform(effect) {
                    Ok(Performed::Message(payload)) => out = Some(payload),
                    Ok(Performed::Recorded) => next = Some(Event::Recorded),
                    Ok(Performed::Nothing) => {}
                    Err(silence) => return if out.is_some() { Ok(out) } else { Err(silence) },
                }
            }
        }
        match &self.state {
            State::Left(_, cause) => Err(Silence::Left(cause.clone())),
            State::Waited(wait) => Err(Silence::Waits(wait.clone())),
            State::Done(contribution) => Err(Silence::Done(contribution.clone())),
            _ => Ok(out),
        }
    }

    /// Joins a round: checks the manifest, reads the model, trains, and returns AdvertiseKeys. An earlier state is
    /// discarded, as when an app is closed and opened again.
    ///
    /// # Errors
    /// Why it does not send its keys.
    pub fn take(&mut self, manifest: Manifest, file: &[u8]) -> Result<Bytes, Silence> {
        self.state = State::Idle;
        (self.input, self.noised, self.sent) = (vec![], vec![], vec![]);
        self.file = file.to_vec();
        self.drive(Event::CheckedIn(CheckInAnswer::Manifest(manifest)))
    }

    /// Passes the message that opens a stage to the device, and returns its answer.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn answer(&mut self, down: StageDown) -> Result<Bytes, Silence> {
        self.drive(Event::Down(down))
    }

    /// Makes the device send its last message again.
    ///
    /// # Errors
    /// Why it does not.
    pub fn wake(&mut self) -> Result<Bytes, Silence> {
        self.drive(Event::Woke)
    }

    /// Tells the device that the coordinator has accepted the shares of the last stage.
    ///
    /// # Errors
    /// The device was not waiting for this.
    pub fn accepted(&mut self) -> Result<Contribution, Silence> {
        match self.happen(Event::Accepted) {
            Err(Silence::Done(contribution)) => Ok(contribution),
            Err(other) => Err(other),
            Ok(_) => Err(Silence::Quiet),
        }
    }

    /// Restarts the device: only what is stored survives, and the device continues from there.
    ///
    /// # Errors
    /// Why it sends nothing; [`Silence::Quiet`] if no round was stored.
    ///
    /// # Panics
    /// The log of its privacy ledger cannot be read.
    pub fn restart(&mut self) -> Result<Bytes, Silence> {
        (self.power, self.killed) = (None, false);
        self.reopen_ledger();
        let restored = self.disk.as_ref().and_then(|stored| State::restore(stored, &self.rules).ok());
        self.state = restored.unwrap_or(State::Idle);
        if matches!(self.state, State::Idle) {
            return Err(Silence::Quiet);
        }
        self.drive(Event::Resume)
    }

    /// Reads the privacy ledger from its log, as a new process does.
    ///
    /// # Panics
    /// The log cannot be read.
    pub fn reopen_ledger(&mut self) {
        let reopened = Ledger::open(&self.log, setting::ledger_key(), None).expect("its own log");
        assert!(reopened.repair.is_none(), "whole records");
        self.ledger = reopened.ledger;
    }

    /// Appends a record to the log of the privacy ledger.
    ///
    /// # Panics
    /// The record does not follow the existing ones.
    pub fn write(&mut self, append: &Append) {
        assert_eq!(self.log.len() as u64, append.at, "records follow each other");
        self.log.extend_from_slice(&append.bytes);
    }

    /// Continues, supplying what the state machine requests, until it sends a message.
    fn drive(&mut self, event: Event) -> Result<Bytes, Silence> {
        let mut next = event;
        loop {
            if let Some(payload) = self.happen(next)? {
                return Ok(payload);
            }
            next = match &self.state {
                State::Joined(_) if std::mem::take(&mut self.price_requested) => Event::Priced(Ok(None)),
                State::Joined(round) => match ModelFile::verify(self.file.clone(), round.model().digest) {
                    Ok(file) => Event::Downloaded(file),
                    Err(error) => Event::Failed(error.into()),
                },
                State::Training(_, weights) => Event::Trained(Ok(self.training.result(weights))),
                State::Trained(..) => Event::Woke,
                _ => return Err(Silence::Quiet),
            };
        }
    }

    fn perform(&mut self, effect: Effect) -> Result<Performed, Silence> {
        match effect {
            Effect::Remember(task, number) => {
                self.point()?;
                self.history.remember(&task, number, self.now);
            }
            Effect::Persist(snapshot) => {
                self.point()?;
                self.disk = Some(snapshot);
            }
            Effect::DeleteSnapshot => {
                self.point()?;
                self.disk = None;
            }
            Effect::Note(participation) => {
                self.point()?;
                self.notes.push(participation);
            }
            Effect::Record(append) => {
                self.point()?;
                self.write(&append);
                return Ok(Performed::Recorded);
            }
            Effect::Price(_) => self.price_requested = true,
            effect => {
                if let Some(sent) = message(&effect) {
                    self.point()?;
                    self.sent.push(sent.clone());
                    return Ok(Performed::Message(sent.payload));
                }
            }
        }
        Ok(Performed::Nothing)
    }

    /// A point at which the device may be killed.
    fn point(&mut self) -> Result<(), Silence> {
        if self.power == Some(0) {
            (self.state, self.killed) = (State::Idle, true);
            return Err(Silence::Killed);
        }
        self.power = self.power.map(|left| left - 1);
        self.points += 1;
        Ok(())
    }

    /// Records what the device adds to the sum, for tests. `drawn`: number of noise words drawn before the step.
    fn record_summand(&mut self, drawn: u128) {
        match &self.state {
            State::Trained(_, update) => {
                let signed = |vector: &Vec<u32>| vector.iter().map(|&entry| i64::from(entry.cast_signed())).collect();
                self.input = update.clone().into_vectors().iter().map(signed).collect();
            }
            State::Releasing(..) if self.noised.is_empty() => {
                // What was masked, computed again from the same words of the noise stream.
                let config = self.state.round().expect("a session").config();
                self.noised = self.with_noise(config, drawn);
            }
            _ => {}
        }
    }

    fn with_noise(&self, config: &RoundConfig, drawn: u128) -> Vec<Vec<i64>> {
        let mut all = self.input.clone();
        if let Mechanism::DistributedGaussian { local_variance, .. } = config.mechanism {
            let noise = DiscreteGaussian::new(local_variance).expect("a checked configuration");
            let mut again = Stream::new(&self.noise_seed);
            for _ in 0..drawn {
                again.next_u32();
            }
            all.iter_mut().for_each(|vector| noise.add_to(vector, &mut again));
        }
        all
    }
}

enum Performed {
    Message(Bytes),
    Recorded,
    Nothing,
}

/// The protocol message that an effect sends. Apart from these, only a check-in, a progress report and the code given
/// when leaving are sent.
fn message(effect: &Effect) -> Option<Sent> {
    let (stage, payload) = match effect {
        Effect::Send(Outgoing::AdvertiseKeys(up)) => (0, &up.payload),
        Effect::Send(Outgoing::ShareKeys(up)) => (1, &up.payload),
        Effect::Upload { payload, .. } => (2, payload.bytes()),
        Effect::Send(Outgoing::ConfirmSurvivors(up)) => (3, &up.payload),
        Effect::Send(Outgoing::RevealShares(up)) => (4, &up.payload),
        _ => return None,
    };
    Some(Sent { stage, payload: payload.clone() })
}

/// Name of an effect, for comparing the requests of steps.
pub const fn effect_name(effect: &Effect) -> &'static str {
    match effect {
        Effect::CheckIn(_) => "check_in",
        Effect::Price(_) => "price",
        Effect::Download(_) => "download",
        Effect::Install(_) => "install",
        Effect::Train(_) => "train",
        Effect::Remember(..) => "remember",
        Effect::Persist(_) => "persist",
        Effect::Note(_) => "note",
        Effect::Record(_) => "record",
        Effect::DeleteSnapshot => "delete",
        Effect::Send(Outgoing::AdvertiseKeys(_)) => "advertise_keys",
        Effect::Send(Outgoing::ShareKeys(_)) => "share_keys",
        Effect::Send(Outgoing::ConfirmSurvivors(_)) => "confirm_survivors",
        Effect::Send(Outgoing::RevealShares(_)) => "reveal_shares",
        Effect::Upload { ask: false, .. } => "upload",
        Effect::Upload { ask: true, .. } => "resume_upload",
        Effect::WakeAt(_) => "wake_at",
        Effect::Report(_) => "report",
        Effect::Leave(_) => "leave",
    }
}
