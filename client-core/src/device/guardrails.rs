//! Limits that a device enforces regardless of what the server requests. They are compiled in; the host app can only
//! tighten them.

use std::time::Duration;

use scale_privacy::guardrails::{Guardrails as Privacy, Limits};
use scale_proto::ids::TaskId;
use scale_proto::limits;

/// Largest number of rounds that a device joins within 24 hours.
pub const ROUNDS_PER_DAY: u32 = 1000;

/// Whether an app joins rounds in which devices add no noise to their updates. In such rounds only secure aggregation
/// protects the user, and no epsilon can be claimed. The privacy ledger lists these rounds as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutNoise {
    /// Joins them. The default of this version.
    #[default]
    Join,
    /// Refuses them before anything is downloaded.
    Refuse,
}

/// The host app's own limits. A limit that is looser than the compiled one is replaced by the compiled one.
#[derive(Clone, Debug, PartialEq)]
pub struct Guardrails {
    /// Smallest number of participants of a session, and of survivors; at least [`limits::COHORT_FLOOR`].
    pub cohort_min: u32,
    /// Largest number of rounds within 24 hours; at most [`ROUNDS_PER_DAY`].
    pub rounds_per_day: u32,
    /// Longest training; at most [`limits::TRAINING_MS`]. Training for a plan with a longer time limit stops after this
    /// time.
    pub training: Duration,
    /// Largest model file in bytes; at most [`limits::MODEL_BYTES`].
    pub model_bytes: u64,
    /// Largest upload in bytes; at most [`limits::UPLOAD_BYTES`].
    pub upload_bytes: u64,
    /// Whether rounds without noise are joined.
    pub without_noise: WithoutNoise,
    /// Budgets of the user's privacy ledger; at most [`Limits::COMPILED`]. Once a ledger has recorded stricter limits,
    /// they stay in force for that ledger.
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
    /// For each limit, the stricter of this one and the compiled one.
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
            // Invalid limits (NaN) need no handling here: the ledger refuses to open with them.
            privacy: Privacy::default().tightened(&self.privacy).map_or(compiled.privacy, |privacy| *privacy.limits()),
        }
    }
}

/// The pinned keys and local rules that a device checks every manifest against.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Ed25519 public key that signs round configurations, pinned in the app.
    pub task_key: [u8; 32],
    /// Ed25519 public key of the authority that certifies devices, pinned in the app. If set, the device joins only
    /// rounds of the malicious profile under this root; if `None`, it never joins a round of that profile.
    pub identity_root: Option<[u8; 32]>,
    /// Tasks that the app takes part in; empty means any.
    pub tasks: Vec<TaskId>,
    /// Names of the model families that this build trains.
    pub families: Vec<String>,
    /// The app's limits; [`Guardrails::tightened`] is applied wherever they are used.
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
