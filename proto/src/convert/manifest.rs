//! Check-in and its answer.

use bytes::Bytes;

use super::owned;
use crate::answer::{CheckIn, CheckInAnswer};
use crate::check;
use crate::error::Invalid;
use crate::ids::{ModelVersion, RoundId, TaskId};
use crate::manifest::Manifest;
use crate::wire::check_in_response::Answer;
use crate::{PROTOCOL, check_protocol, limits, wire};

impl TryFrom<wire::CheckInRequest> for CheckIn {
    type Error = Invalid;
    fn try_from(request: wire::CheckInRequest) -> Result<Self, Invalid> {
        check_protocol(request.protocol)?;
        check::within("tasks", request.tasks.len(), 0..=limits::CHECK_IN_NAMES)?;
        check::within("model_families", request.model_families.len(), 0..=limits::CHECK_IN_NAMES)?;
        for family in &request.model_families {
            check::code("model_families", family)?;
        }
        let tasks = request.tasks.into_iter().map(TaskId::try_from).collect::<Result<_, _>>();
        Ok(Self { tasks: tasks.map_err(check::rename("tasks"))?, families: request.model_families })
    }
}

impl From<&CheckIn> for wire::CheckInRequest {
    fn from(check_in: &CheckIn) -> Self {
        Self {
            protocol: PROTOCOL,
            tasks: check_in.tasks.iter().map(ToString::to_string).collect(),
            model_families: check_in.families.clone(),
        }
    }
}

impl TryFrom<wire::CheckInResponse> for CheckInAnswer {
    type Error = Invalid;
    fn try_from(response: wire::CheckInResponse) -> Result<Self, Invalid> {
        match check::present("answer", response.answer)? {
            Answer::Manifest(manifest) => manifest.try_into().map(Self::Manifest),
            Answer::Wait(wait) => wait.try_into().map(Self::Wait),
        }
    }
}

impl From<&CheckInAnswer> for wire::CheckInResponse {
    fn from(answer: &CheckInAnswer) -> Self {
        Self {
            answer: Some(match answer {
                CheckInAnswer::Manifest(manifest) => Answer::Manifest(manifest.into()),
                CheckInAnswer::Wait(wait) => Answer::Wait(wait.into()),
            }),
        }
    }
}

impl TryFrom<wire::Manifest> for Manifest {
    type Error = Invalid;
    /// Checks what routing needs. `round_config` and `plan` keep their bytes: the device checks them against the
    /// signature and the digest before it reads them.
    fn try_from(manifest: wire::Manifest) -> Result<Self, Invalid> {
        let round = RoundId::try_from(manifest.round_id.as_ref())?;
        for (field, bytes) in [("round_config", &manifest.round_config), ("plan", &manifest.plan)] {
            if bytes.is_empty() {
                return Err(Invalid::new(field, "missing"));
            }
            check::payload(field, bytes)?;
        }
        check::text("model_url", &manifest.model_url, limits::URL_BYTES)?;
        check::model_bytes("model_bytes", manifest.model_bytes)?;
        check::within("model_version", manifest.model_version, 1..=u64::MAX)?;
        Ok(Self {
            round,
            round_config: manifest.round_config,
            config_signature: check::fixed("config_signature", &manifest.config_signature)?,
            plan: manifest.plan,
            model_url: manifest.model_url,
            model_bytes: manifest.model_bytes,
            model_version: ModelVersion(manifest.model_version),
        })
    }
}

impl From<&Manifest> for wire::Manifest {
    fn from(manifest: &Manifest) -> Self {
        Self {
            round_id: manifest.round.to_bytes(),
            round_config: manifest.round_config.clone(),
            config_signature: Bytes::copy_from_slice(&manifest.config_signature),
            plan: manifest.plan.clone(),
            model_url: manifest.model_url.clone(),
            model_bytes: manifest.model_bytes,
            model_version: manifest.model_version.0,
        }
    }
}

owned! {
    CheckIn => wire::CheckInRequest,
    CheckInAnswer => wire::CheckInResponse,
    Manifest => wire::Manifest,
}
