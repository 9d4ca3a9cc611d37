//! What an app configures.

use std::time::Duration;

use scale_client_core::app::AppConfig;
use scale_client_core::{device, examples};
use scale_proto::ids::TaskId;
use serde::{Deserialize, Serialize};

use super::{ErrorKind, Failure, whole};

/// The configuration of an installation. What is left out has the core's default.
#[derive(Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Installation {
    /// The task to take part in.
    pub task: String,
    /// Ed25519 public key that signs round configurations, as 64 hex digits. It is part of the app and never taken from the
    /// coordinator.
    pub task_key: String,
    /// Ed25519 public key of the authority that certifies devices, as 64 hex digits.
    #[serde(default)]
    #[cfg_attr(test, ts(optional))]
    pub identity_root: Option<String>,
    /// Conditions that must hold before the device joins a round.
    #[serde(default)]
    #[cfg_attr(test, ts(optional))]
    pub requirements: Option<Requirements>,
    /// The app's own limits. A limit that is looser than the compiled one has no effect.
    #[serde(default)]
    #[cfg_attr(test, ts(optional, type = "Partial<Guardrails>"))]
    pub guardrails: Option<OwnGuardrails>,
    /// Limits on the stored examples.
    #[serde(default)]
    #[cfg_attr(test, ts(optional))]
    pub examples: Option<ExampleLimits>,
}

/// Conditions that must hold before the device joins a round. It never joins while it is offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(test, ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Requirements {
    /// An unmetered network; default true.
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub unmetered: Option<bool>,
    /// Default `charging_or_battery_fine`.
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub power: Option<Power>,
    /// The device is not in use; default false.
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub idle: Option<bool>,
    /// Whether a condition that the platform does not report counts as not met; default false. Firefox and Safari, for
    /// example, report neither battery nor kind of network.
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub strict: Option<bool>,
}

/// The power supply that a round requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Enum))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// No requirement.
    Any,
    /// External power, or a battery that is not low.
    ChargingOrBatteryFine,
    /// External power.
    Charging,
}

/// Limits on the stored examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(test, ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExampleLimits {
    /// Largest number; beyond it the oldest are deleted. Default 20,000.
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub examples: Option<u32>,
    /// Largest text in bytes. Default 512.
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub text_bytes: Option<u32>,
    /// Largest age in days. Default 400.
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub age_days: Option<u32>,
}

/// The limits as they hold on this device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Guardrails {
    /// Smallest number of participants of a session, and of survivors.
    pub cohort_min: u32,
    /// Largest number of rounds within 24 hours.
    pub rounds_per_day: u32,
    /// Longest training, in milliseconds.
    pub training_ms: u64,
    /// Largest model file in bytes.
    pub model_bytes: u64,
    /// Largest upload in bytes.
    pub upload_bytes: u64,
    /// Whether rounds in which devices add no noise are refused.
    pub refuse_without_noise: bool,
    /// Budgets of the privacy ledger.
    pub privacy: PrivacyLimits,
}

/// The app's own [`Guardrails`]; what is left out is the compiled limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OwnGuardrails {
    /// Smallest number of participants of a session, and of survivors.
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub cohort_min: Option<u32>,
    /// Largest number of rounds within 24 hours.
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub rounds_per_day: Option<u32>,
    /// Longest training, in milliseconds.
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub training_ms: Option<u64>,
    /// Largest model file in bytes.
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub model_bytes: Option<u64>,
    /// Largest upload in bytes.
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub upload_bytes: Option<u64>,
    /// Whether rounds in which devices add no noise are refused.
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub refuse_without_noise: Option<bool>,
    /// Budgets of the privacy ledger.
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub privacy: Option<PrivacyLimits>,
}

/// Budgets of the privacy ledger.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrivacyLimits {
    /// Of one round.
    pub round: PrivacyCaps,
    /// Of all rounds in one period.
    pub period: PrivacyCaps,
    /// Of all rounds ever.
    pub lifetime: PrivacyCaps,
    /// Length of a period in milliseconds.
    pub period_ms: u64,
    /// The delta of every epsilon here.
    pub delta: f64,
}

