//! One session of one round, with the server's part of the protocol.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use scale_proto::answer::{StageAnswer, StageDown, Wait};
use scale_proto::ids::SessionId;
use scale_proto::manifest::Manifest;
use scale_proto::time::{RetryWindow, Timestamp};
use scale_secagg::config::RoundConfig;
use scale_secagg::error::{Reason, Refusal};
use scale_secagg::server::{Closed, Down, Receipt, Session, Stage, SummedUpdate};

/// Ed25519 public key that identifies a device.
type Identity = [u8; 32];

/// Id of the only session.
pub fn session() -> SessionId {
    SessionId::from_random([4; 16])
}

/// A message that was received, valid or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Stage, 0 to 4. A masked input is one message, not pieces.
    pub stage: u8,
    /// Identity of the sender.
    pub from: Identity,
    /// The bytes of the message.
    pub payload: Bytes,
}

/// An entry of the log, which must be durable before a device is answered.
#[derive(Clone, Debug)]
enum Record {
    Taken(u8, Option<u32>, Bytes),
    Closed,
}

/// A coordinator of one round with one session. It keeps every message of the devices, so that a test can check whether
/// one of them ever sent two different ones.
///
/// A stage closes on request of the test ([`Self::close`]), when all devices that may still answer have done so
/// ([`Self::close_if_complete`]), or when its signed time is over ([`Self::close_if_due`]).
#[derive(Debug)]
pub struct Coordinator {
    /// The manifest that devices get at check-in.
    pub manifest: Manifest,
    /// The global model's file.
    pub file: Vec<u8>,
    /// The signed configuration.
    pub config: RoundConfig,
    /// Number of keys at which stage 0 closes.
    pub goal: usize,
    /// Every received message, in order.
    pub sent: Vec<Message>,
    /// The devices that left, with the code that they gave.
    pub left: Vec<(Identity, String)>,
    /// The sum, once it is released.
    pub released: Option<SummedUpdate>,
    /// Why the session ended without a sum.
    pub abandoned: Option<Refusal>,
    session: Session,
    log: Vec<Record>,
    /// Places in the roster.
    places: BTreeMap<Identity, u32>,
    /// Devices that may still answer.
    alive: BTreeSet<Identity>,
    /// Devices that have answered the open stage.
    answered: BTreeSet<Identity>,
}

impl Coordinator {
    /// Opens the round of `manifest`, whose stage 0 closes with `goal` devices.
    ///
    /// # Panics
    /// The manifest's configuration cannot be read.
    pub fn new(manifest: Manifest, file: Vec<u8>, goal: usize) -> Self {
        let config = RoundConfig::decode(&manifest.round_config).expect("a configuration");
        Self {
            session: Session::certified(config.clone(), []),
            manifest,
            file,
            config,
            goal,
            sent: vec![],
            left: vec![],
            released: None,
            abandoned: None,
            log: vec![],
            places: BTreeMap::new(),
            alive: BTreeSet::new(),
            answered: BTreeSet::new(),
        }
    }

    /// The server's part of the protocol.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Number of the open stage; `None` when the session is over.
    pub fn stage(&self) -> Option<u8> {
        self.session.stage_number()
    }

    /// A device's place in the roster, from stage 1 on.
    pub fn place(&self, identity: &Identity) -> Option<u32> {
        self.places.get(identity).copied()
    }

    /// Devices that have answered the open stage.
    pub fn answered(&self) -> usize {
        self.answered.len()
    }

    /// Whether a device has answered the open stage.
    pub fn has_answered(&self, identity: &Identity) -> bool {
        self.answered.contains(identity)
    }

    /// Receives a message. A message of an earlier stage is accepted only if it repeats the bytes that were accepted
    /// then.
    ///
    /// # Errors
    /// The protocol's refusal; nothing has changed then.
    pub fn receive(&mut self, stage: u8, from: Identity, payload: &[u8]) -> Result<Receipt, Refusal> {
        let payload = Bytes::copy_from_slice(payload);
        self.sent.push(Message { stage, from, payload: payload.clone() });
        if self.stage() != Some(stage) {
            return self.retry(stage, &from, &payload);
        }
        let place = self.place(&from);
        let receipt = self.session.receive(stage, place, &payload)?;
        if receipt == Receipt::New {
            self.log.push(Record::Taken(stage, place, payload));
        }
        self.alive.insert(from);
        self.answered.insert(from);
        Ok(receipt)
    }

