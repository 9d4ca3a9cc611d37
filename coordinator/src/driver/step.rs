//! One step of a round: the machine decides, one transaction keeps it, then memory follows and effects start.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use scale_proto::ids::{DeviceId, RoundId, SessionId};
use scale_proto::time::Timestamp;
use scale_secagg::error::Reason;

use super::live::{Inner, Live, LiveSession, State};
use super::training::Start;
use super::{Error, training};
use crate::round::{Effect, Event, SessionStage};
use crate::rows::{
    Inserted, ModelRow, NewMessage, ParticipantRow, ParticipantStatus, RoundRow, SegmentRow, SessionRow, TaskRow,
};
use crate::store::Tx;

/// Devices that were heard of this recently are not absent, however short selection is.
const PRESENT: Duration = Duration::from_secs(60);

/// A row that changes together with the round's.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Participant(ParticipantRow),
    Left(DeviceId),
    /// Participants that are present, as of now; who was not seen since the second moment goes.
    DropAbsent {
        present: Vec<DeviceId>,
        now: Timestamp,
        since: Timestamp,
    },
    Sessions {
        rows: Vec<SessionRow>,
        dealt: Vec<(DeviceId, SessionId)>,
    },
    Stage(SessionId, SessionStage),
    Message(NewMessage),
    Uploads(SegmentRow, Vec<DeviceId>),
    /// The masks could not be taken off.
    NoSum(SessionId),
    /// The messages, uploads and segments of a session that is over. Its advertised keys stay for a while.
    Forget(SessionId),
    Model(Box<(ModelRow, TaskRow)>),
}

