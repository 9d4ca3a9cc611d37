//! The browser's clocks and timers.

use std::time::Duration;

use scale_client_core::host::Clock;
use scale_proto::time::Timestamp;

use crate::platform::{Platform, Timer};

#[derive(Debug)]
pub(crate) struct WorkerClock(pub(crate) Platform);

/// Stops the timer if the wait is over before its time, so that a long round leaves no timers behind.
struct Running(Timer);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Clock for WorkerClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(js_sys::Date::now() as u64)
    }

    fn steady(&self) -> Duration {
        Duration::from_secs_f64(self.0.steady() / 1000.0)
    }

    async fn sleep(&self, time: Duration) {
        // Timers count in whole milliseconds: rounded up, or the wait would end a moment too early.
        let timer = Running(self.0.start_timer((time.as_secs_f64() * 1000.0).ceil()));
        // A timer's promise is never rejected.
        let _over = timer.0.over().await;
    }

    async fn breathe(&self) {
        let _over = self.0.breathe().await;
    }
}
