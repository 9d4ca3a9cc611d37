//! What an operator may configure: section `[rest]` of the coordinator's file, all of it optional.

use std::time::Duration;

use http::HeaderValue;
use scale_records::store::Allowance;
use scale_sql::SecretUrl;
use serde::Deserialize;

use crate::auth::AuthConfig;
use crate::limit::LimitConfig;

/// The facade.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether it is served at all.
    pub enabled: bool,
    /// Postgres for people's rows; `None`: SQLite in the data folder.
    pub database_url: Option<SecretUrl>,
    /// Connections to Postgres at most.
    pub database_max_connections: u32,
    /// Redis for limits, the job cache and progress between replicas; `None`: memory.
    pub redis_url: Option<SecretUrl>,
    /// Whose tokens are believed.
    pub auth: AuthConfig,
    /// How often one may ask.
    pub limit: LimitConfig,
    /// Tokens that enroll people's devices.
    pub enrollment: EnrollmentConfig,
    /// Origins of web pages that may call; `*` is any. Calls carry tokens and never cookies.
    pub cors_origins: Vec<String>,
    /// Whether people reach the API over HTTPS only: answers then say so to browsers for a year.
    pub https_only: bool,
    /// Kilobytes of a request's body at most, except imports.
    pub max_body_kb: u32,
    /// Megabytes of an imported file at most. Memory for imports is this times `imports_at_once`.
    pub import_max_mb: u32,
    /// Imports that run at once; more wait a little and are then asked to come back.
    pub imports_at_once: u32,
    /// Seconds that an answer may take.
    pub request_timeout_s: u64,
    /// Seconds that an import may take.
    pub import_timeout_s: u64,
    /// Seconds that a client may pause in the middle of a body.
    pub body_timeout_s: u64,
    /// Open event streams at most.
    pub max_streams: u32,
    /// Seconds between signs of life on an event stream.
    pub stream_heartbeat_s: u64,
    /// Seconds without an event after which a stream ends; the client comes back with `Last-Event-ID`.
    pub stream_idle_s: u64,
    /// Hours without a report after which a training job has failed.
    pub job_stale_h: u64,
    /// Whether `/docs` is served.
    pub docs: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            database_url: None,
            database_max_connections: 16,
            redis_url: None,
            auth: AuthConfig::default(),
            limit: LimitConfig::default(),
            enrollment: EnrollmentConfig::default(),
            cors_origins: Vec::new(),
            https_only: false,
            max_body_kb: 256,
            import_max_mb: 32,
            imports_at_once: 4,
            request_timeout_s: 30,
            import_timeout_s: 300,
            body_timeout_s: 10,
            max_streams: 12_000,
            stream_heartbeat_s: 15,
            stream_idle_s: 300,
            job_stale_h: 24,
            docs: true,
        }
    }
}

impl Config {
    /// Checks what can be checked before anything is opened.
    ///
    /// # Errors
    /// The first setting that cannot be, and what would be right.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |setting, problem: &str| Err(ConfigError { setting, problem: problem.to_owned() });
        for (setting, value) in [
            ("database_max_connections", u64::from(self.database_max_connections)),
            ("max_body_kb", u64::from(self.max_body_kb)),
            ("import_max_mb", u64::from(self.import_max_mb)),
            ("imports_at_once", u64::from(self.imports_at_once)),
            ("request_timeout_s", self.request_timeout_s),
            ("import_timeout_s", self.import_timeout_s),
            ("body_timeout_s", self.body_timeout_s),
            ("max_streams", u64::from(self.max_streams)),
            ("stream_heartbeat_s", self.stream_heartbeat_s),
            ("stream_idle_s", self.stream_idle_s),
            ("job_stale_h", self.job_stale_h),
        ] {
            if value == 0 {
                return wrong(setting, "0; give at least 1");
            }
        }
        if self.max_body_kb > 16 << 10 {
            return wrong("max_body_kb", "more than 16384; large files go to the import, see import_max_mb");
        }
        if self.import_max_mb > 1024 {
            return wrong("import_max_mb", "more than 1024; a file is held in memory while it is read");
        }
        self.enrollment.check()?;
        let is_one_of =
            |url: &SecretUrl, schemes: &[&str]| schemes.iter().any(|scheme| url.expose().starts_with(scheme));
        if self.database_url.as_ref().is_some_and(|url| !is_one_of(url, &["postgres://", "postgresql://"])) {
            return wrong("database_url", "not a Postgres URL; write postgres://user:password@host/database");
        }
        if self.redis_url.as_ref().is_some_and(|url| !is_one_of(url, &["redis://", "rediss://", "unix://"])) {
            return wrong("redis_url", "not a Redis URL; write redis://host:6379");
        }
        for origin in &self.cors_origins {
            let plain = origin == "*"
                || ["http://", "https://"].iter().any(|scheme| {
                    origin.strip_prefix(scheme).is_some_and(|host| !host.is_empty() && !host.contains('/'))
                });
            if !plain || HeaderValue::from_str(origin).is_err() {
                let problem = format!("{origin:?} is no origin; write https://app.example.com, without a path, or *");
                return wrong("cors_origins", &problem);
            }
        }
        Ok(())
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s)
    }

    pub(crate) fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_s)
    }

    pub(crate) fn max_body(&self) -> usize {
        self.max_body_kb as usize * 1024
    }

    pub(crate) fn max_import(&self) -> usize {
        self.import_max_mb as usize * 1024 * 1024
    }
}

