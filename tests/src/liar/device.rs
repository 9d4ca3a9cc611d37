//! The whole device as a victim: `scale_client_core`'s machine, with the smallest host that performs what it asks for.

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use scale_client_core::device::{
    Cause, Effect, Env, Event as Happened, Guardrails, History, Outgoing, Rules, Snapshot, State,
};
use scale_client_core::download::ModelFile;
use scale_client_core::trainer::Trained;
use scale_client_core::update::Update;
use scale_privacy::guardrails::Limits;
use scale_privacy::ledger::{Ledger, LedgerKey};
use scale_proto::answer::{CheckInAnswer, StageDown};
use scale_proto::ids::{Digest, ModelVersion, RoundId, SessionId};
use scale_proto::manifest::Manifest;
use scale_proto::time::Timestamp;
use scale_secagg::client::Event;
use scale_secagg::keys::IdentityKey;
use scale_secagg::prg::Stream;
use scale_secagg::roster::Certificate;

use super::setting::{self, Offer};
use super::victim::{Habits, Refused, Victim, identity};

/// The device's machine and its host.
pub struct Device {
    number: u32,
    identity: IdentityKey,
    certificate: Option<Certificate>,
    rules: Rules,
    history: History,
    keys: ChaCha20Rng,
    rounding: Stream,
    noise: Stream,
    ledger: Ledger,
    state: State,
    /// What the machine holds too, so that the judge can round it to the same integers.
    update: Option<Update>,
    trained_on: [u8; 32],
    input: Vec<Vec<u32>>,
    stored: Option<Snapshot>,
    sent: Vec<(&'static str, usize)>,
}

impl Device {
    /// Device number `number`.
    pub fn new(number: u32, habits: Habits) -> Self {
        let rules = Rules {
            task_key: setting::task_key().public(),
            identity_root: habits.identity_root(),
            tasks: vec![setting::task()],
            families: vec!["mlp".into()],
            guardrails: Guardrails { cohort_min: habits.cohort_min, ..Guardrails::default() },
        };
        let identity = identity(number);
        Self {
            number,
            certificate: habits.certificate(&identity.public()),
            identity,
            rules,
            history: History::default(),
            keys: ChaCha20Rng::seed_from_u64(u64::from(number) + 2000),
            rounding: rounding(number),
            noise: Stream::new(&[number as u8 ^ 0x50; 32]),
            ledger: empty_ledger(),
            state: State::Idle,
            update: None,
            trained_on: [0; 32],
            input: vec![],
            stored: None,
            sent: vec![],
        }
    }

    /// Every message that has left the device, with its bytes of payload.
    pub fn sent(&self) -> &[(&'static str, usize)] {
        &self.sent
    }

    /// Gives the machine something that happened; the bytes that it sends, if it sends any. What it stores is durable at
    /// once, and what it takes down in its ledger too.
    ///
    /// # Errors
    /// Why the device has left.
    pub fn step(&mut self, event: Happened, now_ms: u64) -> Result<Option<Bytes>, Refused> {
        let now = Timestamp::from_millis(now_ms);
        let Self { rules, history, identity, certificate, keys, rounding, noise, ledger, .. } = self;
        let certificate = certificate.as_ref();
        let mut env = Env { now, rules, history, identity, certificate, keys, rounding, noise, ledger };
        let was_over = self.state.is_over();
        let (state, effects) = std::mem::replace(&mut self.state, State::Idle).handle(event, &mut env);
        self.state = state;
        let (mut payload, mut recorded, mut priced) = (None, false, false);
        for effect in effects {
            match effect {
                Effect::Remember(task, number) => {
                    self.history.remember(&task, number, now);
                }
                Effect::Persist(snapshot) => self.stored = Some(snapshot),
                Effect::DeleteSnapshot => self.stored = None,
                Effect::Record(_) => recorded = true,
                Effect::Price(_) => priced = true,
                effect => {
                    if let Some((name, bytes)) = message(effect) {
                        self.sent.push((name, bytes.len()));
                        payload = Some(bytes);
                    }
                }
            }
        }
        match &self.state {
            State::Left(_, cause) if !was_over => Err(refused(cause)),
            state if was_over => Err(Refused { check: String::new(), code: state.name().into() }),
            _ if priced => self.step(Happened::Priced(Ok(None)), now_ms),
            _ if recorded => self.step(Happened::Recorded, now_ms),
            _ => Ok(payload),
        }
    }

    /// Trains from the weights that the machine holds: those of the very bytes that were verified.
    fn train(&mut self) -> Option<Trained> {
        let State::Training(round, weights) = &self.state else { return None };
        let weight = 10 + self.number % 30;
        let trained = Trained {
            weights: weights.iter().zip(1..).map(|(w, at)| w + self.step_of(at)).collect(),
            weight,
            loss_sum: f64::from(weight) * 0.5,
            correct: u64::from(weight / 2),
            examples: weight.into(),
            dp_sgd: None,
        };
        self.update = Update::new(round.plan(), weights, trained.clone()).ok();
        Some(trained)
    }

    /// How far training moves parameter `at`.
    fn step_of(&self, at: u32) -> f32 {
        ((self.number * 31 + at * 17) % 101) as f32 / 500.0 - 0.1
    }
}

/// What leaves the device with an effect: a message of the protocol, by name. A check-in, a progress report and the one
/// word of a refusal leave it too; the rest does not.
fn message(effect: Effect) -> Option<(&'static str, Bytes)> {
    match effect {
        Effect::Send(Outgoing::AdvertiseKeys(up)) => Some(("advertise_keys", up.payload)),
        Effect::Send(Outgoing::ShareKeys(up)) => Some(("share_keys", up.payload)),
        Effect::Upload { payload, .. } => Some(("masked_input", payload.bytes().clone())),
        Effect::Send(Outgoing::ConfirmSurvivors(up)) => Some(("confirm_survivors", up.payload)),
        Effect::Send(Outgoing::RevealShares(up)) => Some(("reveal_shares", up.payload)),
        _ => None,
    }
}

/// The ledger of a device that has spent nothing.
fn empty_ledger() -> Ledger {
    let created = Ledger::create(LedgerKey::new(&[11; 32]), &Limits::COMPILED, setting::START_MS);
    // The compiled limits are numbers, and the record is durable as soon as it is made.
    let (mut ledger, first) = created.expect("sound limits");
    ledger.durable(first).expect("the first record");
    ledger
}

fn refused(cause: &Cause) -> Refused {
    Refused { check: cause.check().unwrap_or_default().into(), code: cause.code().to_owned() }
}

/// Session number 1, as every message of this kit says.
fn session() -> SessionId {
    SessionId::from_random([1; 16])
}

impl Victim for Device {
    fn identity(&self) -> [u8; 32] {
        self.identity.public()
    }

