//! The report of the privacy ledger.

use scale_client_core::device;
use serde::Serialize;

use super::Epsilons;

/// How a round protected the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Enum))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// Secure aggregation only: no epsilon can be claimed.
    WithoutNoise,
    /// The noise of many devices together.
    Distributed,
    /// The device's own noise, which protects even from those who see the upload.
    Local,
    /// Noise on the gradients of single examples; no epsilon is claimed for the user as a person.
    Examples,
    /// The record is damaged and counts as the largest cost that one round may have.
    Damage,
}

/// Facts about the round of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Participation {
    /// Id of the round.
    pub round: String,
    /// SHA-256 of the model that was trained, as hex.
    pub model: String,
    /// Version of the model that was trained.
    pub version: u64,
    /// Number of participants.
    pub cohort: u32,
    /// Smallest number of survivors for which a sum is released.
    pub survivors_min: u32,
}

/// The record of one participation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Position in the ledger.
    pub sequence: u64,
    /// When its cost was reserved; null if the record is damaged.
    pub time: Option<u64>,
    /// The same as a date in UTC, such as `2027-01-15`.
    pub date: Option<String>,
    /// Task of the round; null if the record is damaged.
    pub task: Option<String>,
    /// Session number within the task.
    pub number: Option<u64>,
    /// Id of the privacy policy that the task named.
    pub policy: Option<String>,
    /// Model, cohort and round; null if the facts stored about them are missing.
    pub participation: Option<Participation>,
    /// SHA-256 of the upload, as hex; null if nothing was sent, in which case the cost counts nevertheless.
    pub sent: Option<String>,
    /// How the round protected the user.
    pub protection: Protection,
    /// Number of honest devices that must have finished the round for its epsilon to hold; null without noise on the update.
    pub assumes_honest: Option<u32>,
    /// Upper bounds on what this round reveals.
    pub epsilon: Epsilons,
    /// Upper bounds on what all rounds up to and including this one reveal.
    pub total: Epsilons,
    /// A summary, for the user.
    pub sentence: String,
}

/// The report of the user's privacy ledger.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct PrivacyReport {
    /// When the report was created.
    pub time: u64,
    /// False after a reset: there was further spending before it, of unknown size.
    pub past_known: bool,
    /// The unit of privacy: `person`. The epsilon for examples protects one training example instead.
    pub unit: String,
    /// The neighboring inputs that are compared: `zeros_instead`, the user's update or zeros in its place.
    pub neighbors: String,
    /// The delta of every epsilon here.
    pub delta: f64,
    /// Total cost since the ledger began.
    pub lifetime: Epsilons,
    /// Budget of the ledger's lifetime.
    pub lifetime_limit: Epsilons,
    /// Cost in the current period.
    pub period: Epsilons,
    /// Budget of one period.
    pub period_limit: Epsilons,
    /// When the next period begins.
    pub refills: u64,
    /// The same as a date in UTC.
    pub refills_date: String,
    /// Number of participations without any noise.
    pub rounds_without_noise: u64,
    /// Number of participations whose noise protects single training examples only.
    pub rounds_for_examples_only: u64,
    /// Number of unreadable records.
    pub damaged_records: u64,
    /// Every participation, oldest first.
    pub receipts: Vec<Receipt>,
    /// The assumptions behind the numbers, for the user.
    pub assumptions: Vec<String>,
    /// A summary, for the user.
    pub summary: String,
}

impl From<device::Protection> for Protection {
    fn from(protection: device::Protection) -> Self {
        match protection {
            device::Protection::WithoutNoise => Self::WithoutNoise,
            device::Protection::Distributed => Self::Distributed,
            device::Protection::Local => Self::Local,
            device::Protection::Examples => Self::Examples,
            device::Protection::Damage => Self::Damage,
        }
    }
}

impl From<device::Participation> for Participation {
    fn from(of: device::Participation) -> Self {
        let (round, version) = (of.round.to_string(), of.version.0);
        Self { round, model: of.model, version, cohort: of.cohort, survivors_min: of.survivors_min }
    }
}

impl From<device::Receipt> for Receipt {
    fn from(of: device::Receipt) -> Self {
        Self {
            sequence: of.sequence,
            time: of.time.map(|time| time.as_millis()),
            date: of.date,
            task: of.task,
            number: of.number,
            policy: of.policy,
            participation: of.participation.map(Participation::from),
            sent: of.sent,
            protection: of.protection.into(),
            assumes_honest: of.assumes_honest,
            epsilon: of.epsilon.into(),
            total: of.total.into(),
            sentence: of.sentence,
        }
    }
}

impl From<device::PrivacyReport> for PrivacyReport {
    fn from(of: device::PrivacyReport) -> Self {
        Self {
            time: of.time.as_millis(),
            past_known: of.past_known,
            unit: of.unit.to_owned(),
            neighbors: of.neighbors.to_owned(),
            delta: of.delta,
            lifetime: of.lifetime.into(),
            lifetime_limit: of.lifetime_limit.into(),
            period: of.period.into(),
            period_limit: of.period_limit.into(),
            refills: of.refills.as_millis(),
            refills_date: of.refills_date,
            rounds_without_noise: of.rounds_without_noise,
            rounds_for_examples_only: of.rounds_for_examples_only,
            damaged_records: of.damaged_records,
            receipts: of.receipts.into_iter().map(Receipt::from).collect(),
            assumptions: of.assumptions,
            summary: of.summary,
        }
    }
}