/// Section `[rest.enrollment]`: tokens with which a person who has signed in enrolls a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnrollmentConfig {
    /// Seconds that a token lives.
    pub token_ttl_s: u64,
    /// Tokens of one person in [`EnrollmentConfig::DAY`]; 0: nobody gets any.
    pub per_day: u32,
}

impl Default for EnrollmentConfig {
    fn default() -> Self {
        Self { token_ttl_s: 600, per_day: 5 }
    }
}

impl EnrollmentConfig {
    /// How long a token that was given counts.
    pub const DAY: Duration = Duration::from_secs(86_400);

    /// How many tokens there are for one person; `None`: none at all.
    pub(crate) fn allowance(&self) -> Option<Allowance> {
        (self.per_day > 0).then_some(Allowance { most: self.per_day, within: Self::DAY })
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |setting, problem: &str| Err(ConfigError { setting, problem: problem.to_owned() });
        if !(60..=Self::DAY.as_secs()).contains(&self.token_ttl_s) {
            return wrong("enrollment.token_ttl_s", "give between 60 (a device needs some time) and 86400 (a day)");
        }
        if self.per_day > 1000 {
            return wrong(
                "enrollment.per_day",
                "more than 1000; each of them is a device, and devices are to cost something",
            );
        }
        Ok(())
    }
}

/// A setting of `[rest]` that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rest.{setting}: {problem}")]
pub struct ConfigError {
    /// Which.
    pub setting: &'static str,
    /// What is wrong with it and what would be right.
    pub problem: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_good_and_bad_settings_are_named() {
        assert_eq!(Config::default().check(), Ok(()));
        let enrollment = |change: fn(&mut EnrollmentConfig)| {
            let mut config = Config::default();
            change(&mut config.enrollment);
            config
        };
        let cases: [(&str, Config); 10] = [
            ("rest.max_body_kb: 0", Config { max_body_kb: 0, ..Config::default() }),
            ("rest.import_max_mb: more than 1024", Config { import_max_mb: 1025, ..Config::default() }),
            ("rest.stream_idle_s: 0", Config { stream_idle_s: 0, ..Config::default() }),
            ("rest.database_url", Config { database_url: Some("mysql://x".to_owned().into()), ..Config::default() }),
            ("rest.enrollment.token_ttl_s: give between 60", enrollment(|config| config.token_ttl_s = 59)),
            ("rest.enrollment.token_ttl_s: give between 60", enrollment(|config| config.token_ttl_s = 86_401)),
            ("rest.enrollment.per_day: more than 1000", enrollment(|config| config.per_day = 1001)),
            ("rest.redis_url", Config { redis_url: Some("localhost".to_owned().into()), ..Config::default() }),
            ("rest.cors_origins", Config { cors_origins: vec!["https://a/b".to_owned()], ..Config::default() }),
            ("rest.cors_origins", Config { cors_origins: vec!["app.example.com".to_owned()], ..Config::default() }),
        ];
        for (expected, config) in cases {
            let refused = config.check().unwrap_err().to_string();
            assert!(refused.starts_with(expected), "{refused}");
        }
        assert_eq!(enrollment(|config| config.per_day = 0).check(), Ok(()), "no tokens at all");
    }

    #[test]
    fn a_url_with_a_password_is_not_printed() {
        let config = Config { database_url: Some("postgres://u:hunter2@h/d".to_owned().into()), ..Config::default() };
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
