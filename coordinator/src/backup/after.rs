//! What is different after a restore: what the fleet refuses, and what no row knows any more.

use std::collections::BTreeMap;
use std::time::Duration;

use scale_clock::Timestamp;
use scale_proto::ids::{ModelVersion, TaskId};

use super::Error;
use crate::noise;
use crate::registry::account;
use crate::spent::Cost;
use crate::store::Tx;

/// Seconds that pass before anything starts on what was restored: a lead of so little is none.
const SOON: u64 = 2;

/// What an operator has to know of a restored coordinator.
#[derive(Clone, Debug, PartialEq)]
pub struct After {
    /// When the backup was made.
    pub made_at: Timestamp,
    /// The clock that numbers of rounds are taken from: the database's where it has one.
    pub now: Timestamp,
    /// Every task.
    pub tasks: Vec<TaskAfter>,
    /// Rounds that were open in the backup, and go on.
    pub open_rounds: Vec<OpenRound>,
}

/// A task after a restore.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskAfter {
    /// The task.
    pub task: TaskId,
    /// The version that is served again.
    pub version: ModelVersion,
    /// Its account, as far as the backup knows it, raised as it was asked for.
    pub spent: Cost,
    /// Rounds that were added to the account.
    pub added: u32,
    /// Whether devices take the next rounds' numbers.
    pub numbers: Numbers,
}

/// A round that was open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRound {
    /// Its task.
    pub task: TaskId,
    /// Its number.
    pub number: u64,
    /// Where it was.
    pub phase: String,
}

/// Whether numbers of new rounds are higher than those of rounds that opened after the backup (ADR 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// They are: the present second is later than any of those rounds.
    Rise,
    /// The clock is behind the backup's own time by so much: they may be lower, and devices refuse those.
    ClockBehind(Duration),
    /// The task's numbers had run ahead of the clock by so much, so those rounds counted on by one, and so do the next
    /// ones: devices refuse as many as there were.
    Ahead(Duration),
}

impl Numbers {
    /// For a task whose next round had at least number `next`.
    pub(super) fn of(made_at: Timestamp, now: Timestamp, next: u64) -> Self {
        let behind = now.until(made_at);
        if behind > Duration::ZERO {
            return Self::ClockBehind(behind);
        }
        match next.saturating_sub(now.as_millis() / 1000) {
            ..=SOON => Self::Rise,
            ahead => Self::Ahead(Duration::from_secs(ahead)),
        }
    }
}

/// Reads it from the restored rows, before they are kept.
pub(super) async fn read(
    tx: &mut Tx,
    made_at: Timestamp,
    now: Timestamp,
    lost: &BTreeMap<TaskId, u32>,
) -> Result<After, Error> {
    let now = tx.server_millis().await?.map_or(now, Timestamp::from_millis);
    let mut tasks = Vec::new();
    for row in tx.tasks().await? {
        let spent = account(tx, &row).await?.cost(&row.config.privacy);
        let numbers = Numbers::of(made_at, now, row.next_round);
        let added = lost.get(&row.id).copied().unwrap_or(0);
        tasks.push(TaskAfter { task: row.id, version: row.current_version, spent, added, numbers });
    }
    let open = tx.open_rounds().await?.into_iter();
    let open_rounds = open.map(|row| OpenRound { task: row.task, number: row.number, phase: row.phase }).collect();
    Ok(After { made_at, now, tasks, open_rounds })
}

/// Adds rounds that no row tells of to a task's account.
pub(super) async fn charge(tx: &mut Tx, id: &TaskId, rounds: u32) -> Result<(), Error> {
    let task = tx.lock_task(id).await?.ok_or_else(|| Error::UnknownTask(id.to_string()))?;
    let mut spent = account(tx, &task).await?;
    let noise = noise::of(&task.config).map_err(crate::Error::from)?;
    for _ in 0..rounds {
        spent.charge_round(noise.mechanism, noise.grid, noise::dim(&task.config));
    }
    Ok(tx.set_spent(id, task.current_version, &spent).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_unless_the_clock_is_behind_them() {
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        let (made, next) = (at(1_000), 900);
        assert_eq!(Numbers::of(made, at(1_001), next), Numbers::Rise);
        assert_eq!(Numbers::of(made, at(1_000), next), Numbers::Rise);
        assert_eq!(Numbers::of(made, at(1_000), 1_001), Numbers::Rise, "a round that opened just before the backup");
        assert_eq!(Numbers::of(made, at(940), next), Numbers::ClockBehind(Duration::from_secs(60)));
        assert_eq!(Numbers::of(made, at(1_001), 5_001), Numbers::Ahead(Duration::from_secs(4_000)));
    }
}
