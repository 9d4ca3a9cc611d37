//! Training plans, which are encoded once and then hashed and decoded as they stand.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use super::{millis, owned};
use crate::check::{self, present};
use crate::error::Invalid;
use crate::ids::Digest;
use crate::model::ModelSpec;
use crate::plan::Plan;
use crate::privacy::{ClipRange, Privacy, Target};
use crate::{limits, wire};

impl Plan {
    /// The bytes that go into a manifest, and whose SHA-256 goes into the round configuration.
    pub fn encode(&self) -> Bytes {
        wire::Plan::from(self).encode_to_vec().into()
    }

    /// From the bytes of a manifest, which the caller has compared with the digest in the signed configuration.
    ///
    /// # Errors
    /// [`Invalid`] with field `plan` when this is no Plan message at all, else with the field that is out of its range.
    pub fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        check::at_most_bytes("plan", bytes.len(), limits::MESSAGE_BYTES)?;
        wire::Plan::decode(bytes)
            .map_err(|error| Invalid::new("plan", format!("not an encoded Plan message: {error}")))?
            .try_into()
    }
}

impl TryFrom<wire::Plan> for Plan {
    type Error = Invalid;
    /// See [`Plan::check`].
    fn try_from(plan: wire::Plan) -> Result<Self, Invalid> {
        let checked = Self {
            model: ModelSpec::try_from(present("model", plan.model)?)?,
            fingerprint: Digest::try_from(plan.fingerprint.as_ref()).map_err(check::rename("fingerprint"))?,
            epochs: plan.epochs,
            batch_size: plan.batch_size,
            learning_rate: plan.learning_rate,
            proximal_mu: plan.proximal_mu,
            time_limit: Duration::from_millis(plan.time_limit_ms),
            max_weight: plan.max_weight,
            holdout_permille: plan.holdout_permille,
            seed: plan.seed,
            privacy: present("privacy", plan.privacy)?.try_into()?,
        };
        checked.check()?;
        Ok(checked)
    }
}

impl From<&Plan> for wire::Plan {
    fn from(plan: &Plan) -> Self {
        Self {
            model: Some((&plan.model).into()),
            fingerprint: plan.fingerprint.to_bytes(),
            epochs: plan.epochs,
            batch_size: plan.batch_size,
            learning_rate: plan.learning_rate,
            proximal_mu: plan.proximal_mu,
            time_limit_ms: millis(plan.time_limit),
            max_weight: plan.max_weight,
            holdout_permille: plan.holdout_permille,
            seed: plan.seed,
            privacy: Some((&plan.privacy).into()),
        }
    }
}

impl TryFrom<wire::Privacy> for Privacy {
    type Error = Invalid;
    /// See [`Privacy::parse`] and [`Privacy::with_clip_range`].
    fn try_from(wire: wire::Privacy) -> Result<Self, Invalid> {
        let wire::Privacy { mode, epsilon, delta, rounds, example_clip, clip_min: min, clip_max: max } = wire;
        let range = (min != 0.0 || max != 0.0).then_some(ClipRange { min, max });
        Self::parse(&mode, Target { epsilon, delta, rounds }, example_clip)?.with_clip_range(range)
    }
}

impl From<&Privacy> for wire::Privacy {
    fn from(privacy: &Privacy) -> Self {
        let target = privacy.target().unwrap_or(Target { epsilon: 0.0, delta: 0.0, rounds: 0 });
        let example_clip = if let Privacy::Example { clip, .. } = *privacy { clip } else { 0.0 };
        let Target { epsilon, delta, rounds } = target;
        let ClipRange { min: clip_min, max: clip_max } =
            privacy.clip_range().unwrap_or(ClipRange { min: 0.0, max: 0.0 });
        Self { mode: privacy.mode().into(), epsilon, delta, rounds, example_clip, clip_min, clip_max }
    }
}

owned! { Plan => wire::Plan }
