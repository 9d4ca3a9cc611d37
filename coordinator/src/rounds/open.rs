//! Opening a round: by hand, or because the schedule says so. Of processes that try at the same time, the database lets one
//! through.

use std::sync::Arc;

use scale_clock::Timestamp;
use scale_proto::ids::{RoundId, TaskId};

use super::active::ActiveRound;
use super::active::View;
use super::known::{Rounds, state_text};
use super::step::CHANNEL;
use crate::error::Error;
use crate::noise;
use crate::round::{Round, Rules};
use crate::rows::{RoundRow, TaskState};

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

impl Rounds {
    /// Opens a task's next round.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::TaskNotActive`], [`Error::RoundOpen`], [`Error::Store`].
    pub(crate) async fn open(self: &Arc<Self>, task: &TaskId) -> Result<Arc<ActiveRound>, Error> {
        let (rounds, task) = (Arc::clone(self), task.clone());
        self.context.to_the_end(async move { rounds.open_now(task).await }).await
    }

    async fn open_now(self: &Arc<Self>, id: TaskId) -> Result<Arc<ActiveRound>, Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| Error::Bug(format!("no randomness: {error}")))?;
        let (rounds, round_id) = (Arc::clone(self), RoundId::from_random(random));
        let (view, task) = self
            .context
            .store
            .run_tx("open_round", move |tx| {
                let (rounds, id) = (Arc::clone(&rounds), id.clone());
                Box::pin(async move {
                    let context = &rounds.context;
                    let unknown = || Error::UnknownTask(id.to_string());
                    let mut task = tx.lock_task(&id).await?.ok_or_else(unknown)?;
                    if task.state != TaskState::Active {
                        return Err(Error::TaskNotActive { task: id.to_string(), state: task.state.as_str() });
                    }
                    if tx.open_round_of(&id).await?.is_some() {
                        return Err(Error::RoundOpen(id.to_string()));
                    }
                    let now = rounds.times.common(context, tx).await?;
                    let noise = noise::of(&task.config)?;
                    let rules = Rules::of(&task.config, &noise.mechanism, context.settings.clock_slack);
                    let number = round_number(task.next_round, now);
                    let round = Round::open(round_id, id.clone(), number, task.current_version, rules, now);
                    let row = RoundRow {
                        id: round_id,
                        task: id,
                        number,
                        phase: round.phase.name().into(),
                        base_version: round.base_version,
                        opened_at: now,
                        closed_at: None,
                        looked_at: now,
                        revision: 0,
                        state: state_text(&round)?,
                        plan: Default::default(),
                        config: Default::default(),
                        signature: Default::default(),
                    };
                    task.next_round = number.saturating_add(1);
                    task.last_opened_at = Some(now);
                    tx.insert_round(&row).await?;
                    tx.forget_advertised(&task.id, KEY_ROUNDS).await?;
                    tx.update_task(&task).await?;
                    tx.notify(CHANNEL, &round_id.to_string()).await?;
                    Ok((View { row, round }, task))
                })
            })
            .await?;
        tracing::info!(task = %task.id, round = %round_id, number = view.row.number, "a round opens");
        Ok(self.opened(view, task))
    }
}
