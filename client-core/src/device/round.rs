//! The checks on a manifest. A device can only join a round through them.

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

/// A round that this device may join: signed by the pinned key, newer than every earlier one of the task, within every
/// guardrail.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    manifest: Manifest,
    config: RoundConfig,
    plan: Arc<Plan>,
    task: TaskId,
    policy: Policy,
    /// The noise on the update; `None` without.
    mechanism: Option<Mechanism>,
}

impl Round {
    /// Checks a manifest. The signature is verified before any other part is used.
    ///
    /// The digest of the model is compared after its download ([`crate::download`]).
    ///
    /// # Errors
    /// The check of docs/protocol/round-config.md that failed; [`Cause::PlanDigest`]; [`Cause::Malformed`] for a plan
    /// that exceeds its limits; [`Cause::Fingerprint`], [`Cause::UnsupportedMechanism`], [`Cause::UnsupportedFamily`],
    /// [`Cause::UnknownTask`]; [`Cause::Policy`] for a guardrail; [`Cause::RoundsPerDay`]; [`Cause::WithoutNoise`],
    /// [`Cause::UnderstatedCost`], [`Cause::Mechanism`]; [`Cause::Ledger`] (check C14) if the privacy budget does not
    /// suffice; check C07 for the certificate in the malicious profile.
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
        // Checked before training, for the noise on the update. The cost of training itself is only known afterwards.
        if let Some(facts) = round.facts(None) {
            env.ledger.would_pay(&facts, now.as_millis())?;
        }
        Ok(round)
    }

    /// Checks a stored manifest again: everything except time and history, which were checked when the round was
    /// joined.
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
            // The digest is compared with the file after its download; the vectors with those of the plan, below, once
            // the plan's digest is verified.
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

    /// The task that the round belongs to.
    pub const fn task(&self) -> &TaskId {
        &self.task
    }

    /// The manifest, as received.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The signed round configuration.
    pub const fn config(&self) -> &RoundConfig {
        &self.config
    }

    /// The training plan.
    pub const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The signed latest closing time of a stage. `stage`: 0 to 4, for T0 to T4.
    pub fn closing(&self, stage: usize) -> Timestamp {
        Timestamp::from_millis(self.config.closing[stage])
    }

    /// Where to download the global model, with its size and digest.
    pub fn model(&self) -> Wanted {
        Wanted {
            url: self.manifest.model_url.clone(),
            bytes: self.manifest.model_bytes,
            digest: Digest(self.config.model_digest),
        }
    }

    /// The description under which the global model is installed for the app, once its file is verified.
    pub(super) fn installed(&self) -> Installed {
        Installed {
            task: self.task.clone(),
            version: self.manifest.model_version,
            digest: Digest(self.config.model_digest),
            spec: self.plan.model.clone(),
        }
    }

    /// The cost of the round in the form that the ledger takes, including the cost of training itself (`examples`);
    /// `None` without any noise.
    pub(super) fn facts(&self, examples: Option<DpSgd>) -> Option<Facts<'_>> {
        noise::facts(&self.config, self.mechanism, examples)
    }

    /// What the protocol checks the configuration against again in stage 0.
    pub(super) fn policy(&self, history: &History) -> Policy {
        Policy { last_round: history.last_round(&self.task), ..self.policy.clone() }
    }
}
