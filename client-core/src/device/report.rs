//! What the person is shown of the privacy ledger: every participation, what it cost, and what these numbers rest on.

use scale_privacy::ledger::{self, Epsilon, Epsilons, Ledger};
use scale_privacy::plan::{PRIVATE_UP_TO, Trust};
use scale_proto::ids::{Digest, ModelVersion, RoundId, TaskId};
use scale_proto::time::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use super::Round;
use super::date::date;

/// A round that this device has reserved, as far as the ledger itself does not say. Stored, sealed, before the reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Participation {
    /// The task.
    pub task: TaskId,
    /// Number of the session within its task.
    pub number: u64,
    /// The round.
    pub round: RoundId,
    /// SHA-256 of the model that was trained on, as hex: this goes into what a person exports.
    pub model: String,
    /// Its version.
    pub version: ModelVersion,
    /// Participants of the session.
    pub cohort: u32,
    /// Fewest survivors that a sum is released for.
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

/// How a round protected the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// Secure aggregation alone: no noise, and no epsilon that could be claimed.
    WithoutNoise,
    /// Noise of many devices together, in a sum that only secure aggregation keeps a sum.
    Distributed,
    /// The device's own noise, whoever sees the upload.
    Local,
    /// Noise on the gradients of single examples; nothing is claimed for the person.
    Examples,
    /// Unknown: a damaged record, counted as the most that one round may cost.
    Damage,
}

/// One participation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Receipt {
    /// Position in the ledger.
    pub sequence: u64,
    /// When it was paid for, Unix milliseconds.
    pub time: Option<Timestamp>,
    /// The same as a date in UTC.
    pub date: Option<String>,
    /// The task.
    pub task: Option<String>,
    /// Number of the session within its task.
    pub number: Option<u64>,
    /// The policy that the task named.
    pub policy: Option<String>,
    /// Model, cohort and round; `None` if the note about them is gone.
    pub participation: Option<Participation>,
    /// SHA-256 of what was sent, as hex; `None` if nothing was. The cost stands all the same.
    pub sent: Option<String>,
    /// How the person was protected.
    pub protection: Protection,
    /// Honest devices that had to finish.
    pub assumes_honest: Option<u32>,
    /// What this round reveals at most.
    #[serde(serialize_with = "epsilons")]
    pub epsilon: Epsilons,
    /// What all rounds up to this one reveal at most.
    #[serde(serialize_with = "epsilons")]
    pub total: Epsilons,
    /// All of this in plain words.
    pub sentence: String,
}

/// The account for the person. [`Self::to_json`] exports it; there an epsilon is a number, or the word `no_bound`, which
/// no program takes for a small number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PrivacyReport {
    /// When it was made, Unix milliseconds.
    pub time: Timestamp,
    /// False after a reset: there was more, and nobody knows how much.
    pub past_known: bool,
    /// Whose participation is protected: `person`. The example's epsilon counts one training example.
    pub unit: &'static str,
    /// What is compared: `zeros_instead`, the person's update or zeros in its place. The local epsilon compares any two
    /// updates.
    pub neighbours: &'static str,
    /// The delta of every epsilon here.
    pub delta: f64,
    /// Everything since the ledger began. Never refills. One round without a promise leaves it without a bound.
    #[serde(serialize_with = "epsilons")]
    pub lifetime: Epsilons,
    /// What may be spent over the lifetime.
    #[serde(serialize_with = "epsilons")]
    pub lifetime_limit: Epsilons,
    /// The current period.
    #[serde(serialize_with = "epsilons")]
    pub period: Epsilons,
    /// What may be spent in a period.
    #[serde(serialize_with = "epsilons")]
    pub period_limit: Epsilons,
    /// When the next period begins, Unix milliseconds.
    pub refills: Timestamp,
    /// The same as a date in UTC.
    pub refills_date: String,
    /// Participations without any noise.
    pub rounds_without_noise: u64,
    /// Participations whose noise protects single training examples, not the person.
    pub rounds_for_examples_only: u64,
    /// Records that could not be read, each counted as the most that one round with noise may cost.
    pub damaged_records: u64,
    /// Every participation, oldest first.
    pub receipts: Vec<Receipt>,
    /// What the numbers rest on.
    pub assumptions: Vec<String>,
    /// The whole in plain words.
    pub summary: String,
}

