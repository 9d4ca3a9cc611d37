//! One listener to one job.

use std::sync::Arc;
use std::time::Duration;

use scale_records::domain::TrainingJob;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Event;

/// A job's events for one listener. A slow one gets the newest state and none of those in between, so that a listener
/// costs the same however slow it is.
#[derive(Debug)]
pub struct Subscription {
    latest: watch::Receiver<Arc<TrainingJob>>,
    seen: Option<u64>,
    idle: Duration,
}

impl Subscription {
    pub(super) fn new(latest: watch::Receiver<Arc<TrainingJob>>, last_event_id: Option<u64>, idle: Duration) -> Self {
        // An id that was never given out counts as the present one: nothing newer may be missed.
        let present = Event::from(latest.borrow().clone()).id;
        Self { latest, seen: last_event_id.map(|id| id.min(present)), idle }
    }

    /// Whether the listener has heard the last event of the job already.
    pub fn is_over(&self) -> bool {
        self.seen == Some(Event::LAST)
    }

    /// The next event. `None` after the last one, when the job is gone, and after the idle time without an event.
    pub async fn next(&mut self) -> Option<Event> {
        let idle_until = Instant::now() + self.idle;
        loop {
            if self.is_over() {
                return None;
            }
            let event = Event::from(self.latest.borrow_and_update().clone());
            if self.seen.is_none_or(|seen| event.id > seen) {
                self.seen = Some(event.id);
                return Some(event);
            }
            timeout_at(idle_until, self.latest.changed()).await.ok()?.ok()?;
        }
    }
}
