//! What the coordinator holds in memory: a cache of the rows, the cryptographic sessions, and who waits.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use scale_proto::ids::{DeviceId, Digest, ModelVersion, RoundId, SessionId, TaskId};
use scale_proto::task::TaskConfig;
use scale_proto::time::Timestamp;
use scale_secagg::config::RoundConfig;
use scale_secagg::keys::IdentityKey;
use scale_secagg::server::{Session, Stage};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::check_in::Crowd;
use super::time::{Pulse, RoundTime};
use super::{Error, ModelUrl, Settings};
use crate::accumulate::{Adder, Staging, Upload};
use crate::blobs::Blobs;
use crate::clock::SharedClock;
use crate::round::{Phase, Round, SessionStage};
use crate::rows::{MessageRow, ModelRow, ParticipantRow, ParticipantStatus, RoundRow, TaskRow, UploadRow, UploadState};
use crate::store::{Store, Tx};

/// Everything behind a [`super::Coordinator`].
pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) blobs: Blobs,
    pub(super) clock: SharedClock,
    pub(super) pulse: Pulse,
    pub(super) task_key: Arc<IdentityKey>,
    pub(super) model_url: ModelUrl,
    pub(super) watch: Arc<dyn super::Watch>,
    pub(super) settings: Settings,
    pub(super) staging: Staging,
    rounds: Mutex<HashMap<RoundId, Arc<Live>>>,
    tasks: Mutex<BTreeMap<TaskId, TaskRow>>,
    /// By task; `None`: there was no task for the device.
    pub(super) crowds: Mutex<HashMap<Option<TaskId>, Crowd>>,
    news: Mutex<HashMap<TaskId, watch::Sender<ModelVersion>>>,
    /// Held while a task's row is read, decided on and written.
    pub(super) tasks_lock: tokio::sync::Mutex<()>,
    /// Rung when a deadline or an opening may have come nearer.
    pub(super) alarm: Notify,
    pub(super) stop: CancellationToken,
    pub(super) work: TaskTracker,
}

/// One round in memory.
pub(super) struct Live {
    pub(super) id: RoundId,
    pub(super) task: TaskId,
    state: tokio::sync::Mutex<State>,
    /// Rises with every step: waiting calls look again.
    pub(super) changed: watch::Sender<u64>,
}

/// What a round's lock guards.
pub(super) struct State {
    pub(super) row: RoundRow,
    pub(super) round: Round,
    pub(super) task: TaskConfig,
    pub(super) base: ModelRow,
    pub(super) members: HashMap<DeviceId, Member>,
    pub(super) sessions: HashMap<SessionId, LiveSession>,
    /// Channel and mask keys of the task's last rounds, by device. No round of the task ran beside this one, so they
    /// are complete from its opening on.
    known: HashMap<DeviceId, Vec<[u8; 32]>>,
    pub(super) time: RoundTime,
    /// Memory ran ahead of a transaction that failed: everything is read again before it is used.
    pub(super) stale: bool,
}

impl State {
    /// Keys that the members of a session have used before.
    pub(super) fn known_keys(&self, session: SessionId) -> Vec<[u8; 32]> {
        known_keys(&self.known, &self.members, session)
    }
}

fn known_keys(
    known: &HashMap<DeviceId, Vec<[u8; 32]>>,
    members: &HashMap<DeviceId, Member>,
    session: SessionId,
) -> Vec<[u8; 32]> {
    let devices = members.iter().filter(|(_, member)| member.session == Some(session)).map(|(device, _)| device);
    devices.filter_map(|device| known.get(device)).flatten().copied().collect()
}

/// The channel and the mask key of an AdvertiseKeys, by their place in it.
fn advertised_keys(payload: &[u8]) -> impl Iterator<Item = [u8; 32]> {
    payload.as_chunks::<32>().0.iter().skip(1).take(2).copied()
}

/// A participant.
pub(super) struct Member {
    pub(super) identity_key: [u8; 32],
    pub(super) session: Option<SessionId>,
    pub(super) left: bool,
    pub(super) seen_at: Timestamp,
    /// Check-ins of this device that wait at this moment.
    pub(super) polls: Arc<AtomicU32>,
}

impl Member {
    pub(super) fn new(identity_key: [u8; 32], now: Timestamp) -> Self {
        Self { identity_key, session: None, left: false, seen_at: now, polls: Arc::default() }
    }

    /// Whether it was heard of since then, or is on the line.
    pub(super) fn present(&self, since: Timestamp) -> bool {
        self.seen_at >= since || self.polls.load(Ordering::Relaxed) > 0
    }
}