impl PrivacyReport {
    /// From the ledger and the device's own notes.
    pub(super) fn new(ledger: &Ledger, notes: &[Participation], now: Timestamp) -> Self {
        let exposure = ledger.exposure(now.as_millis());
        let receipts: Vec<_> = ledger.receipts().into_iter().map(|receipt| Receipt::new(receipt, notes)).collect();
        let count = |what| receipts.iter().filter(|receipt| receipt.protection == what).count() as u64;
        let refills = Timestamp::from_millis(exposure.refills_ms);
        let mut this = Self {
            time: now,
            past_known: exposure.past_known,
            unit: "person",
            neighbours: "zeros_instead",
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

    /// The report as JSON, for a person to keep or show to somebody.
    pub fn to_json(&self) -> String {
        // Plain data with string keys.
        serde_json::to_string_pretty(self).expect("plain data")
    }

    /// The whole in plain words. The first sentence says what all rounds together reveal of the person.
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
                        "{count} participation(s) {since}: whoever sees only the sums learns at most epsilon {aggregate} \
                         about you; if secure aggregation failed, your uploads by themselves give epsilon {local}."
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
                " {} of them carried no noise: secure aggregation alone protected you there.",
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
                    "; other rounds did without, so there is no bound for an example either.".to_owned()
                }
            };
        }
        if self.damaged_records > 0 {
            text += &format!(
                " {} record(s) could not be read and count as the most that one round with noise may cost; had such a \
                 round no noise, there is no bound.",
                self.damaged_records
            );
        }
        if !self.past_known {
            text += " The ledger was reset: what was spent before is not known.";
        }
        text
    }
}

/// Each promise as a number, or as `no_bound`. Not as null, which some languages read as 0.
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
                "Whoever sees only the sum learns at most epsilon {} about you, as long as secure aggregation holds and {} \
                 honest devices finished the round. If not, your upload alone gives epsilon {}{}.",
                self.epsilon.aggregate,
                self.assumes_honest.unwrap_or_default(),
                self.epsilon.local,
                weak(self.epsilon.local),
            ),
            Protection::Local => format!(
                "Your device's own noise protects you even from the server: epsilon {}{}. Whoever sees only the sum learns at \
                 most epsilon {}.",
                self.epsilon.local,
                weak(self.epsilon.local),
                self.epsilon.aggregate,
            ),
            Protection::Examples => {
                "No bound for you as a person: the noise protects single training examples.".to_owned()
            }
            Protection::WithoutNoise => {
                "No bound: no noise was added, so no epsilon can be claimed. Your update was hidden in the sum alone."
                    .to_owned()
            }
            Protection::Damage => {
                "A record could not be read; it counts as the most that one round may cost.".to_owned()
            }
        };
        if let (Epsilon::AtMost(example), true) = (self.epsilon.example, self.protection != Protection::Damage) {
            text += &format!(" One training example: epsilon {example:.2}; that is no claim about you as a person.");
        }
        if let Some(note) = &self.participation {
            text += &format!(" {} devices took part.", note.cohort);
        }
        if self.sent.is_none() && self.protection != Protection::Damage {
            text += " Nothing was sent in the end; the cost stands all the same.";
        }
        text
    }
}

/// Nothing beyond this is called private.
fn weak(epsilon: Epsilon) -> &'static str {
    if epsilon <= Epsilon::AtMost(PRIVATE_UP_TO) { "" } else { ", which is weak" }
}

fn assumptions(delta: f64) -> Vec<String> {
    vec![
        "Every participation was counted on this device, before anything was sent; no chance of not being chosen is \
         counted in your favor."
            .to_owned(),
        "The aggregate epsilon holds against who sees only sums: secure aggregation must hold, and as many honest devices \
         as each receipt says must have finished the round."
            .to_owned(),
        "The local epsilon holds against who sees your uploads one by one, as a server that breaks secure aggregation \
         would."
            .to_owned(),
        format!("The bounds may fail with a probability of at most delta = {delta:e}."),
    ]
}
