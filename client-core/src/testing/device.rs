//! The machine that ships, and everything that it looks at.

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

/// One device: [`State`] with its identity, its memory and its disk. What the machine asks to be stored is durable at once
/// (history, snapshot, privacy ledger), so [`Self::restart`] is possible after every call, and [`Self::power`] takes the
/// device down in the middle of one.
///
/// The device's clock is the field [`Self::now`], which a test sets before each call.
pub struct Device {
    /// What the app has decided.
    pub rules: Rules,
    /// Rounds joined before; durable.
    pub history: History,
    /// The long-lived key.
    pub identity: IdentityKey,
    /// The authority's certificate for it.
    pub certificate: Option<Certificate>,
    /// Stream of keys, shares and pauses.
    pub keys: ChaCha20Rng,
    /// Stream of the rounding.
    pub rounding: Stream,
    /// Stream of the noise.
    pub noise: Stream,
    /// The privacy ledger in memory.
    pub ledger: Ledger,
    /// What is on the disk of it.
    pub log: Vec<u8>,
    /// Participations as they were noted, oldest first; durable.
    pub notes: Vec<Participation>,
    /// The present, as this device knows it.
    pub now: Timestamp,
    /// What training gives.
    pub training: Training,
    /// Points left, at which something is stored or sent, until the device loses its memory; `None`: it never does. A message
    /// that has left before is given by the call all the same, and the next call finds the device killed.
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
    /// The machine has asked what training would cost.
    asked_price: bool,
}

/// One message that has left a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Stage, 0 to 4.
    pub stage: u8,
    /// The payload; a masked input as a whole.
    pub payload: Bytes,
}

/// Why a device has sent nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Silence {
    /// It has left the round.
    Left(Cause),
    /// It comes back later: no round, or the coordinator told it so.
    Waits(Wait),
    /// It has contributed.
    Done(Contribution),
    /// Its participation was over before.
    Over,
    /// It has lost its memory; [`Device::restart`] brings it back.
    Killed,
    /// The machine waits for something else.
    Quiet,
}

impl Silence {
    /// Why a device has left.
    ///
    /// # Panics
    /// It has not.
    pub fn cause(self) -> Cause {
        match self {
            Self::Left(cause) => cause,
            other => panic!("the device has not left: {other:?}"),
        }
    }
}

impl Device {
    /// Device number `number`: identity and streams follow from it. It pins [`setting::task_key`], has spent nothing, and its
    /// clock shows [`setting::START_MS`].
    pub fn new(number: u32) -> Self {
        Self::at(number, setting::rules(), Timestamp::from_millis(setting::START_MS))
    }