/// A session with its cryptography.
pub(super) struct LiveSession {
    /// `None` while the masks are being removed.
    pub(super) protocol: Option<Session>,
    pub(super) config: Arc<RoundConfig>,
    /// Places in the roster, once there is one.
    pub(super) index: HashMap<DeviceId, u32>,
    /// Digest of each message that was taken, by sender and stage: tells a retry from a second message once the stage
    /// has closed.
    pub(super) taken: HashMap<(DeviceId, u8), Digest>,
    pub(super) uploads: HashMap<DeviceId, Tracked>,
    pub(super) adder: Arc<Adder>,
}

/// An upload that was announced.
#[derive(Clone)]
pub(super) struct Tracked {
    pub(super) upload: Upload,
    pub(super) state: UploadState,
    /// Pieces of one upload are written one after the other.
    pub(super) writing: Arc<tokio::sync::Mutex<()>>,
    /// When a piece came last, as the round counts; nothing before a restart counts.
    pub(super) piece_at: Timestamp,
}

impl Tracked {
    pub(super) fn new(upload: Upload, state: UploadState) -> Self {
        Self { upload, state, writing: Arc::default(), piece_at: Timestamp::default() }
    }
}

impl LiveSession {
    /// `known`: keys that may not come again.
    pub(super) fn new(inner: &Inner, id: SessionId, config: Arc<RoundConfig>, known: Vec<[u8; 32]>) -> Self {
        let protocol = Session::certified((*config).clone(), known);
        let adder = Adder::new(id, Arc::clone(&config), inner.staging.clone(), inner.blobs.clone());
        Self {
            protocol: Some(protocol),
            config,
            index: HashMap::new(),
            taken: HashMap::new(),
            uploads: HashMap::new(),
            adder: Arc::new(adder),
        }
    }

    /// Notes who stands where, once the roster is fixed.
    pub(super) fn number(&mut self, id: SessionId, members: &HashMap<DeviceId, Member>) {
        let Some(Stage::Shares(shares)) = self.protocol.as_ref().map(Session::stage) else { return };
        let places = members.iter().filter(|(_, member)| member.session == Some(id));
        self.index =
            places.filter_map(|(&device, member)| Some((device, shares.index_of(&member.identity_key)?))).collect();
    }

    /// Whether the open stage waits for this device: it belongs to the stage's set and has not answered.
    pub(super) fn awaits(&self, device: DeviceId, member: &Member) -> bool {
        let Some(protocol) = &self.protocol else { return false };
        let index = self.index.get(&device).copied();
        match protocol.stage() {
            Stage::Keys(keys) => !keys.contains(&member.identity_key),
            Stage::Shares(shares) => index.is_some_and(|i| !shares.has_answered(i)),
            Stage::MaskedInput(inputs) => index.is_some_and(|i| inputs.expected(i) && !inputs.has_answered(i)),
            Stage::Agreement(agreement) => index.is_some_and(|i| agreement.expected(i) && !agreement.has_answered(i)),
            Stage::Unmask(unmask) => index.is_some_and(|i| unmask.expected(i) && !unmask.has_answered(i)),
            _ => false,
        }
    }
}

/// Devices that have answered the open stage, and whether the masks could be removed with what they sent.
pub(super) fn answered(protocol: &Session) -> (u32, bool) {
    let (answered, ready) = match protocol.stage() {
        Stage::Keys(keys) => (keys.len(), false),
        Stage::Shares(shares) => (shares.answered(), false),
        Stage::MaskedInput(inputs) => (inputs.answered(), false),
        Stage::Agreement(agreement) => (agreement.answered(), false),
        Stage::Unmask(unmask) => (unmask.answered(), unmask.ready()),
        _ => (0, false),
    };
    (u32::try_from(answered).unwrap_or(u32::MAX), ready)
}

impl Inner {
    pub(super) fn new(parts: super::Parts, staging: Staging, tasks: Vec<TaskRow>) -> Self {
        let super::Parts { store, blobs, clock, task_key, model_url, watch, settings } = parts;
        Self {
            store,
            blobs,
            pulse: Pulse::new(settings.standstill, clock.steady()),
            clock,
            task_key,
            model_url,
            watch,
            settings,
            staging,
            rounds: Mutex::default(),
            tasks: Mutex::new(tasks.into_iter().map(|task| (task.id.clone(), task)).collect()),
            crowds: Mutex::default(),
            news: Mutex::default(),
            tasks_lock: tokio::sync::Mutex::default(),
            alarm: Notify::new(),
            stop: CancellationToken::new(),
            work: TaskTracker::new(),
        }
    }

