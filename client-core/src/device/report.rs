//! The privacy report for the user: every participation in the privacy ledger, its cost, and the assumptions behind
//! these numbers.

use scale_privacy::ledger::{self, Epsilon, Epsilons, Ledger};
use scale_privacy::plan::{PRIVATE_UP_TO, Trust};
use scale_proto::ids::{Digest, ModelVersion, RoundId, TaskId};
use scale_proto::time::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use super::date::date;
use super::{Contribution, Round};

/// The facts about a round that the ledger itself does not contain. Stored, sealed, before the round's cost is reserved
/// in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Participation {
    /// Task of the round.
    pub task: TaskId,
    /// Session number within the task, rising with every session.
    pub number: u64,
    /// Id of the round.
    pub round: RoundId,
    /// SHA-256 of the model that was trained, as hex, because it is part of the exported report.
    pub model: String,
    /// Version of the model that was trained.
    pub version: ModelVersion,
    /// Number of participants of the session.
    pub cohort: u32,
    /// Smallest number of survivors for which a sum is released.
    pub survivors_min: u32,
}

impl Participation {
    pub(super) fn of(round: &Round, cohort: u32) -> Self {
        let (manifest, config) = (round.manifest(), round.config());
        Self {
            task: round.task().clone(),
            number: config.round,
            round: manifest.round,
            model: Digest(config.model_digest).hex(),
            version: manifest.model_version,
            cohort,
            survivors_min: config.survivors_min(),
        }
    }
}

/// How a round protected the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// Secure aggregation only: no noise, so no epsilon can be claimed.
    WithoutNoise,
    /// The noise of many devices together. It protects as long as secure aggregation reveals nothing but the sum.
    Distributed,
    /// The device's own noise, which protects even from those who see the upload.
    Local,
    /// Noise on the gradients of single examples; no epsilon is claimed for the user as a person.
    Examples,
    /// Unknown: the record is damaged and counts as the largest cost that one round may have.
    Damage,
}

/// The record of one participation, with its cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Receipt {
    /// Position in the ledger, as the ledger numbers its receipts.
    pub sequence: u64,
    /// When its cost was reserved, in Unix milliseconds; `None` if the record is damaged.
    pub time: Option<Timestamp>,
    /// [`Self::time`] as a date in UTC, such as `2027-01-15`.
    pub date: Option<String>,
    /// Task of the round; `None` if the record is damaged.
    pub task: Option<String>,
    /// Session number within the task, rising with every session.
    pub number: Option<u64>,
    /// Id of the privacy policy that the task named.
    pub policy: Option<String>,
    /// Model, cohort and round; `None` if the facts stored about them are missing.
    pub participation: Option<Participation>,
    /// SHA-256 of the upload, as hex; `None` if nothing was sent, in which case the cost counts nevertheless.
    pub sent: Option<String>,
    /// How the round protected the user.
    pub protection: Protection,
    /// Number of honest devices that must have finished the round for its epsilon to hold; `None` without noise on the
    /// update.
    pub assumes_honest: Option<u32>,
    /// Upper bounds on what this round reveals.
    #[serde(serialize_with = "epsilons")]
    pub epsilon: Epsilons,
    /// Upper bounds on what all rounds up to and including this one reveal.
    #[serde(serialize_with = "epsilons")]
    pub total: Epsilons,
    /// A summary of this record, as text for the user.
    pub sentence: String,
}

/// The privacy report. [`Self::to_json`] exports it. There an epsilon is a number, or the string `no_bound`, which no
/// program mistakes for a small number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PrivacyReport {
    /// When the report was created, in Unix milliseconds.
    pub time: Timestamp,
    /// False after a reset: there was further spending before it, of unknown size.
    pub past_known: bool,
    /// The unit of privacy: `person`. The epsilon for examples protects one training example instead.
    pub unit: &'static str,
    /// The neighboring inputs that are compared: `zeros_instead`, which is the user's update or zeros in its place. The
    /// local epsilon compares any two updates.
    pub neighbors: &'static str,
    /// The delta of every epsilon here.
    pub delta: f64,
    /// Total cost since the ledger began; it never decreases. A single round without a bound leaves the total without
    /// one.
    #[serde(serialize_with = "epsilons")]
    pub lifetime: Epsilons,
    /// Budget of the ledger's lifetime.
    #[serde(serialize_with = "epsilons")]
    pub lifetime_limit: Epsilons,
    /// Cost in the current period.
    #[serde(serialize_with = "epsilons")]
    pub period: Epsilons,
    /// Budget of one period.
    #[serde(serialize_with = "epsilons")]
    pub period_limit: Epsilons,
    /// When the next period begins, in Unix milliseconds.
    pub refills: Timestamp,
    /// [`Self::refills`] as a date in UTC.
    pub refills_date: String,
    /// Number of participations without any noise.
    pub rounds_without_noise: u64,
    /// Number of participations whose noise protects single training examples, not the user as a person.
    pub rounds_for_examples_only: u64,
    /// Number of unreadable records. Each counts as the largest cost that one round with noise may have.
    pub damaged_records: u64,
    /// Every participation, oldest first.
    pub receipts: Vec<Receipt>,
    /// The assumptions behind the numbers, as sentences for the user.
    pub assumptions: Vec<String>,
    /// A summary of the report, as text for the user.
    pub summary: String,
}