impl Change {
    async fn apply(&self, tx: &mut Tx, round: RoundId) -> Result<(), Error> {
        match self {
            Self::Participant(row) => {
                if !tx.insert_participant(row).await? {
                    return Err(Error::WrongIdentity);
                }
            }
            Self::Left(device) => tx.set_participant_status(round, *device, ParticipantStatus::Left).await?,
            Self::DropAbsent { present, now, since } => {
                for device in present {
                    tx.touch_participant(round, *device, *now).await?;
                }
                tx.delete_participants_unseen_since(round, *since).await?;
            }
            Self::Sessions { rows, dealt } => {
                for row in rows {
                    tx.insert_session(row).await?;
                }
                tx.assign_sessions(round, dealt).await?;
            }
            Self::Stage(session, stage) => tx.set_session_stage(*session, *stage).await?,
            Self::Message(message) => match tx.insert_message(message).await? {
                Inserted::New | Inserted::Same => {}
                Inserted::Different => return Err(Error::Refused(Reason::Duplicate.into())),
            },
            Self::Uploads(segment, devices) => {
                let marked = tx.commit_uploads(segment.session, segment, devices).await?;
                if marked as usize != devices.len() {
                    let sentence = format!("{marked} of {} uploads could be committed", devices.len());
                    return Err(Error::Bug(sentence));
                }
            }
            Self::NoSum(session) => tx.set_session_sum(*session, None).await?,
            Self::Forget(session) => {
                tx.delete_messages(*session).await?;
                tx.delete_uploads(*session).await?;
                tx.delete_segments(*session).await?;
            }
            Self::Model(rows) => {
                let (model, task) = &**rows;
                if !tx.insert_model(model).await? {
                    return Err(Error::Bug(format!("model {} of {} is there already", model.version, model.task)));
                }
                tx.update_task(task).await?;
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Feeds one event to the round. `changes` are kept in the same transaction. On an error nothing is kept, and the
    /// memory that ran ahead is read again by the next lock.
    pub(super) async fn step(
        self: &Arc<Self>,
        live: &Arc<Live>,
        state: &mut State,
        event: Event,
        mut changes: Vec<Change>,
    ) -> Result<(), Error> {
        let label = event.name();
        let resumed = state.resumed(self);
        let now = resumed.map_or_else(|| state.now(self), |time| time.now(self));
        let events = resumed.map(|_| Event::Resumed).into_iter().chain([event]);
        let mut decided = decide(state, events, now, &mut changes);
        let mut start = None;
        if decided.effects.contains(&Effect::StartTraining) {
            match training::prepare(self, state, &decided.round) {
                Ok(ready) => {
                    changes.push(Change::Sessions { rows: ready.sessions.clone(), dealt: ready.dealt.clone() });
                    start = Some(ready);
                }
                Err(error) => {
                    tracing::error!(round = %live.id, %error, "training cannot start");
                    let reason = Event::AbandonRequested { reason: error.to_string() };
                    let step = decided.round.handle(reason, now);
                    // The sessions never came to be.
                    decided.round = step.round;
                    decided.round.sessions.clear();
                    decided.effects.retain(|effect| *effect != Effect::StartTraining);
                    decided.effects.push(Effect::EndRound);
                }
            }
        }
        if changes.is_empty() && decided.round == state.round {
            if let Some(time) = resumed {
                state.set_time(self, time);
            }
            return Ok(());
        }
        for new in &decided.round.sessions {
            let old = state.round.session(new.id);
            if old.is_some_and(|old| old.stage != new.stage) {
                changes.push(Change::Stage(new.id, new.stage));
            }
        }
        for effect in &decided.effects {
            if let Effect::EndSession { session } = effect {
                changes.push(Change::Forget(*session));
            }
        }
        let over = decided.round.phase.is_over() && !state.round.phase.is_over();
        let row = self.next_row(state, &decided.round, start.as_ref(), now)?;
        let work = Arc::new((row, changes));
        let write = Arc::clone(&work);
        let kept = self
            .store
            .run_tx(label, move |tx| {
                let write = Arc::clone(&write);
                Box::pin(async move {
                    for change in &write.1 {
                        change.apply(tx, write.0.id).await?;
                    }
                    Ok::<_, Error>(tx.update_round(&write.0).await?)
                })
            })
            .await;
        if let Err(error) = kept {
            state.stale = true;
            return Err(error);
        }
        tracing::debug!(round = %live.id, event = label, phase = decided.round.phase.name(), "step");
        // What is left of it is the row that was written.
        if let Some(time) = resumed {
            state.set_time(self, time);
        }
        state.row = work.0.clone();
        state.round = decided.round;
        self.follow(state, start, decided.gone);
        for change in &work.1 {
            if let Change::Model(rows) = change {
                let (model, task) = &**rows;
                tracing::info!(task = %model.task, version = %model.version, "a new model is published");
                self.task_changed(task.clone());
            }
        }
        if over {
            self.watch.round_over(live.id, &state.round);
        }
        live.changed.send_modify(|count| *count += 1);
        self.alarm.notify_one();
        for effect in decided.effects {
            self.start_effect(live, effect);
        }
        Ok(())
    }

    /// The row of the round after this step.
    fn next_row(
        &self,
        state: &State,
        round: &crate::round::Round,
        start: Option<&Start>,
        now: Timestamp,
    ) -> Result<RoundRow, Error> {
        let mut row = state.row.clone();
        row.revision += 1;
        row.phase = round.phase.name().to_owned();
        row.state = serde_json::to_string(round).map_err(|error| Error::Bug(error.to_string()))?;
        if round.phase.is_over() {
            row.closed_at = Some(row.closed_at.unwrap_or(now));
        }
        if let Some(start) = start {
            row.plan = start.plan.clone();
            row.config = start.config_bytes.clone();
            row.signature = Bytes::copy_from_slice(&start.signature);
        }
        Ok(row)
    }

    /// Brings memory in line with what was kept.
    fn follow(&self, state: &mut State, start: Option<Start>, gone: Vec<DeviceId>) {
        for device in gone {
            state.members.remove(&device);
        }
        if let Some(start) = start {
            for (device, session) in &start.dealt {
                if let Some(member) = state.members.get_mut(device) {
                    member.session = Some(*session);
                }
            }
            for row in &start.sessions {
                let known = state.known_keys(row.id);
                state.sessions.insert(row.id, LiveSession::new(self, row.id, Arc::clone(&start.config), known));
            }
        }
        for progress in &state.round.sessions {
            let Some(session) = state.sessions.get_mut(&progress.id) else { continue };
            if progress.stage > SessionStage::MaskedInput {
                // What could not be added by now never will be: its senders count as dropped out.
                session.adder.stop();
            }
            if progress.stage.is_over() {
                session.protocol = None;
                session.uploads.clear();
            }
        }
    }
}

/// What the machine made of events and of those that followed from them.
struct Decided {
    round: crate::round::Round,
    effects: Vec<Effect>,
    gone: Vec<DeviceId>,
}

fn decide(state: &State, events: impl Iterator<Item = Event>, now: Timestamp, changes: &mut Vec<Change>) -> Decided {
    let mut decided = Decided { round: state.round.clone(), effects: Vec::new(), gone: Vec::new() };
    let mut events: VecDeque<Event> = events.collect();
    while let Some(event) = events.pop_front() {
        let step = decided.round.handle(event, now);
        decided.round = step.round;
        for effect in step.effects {
            let Effect::DropAbsent { unseen_since } = effect else {
                decided.effects.push(effect);
                continue;
            };
            let recent = now.as_millis().saturating_sub(PRESENT.as_millis() as u64);
            let since = unseen_since.min(Timestamp::from_millis(recent));
            let here = |device: &DeviceId| state.members.get(device).is_some_and(|member| member.present(since));
            let (present, absent): (Vec<DeviceId>, Vec<DeviceId>) =
                state.members.iter().filter(|(_, member)| !member.left).map(|(&device, _)| device).partition(here);
            events.extend(absent.iter().map(|_| Event::DeviceLeft { session: None, awaited: false }));
            changes.push(Change::DropAbsent { present, now, since });
            decided.gone.extend(absent);
        }
    }
    decided
}
