//! The rounds that a device has joined. Prevents a server from running one round twice (check C03) and enforces the
//! daily limit.

use std::collections::BTreeMap;
use std::time::Duration;

use scale_proto::ids::TaskId;
use scale_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The highest session number of each task, and the times of the rounds of the last 24 hours. Stored, sealed, before
/// the first message of a round leaves the device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    last: BTreeMap<TaskId, u64>,
    joined: Vec<Timestamp>,
}

impl History {
    /// Highest session number of `task` that this device has ever joined; 0 before the first.
    pub fn last_round(&self, task: &TaskId) -> u64 {
        self.last.get(task).copied().unwrap_or_default()
    }

    /// Number of rounds of all tasks joined in the 24 hours before `now`. Times after `now`, from a clock that was set
    /// back, count too.
    pub fn rounds_today(&self, now: Timestamp) -> u32 {
        self.joined.iter().filter(|at| at.until(now) < DAY).count() as u32
    }

    /// Records that session `number` of `task` is joined. Returns false, and changes nothing, if this number or a
    /// higher one was joined before.
    pub fn remember(&mut self, task: &TaskId, number: u64, now: Timestamp) -> bool {
        if self.last_round(task) >= number {
            return false;
        }
        self.last.insert(task.clone(), number);
        self.joined.retain(|at| at.until(now) < DAY);
        self.joined.push(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_only_rise_and_days_pass() {
        let (task, other): (TaskId, TaskId) = ("a".parse().expect("name"), "b".parse().expect("name"));
        let noon = Timestamp::from_millis(1_000_000_000);
        let mut history = History::default();
        assert_eq!(history.last_round(&task), 0);
        assert!(history.remember(&task, 7, noon));
        assert!(!history.remember(&task, 7, noon), "again after a restart");
        assert!(!history.remember(&task, 6, noon));
        assert!(history.remember(&other, 1, noon.plus(Duration::from_secs(60))));
        assert_eq!((history.last_round(&task), history.last_round(&other)), (7, 1));
        assert_eq!(history.rounds_today(noon.plus(Duration::from_secs(61))), 2);
        assert_eq!(history.rounds_today(noon.plus(DAY)), 1);
        assert_eq!(history.rounds_today(Timestamp::default()), 2, "a clock set back frees nothing");
        assert!(history.remember(&task, 8, noon.plus(2 * DAY)));
        assert_eq!(history.joined.len(), 1, "old times go");
    }
}
