//! The calls of devices that look for work, or leave it.

use std::sync::Arc;
use std::time::Duration;

use scale_clock::Timestamp;
use scale_proto::answer::{CheckIn, CheckInAnswer, Leave, Progress, Wait};
use scale_proto::ids::RoundId;
use scale_proto::manifest::Manifest;

use super::Selection;
use super::admission::Admitted;
use crate::error::Error;
use crate::parts::Caller;
use crate::round::{Event, Phase, Refused, SessionProgress, SessionStage};
use crate::rounds::{ActiveRound, decision, is_selecting};
use crate::rows::{ParticipantRow, ParticipantStatus, TaskRow, TaskState};
use crate::schedule::{Opening, next_opening, pace, pace_selected};
use crate::wait::LongPoll;

/// A device that waits is noted in its row this often.
const NOTED: Duration = Duration::from_secs(20);

/// What a task has for a device.
enum Offer {
    /// It is in: wait for the manifest.
    In(Arc<ActiveRound>),
    /// Not now.
    Not(Wait),
}

impl Selection {
    /// A device asks for work. Once it is in a round this waits for the end of selection, up to the long-poll time, and
    /// then hands out the manifest; a device that is in already gets the same answer again.
    ///
    /// # Errors
    /// [`Error::UnknownTask`] when it names tasks that are all unknown; [`Error::Store`].
    pub(crate) async fn check_in(&self, caller: &Caller, request: CheckIn) -> Result<CheckInAnswer, Error> {
        let (tasks, mut wait) = match self.candidates(&request) {
            // Another process may have made it a moment ago.
            Err(Error::UnknownTask(_)) if self.context.settings.replicas => {
                self.rounds.refresh().await?;
                self.candidates(&request)?
            }
            candidates => candidates?,
        };
        let device = caller.device;
        let own = self.context.store.read("participations", move |tx| {
            Box::pin(async move { Ok::<_, Error>(tx.open_participations(device).await?) })
        });
        let own = own.await?;
        // A device finishes one round before it begins another.
        for row in &own {
            let Some(active) = self.rounds.get(row.round).await? else { continue };
            let Some(task) = tasks.iter().find(|task| task.id == active.task) else { continue };
            match self.offer_again(caller, task, active, row)? {
                Offer::In(active) => return self.await_manifest(caller, &active, row.seen_at).await,
                Offer::Not(other) => wait = Some(other),
            }
        }
        for task in &tasks {
            let active = self.rounds.open_of(&task.id);
            if active.as_ref().is_some_and(|active| own.iter().any(|row| row.round == active.id)) {
                continue;
            }
            match self.offer(caller, task, active).await? {
                Offer::In(active) => {
                    let now = self.rounds.times.now(&*self.context.clock, active.id);
                    return self.await_manifest(caller, &active, now).await;
                }
                Offer::Not(other) => wait = Some(other),
            }
        }
        Ok(CheckInAnswer::Wait(wait.unwrap_or_else(|| self.pace.no_task(self.context.now()))))
    }

    /// A device leaves its round; nobody waits for it any more. Leaving twice is fine.
    ///
    /// # Errors
    /// [`Error::UnknownRound`], [`Error::NotParticipant`], [`Error::WrongIdentity`], [`Error::Store`].
    pub(crate) async fn leave(&self, caller: &Caller, request: Leave) -> Result<(), Error> {
        let active = self.rounds.get(request.round).await?.ok_or(Error::UnknownRound)?;
        if self.context.settings.replicas {
            // Whether its stage waits for the device depends on which stage is open.
            self.rounds.read(active.id).await?;
        }
        tracing::debug!(round = %active.id, device = %caller.device, reason = %request.reason, "leaves");
        let expected = self.expected(&active, caller).await?;
        let caller = *caller;
        let leave = decision::<(), _>(move |step| {
            Box::pin(async move {
                let (round, device) = (step.row().id, caller.device);
                let row = step.tx.participant(round, device).await?.ok_or(Error::NotParticipant)?;
                if row.identity_key != caller.identity_key {
                    return Err(Error::WrongIdentity);
                }
                if row.status == ParticipantStatus::Left || step.round.phase.is_over() {
                    return Ok(());
                }
                let mut awaited = false;
                if let Some(progress) = row.session.and_then(|session| step.round.session(session)).cloned()
                    && let Some(number) = progress.stage.number()
                    && expected == Some(progress.stage)
                {
                    awaited = match progress.stage {
                        SessionStage::MaskedInput => {
                            let upload = step.tx.upload(progress.id, device).await?;
                            !upload.is_some_and(|row| row.state == crate::rows::UploadState::Committed)
                        }
                        _ => step.tx.message(progress.id, number, device).await?.is_none(),
                    };
                }
                step.tx.set_participant_status(round, device, ParticipantStatus::Left).await?;
                step.feed(Event::DeviceLeft { session: row.session, awaited }).await
            })
        });
        self.rounds.step("leave", active.id, leave).await
    }

