//! Start and end of a coordinator, and what happens by itself: openings and deadlines.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use scale_proto::ids::{RoundId, SessionId, TaskId};
use scale_proto::time::Timestamp;

use super::live::{Inner, Live};
use super::upload::blocking;
use super::{Coordinator, Error, Parts};
use crate::accumulate::{self, Queued, Staging};
use crate::noise;
use crate::round::{Event, Round, Rules, SessionStage};
use crate::rows::{RoundRow, TaskRow, TaskState, UploadState};
use crate::schedule::{Opening, next_opening};

/// The alarm is set no further ahead; schedules go by the wall clock, which may be set while it sleeps.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// Rounds of a task, before the open one, whose advertised keys are kept, so that a device that repeats one is refused.
const KEY_ROUNDS: u32 = 8;

/// Number of a round that opens at `now`: the present second, or `next` where that is higher.
///
/// Devices refuse every number that is not higher than the last one they joined, for good. So numbers have to go on where
/// they were even when the coordinator has forgotten where that was: after an older backup was put back, or when a task is
/// made again under its name (ADR 12).
fn round_number(next: u64, now: Timestamp) -> u64 {
    next.max(now.as_millis() / 1000)
}

impl Coordinator {
    /// Loads what was under way, goes on with it, and starts to keep time. The database must be held by this process
    /// alone.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Blob`], [`Error::Folder`].
    pub async fn start(parts: Parts) -> Result<Self, Error> {
        let folder = |source| Error::Folder { what: "create the staging folder", source };
        let staging = Staging::new(&parts.settings.staging).map_err(folder)?;
        let (tasks, rounds) = parts
            .store
            .run_tx("start", |tx| Box::pin(async move { Ok::<_, Error>((tx.tasks().await?, tx.open_rounds().await?)) }))
            .await?;
        let inner = Arc::new(Inner::new(parts, staging, tasks));
        let mut resumed = Vec::new();
        for row in rounds {
            match inner.load(row.id).await {
                Ok(state) => resumed.push(inner.add_live(state)),
                Err(error @ Error::Bug(_)) => inner.bury(row, &error).await?,
                Err(error) => return Err(error),
            }
        }
        inner.sweep(&resumed).await?;
        for live in &resumed {
            inner.resume(live).await?;
        }
        let coordinator = Self(inner);
        coordinator.tick().await?;
        let clockwork = Arc::clone(&coordinator.0);
        coordinator.0.work.spawn(async move { tokio::join!(clockwork.keep_time(), clockwork.watch_clocks()).0 });
        Ok(coordinator)
    }

    /// Ends every wait with [`Error::Stopping`] and returns when nothing runs any more. What was under way goes on at the
    /// next start.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.alarm.notify_one();
        self.0.work.close();
        self.0.work.wait().await;
        // Queues work on their own; what waits in them is found again in its files.
        for live in self.0.lives() {
            let Ok(state) = self.0.lock(&live).await else { continue };
            let adders: Vec<_> = state.sessions.values().map(|secure| Arc::clone(&secure.adder)).collect();
            drop(state);
            for adder in adders {
                adder.stop();
                adder.drained().await;
            }
        }
    }

    /// Does what is due now. Runs by itself; tests with a clock of their own call it after moving the clock.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn tick(&self) -> Result<(), Error> {
        self.0.tick().await.map(drop)
    }
}