impl PrivacyReport {
    /// Creates the report from the ledger and the stored facts about its rounds.
    pub(super) fn new(ledger: &Ledger, notes: &[Participation], now: Timestamp) -> Self {
        let exposure = ledger.exposure(now.as_millis());
        let receipts: Vec<_> = ledger.receipts().into_iter().map(|receipt| Receipt::new(receipt, notes)).collect();
        let count = |what| receipts.iter().filter(|receipt| receipt.protection == what).count() as u64;
        let refills = Timestamp::from_millis(exposure.refills_ms);
        let mut this = Self {
            time: now,
            past_known: exposure.past_known,
            unit: "person",
            neighbors: "zeros_instead",
            delta: exposure.delta,
            lifetime: exposure.lifetime,
            lifetime_limit: exposure.lifetime_limit.into(),
            period: exposure.period,
            period_limit: exposure.period_limit.into(),
            refills,
            refills_date: date(refills),
            rounds_without_noise: count(Protection::WithoutNoise),
            rounds_for_examples_only: count(Protection::Examples),
            damaged_records: count(Protection::Damage),
            assumptions: assumptions(exposure.delta),
            summary: String::new(),
            receipts,
        };
        this.summary = this.words();
        this
    }

    /// The record of the round that this contribution went into; `None` if the report is older, or was reset since.
    pub fn receipt_of(&self, contribution: &Contribution) -> Option<&Receipt> {
        let of_round = |receipt: &&Receipt| {
            receipt.task.as_deref() == Some(contribution.task.as_str()) && receipt.number == Some(contribution.number)
        };
        self.receipts.iter().rev().find(of_round)
    }

    /// The report as JSON, for the user to keep or share.
    pub fn to_json(&self) -> String {
        // Plain data with string keys.
        serde_json::to_string_pretty(self).expect("plain data")
    }

    /// The summary. Its first sentence says how much all rounds together reveal about the user.
    fn words(&self) -> String {
        let mut text = String::new();
        let (aggregate, local) = (self.lifetime.aggregate, self.lifetime.local);
        let since = if self.past_known { "so far" } else { "since the ledger was reset" };
        match self.receipts.len() {
            0 if self.past_known => text += "This device has taken part in no round.",
            0 => text += "This device has taken part in no round since the ledger was reset.",
            count => match (aggregate, local) {
                (Epsilon::AtMost(_), Epsilon::AtMost(_)) => {
                    text += &format!(
                        "{count} participation(s) {since}: a party that sees only the sums learns at most epsilon \
                         {aggregate} about you; if secure aggregation failed, your uploads alone reveal at most \
                         epsilon {local}."
                    );
                }
                _ => {
                    text += &format!(
                        "{count} participation(s) {since}, with no bound on what they reveal about you as a person: no \
                         epsilon can be claimed for you."
                    );
                }
            },
        }
        if self.rounds_without_noise > 0 {
            text += &format!(
                " {} of them carried no noise: in those, secure aggregation alone protected you.",
                self.rounds_without_noise
            );
        }
        if self.rounds_for_examples_only > 0 {
            text += &format!(
                " {} of them carried noise that protects single training examples, not you as a person",
                self.rounds_for_examples_only
            );
            text += &match self.lifetime.example {
                Epsilon::AtMost(example) => format!(": at most epsilon {example:.2} for each example."),
                Epsilon::NoBound => {
                    "; other rounds carried no such noise, so there is no bound for an example either.".to_owned()
                }
            };
        }
        if self.damaged_records > 0 {
            text += &format!(
                " {} record(s) could not be read and count as the largest cost of one round with noise; if such a \
                 round had no noise, there is no bound.",
                self.damaged_records
            );
        }
        if !self.past_known {
            text += " The ledger was reset: the cost of earlier rounds is unknown.";
        }
        text
    }
}