    fn offer(&mut self, offer: &Offer, now_ms: u64) -> Result<Vec<u8>, Refused> {
        let manifest = Manifest {
            round: RoundId::from_random([9; 16]),
            round_config: offer.config.clone(),
            config_signature: offer.signature,
            plan: offer.plan.clone(),
            model_url: "https://models.invalid/1".into(),
            model_bytes: offer.model.len() as u64,
            model_version: ModelVersion(1),
        };
        // Whatever it was in is gone: an app that was closed and opened again.
        self.state = State::Idle;
        self.step(Happened::CheckedIn(CheckInAnswer::Manifest(manifest)), now_ms)?;
        let wanted = self.state.round().expect("joined").model();
        let file = match ModelFile::verify(offer.model.clone(), wanted.digest) {
            Ok(file) => file,
            Err(error) => {
                self.step(Happened::Failed(error.into()), now_ms)?;
                unreachable!("a failure ends the round")
            }
        };
        let digest = Digest::of(file.bytes()).0;
        self.step(Happened::Downloaded(file), now_ms)?;
        let trained = self.train().expect("the machine waits for training");
        self.trained_on = digest;
        self.rounding = rounding(self.number);
        self.step(Happened::Trained(Ok(trained)), now_ms)?;
        Ok(self.step(Happened::Woke, now_ms)?.expect("keys go out").to_vec())
    }

    fn handle(&mut self, event: Event<'_>, now_ms: u64) -> Result<Vec<u8>, Refused> {
        let (payload, roster) = match event {
            Event::Config { bytes, .. } => (bytes, None),
            Event::Roster { form, bytes } => (bytes, Some(form)),
            Event::Shares(bytes) | Event::Survivors(bytes) | Event::Signatures(bytes) => (bytes, None),
        };
        let stage = event.stage();
        if stage == 2
            && let (Some(round), Some(update)) = (self.state.round(), self.update.take())
        {
            // From the beginning of the same stream as the machine.
            let rounded = update.quantize(round.config(), &mut rounding(self.number));
            self.input = rounded.map(scale_client_core::update::QuantizedUpdate::into_vectors).unwrap_or_default();
        }
        let down = StageDown { session: session(), stage, payload: Bytes::copy_from_slice(payload), roster };
        // A wait is no answer either.
        Ok(self.step(Happened::Down(down), now_ms)?.unwrap_or_default().to_vec())
    }

    fn input(&self) -> Vec<Vec<u32>> {
        self.input.clone()
    }

    fn trained_on(&self) -> [u8; 32] {
        self.trained_on
    }

    fn is_over(&self) -> bool {
        // What is being sent again until it is accepted is all that a revealing device still has.
        matches!(self.state, State::Revealing(..)) || self.state.is_over() && self.stored.is_none()
    }

    fn restart(&mut self) {
        let stored = self.stored.as_ref().and_then(|stored| State::restore(stored, &self.rules).ok());
        self.state = stored.unwrap_or(State::Idle);
        if matches!(self.state, State::Sealed(..)) {
            // The ledger says whether the stored bytes may go.
            let _sent_again = self.step(Happened::Resume, setting::START_MS);
        }
    }
}

/// Where a device's rounding comes from.
fn rounding(number: u32) -> Stream {
    Stream::new(&[number as u8 ^ 0x30; 32])
}