    /// The open stage of the device's session, if the device belongs to that stage's set.
    async fn expected(&self, active: &ActiveRound, caller: &Caller) -> Result<Option<SessionStage>, Error> {
        let fixed = match self.rounds.fixed(active).await {
            Ok(fixed) => fixed,
            Err(Error::NotTraining) => return Ok(None),
            Err(error) => return Err(error),
        };
        let session = fixed.members.get(&caller.device).and_then(|member| member.session);
        let Some(secure) = session.and_then(|session| fixed.sessions.get(&session)) else { return Ok(None) };
        let view = active.view();
        // Once its last stage is being closed, nobody is waited for.
        let open = |progress: &&SessionProgress| {
            let enough = progress.closing && progress.stage == SessionStage::Unmask;
            !(progress.stage.is_over() || enough)
        };
        let Some(progress) = view.round.session(secure.id).filter(open) else { return Ok(None) };
        let replica = secure.at(&self.context.store, progress.stage).await?;
        Ok(replica.expects(caller.device).then_some(progress.stage))
    }

    /// How far a device's training has come. Kept nowhere but in the log.
    ///
    /// # Errors
    /// [`Error::UnknownRound`], [`Error::NotParticipant`], [`Error::WrongIdentity`].
    pub(crate) async fn report_progress(&self, caller: &Caller, progress: Progress) -> Result<(), Error> {
        let active = self.rounds.get(progress.round).await?.ok_or(Error::UnknownRound)?;
        match self.rounds.fixed(&active).await {
            Ok(fixed) => crate::intake::participant(&fixed, caller).map(|_| ())?,
            Err(Error::NotTraining) => self.row(&active, caller).await.map(|_| ())?,
            Err(error) => return Err(error),
        }
        tracing::debug!(round = %active.id, device = %caller.device, permille = progress.done_permille, "trains");
        self.context.watch.progress(&progress);
        Ok(())
    }

    /// Rounds that devices wait for here.
    pub(crate) fn awaited(&self) -> Vec<RoundId> {
        self.presence.rounds()
    }