    /// Handles a message whose stage is not open: accepted as a retry of the accepted one, while its answer is
    /// available.
    fn retry(&self, stage: u8, from: &Identity, payload: &Bytes) -> Result<Receipt, Refusal> {
        if let Some(refusal) = self.abandoned {
            return Err(refusal);
        }
        let open = self.stage().unwrap_or(5);
        if stage > open {
            return Err(Reason::StageOrder.into());
        }
        let place = self.place(from);
        let taken = self.log.iter().find_map(|record| match record {
            // Places are assigned when stage 0 closes; until then, the message of keys is matched by the identity that
            // it begins with.
            Record::Taken(0, _, taken) if stage == 0 && taken.starts_with(from) => Some(taken),
            Record::Taken(at, sender, taken) if stage > 0 && (*at, *sender) == (stage, place) => Some(taken),
            _ => None,
        });
        match taken {
            Some(taken) if taken != payload => Err(Reason::Duplicate.into()),
            Some(_) if stage + 1 == open => Ok(Receipt::Same),
            _ => Err(Reason::Late.into()),
        }
    }

    /// The answer to a device whose message of `stage` was accepted.
    pub fn reply(&self, identity: &Identity, stage: u8) -> StageAnswer {
        if stage == 4 {
            return StageAnswer::Accepted;
        }
        self.down(identity, stage + 1).map_or_else(|| StageAnswer::Wait(soon()), StageAnswer::Down)
    }

    /// The message that opens `stage` for a device, while that stage is open.
    pub fn down(&self, identity: &Identity, stage: u8) -> Option<StageDown> {
        if self.stage()? != stage {
            return None;
        }
        let (roster, payload) = match self.session.message(self.place(identity)?)? {
            Down::Roster(form, bytes) => (Some(form), bytes),
            Down::Bytes(bytes) => (None, bytes),
        };
        Some(StageDown { session: session(), stage, payload: payload.into(), roster })
    }

    /// A device leaves: no stage waits for it any more.
    pub fn leave(&mut self, identity: Identity, word: impl Into<String>) {
        self.left.push((identity, word.into()));
        self.alive.remove(&identity);
    }

    /// Closes the open stage. Devices that have not answered are dropped.
    ///
    /// # Errors
    /// Why the session ends here without a sum.
    pub fn close(&mut self) -> Result<Closed, Refusal> {
        self.log.push(Record::Closed);
        self.alive = std::mem::take(&mut self.answered);
        let closed = self.session.close(1);
        match &closed {
            Ok(Closed::Released(sum)) => self.released = Some(sum.clone()),
            Ok(_) => {}
            Err(refusal) => self.abandoned = Some(*refusal),
        }
        if let Stage::Shares(shares) = self.session.stage() {
            self.places = (0..).map_while(|place| Some((shares.identity_of(place)?, place))).collect();
        }
        closed
    }

    /// Closes the open stage if all devices that may still answer have done so. Returns whether it did.
    pub fn close_if_complete(&mut self) -> bool {
        let complete = match self.stage() {
            Some(0) => self.answered.len() >= self.goal,
            Some(_) => self.alive.is_subset(&self.answered),
            None => false,
        };
        complete && self.close().is_ok()
    }

    /// Closes every stage whose signed time is over at `now`.
    pub fn close_if_due(&mut self, now: Timestamp) {
        while let Some(stage) = self.stage()
            && now.as_millis() >= self.config.closing[usize::from(stage)]
        {
            // The result is kept in `released` or `abandoned`.
            let _closed = self.close();
        }
    }

    /// Simulates a restart: the session is replayed from the log, and devices see no difference.
    ///
    /// # Panics
    /// The replay leads to another state.
    pub fn restart(&mut self) {
        let mut replayed = Session::certified(self.config.clone(), []);
        for record in &self.log {
            match record {
                Record::Taken(stage, place, payload) => {
                    assert_eq!(replayed.receive(*stage, *place, payload), Ok(Receipt::New), "stage {stage}");
                }
                Record::Closed => drop(replayed.close(1)),
            }
        }
        assert_eq!(replayed.stage_number(), self.stage());
        for place in self.places.values() {
            assert_eq!(replayed.message(*place), self.session.message(*place), "what goes down to {place}");
        }
        self.session = replayed;
    }

    /// Checks that no device sent two different messages in one stage.
    ///
    /// # Panics
    /// A device sent two different ones.
    pub fn assert_one_message_each(&self) {
        let mut seen = BTreeMap::new();
        for Message { stage, from, payload } in &self.sent {
            let first = seen.entry((*stage, *from)).or_insert(payload);
            assert_eq!(*first, payload, "two different messages of one device in stage {stage}");
        }
    }
}

/// The answer while the stage is open.
fn soon() -> Wait {
    Wait {
        retry: RetryWindow::from_millis(10),
        code: "stage_open".into(),
        sentence: "the other devices are not ready yet".into(),
    }
}
