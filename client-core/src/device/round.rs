//! A manifest that a device has checked: the only road into a round.

use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_privacy::distributed::Mechanism;
use scale_privacy::ledger::Facts;
use scale_proto::ids::{Digest, TaskId};
use scale_proto::manifest::Manifest;
use scale_proto::plan::Plan;
use scale_proto::time::Timestamp;
use scale_secagg::config::{self, Policy, RoundConfig};
use scale_secagg::error::{Reason as Cause, Refusal};
use scale_secagg::params::Profile;

use super::{Env, History, Reason, Rules, WithoutNoise, noise};
use crate::download::Wanted;
use crate::update;

/// One round that this device may join: signed by the pinned key, newer than any before, within every guardrail.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    manifest: Manifest,
    config: RoundConfig,
    plan: Plan,
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
    pub fn check(manifest: Manifest, env: &Env<'_>) -> Result<Self, Reason> {
        let Env { now, rules, history, .. } = *env;
        let limits = rules.guardrails.tightened();
        let round = Self::read(manifest, rules, now.as_millis(), |task| history.last_round(task))?;
        if round.policy.demands_certificates(&round.config) {
            let certificate = env.certificate.ok_or(Refusal::by("C07", Cause::CertificateMissing))?;
            let counts = round.config.check_certificate(&env.identity.public(), certificate);
            counts.map_err(|cause| Refusal::by("C07", cause))?;
        }
        let joined = history.rounds_today(now);
        if joined >= limits.rounds_per_day {
            return Err(Reason::new("rounds_per_day", format!("{joined} rounds were joined within the last 24 hours")));
        }
        // Before anything is trained for it. What training itself costs is known afterwards.
        if let Some(facts) = round.facts(None) {
            env.ledger.would_pay(&facts, now.as_millis())?;
        }
        Ok(round)
    }

    /// Checks a stored manifest again: everything except time and history, which held when it was joined.
    pub(super) fn restore(manifest: Manifest, rules: &Rules) -> Result<Self, Reason> {
        Self::read(manifest, rules, 0, |_| 0)
    }

    fn read(
        manifest: Manifest,
        rules: &Rules,
        now_ms: u64,
        last_round: impl Fn(&TaskId) -> u64,
    ) -> Result<Self, Reason> {
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
            let problem = "the round is of the malicious profile, and this app pins no identity root (check C05)";
            return Err(Reason::new(Cause::Policy.code(), problem));
        }
        if Digest::of(&manifest.plan).0 != config.plan_digest {
            return Err(Reason::new("plan_digest", "the plan's bytes are not those of the signed round configuration"));
        }
        let plan = Plan::decode(&manifest.plan).map_err(|invalid| match invalid.field {
            "fingerprint" => Reason::new("fingerprint_mismatch", invalid.to_string()),
            _ => invalid.into(),
        })?;
        policy.vectors = update::vectors(&plan);
        if config.vectors != policy.vectors {
            return Err(Refusal::by("C26", Cause::Plan).into());
        }
        if config.rotation_seed.is_some() {
            let problem = "the round asks for flattening, which this build does not have: update the app";
            return Err(Reason::new("unsupported_mechanism", problem));
        }
        let mechanism = noise::mechanism(&config)?;
        if mechanism.is_none() && limits.without_noise == WithoutNoise::Refuse {
            let problem = "devices add no noise in this round, and this app takes part in no such round";
            return Err(Reason::new("without_noise", problem));
        }
        if !rules.tasks.is_empty() && !rules.tasks.contains(&task) {
            return Err(Reason::new("unknown_task", format!("this app takes no part in task {task}")));
        }
        let family = plan.model.family.name();
        if !rules.families.iter().any(|known| known == family) {
            return Err(Reason::new(
                "unsupported_model",
                format!("this build cannot train a {family}: update the app"),
            ));
        }
        let beyond = |what: &str| Reason::new("policy", format!("{what} exceeds what this device allows"));
        if plan.max_weight > config.grid {
            return Err(beyond("the plan's largest weight exceeds the grid, so it"));
        }
        if plan.privacy.clip_range().is_some_and(|range| !range.contains(config.clip)) {
            return Err(Reason::new("policy", "the round's clip norm is outside of the range that its plan names"));
        }
        if manifest.model_bytes > limits.model_bytes {
            return Err(beyond("the size of the model"));
        }
        if config.masked_input_len() > limits.upload_bytes {
            return Err(beyond("the size of the upload"));
        }
        Ok(Self { manifest, config, plan, task, policy, mechanism })
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
    pub const fn plan(&self) -> &Plan {
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

    /// What the round costs, as the ledger takes it, with what training itself has cost; `None` without any noise.
    pub(super) fn facts(&self, examples: Option<DpSgd>) -> Option<Facts<'_>> {
        noise::facts(&self.config, self.mechanism, examples)
    }

    /// What the protocol checks the configuration against once more in stage 0.
    pub(super) fn policy(&self, history: &History) -> Policy {
        Policy { last_round: history.last_round(&self.task), ..self.policy.clone() }
    }
}