    /// Tells the rows of a round who waits for it here, so that nobody takes these devices for absent.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn note_waiting(&self, round: RoundId) -> Result<(), Error> {
        let here: Arc<[_]> = self.presence.of(round).into();
        let now = self.rounds.times.now(&*self.context.clock, round);
        let note = self.context.store.run_tx("note_waiting", move |tx| {
            let here = Arc::clone(&here);
            Box::pin(async move {
                // As a step does that writes many of these rows: no two transactions wait for each other's.
                if tx.lock_round(round).await?.is_some() {
                    tx.touch_participants(round, &here, now).await?;
                }
                Ok::<_, Error>(())
            })
        });
        note.await
    }

    /// The caller's row in a round.
    async fn row(&self, active: &ActiveRound, caller: &Caller) -> Result<ParticipantRow, Error> {
        let (round, device) = (active.id, caller.device);
        let read = self.context.store.read("participant", move |tx| {
            Box::pin(async move { Ok::<_, Error>(tx.participant(round, device).await?) })
        });
        let row = read.await?.ok_or(Error::NotParticipant)?;
        if row.identity_key == caller.identity_key { Ok(row) } else { Err(Error::WrongIdentity) }
    }

    /// Tasks that this device may train, and why not when there is none.
    fn candidates(&self, request: &CheckIn) -> Result<(Vec<TaskRow>, Option<Wait>), Error> {
        let mut tasks = self.rounds.tasks.all();
        if !request.tasks.is_empty() {
            tasks.retain(|task| request.tasks.contains(&task.id));
            if tasks.is_empty() {
                return Err(Error::UnknownTask(request.tasks[0].to_string()));
            }
        }
        let finished = tasks.iter().find(|task| task.state == TaskState::Finished).cloned();
        tasks.retain(|task| task.state != TaskState::Finished);
        if let Some(task) = finished.filter(|_| tasks.is_empty() && !request.tasks.is_empty()) {
            return Ok((tasks, Some(self.pace.finished(&task.id, self.context.now()))));
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

    /// What a round that is open has for a device that is in it.
    fn offer_again(
        &self,
        caller: &Caller,
        task: &TaskRow,
        active: Arc<ActiveRound>,
        row: &ParticipantRow,
    ) -> Result<Offer, Error> {
        if row.identity_key != caller.identity_key {
            return Err(Error::WrongIdentity);
        }
        Ok(match row.status {
            ParticipantStatus::Admitted => Offer::In(active),
            ParticipantStatus::Left => self.has_left(task),
        })
    }

    fn has_left(&self, task: &TaskRow) -> Offer {
        let sentence = "this device has left the round that is open";
        Offer::Not(self.pace.turned_away(&task.id, self.context.now(), None, "has_left", sentence))
    }

    async fn offer(&self, caller: &Caller, task: &TaskRow, active: Option<Arc<ActiveRound>>) -> Result<Offer, Error> {
        let Some(active) = active else { return Ok(Offer::Not(self.no_round(task))) };
        let refusal = active.view().round.refusal();
        let admitted = match refusal {
            Some(why) => {
                self.admissions.forget(active.id);
                Admitted::Refused(why)
            }
            None => self.admissions.admit(active.id, caller).await?,
        };
        Ok(match admitted {
            Admitted::In => Offer::In(active),
            Admitted::HasLeft => self.has_left(task),
            Admitted::WrongIdentity => return Err(Error::WrongIdentity),
            Admitted::Refused(why) => {
                let now = self.rounds.times.now(&*self.context.clock, active.id);
                let view = active.view();
                // The window of selection says nothing of when a full round ends: it begins any moment.
                let until = view.round.next_deadline().filter(|_| !is_selecting(&view.round));
                let until = until.map(|deadline| now.until(deadline)).unwrap_or_default().max(Duration::from_secs(1));
                let (code, sentence) = (why.code(), why.sentence());
                Offer::Not(self.pace.turned_away(&task.id, self.context.now(), Some(until), code, sentence))
            }
        })
    }

    async fn await_manifest(
        &self,
        caller: &Caller,
        active: &Arc<ActiveRound>,
        seen_at: Timestamp,
    ) -> Result<CheckInAnswer, Error> {
        let mut poll = LongPoll::begin(&self.context, active.subscribe());
        let _waiting = is_selecting(&active.view().round).then(|| self.presence.wait(active.id, caller.device));
        let now = self.rounds.times.now(&*self.context.clock, active.id);
        if seen_at.plus(NOTED) < now {
            let (round, device) = (active.id, caller.device);
            let note = self.context.store.run_tx("note_waiting", move |tx| {
                Box::pin(async move { Ok::<_, Error>(tx.touch_participants(round, &[device], now).await?) })
            });
            note.await?;
        }
        loop {
            if !is_selecting(&active.view().round) {
                return self.manifest(caller, active).await;
            }
            if !poll.again().await? {
                let sentence = "this device is selected; the round begins as soon as enough others are";
                let retry = pace_selected(active.view().round.cohort.into(), self.context.settings.long_poll);
                return Ok(CheckInAnswer::Wait(Wait { retry, code: "selecting".into(), sentence: sentence.into() }));
            }
        }
    }

    /// What a participant gets once selection is over.
    async fn manifest(&self, caller: &Caller, active: &ActiveRound) -> Result<CheckInAnswer, Error> {
        let view = active.view();
        let round = &view.round;
        let fixed = match self.rounds.fixed(active).await {
            Ok(fixed) => Some(fixed),
            // It was abandoned before training.
            Err(Error::NotTraining) => None,
            Err(error) => return Err(error),
        };
        let session = match &fixed {
            Some(fixed) => crate::intake::participant(fixed, caller)?.session,
            None => None,
        };
        let session = session.and_then(|session| round.session(session));
        let open = session.is_some_and(|session| session.stage == SessionStage::Keys && !session.closing);
        let Some(fixed) = fixed.filter(|_| open) else {
            let (code, sentence) = match &round.phase {
                Phase::Abandoned { code, sentence, .. } => (code.clone(), sentence.clone()),
                _ => (Refused::Running.code().into(), "this device's round no longer takes keys".into()),
            };
            let now = self.rounds.times.now(&*self.context.clock, active.id);
            // Unmasking ends with its last answer, mostly within a moment: its window is not the time to wait for.
            let ending =
                session.is_some_and(|session| session.stage == SessionStage::Unmask || session.stage.is_over());
            let until =
                round.next_deadline().filter(|_| !ending).map(|deadline| now.until(deadline)).unwrap_or_default();
            let retry = pace(Some(until.max(Duration::from_millis(500))), round.cohort.into());
            return Ok(CheckInAnswer::Wait(Wait { retry, code, sentence }));
        };
        let signature = <[u8; 64]>::try_from(&view.row.signature[..])
            .map_err(|_| Error::Bug("a stored signature does not have 64 bytes".into()))?;
        Ok(CheckInAnswer::Manifest(Manifest {
            round: round.id,
            round_config: view.row.config.clone(),
            config_signature: signature,
            plan: view.row.plan.clone(),
            model_url: self.context.model_urls.model_url(&fixed.base.blob).await?,
            model_bytes: fixed.base.bytes,
            model_version: fixed.base.version,
        }))
    }

    /// No round of the task is open.
    fn no_round(&self, task: &TaskRow) -> Wait {
        let now = self.context.now();
        if task.state != TaskState::Active {
            return self.pace.turned_away(&task.id, now, None, "task_paused", "the task is paused");
        }
        let until = match next_opening(&task.config.schedule, task.created_at, task.last_opened_at, now) {
            Opening::Now => Some(Duration::from_millis(500)),
            Opening::At(at) => Some(now.until(at)),
            Opening::Never => None,
        };
        self.pace.turned_away(&task.id, now, until, "no_round", "no round is open; the next one may take this device")
    }
}
