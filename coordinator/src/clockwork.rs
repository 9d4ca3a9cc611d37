//! What happens by itself: the regular look at open rounds, deadlines, openings, and word from other processes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use scale_sql::{Heard, Listener};
use tokio::time::Instant;

use crate::context::{Context, guard};
use crate::effects::Effects;
use crate::error::{Class, Error};
use crate::intake::Intake;
use crate::round::{Event, SessionStage};
use crate::rounds::{ActiveRound, CHANNEL, Rounds, decision, is_selecting, work_of};
use crate::rows::TaskState;
use crate::schedule::{Opening, next_opening};
use crate::selection::Selection;

/// The alarm is set no further ahead; schedules go by the wall clock, which may be set while it sleeps.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// Where other processes work on the same rows, they are read at least this often; being told is only faster.
const REFRESH: Duration = Duration::from_secs(1);
/// Between two looks at least, so that answers that come close together are counted together.
const REST: Duration = Duration::from_millis(10);
/// Between two looks at most while this process keeps a step's time.
const BEAT: Duration = Duration::from_millis(500);
/// Devices that wait for the end of selection are noted in their rows this often.
const NOTE: Duration = Duration::from_secs(20);
/// What a process that died has left among the staged uploads is looked for this often, where there are several.
const SWEEP: Duration = Duration::from_secs(3600);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps time.
pub(crate) struct Clockwork {
    context: Arc<Context>,
    rounds: Arc<Rounds>,
    selection: Arc<Selection>,
    intake: Arc<Intake>,
    effects: Arc<Effects>,
    done: Mutex<Done>,
}

/// When things were done last.
#[derive(Debug, Default)]
struct Done {
    refreshed: Option<Instant>,
    noted: Option<Instant>,
    swept: Option<Instant>,
}

impl Clockwork {
    pub(crate) fn new(
        rounds: Arc<Rounds>,
        selection: Arc<Selection>,
        intake: Arc<Intake>,
        effects: Arc<Effects>,
    ) -> Self {
        Self { context: Arc::clone(&rounds.context), rounds, selection, intake, effects, done: Mutex::default() }
    }

    /// Goes on with what was under way when the last process ended.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Blob`], [`Error::Folder`].
    pub(crate) async fn resume(&self) -> Result<(), Error> {
        let alone = !self.context.settings.replicas;
        self.rounds.refresh().await?;
        if alone {
            let ended = self
                .context
                .store
                .run_tx("end_leases", |tx| Box::pin(async move { Ok::<_, Error>(tx.end_leases().await?) }));
            ended.await?;
            self.effects.sweep().await?;
        }
        for active in self.rounds.known() {
            tracing::info!(round = %active.id, phase = active.view().round.phase.name(), "goes on");
            if let Err(error) = self.resume_round(&active, alone).await {
                self.failed(&active, error).await?;
            }
        }
        self.tick_now().await.map(drop)
    }

    async fn resume_round(&self, active: &Arc<ActiveRound>, alone: bool) -> Result<(), Error> {
        // Rounds of builds that kept no work in rows.
        let pending = active.view().round.pending();
        let work: Arc<[_]> = pending.iter().filter_map(|effect| work_of(active.id, effect)).collect();
        let resume = decision::<(), _>(move |step| {
            let work = Arc::clone(&work);
            Box::pin(async move {
                for work in work.iter() {
                    step.tx.insert_work(work, scale_clock::Timestamp::default()).await?;
                }
                if alone { step.feed(Event::Resumed).await } else { Ok(()) }
            })
        });
        self.rounds.step("resume", active.id, resume).await?;
        if alone {
            for progress in &active.view().round.sessions {
                if progress.stage == SessionStage::MaskedInput {
                    let fixed = self.rounds.fixed(active).await?;
                    let secure = fixed.sessions.get(&progress.id).ok_or(Error::UnknownSession)?;
                    self.intake.adopt(active, secure).await?;
                }
            }
        }
        Ok(())
    }

