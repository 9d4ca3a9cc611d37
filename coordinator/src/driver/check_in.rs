//! Selection: who takes part, who comes back when, and what an accepted device gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use scale_proto::answer::{CheckIn, CheckInAnswer, Leave, Progress, Wait};
use scale_proto::manifest::Manifest;
use scale_proto::time::{RetryWindow, Timestamp};

use super::live::{Inner, Live, Member, State, guard, is_selecting};
use super::step::Change;
use super::{Caller, Coordinator, Error};
use crate::round::{Event, Phase, Refused, SessionStage};
use crate::rows::{ParticipantRow, ParticipantStatus, TaskRow, TaskState};
use crate::schedule::{Opening, next_opening, pace, pace_finished};

/// Devices that were turned away, counted by the minute: how many come back decides how widely they are spread.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    minute: u64,
    now: u64,
    before: u64,
}

impl Crowd {
    /// Counts one more and returns the size of the crowd.
    fn count(&mut self, now: Timestamp) -> u64 {
        let minute = now.as_millis() / 60_000;
        if minute != self.minute {
            self.before = if minute == self.minute + 1 { self.now } else { 0 };
            (self.minute, self.now) = (minute, 0);
        }
        self.now += 1;
        self.now.max(self.before)
    }
}

/// A check-in that is on the line.
struct Poll(Arc<AtomicU32>);

impl Poll {
    fn new(polls: &Arc<AtomicU32>) -> Self {
        polls.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(polls))
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a task has for a device.
enum Offer {
    /// It is in: wait for the manifest.
    In(Arc<Live>),
    /// Not now.
    Not(Wait),
}

impl Coordinator {
    /// A device asks for work. Once it is in a round this waits for the end of selection, up to the long-poll time, and
    /// then hands out the manifest; a device that is in already gets the same answer again.
    ///
    /// # Errors
    /// [`Error::UnknownTask`] when it names tasks that are all unknown; [`Error::Store`].
    pub async fn check_in(&self, caller: &Caller, request: CheckIn) -> Result<CheckInAnswer, Error> {
        let (tasks, mut wait) = self.0.candidates(&request)?;
        let tasks = self.0.own_first(caller, tasks).await?;
        for task in tasks {
            match self.0.offer(caller, &task).await? {
                Offer::In(live) => return self.0.await_manifest(caller, &live).await,
                Offer::Not(other) => wait = Some(other),
            }
        }
        Ok(CheckInAnswer::Wait(wait.unwrap_or_else(|| self.0.no_task())))
    }

    /// A device leaves its round; nobody waits for it any more. Leaving twice is fine.
    ///
    /// # Errors
    /// [`Error::UnknownRound`], [`Error::NotParticipant`], [`Error::Store`].
    pub async fn leave(&self, caller: &Caller, request: Leave) -> Result<(), Error> {
        let inner = Arc::clone(&self.0);
        let live = inner.live(request.round).ok_or(Error::UnknownRound)?;
        let caller = *caller;
        self.0
            .to_the_end(async move {
                let mut state = inner.lock(&live).await?;
                let member = participant(&state, &caller)?;
                if member.left || state.round.phase.is_over() {
                    return Ok(());
                }
                tracing::debug!(round = %live.id, device = %caller.device, reason = %request.reason, "leaves");
                let session = member.session;
                let awaited = session
                    .and_then(|session| state.sessions.get(&session))
                    .is_some_and(|session| session.awaits(caller.device, member));
                let event = Event::DeviceLeft { session, awaited };
                inner.step(&live, &mut state, event, vec![Change::Left(caller.device)]).await?;
                if let Some(member) = state.members.get_mut(&caller.device) {
                    member.left = true;
                }
                Ok(())
            })
            .await
    }

