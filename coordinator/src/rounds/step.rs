//! One step of a round, in one transaction: its row is loaded for update, the machine decides, and everything that was
//! decided is written. A transaction that lost against another one runs again from the load: nothing is decided on old
//! rows, and nobody is told before the rows are kept.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use scale_clock::{Anchor, Timestamp};
use scale_proto::ids::{ModelVersion, RoundId};

use super::active::ActiveRound;
use super::active::View;
use super::known::{Rounds, state_text};
use super::time::Times;
use super::training::{self, Start};
use crate::context::Context;
use crate::error::Error;
use crate::round::{Effect, Event, Round, SessionProgress};
use crate::rows::{Gate, LeaseToken, ModelRow, RoundRow, TaskRow, WorkKind, WorkRow};
use crate::store::Tx;

/// Devices that were heard of this recently are not absent, however short selection is.
const PRESENT: Duration = Duration::from_secs(60);
/// Where processes that share a database hear of steps.
pub(crate) const CHANNEL: &str = "scale_rounds";

/// Work that this process holds.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// [`WorkRow::id`].
    pub(crate) id: String,
    pub(crate) token: LeaseToken,
}

/// A step that is being made.
pub(crate) struct Step<'s> {
    pub(crate) tx: &'s mut Tx,
    context: &'s Context,
    row: RoundRow,
    /// As the row has it.
    before: Round,
    /// As it will be.
    pub(crate) round: Round,
    /// The round's time.
    pub(crate) now: Timestamp,
    anchor: Option<Anchor>,
    effects: Vec<Effect>,
    published: Option<TaskRow>,
}

/// What a step has kept.
struct Kept {
    view: View,
    anchor: Option<Anchor>,
    over: bool,
    left_work: bool,
    published: Option<(TaskRow, ModelVersion)>,
}

/// Names the type of what a step decides, which the compiler does not find out by itself.
pub(crate) fn decision<T, F>(decide: F) -> F
where
    F: for<'a, 's> Fn(&'a mut Step<'s>) -> BoxFuture<'a, Result<T, Error>>,
{
    decide
}

impl Rounds {
    /// Makes a step. `decide` feeds events and writes what changes with them; it may run several times, and has no effect
    /// but on the step. Runs to its end when the caller hangs up.
    ///
    /// # Errors
    /// [`Error::UnknownRound`], what `decide` returns, [`Error::Store`]; nothing is kept then.
    pub(crate) async fn step<T, F>(self: &Arc<Self>, name: &'static str, id: RoundId, decide: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'a, 's> Fn(&'a mut Step<'s>) -> BoxFuture<'a, Result<T, Error>> + Send + Sync + 'static,
    {
        let rounds = Arc::clone(self);
        self.context.to_the_end(async move { rounds.run_step(name, id, decide).await }).await
    }

    async fn run_step<T, F>(&self, name: &'static str, id: RoundId, decide: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'a, 's> Fn(&'a mut Step<'s>) -> BoxFuture<'a, Result<T, Error>> + Send + Sync + 'static,
    {
        let (context, times, decide) = (Arc::clone(&self.context), Arc::clone(&self.times), Arc::new(decide));
        let (value, kept) = self
            .context
            .store
            .run_tx(name, move |tx| {
                let (context, times, decide) = (Arc::clone(&context), Arc::clone(&times), Arc::clone(&decide));
                Box::pin(async move {
                    let mut step = Step::load(&context, &times, tx, id).await?;
                    let value = decide(&mut step).await?;
                    Ok::<_, Error>((value, step.write().await?))
                })
            })
            .await?;
        if let Some(kept) = kept {
            self.follow(kept);
        }
        Ok(value)
    }

    /// Tells everybody what was kept.
    fn follow(&self, kept: Kept) {
        let Kept { view, anchor, over, left_work, published } = kept;
        let id = view.row.id;
        if let Some(anchor) = anchor {
            self.times.keep(id, anchor);
        }
        if let Some((task, version)) = published {
            tracing::info!(task = %task.id, %version, "a new model is published");
            self.tasks.put(task);
        }
        if over {
            self.context.watch.round_over(id, &view.round);
        }
        self.accept(view);
        self.context.alarm.notify_one();
        if left_work {
            self.context.work_left.notify_one();
        }
    }

    /// Takes a round that was just opened.
    pub(super) fn opened(&self, view: View, task: TaskRow) -> Arc<ActiveRound> {
        self.tasks.put(task);
        let active = self.accept(view);
        self.context.alarm.notify_one();
        active
    }
}

impl<'s> Step<'s> {
    async fn load(context: &'s Context, times: &Times, tx: &'s mut Tx, id: RoundId) -> Result<Self, Error> {
        let row = tx.lock_round(id).await?.ok_or(Error::UnknownRound)?;
        let View { row, round } = View::of(row)?;
        let time = times.step(context, tx, &row, &round).await?;
        if time.moved_ms != 0 {
            tx.shift_participants(id, time.moved_ms).await?;
        }
        let mut step = Self {
            tx,
            context,
            row,
            before: round.clone(),
            round,
            now: time.now,
            anchor: time.anchor,
            effects: Vec::new(),
            published: None,
        };
        if time.resumed {
            step.feed(Event::Resumed).await?;
        }
        Ok(step)
    }

    /// The round's row as it was loaded.
    pub(crate) fn row(&self) -> &RoundRow {
        &self.row
    }

    /// Feeds an event to the machine, and those that follow from it.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn feed(&mut self, event: Event) -> Result<(), Error> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let step = self.round.clone().handle(event, self.now);
            self.round = step.round;
            for effect in step.effects {
                match effect {
                    // The answers to the devices say it.
                    Effect::Admit { .. } | Effect::Refuse { .. } => {}
                    Effect::DropAbsent { unseen_since } => {
                        let gone = self.drop_absent(unseen_since).await?;
                        events.extend((0..gone).map(|_| Event::DeviceLeft { session: None, awaited: false }));
                    }
                    Effect::StartTraining => self.start_training().await?,
                    later => self.effects.push(later),
                }
            }
        }
        Ok(())
    }