impl Inner {
    async fn keep_time(self: &Arc<Self>) {
        while !self.stop.is_cancelled() {
            let sleep = match self.tick().await {
                Ok(Some(next)) => next.min(LONGEST_SLEEP),
                Ok(None) => LONGEST_SLEEP,
                Err(error) => {
                    tracing::warn!(%error, "deadlines could not be kept; trying again");
                    PAUSE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                () = self.alarm.notified() => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Feeds ticks to rounds whose deadline has passed and opens rounds that are due. Returns how long nothing is due.
    async fn tick(self: &Arc<Self>) -> Result<Option<Duration>, Error> {
        let mut next: Option<Duration> = None;
        let mut wait = |time: Duration| next = Some(next.map_or(time, |next| next.min(time)));
        for live in self.lives() {
            let mut state = self.lock(&live).await?;
            for session in state.still_sending(state.now(self)) {
                self.step(&live, &mut state, Event::StillSending { session }, vec![]).await?;
            }
            let passed = state.round.next_deadline().is_some_and(|deadline| deadline <= state.now(self));
            if passed || (!state.round.phase.is_over() && state.resumed(self).is_some()) {
                self.step(&live, &mut state, Event::Tick, vec![]).await?;
            }
            let now = state.now(self);
            state.round.next_deadline().into_iter().map(|deadline| now.until(deadline)).for_each(&mut wait);
        }
        for task in self.tasks().into_iter().filter(|task| task.state == TaskState::Active) {
            if self.open_round_of(&task.id).await?.is_some() {
                continue;
            }
            match next_opening(&task.config.schedule, task.created_at, task.last_opened_at, self.now()) {
                Opening::Now => match self.open_round(&task.id).await {
                    // Somebody else was faster, or paused it.
                    Ok(_) | Err(Error::RoundOpen(_) | Error::TaskNotActive { .. }) => {}
                    Err(error) => return Err(error),
                },
                Opening::At(moment) => wait(self.now().until(moment)),
                Opening::Never => {}
            }
        }
        Ok(next)
    }

    /// Opens a task's next round.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::TaskNotActive`], [`Error::RoundOpen`], [`Error::Store`].
    pub(super) async fn open_round(self: &Arc<Self>, id: &TaskId) -> Result<Arc<Live>, Error> {
        let _writing = self.tasks_lock.lock().await;
        let mut task = self.task(id)?;
        if task.state != TaskState::Active {
            return Err(Error::TaskNotActive { task: id.to_string(), state: task.state.as_str() });
        }
        if self.open_round_of(id).await?.is_some() {
            return Err(Error::RoundOpen(id.to_string()));
        }
        let now = self.now();
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| Error::Bug(format!("no randomness: {error}")))?;
        let noise = noise::of(&task.config)?;
        let rules = Rules::of(&task.config, &noise.mechanism, self.settings.clock_slack);
        let round_id = RoundId::from_random(random);
        let number = round_number(task.next_round, now);
        let round = Round::open(round_id, id.clone(), number, task.current_version, rules, now);
        let row = RoundRow {
            id: round_id,
            task: id.clone(),
            number: round.number,
            phase: round.phase.name().into(),
            base_version: round.base_version,
            opened_at: now,
            closed_at: None,
            revision: 0,
            state: serde_json::to_string(&round).map_err(|error| Error::Bug(error.to_string()))?,
            plan: Default::default(),
            config: Default::default(),
            signature: Default::default(),
        };
        task.next_round = number.saturating_add(1);
        task.last_opened_at = Some(now);
        let rows = Arc::new((row, task));
        let write: Arc<(RoundRow, TaskRow)> = Arc::clone(&rows);
        self.store
            .run_tx("open_round", move |tx| {
                let write = Arc::clone(&write);
                Box::pin(async move {
                    tx.insert_round(&write.0).await?;
                    tx.forget_advertised(&write.0.task, KEY_ROUNDS).await?;
                    Ok::<_, Error>(tx.update_task(&write.1).await?)
                })
            })
            .await?;
        let live = self.add_live(self.load(round_id).await?);
        tracing::info!(task = %id, round = %round_id, number = rows.0.number, "a round opens");
        self.task_changed(rows.1.clone());
        Ok(live)
    }

    /// Goes on with a round that was under way when the process ended.
    async fn resume(self: &Arc<Self>, live: &Arc<Live>) -> Result<(), Error> {
        let mut state = self.lock(live).await?;
        tracing::info!(round = %live.id, phase = state.round.phase.name(), "goes on after a restart");
        // First what was under way; the step starts only what is new.
        for effect in state.round.pending() {
            self.start_effect(live, effect);
        }
        self.step(live, &mut state, Event::Resumed, vec![]).await?;
        let waiting: Vec<(SessionId, Vec<Queued>)> = state
            .round
            .sessions
            .iter()
            .filter_map(|progress| {
                let open = progress.stage == SessionStage::MaskedInput;
                let secure = state.sessions.get(&progress.id).filter(|_| open)?;
                let whole = secure.uploads.iter().filter(|(_, tracked)| tracked.state == UploadState::Complete);
                let queued = whole.filter_map(|(&device, tracked)| {
                    Some(Queued { device, index: *secure.index.get(&device)?, digest: tracked.upload.digest })
                });
                Some((progress.id, queued.collect()))
            })
            .collect();
        drop(state);
        for (session, uploads) in waiting {
            for upload in uploads {
                self.requeue(live, session, upload).await?;
            }
        }
        Ok(())
    }

    /// Queues an upload that was whole before the restart, after looking at its file again: what was acknowledged by
    /// nobody may have been lost with the machine's power.
    async fn requeue(self: &Arc<Self>, live: &Arc<Live>, session: SessionId, queued: Queued) -> Result<(), Error> {
        let (upload, config) = {
            let state = self.lock(live).await?;
            let Some(secure) = state.sessions.get(&session) else { return Ok(()) };
            let Some(tracked) = secure.uploads.get(&queued.device) else { return Ok(()) };
            (tracked.upload, Arc::clone(&secure.config))
        };
        let staging = self.staging.clone();
        let verified = blocking(move || Ok::<_, Error>(staging.verify(&upload, &config))).await?;
        let mut state = self.lock(live).await?;
        let Some(secure) = state.sessions.get_mut(&session) else { return Ok(()) };
        if let Err(error) = verified {
            tracing::warn!(%session, device = %queued.device, %error, "a staged upload did not survive the restart");
            secure.uploads.remove(&queued.device);
            let device = queued.device;
            return self
                .store
                .run_tx("forget_upload", move |tx| {
                    Box::pin(async move { Ok::<_, Error>(tx.delete_upload(session, device).await?) })
                })
                .await;
        }
        secure.adder.enqueue(queued, &self.sink(live, session));
        Ok(())
    }

    /// A round whose rows contradict each other cannot go on; it must not keep the others from starting.
    async fn bury(&self, mut row: RoundRow, error: &Error) -> Result<(), Error> {
        tracing::error!(round = %row.id, %error, "the round cannot be loaded and is abandoned");
        let now = self.now();
        if let Ok(round) = serde_json::from_str::<Round>(&row.state) {
            let reason = "its stored state is damaged".to_owned();
            let round = round.handle(Event::AbandonRequested { reason }, now).round;
            row.state = serde_json::to_string(&round).map_err(|error| Error::Bug(error.to_string()))?;
        }
        row.phase = "abandoned".into();
        row.closed_at = Some(now);
        row.revision += 1;
        let row = Arc::new(row);
        self.store
            .run_tx("bury_round", move |tx| {
                let row = Arc::clone(&row);
                Box::pin(async move { Ok::<_, Error>(tx.update_round(&row).await?) })
            })
            .await
    }

    /// Deletes what no open round needs: staged files, segments that no row names, sums.
    async fn sweep(&self, open: &[Arc<Live>]) -> Result<(), Error> {
        let mut sessions = HashSet::new();
        for live in open {
            sessions.extend(self.lock(live).await?.round.sessions.iter().map(|session| session.id));
        }
        let mut keep = HashSet::new();
        for &session in &sessions {
            let rows = self
                .store
                .read("segments", move |tx| Box::pin(async move { Ok::<_, Error>(tx.segments(session).await?) }))
                .await?;
            keep.extend(rows.into_iter().map(|row| row.blob));
            keep.insert(super::perform::sum_path(session));
        }
        for folder in ["segments", "sums"] {
            for blob in self.blobs.list(folder).await? {
                if !keep.contains(&blob) {
                    self.blobs.delete(&blob).await?;
                }
            }
        }
        let staging = self.staging.clone();
        blocking(move || staging.retain(|session| sessions.contains(&session)).map_err(accumulate::Error::from)).await
    }

    /// Weights of a published version, for tests and tools inside this crate.
    #[cfg(test)]
    pub(super) async fn weights_of(&self, task: &TaskId) -> Result<Vec<f32>, Error> {
        let row = self.task(task)?;
        let (id, version) = (task.clone(), row.current_version);
        let model = self
            .store
            .run_tx("model", move |tx| {
                let id = id.clone();
                Box::pin(async move { Ok::<_, Error>(tx.model(&id, version).await?) })
            })
            .await?
            .ok_or(Error::UnknownRound)?;
        Ok(crate::registry::weights(&self.blobs, &row.config.model, &model).await?)
    }
}