    /// The present moment by the wall clock; what is counted within a round goes by [`State::now`].
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn task(&self, id: &TaskId) -> Result<TaskRow, Error> {
        guard(&self.tasks).get(id).cloned().ok_or_else(|| Error::UnknownTask(id.to_string()))
    }

    pub(super) fn tasks(&self) -> Vec<TaskRow> {
        guard(&self.tasks).values().cloned().collect()
    }

    /// After a commit: the cache follows the row, and whoever watches for models hears of a new one.
    pub(super) fn task_changed(&self, row: TaskRow) {
        if let Some(news) = guard(&self.news).get(&row.id) {
            news.send_if_modified(|version| std::mem::replace(version, row.current_version) != row.current_version);
        }
        guard(&self.tasks).insert(row.id.clone(), row);
        self.alarm.notify_one();
    }

    pub(super) fn news(&self, task: &TaskRow) -> watch::Receiver<ModelVersion> {
        let mut news = guard(&self.news);
        news.entry(task.id.clone()).or_insert_with(|| watch::Sender::new(task.current_version)).subscribe()
    }

    pub(super) fn lives(&self) -> Vec<Arc<Live>> {
        guard(&self.rounds).values().cloned().collect()
    }

    pub(super) fn live(&self, id: RoundId) -> Option<Arc<Live>> {
        guard(&self.rounds).get(&id).cloned()
    }

    /// The round of a task that is not over; there is at most one.
    pub(super) async fn open_round_of(self: &Arc<Self>, task: &TaskId) -> Result<Option<Arc<Live>>, Error> {
        for live in self.lives().into_iter().filter(|live| live.task == *task) {
            if !self.lock(&live).await?.round.phase.is_over() {
                return Ok(Some(live));
            }
        }
        Ok(None)
    }

    /// Ended rounds stay for devices that ask late, until the task's next round ends.
    pub(super) fn add_live(&self, state: State) -> Arc<Live> {
        let live = Arc::new(Live {
            id: state.round.id,
            task: state.round.task.clone(),
            state: tokio::sync::Mutex::new(state),
            changed: watch::Sender::new(0),
        });
        guard(&self.rounds).insert(live.id, Arc::clone(&live));
        live
    }

    pub(super) fn forget_before(&self, ended: &Live) {
        // A locked one is in use: it goes with the next.
        let over = |live: &Live| live.state.try_lock().is_ok_and(|state| state.round.phase.is_over());
        guard(&self.rounds).retain(|_, live| live.id == ended.id || live.task != ended.task || !over(live));
    }

    /// The round's state, as fresh as its rows.
    pub(super) async fn lock<'l>(&self, live: &'l Live) -> Result<tokio::sync::MutexGuard<'l, State>, Error> {
        let mut state = live.state.lock().await;
        if state.stale {
            let mut fresh = self.load(live.id).await?;
            // Queues, file locks and presence are not in the rows.
            for (id, session) in &mut fresh.sessions {
                if let Some(old) = state.sessions.remove(id) {
                    session.adder = old.adder;
                    for (device, tracked) in &mut session.uploads {
                        if let Some(old) = old.uploads.get(device) {
                            (tracked.writing, tracked.piece_at) = (Arc::clone(&old.writing), old.piece_at);
                        }
                    }
                }
            }
            for (device, member) in &mut fresh.members {
                if let Some(old) = state.members.get(device) {
                    (member.seen_at, member.polls) = (old.seen_at, Arc::clone(&old.polls));
                }
            }
            fresh.time = state.time;
            *state = fresh;
        }
        Ok(state)
    }

    /// Reads a round's rows and replays its sessions.
    pub(super) async fn load(&self, id: RoundId) -> Result<State, Error> {
        let rows: Rows = self.store.run_tx("load_round", move |tx| Box::pin(Rows::read(tx, id))).await?;
        let round: Round = serde_json::from_str(&rows.round.state)
            .map_err(|error| Error::Bug(format!("state of round {id} does not decode: {error}")))?;
        let time = RoundTime::begin(self);
        let now = time.now(self);
        let members: HashMap<DeviceId, Member> = rows.participants.iter().map(|row| member(row, now)).collect();
        let mut known: HashMap<DeviceId, Vec<[u8; 32]>> = HashMap::new();
        for (device, payload) in &rows.advertised {
            known.entry(*device).or_default().extend(advertised_keys(payload));
        }
        let mut sessions = HashMap::new();
        if !rows.round.config.is_empty() {
            let config = RoundConfig::decode(&rows.round.config)
                .map_err(|refusal| Error::Bug(format!("configuration of round {id} does not decode: {refusal}")))?;
            let config = Arc::new(config);
            for (progress, (messages, uploads)) in round.sessions.iter().zip(&rows.sessions) {
                let seen = known_keys(&known, &members, progress.id);
                let mut session = LiveSession::new(self, progress.id, Arc::clone(&config), seen);
                replay(&mut session, progress.id, progress.stage, &members, messages, uploads)?;
                sessions.insert(progress.id, session);
            }
        }
        let Rows { round: row, task, base, .. } = rows;
        Ok(State { row, round, task: task.config, base, members, sessions, known, time, stale: false })
    }

    /// Runs work that a call began to its end even when the caller hangs up: memory and rows change together or not at
    /// all.
    pub(super) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        if self.stop.is_cancelled() {
            return Err(Error::Stopping);
        }
        match self.work.spawn(work).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Error::Stopping),
        }
    }
}

