//! Effects that are more than rows. A step leaves them as work, in its own transaction; here one process at a time leases
//! each, does it, and removes it in the transaction that keeps its result. A process that dies, or comes back after its
//! lease has gone to another one, changes nothing.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | leasing, doing and repeating work |
//! | `close.rs` | the end of a stage |
//! | `unmask.rs` | the masks come off |
//! | `publish.rs` | the sums become the next model |
//! | `retention.rs` | what nobody needs any more is deleted |

mod close;
mod publish;
mod retention;
mod sums;
mod unmask;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::context::Context;
use crate::error::{Class, Error};
use crate::intake::Intake;
use crate::round::Event;
use crate::rounds::{ActiveRound, Lease, Rounds, decision};
use crate::rows::{LeaseToken, WorkKind, WorkRow};

/// Work that one process does at the same time.
const AT_ONCE: u32 = 4;
/// How often a process looks for work that others have left.
const LOOK: Duration = Duration::from_secs(1);
/// First and longest pause between tries when storage fails; each is twice the one before.
const PAUSE: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(30)];

/// The room of what follows from steps.
pub(crate) struct Effects {
    context: Arc<Context>,
    rounds: Arc<Rounds>,
    intake: Arc<Intake>,
}

impl Effects {
    pub(crate) fn new(rounds: Arc<Rounds>, intake: Arc<Intake>) -> Self {
        Self { context: Arc::clone(&rounds.context), rounds, intake }
    }

    /// Does whatever work is due, until the coordinator stops.
    pub(crate) async fn run(self: Arc<Self>) {
        let free = Arc::new(Semaphore::new(AT_ONCE as usize));
        while !self.context.stop.is_cancelled() {
            let leased = match self.lease(free.available_permits()).await {
                Ok(leased) => leased,
                Err(error) => {
                    tracing::warn!(%error, "work could not be leased; trying again");
                    Vec::new()
                }
            };
            let again = !leased.is_empty();
            for (work, lease) in leased {
                let permit = Arc::clone(&free).acquire_owned().await;
                let effects = Arc::clone(&self);
                self.context.tasks.spawn(async move {
                    effects.perform(&work, &lease).await;
                    drop(permit);
                    // There may be more of it.
                    effects.context.work_left.notify_one();
                });
            }
            if again {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.context.work_left.notified() => {}
                () = self.context.stop.cancelled() => {}
            }
        }
    }

    /// Takes work that is due, at most as much as there is room for.
    async fn lease(&self, room: usize) -> Result<Vec<(WorkRow, Lease)>, Error> {
        if room == 0 {
            return Ok(Vec::new());
        }
        let mut token = [0; 16];
        getrandom::fill(&mut token).map_err(|error| Error::Bug(format!("no randomness: {error}")))?;
        let (context, times) = (Arc::clone(&self.context), Arc::clone(&self.rounds.times));
        let (token, most) = (LeaseToken(token), u32::try_from(room).unwrap_or(AT_ONCE));
        let due = context.store.read("work_due", |tx| Box::pin(async move { Ok::<_, Error>(tx.next_work().await?) }));
        if due.await?.is_none() {
            return Ok(Vec::new());
        }
        let rows = self
            .context
            .store
            .run_tx("lease_work", move |tx| {
                let (context, times) = (Arc::clone(&context), Arc::clone(&times));
                Box::pin(async move {
                    let now = times.common(&context, tx).await?;
                    Ok::<_, Error>(tx.lease_work(token, now, now.plus(context.settings.lease), most).await?)
                })
            })
            .await?;
        Ok(rows.into_iter().map(|work| (work, Lease { id: work.id(), token })).collect())
    }

    /// Does work that is leased, and keeps the lease while it lasts.
    async fn perform(self: &Arc<Self>, work: &WorkRow, lease: &Lease) {
        let result = tokio::select! {
            result = self.try_perform(work, lease) => match result {
                // Its session was ended meanwhile, and what it works on is gone.
                Err(Error::Abandoned { .. }) => self.done(lease).await,
                result => result,
            },
            lost = self.keep_lease(lease) => Err(lost),
            () = self.context.stop.cancelled() => Err(Error::Stopping),
        };
        let Err(error) = result else { return };
        let round = work.round;
        let kind = work.kind.as_str();
        match error.class() {
            _ if matches!(error, Error::LeaseLost) => {
                tracing::info!(%round, kind, "another process has taken this work; nothing was changed here");
            }
            Class::Unavailable | Class::Exhausted => {
                if !matches!(error, Error::Stopping) {
                    tracing::warn!(%round, kind, attempt = work.attempts, %error, "storage fails; trying again");
                }
                self.give_back(work, lease).await;
            }
            _ => {
                tracing::error!(%round, kind, %error, "failed; the round is abandoned");
                if let Err(error) = self.abandon(work, lease).await {
                    tracing::warn!(%round, kind, %error, "the round could not be abandoned; trying again");
                    self.give_back(work, lease).await;
                }
            }
        }
    }

