//! Examples, and predictions for lines of text.

use scale_client_core::{app, examples};
use scale_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A labeled line of text.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The app's own id: a later example with the same id replaces this one. At most 128 bytes.
    pub id: String,
    /// The line, at most 512 bytes.
    pub text: String,
    /// Name of the class, at most 64 bytes.
    pub label: String,
    /// When the example became known; its age counts from here. Without it: the time of its last change in this store.
    #[serde(default, deserialize_with = "super::whole")]
    #[cfg_attr(test, ts(optional))]
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub time: Option<u64>,
}

impl From<Example> for examples::TextExample {
    fn from(example: Example) -> Self {
        let Example { id, text, label, time } = example;
        Self { id, text, label, time: time.map(Timestamp::from_millis) }
    }
}

/// What `put` did. Each example is counted once; of several with the same id only the last counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct PutSummary {
    /// New ids.
    pub added: u32,
    /// Ids whose text, label or time has changed.
    pub replaced: u32,
    /// Examples that were already stored as given.
    pub unchanged: u32,
    /// Examples beyond the limits, given now or earlier: too old, or the oldest of too many. They are deleted.
    pub dropped: u32,
}

impl From<examples::PutSummary> for PutSummary {
    fn from(summary: examples::PutSummary) -> Self {
        let examples::PutSummary { added, replaced, unchanged, dropped } = summary;
        Self { added, replaced, unchanged, dropped }
    }
}

/// The prediction for one line.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Prediction {
    /// The most probable labels, in decreasing order of probability.
    pub top: Vec<Scored>,
}

/// A label with its probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Scored {
    /// Name of the class.
    pub label: String,
    /// 0 to 1; those of all labels add up to 1.
    pub probability: f32,
}

impl From<app::Prediction> for Prediction {
    fn from(prediction: app::Prediction) -> Self {
        let scored = |app::Scored { label, probability }| Scored { label, probability };
        Self { top: prediction.top.into_iter().map(scored).collect() }
    }
}