    /// This step does work that is leased. Called before anything is written: what a lost lease has left undone stays so.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when somebody else has the work, or it is done.
    pub(crate) async fn done_with(&mut self, lease: &Lease) -> Result<(), Error> {
        if self.tx.finish_work(&lease.id, lease.token).await? { Ok(()) } else { Err(Error::LeaseLost) }
    }

    /// Publishes a model with this step.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Bug`] when the version is there.
    pub(crate) async fn publish(&mut self, model: &ModelRow, task: TaskRow) -> Result<(), Error> {
        if !self.tx.insert_model(model).await? {
            return Err(Error::Bug(format!("model {} of {} is there already", model.version, model.task)));
        }
        self.tx.update_task(&task).await?;
        self.published = Some(task);
        Ok(())
    }

    /// Forgets participants that were not heard of; how many.
    async fn drop_absent(&mut self, unseen_since: Timestamp) -> Result<u32, Error> {
        let recent = self.now.as_millis().saturating_sub(PRESENT.as_millis() as u64);
        let since = unseen_since.min(Timestamp::from_millis(recent));
        Ok(self.tx.delete_participants_unseen_since(self.row.id, since).await?)
    }

    async fn start_training(&mut self) -> Result<(), Error> {
        let id = self.row.id;
        let unknown = || Error::UnknownTask(self.row.task.to_string());
        let task = self.tx.task(&self.row.task).await?.ok_or_else(unknown)?;
        let (name, version) = (&self.row.task, self.row.base_version);
        let missing = || Error::UnknownModel { task: name.to_string(), version: version.0 };
        let base = self.tx.model(name, version).await?.ok_or_else(missing)?;
        let members = self.tx.participants(id).await?;
        match training::prepare(self.context, &task.config, &base, &self.round, &members) {
            Ok(Start { plan, config, signature, sessions, dealt }) => {
                for session in &sessions {
                    self.tx.insert_session(session).await?;
                }
                self.tx.assign_sessions(id, &dealt).await?;
                (self.row.plan, self.row.config) = (plan, config);
                self.row.signature = Bytes::copy_from_slice(&signature);
            }
            Err(error) => {
                tracing::error!(round = %id, %error, "training cannot start");
                let reason = Event::AbandonRequested { reason: error.to_string() };
                self.round = self.round.clone().handle(reason, self.now).round;
                // The sessions never came to be.
                self.round.sessions.clear();
                self.effects.push(Effect::EndRound);
            }
        }
        Ok(())
    }

    /// Writes what was decided. `None`: nothing was.
    async fn write(self) -> Result<Option<Kept>, Error> {
        let Self { tx, before, round, now, anchor, effects, published, mut row, .. } = self;
        let unheard = round.next_deadline().is_some()
            && row.looked_at.until(now).max(now.until(row.looked_at)) >= super::time::LOOKED;
        if round == before && effects.is_empty() && published.is_none() && anchor.is_none() && !unheard {
            return Ok(None);
        }
        // In the order in which messages hold them (`intake/keeper.rs`), so that no two transactions wait for each other.
        let mut sessions: Vec<&SessionProgress> = round.sessions.iter().collect();
        sessions.sort_unstable_by_key(|session| session.id);
        for new in sessions {
            // The start of training has inserted those that are new.
            let Some(old) = before.session(new.id) else { continue };
            if (old.stage, old.closing) != (new.stage, new.closing) {
                let gate = if new.closing { Gate::Closing } else { Gate::Open };
                tx.set_session_stage(new.id, new.stage, gate).await?;
            }
        }
        let over = round.phase.is_over() && !before.phase.is_over();
        row.revision += 1;
        round.phase.name().clone_into(&mut row.phase);
        row.state = state_text(&round)?;
        row.looked_at = now;
        if round.phase.is_over() {
            row.closed_at = Some(row.closed_at.unwrap_or(now));
        }
        tx.update_round(&row).await?;
        let mut left_work = false;
        for effect in &effects {
            if let Effect::EndSession { session } = effect {
                tx.delete_messages(*session).await?;
                tx.delete_uploads(*session).await?;
                tx.delete_segments(*session).await?;
            }
            if let Some(work) = work_of(row.id, effect) {
                left_work = true;
                tx.insert_work(&work, Timestamp::from_millis(0)).await?;
            }
        }
        tx.notify(CHANNEL, &row.id.to_string()).await?;
        let published = published.map(|task| {
            let version = task.current_version;
            (task, version)
        });
        Ok(Some(Kept { view: View { row, round }, anchor, over, left_work, published }))
    }
}

/// What an effect leaves to do; `None`: it is done with the step itself.
pub(crate) fn work_of(round: RoundId, effect: &Effect) -> Option<WorkRow> {
    let of = |kind, session, stage| Some(WorkRow { kind, round, session, stage, attempts: 0 });
    match *effect {
        Effect::CloseStage { session, stage } => of(WorkKind::CloseStage, Some(session), stage.number()),
        Effect::ReleaseSum { session } => of(WorkKind::ReleaseSum, Some(session), None),
        Effect::CommitModel => of(WorkKind::CommitModel, None, None),
        Effect::EndSession { session } => of(WorkKind::EndSession, Some(session), None),
        Effect::EndRound => of(WorkKind::EndRound, None, None),
        Effect::Admit { .. } | Effect::Refuse { .. } | Effect::DropAbsent { .. } | Effect::StartTraining => None,
    }
}
