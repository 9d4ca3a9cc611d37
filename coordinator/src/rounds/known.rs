//! Which rounds and tasks this process knows, and how that is brought up to date with the rows. Other processes change
//! rows too, and nothing here is needed for a step to be right.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use scale_proto::ids::{RoundId, SessionId, TaskId};
use scale_secagg::config::RoundConfig;

use super::active::{ActiveRound, Fixed, Member, View};
use super::session::SecureSession;
use super::tasks::TaskCache;
use super::time::Times;
use crate::context::{Context, guard};
use crate::error::Error;
use crate::round::{Event, Round};
use crate::rows::{ParticipantRow, RoundRow};

/// Rounds that are over and still in memory, for devices that ask late; what is not is read again.
const ENDED: usize = 32;

/// The rounds that this process knows.
pub(crate) struct Rounds {
    pub(crate) context: Arc<Context>,
    pub(crate) tasks: TaskCache,
    pub(crate) times: Arc<Times>,
    active: Mutex<HashMap<RoundId, Arc<ActiveRound>>>,
    of_session: Mutex<HashMap<SessionId, RoundId>>,
}

impl Rounds {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let times = Arc::new(Times::new(context.settings.replicas));
        Self { context, tasks: TaskCache::default(), times, active: Mutex::default(), of_session: Mutex::default() }
    }

    /// Every round in memory.
    pub(crate) fn known(&self) -> Vec<Arc<ActiveRound>> {
        guard(&self.active).values().cloned().collect()
    }

    /// The round of a task that is not over, as far as this process knows.
    pub(crate) fn open_of(&self, task: &TaskId) -> Option<Arc<ActiveRound>> {
        let open = |active: &&Arc<ActiveRound>| active.task == *task && !active.view().round.phase.is_over();
        guard(&self.active).values().find(open).cloned()
    }

    /// A round, from memory or its rows; `None`: there is none.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Bug`] for damaged rows.
    pub(crate) async fn get(&self, id: RoundId) -> Result<Option<Arc<ActiveRound>>, Error> {
        let known = guard(&self.active).get(&id).cloned();
        if known.is_some() { Ok(known) } else { self.read(id).await }
    }

    /// The round that a session belongs to; `None`: there is no such session.
    ///
    /// # Errors
    /// As [`Rounds::get`].
    pub(crate) async fn of_session(&self, session: SessionId) -> Result<Option<Arc<ActiveRound>>, Error> {
        let known = guard(&self.of_session).get(&session).copied();
        if let Some(round) = known {
            return self.get(round).await;
        }
        let store = &self.context.store;
        let row = store.read("session", move |tx| Box::pin(async move { Ok::<_, Error>(tx.session(session).await?) }));
        match row.await? {
            Some(row) => self.get(row.round).await,
            None => Ok(None),
        }
    }

    /// Reads a round's row and takes it if it is newer.
    ///
    /// # Errors
    /// As [`Rounds::get`].
    pub(crate) async fn read(&self, id: RoundId) -> Result<Option<Arc<ActiveRound>>, Error> {
        let store = &self.context.store;
        let row = store.read("round", move |tx| Box::pin(async move { Ok::<_, Error>(tx.round(id).await?) })).await?;
        row.map(|row| View::of(row).map(|view| self.accept(view))).transpose()
    }

    /// Takes a copy of a row.
    pub(super) fn accept(&self, view: View) -> Arc<ActiveRound> {
        let mut active = guard(&self.active);
        let id = view.row.id;
        let mut of_session = guard(&self.of_session);
        of_session.extend(view.round.sessions.iter().map(|session| (session.id, id)));
        let Some(known) = active.get(&id).cloned() else {
            let round = Arc::new(ActiveRound::new(view));
            active.insert(id, Arc::clone(&round));
            return round;
        };
        drop((active, of_session));
        known.accept(view);
        known
    }

    /// Brings rounds and tasks up to date: other processes open, move and end them.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        let store = &self.context.store;
        let (tasks, open) = store
            .read("refresh", |tx| {
                Box::pin(async move { Ok::<_, Error>((tx.tasks().await?, tx.open_revisions().await?)) })
            })
            .await?;
        tasks.into_iter().for_each(|task| self.tasks.put(task));
        let known: HashMap<RoundId, u64> = self
            .known()
            .iter()
            .map(|active| active.view())
            .filter(|view| !view.round.phase.is_over())
            .map(|view| (view.row.id, view.row.revision))
            .collect();
        let moved =
            open.iter().filter(|(id, revision)| known.get(id).is_none_or(|known| known < revision)).map(|(id, _)| *id);
        let ended = known.keys().filter(|id| !open.iter().any(|(open, _)| open == *id)).copied();
        for id in moved.chain(ended).collect::<Vec<_>>() {
            // A round whose state does not decode is the look's to end.
            match self.read(id).await {
                Ok(_) => {}
                // It must not keep the others from going on.
                Err(error @ Error::Bug(_)) => {
                    tracing::error!(round = %id, %error, "the round cannot be read and is abandoned");
                    self.quarantine(id).await?;
                }
                Err(error) => return Err(error),
            }
        }
        self.forget_ended();
        Ok(())
    }

    /// Ends a round whose rows contradict each other.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn quarantine(&self, id: RoundId) -> Result<(), Error> {
        let now = self.context.now();
        let row = self
            .context
            .store
            .run_tx("quarantine_round", move |tx| {
                Box::pin(async move {
                    let Some(mut row) = tx.lock_round(id).await?.filter(|row| row.closed_at.is_none()) else {
                        return Ok::<_, Error>(None);
                    };
                    if let Ok(view) = View::of(row.clone()) {
                        let reason = "its stored state is damaged".to_owned();
                        row.state = state_text(&view.round.handle(Event::AbandonRequested { reason }, now).round)?;
                    }
                    row.phase = "abandoned".into();
                    row.closed_at = Some(now);
                    row.revision += 1;
                    tx.update_round(&row).await?;
                    Ok(Some(row))
                })
            })
            .await?;
        if let Some(Ok(view)) = row.map(View::of) {
            self.accept(view);
        }
        Ok(())
    }

    /// Keeps the newest of the rounds that are over.
    fn forget_ended(&self) {
        let mut active = guard(&self.active);
        let mut ended: Vec<_> = active
            .values()
            .map(|round| (round.view().row.closed_at, round.id))
            .filter_map(|(closed_at, id)| Some((closed_at?, id)))
            .collect();
        ended.sort_unstable();
        let many = ended.len().saturating_sub(ENDED);
        for (_, id) in &ended[..many] {
            active.remove(id);
            self.times.forget(*id);
        }
        guard(&self.of_session).retain(|_, round| active.contains_key(round));
    }

    /// What the start of training fixed in a round.
    ///
    /// # Errors
    /// [`Error::NotTraining`] before that; [`Error::Store`]; [`Error::Bug`] for damaged rows.
    pub(crate) async fn fixed(&self, active: &ActiveRound) -> Result<Arc<Fixed>, Error> {
        let view = active.view();
        if view.row.config.is_empty() {
            return Err(Error::NotTraining);
        }
        active.fixed.get_or_try_init(|| self.load_fixed(&view)).await.cloned()
    }

    async fn load_fixed(&self, view: &View) -> Result<Arc<Fixed>, Error> {
        let (id, task, version, number) = (view.row.id, view.row.task.clone(), view.row.base_version, view.row.number);
        let (task, base, participants, advertised) = self
            .context
            .store
            .read("training", move |tx| {
                Box::pin(async move {
                    let unknown = || Error::UnknownTask(task.to_string());
                    let row = tx.task(&task).await?.ok_or_else(unknown)?;
                    let missing = || Error::UnknownModel { task: task.to_string(), version: version.0 };
                    let base = tx.model(&task, version).await?.ok_or_else(missing)?;
                    let advertised = tx.advertised(&task, number).await?;
                    Ok::<_, Error>((row, base, tx.participants(id).await?, advertised))
                })
            })
            .await?;
        let RoundRow { config, .. } = &view.row;
        let config = RoundConfig::decode(config)
            .map_err(|refusal| Error::Bug(format!("configuration of round {id} does not decode: {refusal}")))?;
        let config = Arc::new(config);
        let mut used: HashMap<_, Vec<[u8; 32]>> = HashMap::new();
        for (device, payload) in &advertised {
            // Behind the identity: the channel and the mask key.
            used.entry(*device).or_default().extend(payload.as_chunks::<32>().0.iter().skip(1).take(2));
        }
        let sessions = view.round.sessions.iter().map(|progress| {
            let of_it = participants.iter().filter(|row| row.session == Some(progress.id));
            let used = of_it.clone().filter_map(|row| used.get(&row.device)).flatten().copied().collect();
            let members = of_it.map(|row| (row.device, row.identity_key)).collect();
            (progress.id, Arc::new(SecureSession::new(progress.id, Arc::clone(&config), members, used)))
        });
        let member = |row: &ParticipantRow| Member { identity_key: row.identity_key, session: row.session };
        Ok(Arc::new(Fixed {
            sessions: sessions.collect(),
            members: participants.iter().map(|row| (row.device, member(row))).collect(),
            task: task.config,
            base,
            config,
        }))
    }
}

impl std::fmt::Debug for Rounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rounds").field("known", &guard(&self.active).len()).finish_non_exhaustive()
    }
}

/// The state of a round as its row keeps it.
///
/// # Errors
/// [`Error::Bug`].
pub(super) fn state_text(round: &Round) -> Result<String, Error> {
    serde_json::to_string(round).map_err(|error| Error::Bug(error.to_string()))
}