    /// Keeps time until the coordinator stops.
    pub(crate) async fn run(self: Arc<Self>) {
        if self.context.settings.replicas {
            let clockwork = Arc::clone(&self);
            self.context.tasks.spawn(async move { clockwork.hear_others().await });
        }
        while !self.context.stop.is_cancelled() {
            let began = Instant::now();
            let sleep = match self.tick().await {
                Ok(next) => next.unwrap_or(LONGEST_SLEEP).min(self.longest_sleep()),
                Err(error) => {
                    tracing::warn!(%error, "deadlines could not be kept; trying again");
                    PAUSE
                }
            };
            // Looking takes no more than a half of this process's time.
            let rest = REST.max(began.elapsed());
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = self.context.stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(sleep.saturating_sub(rest)) => {}
                () = self.context.alarm.notified() => {}
                () = self.context.stop.cancelled() => {}
            }
        }
    }

    fn longest_sleep(&self) -> Duration {
        if self.context.settings.replicas {
            return REFRESH;
        }
        // The wall clock may be set at any time, and an open round wants to know.
        let open = self.rounds.known().iter().any(|active| active.view().round.next_deadline().is_some());
        if open { BEAT } else { LONGEST_SLEEP }
    }

    /// Listens to other processes, from the moment on at which the database answers.
    async fn hear_others(&self) {
        while !self.context.stop.is_cancelled() {
            match self.context.store.database().listen(CHANNEL).await {
                Ok(Some(listener)) => return self.listen(listener).await,
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%error, "other processes are not heard yet; the rows are read all the same")
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.context.stop.cancelled() => {}
            }
        }
    }

    async fn listen(&self, mut listener: Listener) {
        loop {
            let heard = tokio::select! {
                heard = listener.next() => heard,
                () = self.context.stop.cancelled() => return,
            };
            let told = match heard {
                Heard::Payload(round) => match round.parse() {
                    Ok(id) => self.rounds.read(id).await.map(drop),
                    Err(_) => Ok(()),
                },
                Heard::Gap => self.rounds.refresh().await,
            };
            if let Err(error) = told {
                tracing::debug!(%error, "what was told of could not be read; the next look reads it");
            }
            self.context.alarm.notify_one();
            self.context.work_left.notify_one();
        }
    }

    /// Does what is due, whatever was done a moment ago.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn tick_now(&self) -> Result<Option<Duration>, Error> {
        {
            let mut done = guard(&self.done);
            *done = Done { swept: done.swept, ..Done::default() };
        }
        self.tick().await
    }

    /// Looks at rounds and opens those that are due. Returns how long nothing is due.
    async fn tick(&self) -> Result<Option<Duration>, Error> {
        let answered = self.context.take_answered();
        let refreshed = self.refresh().await?;
        let mut next: Option<Duration> = None;
        let mut wait = |time: Duration| next = Some(next.map_or(time, |next| next.min(time)));
        for active in self.rounds.known() {
            let view = active.view();
            self.intake.follow(&view.round);
            if view.round.phase.is_over() {
                continue;
            }
            let now = self.rounds.times.now(&*self.context.clock, active.id);
            if is_selecting(&view.round) && view.round.next_deadline().is_some_and(|deadline| deadline <= now) {
                // Before the machine asks who is absent.
                self.selection.note_waiting(active.id).await?;
            }
            let sending = self.intake.still_sending(&view.round, now);
            let count = refreshed || answered.contains(&active.id);
            match self.rounds.look(&active, &sending, count).await {
                Ok(Some(due)) => wait(due),
                Ok(None) => {}
                Err(error) => self.failed(&active, error).await?,
            }
            self.intake.follow(&active.view().round);
        }
        self.open_due(&mut wait).await?;
        Ok(next)
    }

    async fn open_due(&self, wait: &mut impl FnMut(Duration)) -> Result<(), Error> {
        for task in self.rounds.tasks.all().into_iter().filter(|task| task.state == TaskState::Active) {
            if self.rounds.open_of(&task.id).is_some() {
                continue;
            }
            let now = self.context.now();
            match next_opening(&task.config.schedule, task.created_at, task.last_opened_at, now) {
                Opening::Now => match self.rounds.open(&task.id).await {
                    // Somebody else was faster, or paused it.
                    Ok(_) | Err(Error::RoundOpen(_) | Error::TaskNotActive { .. }) => {}
                    Err(error) => return Err(error),
                },
                Opening::At(moment) => wait(now.until(moment)),
                Opening::Never => {}
            }
        }
        Ok(())
    }

    /// Reads what others have written, if it is time. Whether it was.
    async fn refresh(&self) -> Result<bool, Error> {
        let is_due = |last: Option<Instant>, every: Duration| last.is_none_or(|last| last.elapsed() >= every);
        let (refresh, note, sweep) = {
            let done = guard(&self.done);
            (is_due(done.refreshed, REFRESH), is_due(done.noted, NOTE), is_due(done.swept, SWEEP))
        };
        if refresh {
            self.rounds.refresh().await?;
            guard(&self.done).refreshed = Some(Instant::now());
        }
        if note {
            for round in self.selection.awaited() {
                self.selection.note_waiting(round).await?;
            }
            guard(&self.done).noted = Some(Instant::now());
        }
        if self.context.settings.replicas && sweep {
            self.effects.sweep_staged().await?;
            guard(&self.done).swept = Some(Instant::now());
        }
        Ok(refresh)
    }

    /// A round whose rows contradict each other cannot go on; it must not keep the others from going on.
    async fn failed(&self, active: &ActiveRound, error: Error) -> Result<(), Error> {
        match error {
            Error::Bug(_) => {
                tracing::error!(round = %active.id, %error, "the round cannot go on and is abandoned");
                self.rounds.quarantine(active.id).await
            }
            // What another process has just ended, for example: the next look finds it so.
            error if !matches!(error.class(), Class::Unavailable | Class::Exhausted) => {
                tracing::warn!(round = %active.id, %error, "the round is looked at again later");
                Ok(())
            }
            error => Err(error),
        }
    }
}
