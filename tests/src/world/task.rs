//! A task whose rounds an app can take part in: what is on top of the device trains bags of text.

use anyhow::Context as _;
use scale_proto::model::{Family, ModelSpec};
use scale_proto::plan::STATISTICS_LEN;
use scale_proto::privacy::Privacy;
use scale_proto::wire;
use serde_json::{Value, json};

use crate::round::small_task;

/// Grid units by which a step of [`Task::told`] moves a weight: far enough from the rounding of f32 to be exact.
const STEP_UNITS: u32 = 100;

/// One task.
#[derive(Debug)]
pub struct Task {
    /// Its name.
    pub(super) name: String,
    /// Names of the classes.
    pub(super) labels: Vec<String>,
    /// Devices of a round, none to spare.
    devices: u32,
    buckets: u32,
    dim: u32,
    epochs: u32,
    /// How long each stage waits for everybody.
    stage_ms: u64,
    /// How long a stage waits for the rest, once enough have answered.
    grace_ms: u64,
    privacy: Privacy,
}

impl Task {
    pub(super) fn read(order: &Value) -> anyhow::Result<Self> {
        let number = |field: &str, otherwise: u64| order[field].as_u64().unwrap_or(otherwise);
        let labels = order["labels"].as_array().context("`labels` is missing")?;
        let label = |label: &Value| Ok(label.as_str().context("a label is a text")?.to_owned());
        let stage_ms = number("stage_ms", 60_000);
        let privacy = match order["privacy"].as_str().unwrap_or("none") {
            "none" => Privacy::None,
            // The largest that the compiled limits of a device allow, for few rounds: these tests look at the way there.
            "example" => Privacy::Example { epsilon: 8.0, delta: 1e-6, rounds: 10, clip: 1.0 },
            other => anyhow::bail!("a task of the tests has the privacy `none` or `example`, not {other:?}"),
        };
        Ok(Self {
            name: order["name"].as_str().context("`name` is missing")?.to_owned(),
            labels: labels.iter().map(label).collect::<anyhow::Result<_>>()?,
            devices: u32::try_from(number("devices", 12))?,
            buckets: u32::try_from(number("buckets", 256))?,
            dim: u32::try_from(number("dim", 2))?,
            epochs: u32::try_from(number("epochs", 1))?,
            stage_ms,
            grace_ms: number("grace_ms", stage_ms),
            privacy,
        })
    }

    pub(super) fn model(&self) -> ModelSpec {
        let (buckets, dim) = (self.buckets, self.dim);
        let family = Family::TextBag { buckets, dim, ngram_min: 3, ngram_max: 4 };
        ModelSpec { labels: self.labels.clone(), family }
    }

    pub(super) fn config(&self) -> wire::TaskConfig {
        let mut config = small_task(self.devices, self.stage_ms);
        config.model = Some((&self.model()).into());
        if let Some(training) = &mut config.training {
            training.epochs = self.epochs;
            training.time_limit_ms = training.time_limit_ms.min(self.stage_ms);
        }
        if let Some(timing) = &mut config.timing {
            (timing.selecting_ms, timing.training_ms, timing.grace_ms) = (60_000, self.stage_ms, self.grace_ms);
        }
        config.privacy = Some((&self.privacy).into());
        config
    }

    /// What the test has to know: how far an app's trainer must move a weight for a whole number of grid units.
    pub(super) fn told(&self) -> Value {
        // As the coordinator lays the grid: its factor times the root of the dimension. The sum of a round says whether it
        // still does.
        let config = self.config().quantization.unwrap_or_default();
        let entries = self.model().flat_len() + STATISTICS_LEN;
        let grid = (f64::from(config.grid_factor) * (entries as f64).sqrt()).ceil();
        let step = f64::from(STEP_UNITS) * config.clip * (1.0 + 2f64.powi(-20)) / grid;
        let parameters = self.model().flat_len();
        json!({ "step": step, "units": STEP_UNITS, "parameters": parameters, "max_weight": 50, "dim": self.dim })
    }
}