    /// How far a device's training has come. Kept nowhere but in the log.
    ///
    /// # Errors
    /// [`Error::UnknownRound`], [`Error::NotParticipant`].
    pub async fn report_progress(&self, caller: &Caller, progress: Progress) -> Result<(), Error> {
        let live = self.0.live(progress.round).ok_or(Error::UnknownRound)?;
        let state = self.0.lock(&live).await?;
        participant(&state, caller)?;
        tracing::debug!(round = %live.id, device = %caller.device, permille = progress.done_permille, "trains");
        drop(state);
        self.0.watch.progress(&progress);
        Ok(())
    }
}

impl Inner {
    /// Tasks that this device may train, and why not when there is none.
    fn candidates(&self, request: &CheckIn) -> Result<(Vec<TaskRow>, Option<Wait>), Error> {
        let mut tasks = self.tasks();
        if !request.tasks.is_empty() {
            tasks.retain(|task| request.tasks.contains(&task.id));
            if tasks.is_empty() {
                return Err(Error::UnknownTask(request.tasks[0].to_string()));
            }
        }
        let finished = tasks.iter().find(|task| task.state == TaskState::Finished).cloned();
        tasks.retain(|task| task.state != TaskState::Finished);
        if let Some(task) = finished.filter(|_| tasks.is_empty() && !request.tasks.is_empty()) {
            return Ok((tasks, Some(self.finished(&task))));
        }
        let known = |task: &TaskRow| {
            let family = task.config.model.family.name();
            request.families.is_empty() || request.families.iter().any(|name| name == family)
        };
        let foreign = !tasks.is_empty() && !tasks.iter().any(known);
        tasks.retain(known);
        let wait = foreign.then(|| Wait {
            retry: pace(Some(Duration::from_secs(3600)), 0),
            code: "family_unsupported".into(),
            sentence: "this build cannot train the models of these tasks; update the app".into(),
        });
        Ok((tasks, wait))
    }

    /// Tasks whose open round this device is in come first: it finishes one before it begins another.
    async fn own_first(self: &Arc<Self>, caller: &Caller, tasks: Vec<TaskRow>) -> Result<Vec<TaskRow>, Error> {
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for task in tasks {
            let is_in = match self.open_round_of(&task.id).await? {
                Some(live) => self.lock(&live).await?.members.get(&caller.device).is_some_and(|member| !member.left),
                None => false,
            };
            if is_in { own.push(task) } else { others.push(task) }
        }
        own.append(&mut others);
        Ok(own)
    }

    async fn offer(self: &Arc<Self>, caller: &Caller, task: &TaskRow) -> Result<Offer, Error> {
        let Some(live) = self.open_round_of(&task.id).await? else {
            return Ok(Offer::Not(self.no_round(task)));
        };
        let (inner, caller) = (Arc::clone(self), *caller);
        let task = task.clone();
        self.to_the_end(async move {
            let mut state = inner.lock(&live).await?;
            let now = state.now(&inner);
            if let Some(member) = state.members.get_mut(&caller.device) {
                member.seen_at = now;
                if member.identity_key != caller.identity_key {
                    return Err(Error::WrongIdentity);
                }
                let left = member.left;
                drop(state);
                return Ok(if left {
                    Offer::Not(inner.turned_away(
                        &task,
                        None,
                        "has_left",
                        "this device has left the round that is open",
                    ))
                } else {
                    Offer::In(live)
                });
            }
            if state.members.values().any(|member| member.identity_key == caller.identity_key) {
                return Err(Error::WrongIdentity);
            }
            if let Some(why) = state.round.refusal() {
                let until = state.round.next_deadline().map(|deadline| now.until(deadline));
                let until = until.unwrap_or_default().max(Duration::from_secs(1));
                return Ok(Offer::Not(inner.turned_away(&task, Some(until), why.code(), why.sentence())));
            }
            let row = ParticipantRow {
                round: live.id,
                device: caller.device,
                identity_key: caller.identity_key,
                session: None,
                joined_at: now,
                seen_at: now,
                status: ParticipantStatus::Admitted,
            };
            // Known before the step, because this admission may start training and be dealt to a session.
            state.members.insert(caller.device, Member::new(caller.identity_key, now));
            let event = Event::DeviceCheckedIn { device: caller.device };
            let admitted = inner.step(&live, &mut state, event, vec![Change::Participant(row)]).await;
            if let Err(error) = admitted {
                state.members.remove(&caller.device);
                return Err(error);
            }
            drop(state);
            Ok(Offer::In(live))
        })
        .await
    }

    async fn await_manifest(self: &Arc<Self>, caller: &Caller, live: &Arc<Live>) -> Result<CheckInAnswer, Error> {
        let mut changed = live.changed.subscribe();
        let until = self.clock.steady() + self.settings.long_poll;
        let mut poll = None;
        loop {
            {
                let mut state = self.lock(live).await?;
                let now = state.now(self);
                if !is_selecting(&state.round) {
                    return self.manifest(caller, &state);
                }
                let cohort = state.round.cohort;
                let Some(member) = state.members.get_mut(&caller.device) else { return Err(Error::NotParticipant) };
                member.seen_at = now;
                poll.get_or_insert_with(|| Poll::new(&member.polls));
                if self.clock.steady() >= until {
                    let sentence = "this device is selected; the round begins as soon as enough others are";
                    let retry = pace(Some(Duration::from_millis(100)), cohort.into());
                    return Ok(CheckInAnswer::Wait(Wait {
                        retry,
                        code: "selecting".into(),
                        sentence: sentence.into(),
                    }));
                }
            }
            self.changed(&mut changed, until).await?;
        }
    }

