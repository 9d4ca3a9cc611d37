//! A manifest that a device has checked: the only road into a round.

use std::sync::Arc;

use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_privacy::distributed::Mechanism;
use scale_privacy::ledger::Facts;
use scale_proto::ids::{Digest, TaskId};
use scale_proto::manifest::Manifest;
use scale_proto::plan::Plan;
use scale_proto::time::Timestamp;
use scale_secagg::check::Check;
use scale_secagg::config::{self, Policy, RoundConfig};
use scale_secagg::error::{Reason, Refusal};
use scale_secagg::params::Profile;

use super::{Cause, Env, Guardrail, History, Rules, WithoutNoise, noise};
use crate::download::{Installed, Wanted};
use crate::update;

/// One round that this device may join: signed by the pinned key, newer than any before, within every guardrail.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    manifest: Manifest,
    config: RoundConfig,
    plan: Arc<Plan>,
    task: TaskId,
    policy: Policy,
    /// Noise on the update.
    mechanism: Option<Mechanism>,
}

impl Round {
    /// Checks a manifest. The signature comes first: nothing else of it is read before.
    ///
    /// The digest of the model is compared when the file is here ([`crate::download`]).
    ///
    /// # Errors
    /// The check of docs/protocol/round-config.md that failed; `plan_digest`, `malformed` for a plan out of its limits,
    /// `fingerprint_mismatch`, `unsupported_mechanism`, `unsupported_model`, `unknown_task`, `policy` for a guardrail,
    /// `rounds_per_day`; `without_noise`, `understated_cost` and the noise's own words; the ledger's (C14) for a round that
    /// it would not pay for; the certificate's (C07) in the malicious profile.
    pub fn check(manifest: Manifest, env: &Env<'_>) -> Result<Self, Cause> {
        let Env { now, rules, history, .. } = *env;
        let limits = rules.guardrails.tightened();
        let round = Self::read(manifest, rules, now.as_millis(), |task| history.last_round(task))?;
        if round.policy.demands_certificates(&round.config) {
            let certificate = env.certificate.ok_or(Refusal::by(Check::C07, Reason::CertificateMissing))?;
            let counts = round.config.check_certificate(&env.identity.public(), certificate);
            counts.map_err(|reason| Refusal::by(Check::C07, reason))?;
        }
        let joined = history.rounds_today(now);
        if joined >= limits.rounds_per_day {
            return Err(Cause::RoundsPerDay(joined));
        }
        // Before anything is trained for it. What training itself costs is known afterwards.
        if let Some(facts) = round.facts(None) {
            env.ledger.would_pay(&facts, now.as_millis())?;
        }
        Ok(round)
    }

    /// Checks a stored manifest again: everything except time and history, which held when it was joined.
    pub(super) fn restore(manifest: Manifest, rules: &Rules) -> Result<Self, Cause> {
        Self::read(manifest, rules, 0, |_| 0)
    }

    fn read(
        manifest: Manifest,
        rules: &Rules,
        now_ms: u64,
        last_round: impl Fn(&TaskId) -> u64,
    ) -> Result<Self, Cause> {
        let limits = rules.guardrails.tightened();
        let claimed = RoundConfig::decode(&manifest.round_config)?;
        let task: TaskId = claimed.task_id.parse()?;
        let mut policy = Policy {
            task_key: rules.task_key,
            // Compared with the file when it is here; the vectors with the plan's, below, once the plan may be read.
            model_digest: claimed.model_digest,
            vectors: claimed.vectors,
            last_round: last_round(&task),
            min_clients: limits.cohort_min,
            identity_root: rules.identity_root,
        };
        let config = config::check(&manifest.round_config, &manifest.config_signature, &policy, now_ms)?;
        if config.profile == Profile::Malicious && rules.identity_root.is_none() {
            return Err(Guardrail::IdentityRoot.into());
        }
        if Digest::of(&manifest.plan).0 != config.plan_digest {
            return Err(Cause::PlanDigest);
        }
        let plan = Plan::decode(&manifest.plan).map_err(|invalid| match invalid.field {
            "fingerprint" => Cause::Fingerprint(invalid),
            _ => invalid.into(),
        })?;
        policy.vectors = update::vectors(&plan);
        if config.vectors != policy.vectors {
            return Err(Refusal::by(Check::C26, Reason::Plan).into());
        }
        if config.rotation_seed.is_some() {
            return Err(Cause::UnsupportedMechanism);
        }
        let mechanism = noise::mechanism(&config)?;
        if mechanism.is_none() && limits.without_noise == WithoutNoise::Refuse {
            return Err(Cause::WithoutNoise);
        }
        if !rules.tasks.is_empty() && !rules.tasks.contains(&task) {
            return Err(Cause::UnknownTask(task));
        }
        let family = plan.model.family.name();
        if !rules.families.iter().any(|known| known == family) {
            return Err(Cause::UnsupportedFamily(family.to_owned()));
        }
        if plan.max_weight > config.grid {
            return Err(Guardrail::Weight.into());
        }
        if plan.privacy.clip_range().is_some_and(|range| !range.contains(config.clip)) {
            return Err(Guardrail::ClipRange.into());
        }
        if manifest.model_bytes > limits.model_bytes {
            return Err(Guardrail::ModelBytes.into());
        }
        if config.masked_input_len() > limits.upload_bytes {
            return Err(Guardrail::UploadBytes.into());
        }
        Ok(Self { manifest, config, plan: Arc::new(plan), task, policy, mechanism })
    }

    /// The task.
    pub const fn task(&self) -> &TaskId {
        &self.task
    }

    /// The manifest, as it came.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The signed configuration.
    pub const fn config(&self) -> &RoundConfig {
        &self.config
    }

    /// What is trained, and how.
    pub const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Latest closing time T0 to T4 of a stage, as it was signed.
    pub fn closing(&self, stage: usize) -> Timestamp {
        Timestamp::from_millis(self.config.closing[stage])
    }

    /// The global model's file.
    pub fn model(&self) -> Wanted {
        Wanted {
            url: self.manifest.model_url.clone(),
            bytes: self.manifest.model_bytes,
            digest: Digest(self.config.model_digest),
        }
    }

    /// The global model as an app may use it, once its file is verified.
    pub(super) fn installed(&self) -> Installed {
        Installed {
            task: self.task.clone(),
            version: self.manifest.model_version,
            digest: Digest(self.config.model_digest),
            spec: self.plan.model.clone(),
        }
    }

    /// What the round costs, as the ledger takes it, with what training itself has cost; `None` without any noise.
    pub(super) fn facts(&self, examples: Option<DpSgd>) -> Option<Facts<'_>> {
        noise::facts(&self.config, self.mechanism, examples)
    }

    /// What the protocol checks the configuration against once more in stage 0.
    pub(super) fn policy(&self, history: &History) -> Policy {
        Policy { last_round: history.last_round(&self.task), ..self.policy.clone() }
    }
}
