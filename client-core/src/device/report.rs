//! What the person is shown of the privacy ledger: every participation, what it cost, and what these numbers rest on.

use scale_privacy::guardrails::Caps;
use scale_privacy::ledger::{self, Charge, Ledger};
use scale_privacy::plan::{PRIVATE_UP_TO, Trust};
use scale_proto::ids::{Digest, ModelVersion, RoundId, TaskId};
use scale_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

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

/// Epsilons of the three promises; `None` where there is none, or no bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Epsilons {
    /// Of a person, against who sees only sums.
    pub aggregate: Option<f64>,
    /// Of a person, against who sees this device's uploads by themselves: what remains if secure aggregation fails.
    pub local: Option<f64>,
    /// Of one training example.
    pub example: Option<f64>,
}

impl From<Caps> for Epsilons {
    fn from(caps: Caps) -> Self {
        let bounded = |epsilon: f64| epsilon.is_finite().then_some(epsilon);
        Self { aggregate: bounded(caps.aggregate), local: bounded(caps.local), example: bounded(caps.example) }
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
    /// What this round has cost.
    pub epsilon: Epsilons,
    /// What all rounds up to this one have cost.
    pub total: Epsilons,
    /// All of this in plain words.
    pub sentence: String,
}

/// The account for the person. [`Self::to_json`] exports it.
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
    /// Everything since the ledger began. Never refills. Says nothing about rounds without noise.
    pub lifetime: Epsilons,
    /// What may be spent over the lifetime.
    pub lifetime_limit: Epsilons,
    /// The current period.
    pub period: Epsilons,
    /// What may be spent in a period.
    pub period_limit: Epsilons,
    /// When the next period begins, Unix milliseconds.
    pub refills: Timestamp,
    /// The same as a date in UTC.
    pub refills_date: String,
    /// Participations that no epsilon can be claimed for.
    pub rounds_without_noise: u64,
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
        let receipts = receipts(ledger, notes);
        let count = |what| receipts.iter().filter(|receipt| receipt.protection == what).count() as u64;
        let (lifetime, without) = (Epsilons::from(exposure.lifetime), count(Protection::WithoutNoise));
        let refills = Timestamp::from_millis(exposure.refills_ms);
        Self {
            time: now,
            past_known: exposure.past_known,
            unit: "person",
            neighbours: "zeros_instead",
            delta: exposure.delta,
            lifetime,
            lifetime_limit: exposure.lifetime_limit.into(),
            period: exposure.period.into(),
            period_limit: exposure.period_limit.into(),
            refills,
            refills_date: date(refills),
            rounds_without_noise: without,
            assumptions: assumptions(exposure.delta),
            summary: summary(&lifetime, without, receipts.len(), exposure.past_known),
            receipts,
        }
    }

    /// The report as JSON, for a person to keep or show to somebody.
    pub fn to_json(&self) -> String {
        // Plain data with string keys: infinities became `None` before.
        serde_json::to_string_pretty(self).expect("plain data")
    }
}

fn receipts(ledger: &Ledger, notes: &[Participation]) -> Vec<Receipt> {
    let delta = ledger.limits().delta;
    let mut total = Charge::ZERO;
    let receipt = |receipt: ledger::Receipt| {
        total = total.plus(&receipt.charge);
        Receipt::new(receipt, &total, delta, notes)
    };
    ledger.receipts().into_iter().map(receipt).collect()
}

impl Receipt {
    fn new(receipt: ledger::Receipt, total: &Charge, delta: f64, notes: &[Participation]) -> Self {
        let time = receipt.time_ms.map(Timestamp::from_millis);
        let epsilon = Epsilons::from(receipt.epsilon);
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
            epsilon,
            total: Epsilons {
                aggregate: total.aggregate.epsilon(delta).ok(),
                local: total.local.epsilon(delta).ok(),
                example: total.example.epsilon(delta).ok(),
            },
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
            if mechanism.is_none() {
                (this.epsilon.aggregate, this.epsilon.local) = (None, None);
            }
            if examples.is_none() {
                this.epsilon.example = None;
            }
            (this.task, this.number, this.policy) = (Some(task), Some(round), Some(policy));
        }
        this.sentence = this.words();
        this
    }

    fn words(&self) -> String {
        let mut text = match self.protection {
            Protection::Distributed => format!(
                "Who sees only the sum learns at most epsilon {} about you, as long as secure aggregation holds and {} \
                 honest devices finished the round. If not, your upload alone gives epsilon {}{}.",
                number(self.epsilon.aggregate),
                self.assumes_honest.unwrap_or_default(),
                number(self.epsilon.local),
                weak(self.epsilon.local),
            ),
            Protection::Local => format!(
                "Your device's own noise protects you even from the server: epsilon {}{}. Who sees only the sum learns at \
                 most epsilon {}.",
                number(self.epsilon.local),
                weak(self.epsilon.local),
                number(self.epsilon.aggregate),
            ),
            Protection::Examples => {
                "No epsilon is claimed for you: the noise protects single training examples, not the person.".to_owned()
            }
            Protection::WithoutNoise => {
                "No noise was added, so no epsilon can be claimed: your update was hidden in the sum alone.".to_owned()
            }
            Protection::Damage => {
                "A record could not be read; it counts as the most that one round may cost.".to_owned()
            }
        };
        if let Some(example) = self.epsilon.example {
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

fn number(epsilon: Option<f64>) -> String {
    epsilon.map_or_else(|| "without bound".to_owned(), |epsilon| format!("{epsilon:.2}"))
}

/// Nothing beyond this is called private.
fn weak(epsilon: Option<f64>) -> &'static str {
    if epsilon.is_some_and(|epsilon| epsilon <= PRIVATE_UP_TO) { "" } else { ", which is weak" }
}

fn assumptions(delta: f64) -> Vec<String> {
    vec![
        "Every participation was counted on this device, before anything was sent; no chance of not being chosen is \
         counted in your favour."
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

fn summary(lifetime: &Epsilons, without: u64, receipts: usize, past_known: bool) -> String {
    let mut text = match receipts {
        0 => "This device has taken part in no round.".to_owned(),
        count => format!(
            "{count} participation(s) so far. In all, who sees only the sums learns at most epsilon {} about you; if secure \
             aggregation failed, your uploads by themselves give epsilon {}.",
            number(lifetime.aggregate),
            number(lifetime.local),
        ),
    };
    if without > 0 {
        text += &format!(
            " {without} of them carried no noise on the update: these epsilons say nothing about them, and secure \
             aggregation alone protected you there."
        );
    }
    if !past_known {
        text += " The ledger was reset: what was spent before is not known.";
    }
    text
}