/// Largest epsilons.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct PrivacyCaps {
    /// Of a person, against a party that sees only sums.
    pub aggregate: f64,
    /// Of a person, against a party that sees this device's uploads.
    pub local: f64,
    /// Of one training example.
    pub example: f64,
}

/// The options of one participation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "phones", derive(uniffi::Record))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RunOptions {
    /// Time after which the call ends with the outcome `paused` instead of waiting any longer. Without it, no limit.
    #[serde(deserialize_with = "whole")]
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub budget_ms: Option<u64>,
    /// Credential of the REST API's training job, so that the person's screens show the round's progress.
    #[cfg_attr(feature = "phones", uniffi(default = None))]
    pub job: Option<String>,
    /// Joins regardless of the device's conditions, because the person asked for it.
    #[cfg_attr(feature = "phones", uniffi(default = false))]
    pub ignore_conditions: bool,
}

fn bad(name: &str, problem: impl std::fmt::Display) -> Failure {
    Failure::invalid(ErrorKind::Configuration, "bad_option", format!("the option `{name}` {problem}"))
}

impl Installation {
    /// Reads the options that the app has given.
    ///
    /// # Errors
    /// [`Failure`] of kind `configuration`.
    pub fn parse(json: &str) -> Result<Self, Failure> {
        serde_json::from_str(json)
            .map_err(|error| Failure::invalid(ErrorKind::Configuration, "bad_option", format!("the options: {error}")))
    }

    /// As the core takes it.
    ///
    /// # Errors
    /// [`Failure`] of kind `configuration`.
    pub fn into_config(self) -> Result<AppConfig, Failure> {
        let task = TaskId::try_from(self.task).map_err(|error| bad("task", error))?;
        let defaults = AppConfig::new(task, key("taskKey", &self.task_key)?);
        if let Some(privacy) = self.guardrails.and_then(|own| own.privacy) {
            privacy.check()?;
        }
        let identity_root = self.identity_root.map(|root| key("identityRoot", &root)).transpose()?;
        Ok(AppConfig {
            identity_root,
            requirements: self.requirements.unwrap_or_default().over(defaults.requirements),
            guardrails: self.guardrails.unwrap_or_default().over(defaults.guardrails),
            examples: self.examples.unwrap_or_default().over(defaults.examples),
            ..AppConfig::new(defaults.task, defaults.task_key)
        })
    }
}

fn key(name: &str, hex: &str) -> Result<[u8; 32], Failure> {
    let mut key = [0; 32];
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let plain = hex.len() == 64 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    let read = |(byte, pair): (&mut u8, &[u8])| digits(pair).map(|value| *byte = value);
    let all = plain.then(|| key.iter_mut().zip(hex.as_bytes().chunks_exact(2)).try_for_each(read)).flatten();
    all.ok_or_else(|| bad(name, "is not a public key: give 64 hex digits, as `scale-coordinator` prints it"))?;
    Ok(key)
}

impl Requirements {
    fn over(self, default: device::Requirements) -> device::Requirements {
        device::Requirements {
            unmetered: self.unmetered.unwrap_or(default.unmetered),
            power: match self.power {
                Some(Power::Any) => device::Power::Any,
                Some(Power::ChargingOrBatteryFine) => device::Power::ChargingOrBatteryFine,
                Some(Power::Charging) => device::Power::Charging,
                None => default.power,
            },
            idle: self.idle.unwrap_or(default.idle),
            strict: self.strict.unwrap_or(default.strict),
        }
    }
}

impl ExampleLimits {
    fn over(self, default: examples::ExampleLimits) -> examples::ExampleLimits {
        let age = |days: u32| Duration::from_secs(u64::from(days) * 24 * 60 * 60);
        examples::ExampleLimits {
            examples: self.examples.unwrap_or(default.examples),
            text_bytes: self.text_bytes.unwrap_or(default.text_bytes),
            age: self.age_days.map_or(default.age, age),
        }
    }
}

