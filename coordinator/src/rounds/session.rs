//! One secure session as this process has it: a replay of the messages in its rows (docs/adr/0005).
//!
//! Every process that serves a session replays it, and they all come to the same state: a stage is closed only after its
//! gate was shut in the rows, so its messages are final, and what a stage fixes does not depend on their order. A replica
//! that has fallen behind catches up when it is next used; one that is in doubt is thrown away and replayed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use scale_proto::ids::{DeviceId, Digest, SessionId};
use scale_secagg::config::RoundConfig;
use scale_secagg::error::Refusal;
use scale_secagg::server::{Closed, Session, Stage};
use tokio::sync::{Mutex, MutexGuard};

use crate::error::Error;
use crate::round::{Failure, SessionStage};
use crate::rows::{MessageRow, UploadState};
use crate::schedule::pace;
use crate::store::Store;

/// A session, from the start of training on.
pub(crate) struct SecureSession {
    pub(crate) id: SessionId,
    pub(crate) config: Arc<RoundConfig>,
    /// Devices that were dealt to it, with their identity keys.
    members: Vec<(DeviceId, [u8; 32])>,
    /// Channel and mask keys that these devices have used before.
    used_keys: Vec<[u8; 32]>,
    replica: Mutex<Replica>,
}

/// The state of a session in this process.
#[derive(Default)]
pub(crate) struct Replica {
    /// `None`: to be replayed, or the masks are being removed.
    protocol: Option<Session>,
    /// Places in the roster, once there is one.
    index: HashMap<DeviceId, u32>,
    /// Digest of each message that was taken, by sender and stage: tells a retry from a second message once the stage
    /// has closed.
    taken: HashMap<(DeviceId, u8), Digest>,
    /// What each stage that was closed has fixed: how many devices, or why the session cannot go on.
    closed: Vec<Result<u32, Failure>>,
}

impl SecureSession {
    pub(super) fn new(
        id: SessionId,
        config: Arc<RoundConfig>,
        members: Vec<(DeviceId, [u8; 32])>,
        used_keys: Vec<[u8; 32]>,
    ) -> Self {
        Self { id, config, members, used_keys, replica: Mutex::default() }
    }

    /// Digest of what a device sent in a stage, if memory has it at hand: it is not brought up to date for this.
    pub(crate) fn known(&self, device: DeviceId, stage: u8) -> Option<Digest> {
        self.replica.try_lock().ok()?.taken.get(&(device, stage)).copied()
    }