/// Serializes each epsilon as a number or as `no_bound`. Not as null, which some languages read as 0.
fn epsilons<S: Serializer>(epsilons: &Epsilons, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Figure {
        AtMost(f64),
        Word(&'static str),
    }
    #[derive(Serialize)]
    struct Figures {
        aggregate: Figure,
        local: Figure,
        example: Figure,
    }
    let figure = |epsilon| match epsilon {
        Epsilon::AtMost(epsilon) => Figure::AtMost(epsilon),
        Epsilon::NoBound => Figure::Word("no_bound"),
    };
    let Epsilons { aggregate, local, example } = *epsilons;
    Figures { aggregate: figure(aggregate), local: figure(local), example: figure(example) }.serialize(serializer)
}

impl Receipt {
    fn new(receipt: ledger::Receipt, notes: &[Participation]) -> Self {
        let time = receipt.time_ms.map(Timestamp::from_millis);
        let mut this = Self {
            sequence: receipt.sequence,
            time,
            date: time.map(date),
            task: None,
            number: None,
            policy: None,
            participation: None,
            sent: None,
            protection: Protection::Damage,
            assumes_honest: None,
            epsilon: receipt.epsilon,
            total: receipt.total,
            sentence: String::new(),
        };
        if let ledger::Event::Round { task, round, policy, trust, mechanism, examples, released } = receipt.event {
            let same = |note: &&Participation| note.task.as_str() == task && note.number == round;
            this.participation = notes.iter().find(same).cloned();
            this.sent = released.map(|digest| Digest(digest).hex());
            this.protection = match (mechanism, trust) {
                (Some(_), Trust::Distributed) => Protection::Distributed,
                (Some(_), Trust::Local) => Protection::Local,
                (None, _) if examples.is_some() => Protection::Examples,
                (None, _) => Protection::WithoutNoise,
            };
            this.assumes_honest = mechanism.map(|mechanism| mechanism.n_honest());
            (this.task, this.number, this.policy) = (Some(task), Some(round), Some(policy));
        }
        this.sentence = this.words();
        this
    }

    fn words(&self) -> String {
        let mut text = match self.protection {
            Protection::Distributed => format!(
                "A party that sees only the sum learns at most epsilon {} about you, if secure aggregation holds and \
                 {} honest devices finished the round. If not, your upload alone reveals at most epsilon {}{}.",
                self.epsilon.aggregate,
                self.assumes_honest.unwrap_or_default(),
                self.epsilon.local,
                weak(self.epsilon.local),
            ),
            Protection::Local => format!(
                "Your device's own noise protects you even from the server: at most epsilon {}{}. A party that sees \
                 only the sum learns at most epsilon {}.",
                self.epsilon.local,
                weak(self.epsilon.local),
                self.epsilon.aggregate,
            ),
            Protection::Examples => {
                "No bound for you as a person: the noise protects single training examples.".to_owned()
            }
            Protection::WithoutNoise => {
                "No bound: no noise was added, so no epsilon can be claimed. Only the sum of many updates hid yours."
                    .to_owned()
            }
            Protection::Damage => {
                "This record could not be read; it counts as the largest cost that one round may have.".to_owned()
            }
        };
        if let (Epsilon::AtMost(example), true) = (self.epsilon.example, self.protection != Protection::Damage) {
            text += &format!(
                " One training example: at most epsilon {example:.2}; this is not a bound for you as a \
                 person."
            );
        }
        if let Some(note) = &self.participation {
            text += &format!(" {} devices took part.", note.cohort);
        }
        if self.sent.is_none() && self.protection != Protection::Damage {
            text += " In the end nothing was sent; the cost counts nevertheless.";
        }
        text
    }
}

/// The note on an epsilon above [`PRIVATE_UP_TO`], which the report does not present as good protection.
fn weak(epsilon: Epsilon) -> &'static str {
    if epsilon <= Epsilon::AtMost(PRIVATE_UP_TO) { "" } else { ", which is weak" }
}

fn assumptions(delta: f64) -> Vec<String> {
    vec![
        "Every participation was counted on this device before its update was sent; the chance of not being selected \
         is not counted in your favor."
            .to_owned(),
        "The aggregate epsilon holds against parties that see only sums: secure aggregation must hold, and as many \
         honest devices as each receipt states must have finished the round."
            .to_owned(),
        "The local epsilon holds against parties that see your individual uploads, such as a server that breaks secure \
         aggregation."
            .to_owned(),
        format!("The bounds may fail with a probability of at most delta = {delta:e}."),
    ]
}