impl OwnGuardrails {
    fn over(self, default: device::Guardrails) -> device::Guardrails {
        device::Guardrails {
            cohort_min: self.cohort_min.unwrap_or(default.cohort_min),
            rounds_per_day: self.rounds_per_day.unwrap_or(default.rounds_per_day),
            training: self.training_ms.map_or(default.training, Duration::from_millis),
            model_bytes: self.model_bytes.unwrap_or(default.model_bytes),
            upload_bytes: self.upload_bytes.unwrap_or(default.upload_bytes),
            without_noise: match self.refuse_without_noise {
                Some(true) => device::WithoutNoise::Refuse,
                Some(false) => device::WithoutNoise::Join,
                None => default.without_noise,
            },
            privacy: self.privacy.map_or(default.privacy, device::PrivacyLimits::from),
        }
    }
}

impl From<device::Guardrails> for Guardrails {
    fn from(of: device::Guardrails) -> Self {
        Self {
            cohort_min: of.cohort_min,
            rounds_per_day: of.rounds_per_day,
            training_ms: u64::try_from(of.training.as_millis()).unwrap_or(u64::MAX),
            model_bytes: of.model_bytes,
            upload_bytes: of.upload_bytes,
            refuse_without_noise: of.without_noise == device::WithoutNoise::Refuse,
            privacy: of.privacy.into(),
        }
    }
}

impl PrivacyLimits {
    /// A budget of nothing is no budget: an app that wants no rounds does not take part.
    fn check(&self) -> Result<(), Failure> {
        let Self { round, period, lifetime, period_ms, delta } = self;
        let all = [round, period, lifetime].map(|caps| [caps.aggregate, caps.local, caps.example]);
        let positive = |number: f64| number.is_finite() && number > 0.0;
        if all.concat().into_iter().chain([*delta]).all(positive) && *delta < 1.0 && *period_ms > 0 {
            return Ok(());
        }
        Err(bad("guardrails.privacy", "has a number that is not positive and finite, or a delta of 1 or more"))
    }
}

impl From<PrivacyLimits> for device::PrivacyLimits {
    fn from(of: PrivacyLimits) -> Self {
        let caps =
            |of: PrivacyCaps| device::PrivacyCaps { aggregate: of.aggregate, local: of.local, example: of.example };
        Self {
            round: caps(of.round),
            period: caps(of.period),
            lifetime: caps(of.lifetime),
            period_ms: of.period_ms,
            delta: of.delta,
        }
    }
}

impl From<device::PrivacyLimits> for PrivacyLimits {
    fn from(of: device::PrivacyLimits) -> Self {
        let caps =
            |of: device::PrivacyCaps| PrivacyCaps { aggregate: of.aggregate, local: of.local, example: of.example };
        Self {
            round: caps(of.round),
            period: caps(of.period),
            lifetime: caps(of.lifetime),
            period_ms: of.period_ms,
            delta: of.delta,
        }
    }
}

impl RunOptions {
    /// Reads the options of a call.
    ///
    /// # Errors
    /// [`Failure`] of kind `usage`.
    pub fn parse(json: &str) -> Result<Self, Failure> {
        serde_json::from_str(json).map_err(|error| unusable(&format!("the options: {error}")))
    }

    /// As the core takes them.
    ///
    /// # Errors
    /// [`Failure`] of kind `usage`.
    pub fn into_core(self) -> Result<device::RunOptions, Failure> {
        let job = self.job.map(|job| job.parse()).transpose();
        Ok(device::RunOptions {
            budget: self.budget_ms.map(Duration::from_millis),
            job: job.map_err(|error| unusable(&format!("the option `job` {error}")))?,
            ignore_conditions: self.ignore_conditions,
        })
    }
}