    async fn try_perform(self: &Arc<Self>, work: &WorkRow, lease: &Lease) -> Result<(), Error> {
        let Some(active) = self.rounds.get(work.round).await? else { return Err(Error::UnknownRound) };
        let session = || work.session.ok_or_else(|| Error::Bug(format!("work {} names no session", lease.id)));
        match work.kind {
            WorkKind::CloseStage => self.close_stage(&active, session()?, work.stage, lease).await,
            WorkKind::ReleaseSum => self.release_sum(&active, session()?, lease).await,
            WorkKind::CommitModel => self.commit_model(&active, lease).await,
            WorkKind::EndSession => self.end_session(&active, session()?, lease).await,
            WorkKind::EndRound => self.end_round(&active, lease).await,
        }
    }

    /// Holds the work for as long as this future is polled; ends when it is somebody else's.
    async fn keep_lease(&self, lease: &Lease) -> Error {
        loop {
            tokio::time::sleep(self.context.settings.lease / 3).await;
            let (context, times) = (Arc::clone(&self.context), Arc::clone(&self.rounds.times));
            let held = lease.clone();
            let extended = self.context.store.run_tx("keep_lease", move |tx| {
                let (context, times, held) = (Arc::clone(&context), Arc::clone(&times), held.clone());
                Box::pin(async move {
                    let until = times.common(&context, tx).await?.plus(context.settings.lease);
                    Ok::<_, Error>(tx.extend_lease(&held.id, held.token, until).await?)
                })
            });
            match extended.await {
                Ok(true) => {}
                Ok(false) => return Error::LeaseLost,
                // The lease may last; whoever has it by then is found out when the result is kept.
                Err(error) => tracing::debug!(id = lease.id, %error, "a lease could not be extended"),
            }
        }
    }

    async fn give_back(&self, work: &WorkRow, lease: &Lease) {
        let (context, times) = (Arc::clone(&self.context), Arc::clone(&self.rounds.times));
        let (held, pause) = (lease.clone(), pause(work.attempts));
        let returned = self.context.store.run_tx("return_work", move |tx| {
            let (context, times, held) = (Arc::clone(&context), Arc::clone(&times), held.clone());
            Box::pin(async move {
                let again = times.common(&context, tx).await?.plus(pause);
                Ok::<_, Error>(tx.return_work(&held.id, held.token, again).await?)
            })
        });
        if let Err(error) = returned.await {
            tracing::debug!(id = lease.id, %error, "work stays leased until its lease ends");
        }
        let left = Arc::clone(&self.context);
        // Sooner than the next regular look.
        self.context.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(pause) => left.work_left.notify_one(),
                () = left.stop.cancelled() => {}
            }
        });
    }

    async fn abandon(&self, work: &WorkRow, lease: &Lease) -> Result<(), Error> {
        let lease = lease.clone();
        let abandon = decision::<(), _>(move |step| {
            let lease = lease.clone();
            Box::pin(async move {
                step.done_with(&lease).await?;
                let reason = "the coordinator could not continue; its log says why".to_owned();
                step.feed(Event::AbandonRequested { reason }).await
            })
        });
        match self.rounds.step("abandon", work.round, abandon).await {
            Ok(()) | Err(Error::LeaseLost) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes work whose result is not in rows, or whose time is over.
    async fn done(&self, lease: &Lease) -> Result<(), Error> {
        let held = lease.clone();
        let done = self.context.store.run_tx("finish_work", move |tx| {
            let held = held.clone();
            Box::pin(async move { Ok::<_, Error>(tx.finish_work(&held.id, held.token).await?) })
        });
        if done.await? { Ok(()) } else { Err(Error::LeaseLost) }
    }

    /// Feeds the result of work to its round, in the transaction that removes the work.
    async fn report(&self, active: &ActiveRound, name: &'static str, lease: &Lease, event: Event) -> Result<(), Error> {
        let lease = lease.clone();
        let report = decision::<(), _>(move |step| {
            let (lease, event) = (lease.clone(), event.clone());
            Box::pin(async move {
                step.done_with(&lease).await?;
                step.feed(event).await
            })
        });
        self.rounds.step(name, active.id, report).await
    }
}

/// How long to wait before the next try.
fn pause(attempts: u32) -> Duration {
    PAUSE[0].saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(PAUSE[1])
}
