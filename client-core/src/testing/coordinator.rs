//! One session of one round, around the server's half of the protocol.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use scale_proto::answer::{StageAnswer, StageDown, Wait};
use scale_proto::ids::SessionId;
use scale_proto::manifest::Manifest;
use scale_proto::time::{RetryWindow, Timestamp};
use scale_secagg::config::RoundConfig;
use scale_secagg::error::{Reason, Refusal};
use scale_secagg::server::{Closed, Down, Receipt, Session, Stage, SummedUpdate};

/// An Ed25519 public key: who sends.
type Identity = [u8; 32];

/// The one session's handle.
pub fn session() -> SessionId {
    SessionId::from_random([4; 16])
}

/// A message that has come in, good or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Stage, 0 to 4; a masked input as a whole.
    pub stage: u8,
    /// The sender.
    pub from: Identity,
    /// The payload.
    pub payload: Bytes,
}

/// What has to be on the disk before a device is answered.
#[derive(Clone, Debug)]
enum Record {
    Taken(u8, Option<u32>, Bytes),
    Closed,
}

/// A coordinator of one round with one session. It keeps everything that devices send, so that a test can see whether one
/// of them ever sent two different things.
///
/// A stage closes when a test says so ([`Self::close`]), when everybody who may still answer has
/// ([`Self::close_if_complete`]), or when its signed time is over ([`Self::close_if_due`]).
#[derive(Debug)]
pub struct Coordinator {
    /// What devices are handed at check-in.
    pub manifest: Manifest,
    /// The global model's file.
    pub file: Vec<u8>,
    /// The signed configuration.
    pub config: RoundConfig,
    /// Keys that end stage 0 without waiting for more.
    pub goal: usize,
    /// Every message, in the order in which they came.
    pub sent: Vec<Message>,
    /// Who has left, and the word that it gave.
    pub left: Vec<(Identity, String)>,
    /// The sum, once it is there.
    pub released: Option<SummedUpdate>,
    /// Why there will be none.
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
    /// Opens the round of `manifest`, whose stage 0 ends with `goal` devices.
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

    /// The server's half of the protocol.
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

    /// Takes a message. One of an earlier stage is welcome only as a retry of the bytes that were taken then.
    ///
    /// # Errors
    /// What the protocol refuses; nothing has changed then.
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

    /// A message whose stage is not open: welcome as a retry of the one that was taken, while its answer is still there.
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
            // There are no places while stage 0 is open; the keys themselves begin with the identity.
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

    /// What a device hears whose message of `stage` was taken.
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

    /// Closes the open stage. Who has not answered it is lost.
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

    /// Closes the open stage once everybody who may still answer has; whether it did.
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
            // Its end, good or bad, is kept.
            let _closed = self.close();
        }
    }

    /// The memory is lost: the session is replayed from what was taken down, and devices see no difference.
    ///
    /// # Panics
    /// The replay comes to another state.
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

    /// Whether every device sent at most one message in every stage, however often.
    ///
    /// # Panics
    /// One of them sent two different ones.
    pub fn assert_one_message_each(&self) {
        let mut seen = BTreeMap::new();
        for Message { stage, from, payload } in &self.sent {
            let first = seen.entry((*stage, *from)).or_insert(payload);
            assert_eq!(*first, payload, "two different messages of one device in stage {stage}");
        }
    }
}

/// Others are not ready.
fn soon() -> Wait {
    Wait { retry: RetryWindow::from_millis(10), code: "stage_open".into(), sentence: "others are not ready".into() }
}