fn unusable(problem: &str) -> Failure {
    Failure::invalid(ErrorKind::Usage, "bad_option", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Result<AppConfig, Failure> {
        Installation::parse(json)?.into_config()
    }

    fn with(more: &str) -> String {
        format!(r#"{{"task":"categorizer","taskKey":"{}"{more}}}"#, "0f".repeat(32))
    }

    #[test]
    fn what_is_left_out_is_the_cores_default() {
        let task: TaskId = "categorizer".parse().unwrap();
        assert_eq!(config(&with("")).unwrap(), AppConfig::new(task, [15; 32]));
    }

    #[test]
    fn every_option_arrives() {
        let caps = r#"{"aggregate":1,"local":2,"example":3}"#;
        let more = format!(
            r#","identityRoot":"{}","requirements":{{"unmetered":false,"power":"charging","idle":true,"strict":true}},
            "examples":{{"examples":5,"textBytes":6,"ageDays":7}},"guardrails":{{"cohortMin":20,"roundsPerDay":2,
            "trainingMs":3,"modelBytes":4,"uploadBytes":5,"refuseWithoutNoise":true,
            "privacy":{{"round":{caps},"period":{caps},"lifetime":{caps},"periodMs":9,"delta":1e-7}}}}"#,
            "0a".repeat(32)
        );
        let config = config(&with(&more)).unwrap();
        assert_eq!(config.identity_root, Some([10; 32]));
        let power = device::Power::Charging;
        assert_eq!(config.requirements, device::Requirements { unmetered: false, power, idle: true, strict: true });
        let examples::ExampleLimits { examples, text_bytes, age } = config.examples;
        assert_eq!((examples, text_bytes, age.as_secs()), (5, 6, 7 * 86_400));
        let caps = device::PrivacyCaps { aggregate: 1.0, local: 2.0, example: 3.0 };
        let privacy = device::PrivacyLimits { round: caps, period: caps, lifetime: caps, period_ms: 9, delta: 1e-7 };
        let expected = device::Guardrails {
            cohort_min: 20,
            rounds_per_day: 2,
            training: Duration::from_millis(3),
            model_bytes: 4,
            upload_bytes: 5,
            without_noise: device::WithoutNoise::Refuse,
            privacy,
        };
        assert_eq!(config.guardrails, expected);
        // And back, as the page sees the limits that hold.
        let shown = serde_json::to_value(Guardrails::from(expected)).unwrap();
        assert_eq!(shown["refuseWithoutNoise"], true);
        assert_eq!(shown["privacy"]["periodMs"], 9);
    }

    fn limits(epsilon: &str, delta: &str) -> String {
        let caps = format!(r#"{{"aggregate":{epsilon},"local":2,"example":3}}"#);
        format!(
            r#","guardrails":{{"privacy":{{"round":{caps},"period":{caps},"lifetime":{caps},"periodMs":9,"delta":{delta}}}}}"#
        )
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (json, named) in [
            (with(r#","taskkey":"x""#), "taskkey"),
            (r#"{"task":"categorizer"}"#.to_owned(), "taskKey"),
            (r#"{"task":"categorizer","taskKey":"0f"}"#.to_owned(), "64 hex digits"),
            (format!(r#"{{"task":"categorizer","taskKey":"{}"}}"#, "+1".repeat(32)), "taskKey"),
            (format!(r#"{{"task":"Not a task","taskKey":"{}"}}"#, "0f".repeat(32)), "task"),
            (with(r#","requirements":{"power":"sun"}"#), "sun"),
            (with(r#","guardrails":{"cohort":3}"#), "cohort"),
            (with(&limits("0", "1e-7")), "guardrails.privacy"),
            (with(&limits("-1", "1e-7")), "guardrails.privacy"),
            (with(&limits("1", "1")), "guardrails.privacy"),
        ] {
            let failure = config(&json).unwrap_err();
            assert_eq!((failure.kind, &*failure.code), (ErrorKind::Configuration, "bad_option"), "{json}");
            assert!(failure.message.contains(named), "{json}: {}", failure.message);
        }
        let failure = RunOptions::parse(r#"{"job":"?"}"#).and_then(RunOptions::into_core).unwrap_err();
        assert!(failure.kind == ErrorKind::Usage && failure.message.contains("job"), "{failure:?}");
    }
}
