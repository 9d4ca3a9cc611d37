//! Functions of the library for phones that only a testing build has.

use std::sync::Arc;
use std::time::Duration;

use scale_client_core::app::App;
use scale_client_core::host::Clock as _;
use scale_client_core::host::native::SystemClock;

use super::{Moves, transcript};
use crate::phones::callbacks::ProgressListener;
use crate::phones::client::{NativeClient, Stop};
use crate::phones::error::ScaleError;
use crate::types::{Outcome, RunOptions};

/// Examples that a device of [`testing_participate`] says it has seen.
const EXAMPLES: u32 = 10;

/// Panics in a call that may throw.
#[uniffi::export]
pub fn testing_panic() -> Result<(), ScaleError> {
    panic!("a fault of the library, on purpose")
}

/// SHA-256 of all bytes that a device with this seed sends in two rounds in memory.
#[uniffi::export]
pub fn testing_transcript(seed: u32) -> Result<String, ScaleError> {
    Ok(transcript(seed))
}

#[uniffi::export]
impl NativeClient {
    /// Panics on the library's own threads.
    pub async fn testing_panic(&self) -> Result<(), ScaleError> {
        self.run(None, |_| async { panic!("a fault of the library, on purpose") }).await
    }

    /// Takes part with a trainer that adds `step` to the first weight, in `steps` steps of `step_ms` each, and says it has seen
    /// ten examples.
    pub async fn testing_participate(
        &self,
        step: f32,
        steps: u32,
        step_ms: u64,
        options: RunOptions,
        stop: Arc<Stop>,
        listener: Option<Arc<dyn ProgressListener>>,
    ) -> Result<Outcome, ScaleError> {
        let clock = || SystemClock.steady();
        let mut moves = Moves { by: step, examples: EXAMPLES, steps, step: Duration::from_millis(step_ms), clock };
        let participate = move |app: App<_>, options, cancel, mut told| async move {
            app.participate_with(options, &mut moves, &cancel, &mut told).await
        };
        self.take_part(options, stop, listener, participate).await
    }
}