    /// The replica, which has closed every stage before `stage`. The rows have to say that this stage is open.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Abandoned`] when the session has ended meanwhile; [`Error::Bug`] when the rows contradict
    /// each other.
    pub(crate) async fn at(&self, store: &Store, stage: SessionStage) -> Result<MutexGuard<'_, Replica>, Error> {
        let mut replica = self.replica.lock().await;
        match self.catch_up(&mut replica, store, stage).await {
            Ok(()) => Ok(replica),
            Err(error) => Err(self.unless_over(store, error).await?),
        }
    }

    /// The same with every message of `stage` that is kept so far.
    ///
    /// # Errors
    /// As [`SecureSession::at`].
    pub(crate) async fn whole(&self, store: &Store, stage: SessionStage) -> Result<MutexGuard<'_, Replica>, Error> {
        let mut replica = self.at(store, stage).await?;
        if replica.stage_number() == stage.number()
            && let Err(error) = self.receive_all(&mut replica, store, stage).await
        {
            return Err(self.unless_over(store, error).await?);
        }
        Ok(replica)
    }

    /// Rows that contradict each other may be what is left of a session that another process has ended meanwhile.
    async fn unless_over(&self, store: &Store, error: Error) -> Result<Error, Error> {
        if !matches!(error, Error::Bug(_)) {
            return Ok(error);
        }
        let id = self.id;
        let row = store.read("session", move |tx| Box::pin(async move { Ok::<_, Error>(tx.session(id).await?) }));
        if row.await?.is_some_and(|row| !row.stage.is_over()) {
            return Ok(error);
        }
        let (code, sentence) = ("session_over".to_owned(), "the session is over".to_owned());
        let back = pace(Some(Duration::from_secs(5)), self.members.len() as u64);
        Ok(Error::Abandoned { code, sentence, back })
    }

    /// Closes `stage`, whose messages are final; the same answer for everybody who asks. How many devices stand in the set
    /// that it fixes, or why the session cannot go on.
    ///
    /// # Errors
    /// As [`SecureSession::at`].
    pub(crate) async fn close(&self, store: &Store, stage: SessionStage) -> Result<Result<u32, Failure>, Error> {
        let number = stage.number().ok_or_else(|| Error::Bug(format!("stage {} does not close", stage.name())))?;
        let mut replica = self.at(store, stage).await?;
        if let Some(outcome) = replica.closed.get(usize::from(number)) {
            return Ok(outcome.clone());
        }
        self.receive_all(&mut replica, store, stage).await?;
        self.close_open_stage(&mut replica)
    }

    /// Takes the protocol's state out, to remove the masks with it. The next call replays the session.
    ///
    /// # Errors
    /// As [`SecureSession::at`].
    pub(crate) async fn take(&self, store: &Store) -> Result<Session, Error> {
        let mut replica = self.whole(store, SessionStage::Unmask).await?;
        let damaged = || Error::Bug(format!("session {} has no state in stage 4", self.id));
        std::mem::take(&mut *replica).protocol.ok_or_else(damaged)
    }

    /// Forgets what memory has of the session.
    pub(crate) async fn forget(&self) {
        *self.replica.lock().await = Replica::default();
    }

    async fn catch_up(&self, replica: &mut Replica, store: &Store, until: SessionStage) -> Result<(), Error> {
        let Some(until) = until.number() else { return Ok(()) };
        if replica.protocol.is_none() {
            *replica = self.begin();
        }
        while replica.closed.len() < usize::from(until) {
            let open = SessionStage::OPEN[replica.closed.len()];
            self.receive_all(replica, store, open).await?;
            if let Err(failure) = self.close_open_stage(replica)? {
                *replica = Replica::default();
                return Err(self.damaged(open, &failure.sentence));
            }
        }
        Ok(())
    }

    fn begin(&self) -> Replica {
        let protocol = Session::certified((*self.config).clone(), self.used_keys.iter().copied());
        Replica { protocol: Some(protocol), ..Replica::default() }
    }

    /// Takes what the rows have of the open stage and memory has not.
    async fn receive_all(&self, replica: &mut Replica, store: &Store, stage: SessionStage) -> Result<(), Error> {
        let (id, Some(number)) = (self.id, stage.number()) else { return Ok(()) };
        if stage == SessionStage::MaskedInput {
            let uploads =
                store.read("uploads", move |tx| Box::pin(async move { Ok::<_, Error>(tx.uploads(id).await?) })).await?;
            let Some(protocol) = &mut replica.protocol else { return Ok(()) };
            for row in uploads.iter().filter(|row| row.state == UploadState::Committed) {
                let committed = protocol.commit(row.participant_index, row.digest.0);
                committed.map_err(|refusal| self.damaged(stage, &refusal.to_string()))?;
            }
            return Ok(());
        }
        let senders = store
            .read("senders", move |tx| Box::pin(async move { Ok::<_, Error>(tx.senders(id, number).await?) }))
            .await?;
        if senders.iter().all(|device| replica.taken.contains_key(&(*device, number))) {
            return Ok(());
        }
        let messages = store
            .read("messages", move |tx| Box::pin(async move { Ok::<_, Error>(tx.messages(id, number).await?) }))
            .await?;
        let new: Vec<&MessageRow> =
            messages.iter().filter(|row| !replica.taken.contains_key(&(row.device, number))).collect();
        let refused = new.iter().try_for_each(|row| replica.receive(row));
        match refused {
            Ok(()) => Ok(()),
            // Two processes have taken keys of which only one may be in: everybody leaves out the same one.
            Err(_) if stage == SessionStage::Keys => {
                *replica = self.begin();
                for row in &messages {
                    if let Err(refusal) = replica.receive(row) {
                        tracing::warn!(session = %id, device = %row.device, %refusal, "left out of the roster");
                        replica.taken.insert((row.device, number), Digest::of(&row.payload));
                    }
                }
                Ok(())
            }
            Err(refusal) => {
                *replica = Replica::default();
                Err(self.damaged(stage, &refusal.to_string()))
            }
        }
    }

    fn close_open_stage(&self, replica: &mut Replica) -> Result<Result<u32, Failure>, Error> {
        let Some(protocol) = &mut replica.protocol else {
            return Err(Error::Bug(format!("session {} has no state", self.id)));
        };
        let outcome = match protocol.close(1) {
            Ok(Closed::Roster { n, .. }) => Ok(n),
            Ok(Closed::Sharers(set) | Closed::Survivors(set) | Closed::Signers(set)) => Ok(set.len()),
            Ok(Closed::Released(_)) => return Err(Error::Bug("stage 4 closed out of turn".into())),
            Err(refusal) => Err(failure(&refusal)),
        };
        if let Stage::Shares(shares) = protocol.stage() {
            let places = self.members.iter().filter_map(|(device, key)| Some((*device, shares.index_of(key)?)));
            replica.index = places.collect();
        }
        replica.closed.push(outcome.clone());
        Ok(outcome)
    }

    fn damaged(&self, stage: SessionStage, problem: &str) -> Error {
        Error::Bug(format!("session {} does not replay in stage {}: {problem}", self.id, stage.name()))
    }
}