/// A round's rows.
struct Rows {
    round: RoundRow,
    task: TaskRow,
    base: ModelRow,
    participants: Vec<ParticipantRow>,
    sessions: Vec<(Vec<MessageRow>, Vec<UploadRow>)>,
    /// Stage 0 of the task's last rounds.
    advertised: Vec<(DeviceId, Bytes)>,
}

impl Rows {
    async fn read(tx: &mut Tx, id: RoundId) -> Result<Self, Error> {
        let round = tx.round(id).await?.ok_or(Error::UnknownRound)?;
        let task = tx.task(&round.task).await?.ok_or_else(|| Error::UnknownTask(round.task.to_string()))?;
        let base = tx.model(&round.task, round.base_version).await?;
        let unknown = || Error::UnknownModel { task: round.task.to_string(), version: round.base_version.0 };
        let base = base.ok_or_else(unknown)?;
        let participants = tx.participants(id).await?;
        let mut sessions = Vec::new();
        for session in tx.sessions_of(id).await? {
            sessions.push((tx.messages(session.id).await?, tx.uploads(session.id).await?));
        }
        let advertised = tx.advertised(&round.task, round.number).await?;
        Ok(Self { round, task, base, participants, sessions, advertised })
    }
}

fn member(row: &ParticipantRow, now: Timestamp) -> (DeviceId, Member) {
    let mut member = Member::new(row.identity_key, now);
    member.session = row.session;
    member.left = row.status == ParticipantStatus::Left;
    (row.device, member)
}

/// Feeds a session's messages in again, up to the stage that the round says is open.
fn replay(
    session: &mut LiveSession,
    id: SessionId,
    until: SessionStage,
    members: &HashMap<DeviceId, Member>,
    messages: &[MessageRow],
    uploads: &[UploadRow],
) -> Result<(), Error> {
    for row in uploads {
        let upload = Upload { session: id, device: row.device, digest: row.digest, total: row.total };
        session.uploads.insert(row.device, Tracked::new(upload, row.state));
    }
    let Some(until) = until.number() else {
        session.protocol = None;
        return Ok(());
    };
    let damaged = |refusal| Error::Bug(format!("session {id} does not replay: {refusal}"));
    let Some(protocol) = &mut session.protocol else { return Ok(()) };
    for stage in 0..=until {
        for message in messages.iter().filter(|message| message.stage == stage) {
            let index = session.index.get(&message.device).copied();
            protocol.receive(stage, index, &message.payload).map_err(damaged)?;
            session.taken.insert((message.device, stage), Digest::of(&message.payload));
        }
        if stage == 2 {
            for row in uploads.iter().filter(|row| row.state == UploadState::Committed) {
                protocol.commit(row.participant_index, row.digest.0).map_err(damaged)?;
            }
        }
        if stage < until {
            protocol.close(1).map_err(damaged)?;
        }
        if let Stage::Shares(shares) = protocol.stage()
            && stage == 0
        {
            let places = members.iter().filter(|(_, member)| member.session == Some(id));
            session.index =
                places.filter_map(|(&device, member)| Some((device, shares.index_of(&member.identity_key)?))).collect();
        }
    }
    Ok(())
}

/// Whether devices may still be admitted.
pub(super) fn is_selecting(round: &Round) -> bool {
    matches!(round.phase, Phase::Selecting { .. })
}

/// A lock under which nothing panics: what it guards is whole even if a thread died.
pub(super) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