    /// What a participant gets once selection is over.
    fn manifest(&self, caller: &Caller, state: &State) -> Result<CheckInAnswer, Error> {
        let round = &state.round;
        let member = participant(state, caller)?;
        let session = member.session.and_then(|session| round.session(session));
        let open = session.is_some_and(|session| session.stage == SessionStage::Keys && !session.closing);
        if !open {
            let (code, sentence) = match &round.phase {
                Phase::Abandoned { code, sentence, .. } => (code.clone(), sentence.clone()),
                _ => (Refused::Running.code().into(), "this device's round no longer takes keys".into()),
            };
            let now = state.now(self);
            let until = round.next_deadline().map(|deadline| now.until(deadline)).unwrap_or_default();
            let retry = pace(Some(until.max(Duration::from_millis(500))), round.cohort.into());
            return Ok(CheckInAnswer::Wait(Wait { retry, code, sentence }));
        }
        let signature = <[u8; 64]>::try_from(&state.row.signature[..])
            .map_err(|_| Error::Bug("a stored signature does not have 64 bytes".into()))?;
        Ok(CheckInAnswer::Manifest(Manifest {
            round: round.id,
            round_config: state.row.config.clone(),
            config_signature: signature,
            plan: state.row.plan.clone(),
            model_url: (self.model_url)(&state.base.blob),
            model_bytes: state.base.bytes,
            model_version: state.base.version,
        }))
    }

    /// No round of the task is open.
    fn no_round(&self, task: &TaskRow) -> Wait {
        let now = self.now();
        if task.state != TaskState::Active {
            return self.turned_away(task, None, "task_paused", "the task is paused");
        }
        let until = match next_opening(&task.config.schedule, task.created_at, task.last_opened_at, now) {
            Opening::Now => Some(Duration::from_millis(500)),
            Opening::At(at) => Some(now.until(at)),
            Opening::Never => None,
        };
        self.turned_away(task, until, "no_round", "no round is open; the next one may take this device")
    }

    /// The device asks for tasks by name, and all of them have run all their rounds.
    fn finished(&self, task: &TaskRow) -> Wait {
        let crowd = guard(&self.crowds).entry(Some(task.id.clone())).or_default().count(self.now());
        let sentence = format!("task {} is finished: it has run all its rounds", task.id);
        Wait { retry: pace_finished(crowd), code: "task_finished".into(), sentence }
    }

    /// There is no task at all, or none that this device may train. One that takes any task hears of a new one soon.
    fn no_task(&self) -> Wait {
        let crowd = guard(&self.crowds).entry(None).or_default().count(self.now());
        let sentence = "no task runs here at the moment that this device could take part in";
        Wait { retry: pace(None, crowd), code: "no_task".into(), sentence: sentence.into() }
    }

    fn turned_away(&self, task: &TaskRow, until: Option<Duration>, code: &str, sentence: &str) -> Wait {
        let crowd = guard(&self.crowds).entry(Some(task.id.clone())).or_default().count(self.now());
        Wait { retry: pace(until, crowd), code: code.into(), sentence: sentence.into() }
    }

    /// Waits for the round's next step, but not beyond `until` of the steady clock.
    pub(super) async fn changed(
        &self,
        changed: &mut tokio::sync::watch::Receiver<u64>,
        until: Duration,
    ) -> Result<(), Error> {
        tokio::select! {
            // The sender lives as long as the round, which the caller holds.
            _ = changed.changed() => Ok(()),
            () = self.clock.sleep_until(until) => Ok(()),
            () = self.stop.cancelled() => Err(Error::Stopping),
        }
    }
}

/// The caller among a round's members.
///
/// # Errors
/// [`Error::NotParticipant`], [`Error::WrongIdentity`].
pub(super) fn participant<'s>(state: &'s State, caller: &Caller) -> Result<&'s Member, Error> {
    let member = state.members.get(&caller.device).ok_or(Error::NotParticipant)?;
    if member.identity_key != caller.identity_key {
        return Err(Error::WrongIdentity);
    }
    Ok(member)
}

/// When a call that waited in vain comes again.
pub(super) const POLL_AGAIN: RetryWindow = RetryWindow::from_millis(100);
