//! Training without a model: what comes out is known beforehand, and how long it takes.

use std::time::Duration;

use scale_fl_sdk::testing::Moves;
use serde::Deserialize;

/// What a test asks for: see [`Moves`].
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    by: f32,
    examples: u32,
    #[serde(default)]
    steps: u32,
    #[serde(default)]
    step_ms: f64,
}

impl Asked {
    pub(crate) fn trainer(self) -> Moves {
        let Self { by, examples, steps, step_ms } = self;
        let clock = || Duration::from_secs_f64(js_sys::Date::now() / 1000.0);
        Moves { by, examples, steps, step: Duration::from_secs_f64(step_ms / 1000.0), clock }
    }
}
