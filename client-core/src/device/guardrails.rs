//! What a device refuses whatever the server says. Compiled in; the host app may only tighten it.

use std::time::Duration;

use scale_privacy::guardrails::{Guardrails as Privacy, Limits};
use scale_proto::ids::TaskId;
use scale_proto::limits;

/// Most rounds that a device joins within 24 hours.
pub const ROUNDS_PER_DAY: u32 = 1000;

/// What a host thinks of rounds in which devices add no noise to their updates. There secure aggregation alone protects a
/// person, and no epsilon can be claimed; the privacy ledger lists them all the same, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutNoise {
    /// Joins them too. The default of this version.
    #[default]
    Join,
    /// Leaves them before anything is downloaded.
    Refuse,
}

/// The host app's own limits. A value that is looser than the compiled one counts as the compiled one.
#[derive(Clone, Debug, PartialEq)]
pub struct Guardrails {
    /// Fewest participants of a session, and fewest survivors; at least [`limits::COHORT_FLOOR`].
    pub cohort_min: u32,
    /// Most rounds within 24 hours; at most [`ROUNDS_PER_DAY`].
    pub rounds_per_day: u32,
    /// Longest training; at most [`limits::TRAINING_MS`]. A longer plan is followed for this long.
    pub training: Duration,
    /// Largest model file in bytes; at most [`limits::MODEL_BYTES`].
    pub model_bytes: u64,
    /// Largest upload in bytes; at most [`limits::UPLOAD_BYTES`].
    pub upload_bytes: u64,
    /// Whether rounds without noise are joined.
    pub without_noise: WithoutNoise,
    /// What may be spent of the person's privacy; at most [`Limits::COMPILED`]. Once a ledger has taken stricter limits
    /// down they hold for it for ever.
    pub privacy: Limits,
}

impl Default for Guardrails {
    /// The compiled limits.
    fn default() -> Self {
        Self {
            cohort_min: limits::COHORT_FLOOR,
            rounds_per_day: ROUNDS_PER_DAY,
            training: Duration::from_millis(limits::TRAINING_MS),
            model_bytes: limits::MODEL_BYTES,
            upload_bytes: limits::UPLOAD_BYTES,
            without_noise: WithoutNoise::default(),
            privacy: Limits::COMPILED,
        }
    }
}

impl Guardrails {
    /// The stricter of these and the compiled ones, limit by limit.
    #[must_use]
    pub fn tightened(&self) -> Self {
        let compiled = Self::default();
        Self {
            cohort_min: self.cohort_min.max(compiled.cohort_min),
            rounds_per_day: self.rounds_per_day.min(compiled.rounds_per_day),
            training: self.training.min(compiled.training),
            model_bytes: self.model_bytes.min(compiled.model_bytes),
            upload_bytes: self.upload_bytes.min(compiled.upload_bytes),
            without_noise: self.without_noise,
            // Limits that are no numbers keep the ledger from opening at all.
            privacy: Privacy::default().tightened(&self.privacy).map_or(compiled.privacy, |privacy| *privacy.limits()),
        }
    }
}

/// What a device knows by itself when a manifest arrives.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Ed25519 key that signs round configurations, pinned in the app.
    pub task_key: [u8; 32],
    /// Ed25519 key of the authority that certifies devices, pinned in the app: it joins rounds of the malicious profile
    /// under this root and no others. `None`: it never joins a round of the malicious profile.
    pub identity_root: Option<[u8; 32]>,
    /// Tasks that the app takes part in; empty means any.
    pub tasks: Vec<TaskId>,
    /// Names of the model families that this build trains.
    pub families: Vec<String>,
    /// Limits; [`Guardrails::tightened`] is applied wherever they are used.
    pub guardrails: Guardrails,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_can_only_tighten() {
        let loose = Guardrails {
            cohort_min: 2,
            rounds_per_day: u32::MAX,
            training: Duration::MAX,
            model_bytes: u64::MAX,
            upload_bytes: u64::MAX,
            without_noise: WithoutNoise::Join,
            privacy: Limits { period_ms: 1, delta: 0.1, ..Limits::COMPILED },
        };
        assert_eq!(loose.tightened(), Guardrails::default());
        let strict = Guardrails {
            cohort_min: 50,
            rounds_per_day: 1,
            training: Duration::from_secs(5),
            model_bytes: 1000,
            upload_bytes: 2000,
            without_noise: WithoutNoise::Refuse,
            privacy: Limits { delta: 1e-9, ..Limits::COMPILED },
        };
        assert_eq!(strict.tightened(), strict);
    }
}
