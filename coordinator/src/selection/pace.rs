//! When devices come again that were turned away: the more there are, the more widely they are spread.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use scale_clock::Timestamp;
use scale_proto::answer::Wait;
use scale_proto::ids::TaskId;

use crate::context::guard;
use crate::schedule::{pace, pace_finished};

/// By task; `None`: there was no task for the device.
#[derive(Default)]
pub(super) struct Pace(Mutex<HashMap<Option<TaskId>, Counter>>);

/// Devices that were turned away, counted by the minute.
#[derive(Debug, Default)]
struct Counter {
    minute: u64,
    now: u64,
    before: u64,
}

impl Counter {
    /// Counts one more and returns how many there are.
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

impl Pace {
    /// Turns a device away that asked for this task. `until`: when coming back may help.
    pub(super) fn turned_away(
        &self,
        task: &TaskId,
        now: Timestamp,
        until: Option<Duration>,
        code: &str,
        sentence: &str,
    ) -> Wait {
        let many = self.count(Some(task.clone()), now);
        Wait { retry: pace(until, many), code: code.into(), sentence: sentence.into() }
    }

    /// The device asks for tasks by name, and all of them have run all their rounds.
    pub(super) fn finished(&self, task: &TaskId, now: Timestamp) -> Wait {
        let many = self.count(Some(task.clone()), now);
        let sentence = format!("task {task} is finished: it has run all its rounds");
        Wait { retry: pace_finished(many), code: "task_finished".into(), sentence }
    }

    /// There is no task at all, or none that this device may train. One that takes any task hears of a new one soon.
    pub(super) fn no_task(&self, now: Timestamp) -> Wait {
        let sentence = "no task runs here at the moment that this device could take part in";
        Wait { retry: pace(None, self.count(None, now)), code: "no_task".into(), sentence: sentence.into() }
    }

    fn count(&self, task: Option<TaskId>, now: Timestamp) -> u64 {
        guard(&self.0).entry(task).or_default().count(now)
    }
}