impl Replica {
    /// The protocol's state.
    pub(crate) fn protocol(&self) -> Option<&Session> {
        self.protocol.as_ref()
    }

    /// The protocol's state, to take a message that was kept.
    pub(crate) fn protocol_mut(&mut self) -> Option<&mut Session> {
        self.protocol.as_mut()
    }

    /// The device's place in the roster.
    pub(crate) fn index(&self, device: DeviceId) -> Option<u32> {
        self.index.get(&device).copied()
    }

    /// Notes what a device sent.
    pub(crate) fn note(&mut self, device: DeviceId, stage: u8, digest: Digest) {
        self.taken.insert((device, stage), digest);
    }

    fn stage_number(&self) -> Option<u8> {
        self.protocol.as_ref().and_then(Session::stage_number)
    }

    fn receive(&mut self, row: &MessageRow) -> Result<(), Refusal> {
        let index = self.index.get(&row.device).copied();
        if let Some(protocol) = &mut self.protocol {
            protocol.receive(row.stage, index, &row.payload)?;
            self.taken.insert((row.device, row.stage), Digest::of(&row.payload));
        }
        Ok(())
    }

    /// Whether the open stage counts on this device: it belongs to the stage's set.
    pub(crate) fn expects(&self, device: DeviceId) -> bool {
        let (Some(protocol), index) = (&self.protocol, self.index(device)) else { return false };
        match protocol.stage() {
            Stage::Keys(_) => true,
            Stage::Shares(_) => index.is_some(),
            Stage::MaskedInput(inputs) => index.is_some_and(|index| inputs.expected(index)),
            Stage::Agreement(agreement) => index.is_some_and(|index| agreement.expected(index)),
            Stage::Unmask(unmask) => index.is_some_and(|index| unmask.expected(index)),
            _ => false,
        }
    }

    /// Whether the masks could be removed with what was sent in stage 4.
    pub(crate) fn ready(&self) -> bool {
        matches!(self.protocol.as_ref().map(Session::stage), Some(Stage::Unmask(unmask)) if unmask.ready())
    }
}

/// Why a session ends, in the round's words.
pub(crate) fn failure(refusal: &Refusal) -> Failure {
    Failure::new(refusal.code(), refusal.to_string())
}
