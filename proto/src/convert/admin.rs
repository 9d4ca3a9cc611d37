//! Enrollment: how an installation becomes a device. The operators' view of tasks, rounds and models stays wire types.

use bytes::Bytes;

use super::owned;
use crate::answer::{Enroll, Enrolled};
use crate::check;
use crate::error::Invalid;
use crate::ids::DeviceId;
use crate::time::Timestamp;
use crate::{PROTOCOL, check_protocol, limits, wire};

impl TryFrom<wire::EnrollRequest> for Enroll {
    type Error = Invalid;
    /// Checks sizes; the signature is the coordinator's to verify.
    fn try_from(request: wire::EnrollRequest) -> Result<Self, Invalid> {
        check_protocol(request.protocol)?;
        check::text("enroll_token", &request.enroll_token, limits::TOKEN_BYTES)?;
        Ok(Self {
            identity_key: check::fixed("identity_key", &request.identity_key)?,
            signature: check::fixed("signature", &request.signature)?,
            enroll_token: request.enroll_token,
        })
    }
}

impl From<&Enroll> for wire::EnrollRequest {
    fn from(enroll: &Enroll) -> Self {
        Self {
            protocol: PROTOCOL,
            enroll_token: enroll.enroll_token.clone(),
            identity_key: Bytes::copy_from_slice(&enroll.identity_key),
            signature: Bytes::copy_from_slice(&enroll.signature),
        }
    }
}

impl TryFrom<wire::EnrollResponse> for Enrolled {
    type Error = Invalid;
    fn try_from(response: wire::EnrollResponse) -> Result<Self, Invalid> {
        check::text("device_token", &response.device_token, limits::TOKEN_BYTES)?;
        Ok(Self {
            device: DeviceId::try_from(response.device_id.as_ref())?,
            task_key: check::fixed("task_key", &response.task_key)?,
            device_token: response.device_token,
            expires_at: (response.expires_at_ms > 0).then(|| Timestamp::from_millis(response.expires_at_ms)),
        })
    }
}

impl From<&Enrolled> for wire::EnrollResponse {
    fn from(enrolled: &Enrolled) -> Self {
        Self {
            device_id: enrolled.device.to_bytes(),
            device_token: enrolled.device_token.clone(),
            task_key: Bytes::copy_from_slice(&enrolled.task_key),
            expires_at_ms: enrolled.expires_at.map_or(0, Timestamp::as_millis),
        }
    }
}

owned! { Enroll => wire::EnrollRequest, Enrolled => wire::EnrollResponse }