    /// Device number `number` of an app with these rules, whose privacy ledger begins at `now`.
    ///
    /// # Panics
    /// The rules' privacy limits are no budgets.
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
            asked_price: false,
        }
    }

    /// The same device with other limits on what may be spent, and a ledger that begins with them.
    pub fn limit(&mut self, limits: &Limits) {
        (self.ledger, self.log) = setting::ledger(limits, self.now.as_millis());
    }

    /// Pins `root` and gets its certificate for this device, which ends at `not_after_ms`, Unix milliseconds.
    pub fn certify(&mut self, root: &IdentityKey, not_after_ms: u64) {
        self.rules.identity_root = Some(root.public());
        self.certificate = Some(Certificate::issue(root, &self.identity.public(), not_after_ms));
    }

    /// Where the machine is.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What is stored of the round.
    pub const fn stored(&self) -> Option<&Snapshot> {
        self.disk.as_ref()
    }

    /// What training came to in the last round, as integers: the update, then the statistics. What the device adds to the
    /// sum if the round has no noise.
    pub fn input(&self) -> &[Vec<i64>] {
        &self.input
    }

    /// What the device adds to the sum: [`Self::input`] and its noise, once it is masked. Empty before.
    pub fn summand(&self) -> &[Vec<i64>] {
        &self.noised
    }

    /// Every message since the round was taken, in order, again and again if it was.
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// Points passed so far, at which something was stored or sent.
    pub const fn points(&self) -> u32 {
        self.points
    }

    /// One step of the machine from a state of the caller's. Nothing is performed, and the device's own state stays.
    pub fn step(&mut self, state: State, event: Event) -> Step {
        let Self { now, rules, history, identity, certificate, keys, rounding, noise, ledger, .. } = self;
        let (now, certificate) = (*now, certificate.as_ref());
        state.handle(event, &mut Env { now, rules, history, identity, certificate, keys, rounding, noise, ledger })
    }

    /// Something happens to the device, which does what the machine asks for. Gives the message that leaves, if one does.
    ///
    /// # Errors
    /// Why the device says nothing any more.
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
            self.take_down(drawn);
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

    /// Takes a round: checks the manifest, reads the model, trains, and answers with AdvertiseKeys. Whatever it was in is
    /// gone, as for an app that was closed and opened again.
    ///
    /// # Errors
    /// Why there are no keys.
    pub fn take(&mut self, manifest: Manifest, file: &[u8]) -> Result<Bytes, Silence> {
        self.state = State::Idle;
        (self.input, self.noised, self.sent) = (vec![], vec![], vec![]);
        self.file = file.to_vec();
        self.drive(Event::CheckedIn(CheckInAnswer::Manifest(manifest)))
    }

    /// The message that opens a stage comes down; the answer to it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn answer(&mut self, down: StageDown) -> Result<Bytes, Silence> {
        self.drive(Event::Down(down))
    }

    /// Sends its last message again.
    ///
    /// # Errors
    /// Why it does not.
    pub fn wake(&mut self) -> Result<Bytes, Silence> {
        self.drive(Event::Woke)
    }

    /// The coordinator keeps the shares of the last stage.
    ///
    /// # Errors
    /// The device did not wait for that.
    pub fn accepted(&mut self) -> Result<Contribution, Silence> {
        match self.happen(Event::Accepted) {
            Err(Silence::Done(contribution)) => Ok(contribution),
            Err(other) => Err(other),
            Ok(_) => Err(Silence::Quiet),
        }
    }

    /// The memory is lost and the disk is left: the device comes back with what is stored, and goes on.
    ///
    /// # Errors
    /// Why it sends nothing; [`Silence::Quiet`] when nothing of a round was stored.
    ///
    /// # Panics
    /// The log of its privacy ledger does not open.
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
    /// The log does not open.
    pub fn reopen_ledger(&mut self) {
        let reopened = Ledger::open(&self.log, setting::ledger_key(), None).expect("its own log");
        assert!(reopened.repair.is_none(), "whole records");
        self.ledger = reopened.ledger;
    }

    /// Writes a record that the machine asks for.
    ///
    /// # Panics
    /// It does not follow the records that are there.
    pub fn write(&mut self, append: &Append) {
        assert_eq!(self.log.len() as u64, append.at, "records follow each other");
        self.log.extend_from_slice(&append.bytes);
    }

    /// Goes on, bringing what the machine asks for, until a message leaves.
    fn drive(&mut self, event: Event) -> Result<Bytes, Silence> {
        let mut next = event;
        loop {
            if let Some(payload) = self.happen(next)? {
                return Ok(payload);
            }
            next = match &self.state {
                State::Joined(_) if std::mem::take(&mut self.asked_price) => Event::Priced(Ok(None)),
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
            Effect::Price(_) => self.asked_price = true,
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

    /// A moment at which the device may lose its memory.
    fn point(&mut self) -> Result<(), Silence> {
        if self.power == Some(0) {
            (self.state, self.killed) = (State::Idle, true);
            return Err(Silence::Killed);
        }
        self.power = self.power.map(|left| left - 1);
        self.points += 1;
        Ok(())
    }

    /// Keeps what the device adds to the sum, for the test alone. `drawn`: words of noise that were drawn before the step.
    fn take_down(&mut self, drawn: u128) {
        match &self.state {
            State::Trained(_, update) => {
                let signed = |vector: &Vec<u32>| vector.iter().map(|&entry| i64::from(entry.cast_signed())).collect();
                self.input = update.clone().into_vectors().iter().map(signed).collect();
            }
            State::Releasing(..) if self.noised.is_empty() => {
                // What was masked, worked out once more from the same words of the same stream.
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

/// The message of the protocol that leaves the device with an effect. A check-in, a progress report and the one word of a
/// refusal leave it too; nothing else does.
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

/// An effect's name, for comparing what a step asks for.
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
