//! The identity of an installation at its coordinator: a device id, and a token that may expire.

use std::time::Duration;

use scale_proto::answer::{Enroll, Enrolled};
use scale_proto::ids::DeviceId;
use scale_proto::time::Timestamp;
use scale_secagg::keys::IdentityKey;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use crate::error::{Error, HostError};
use crate::host::{Host, KeyStore as _, Transport as _};
use crate::storage;

/// Key in the store; the value is sealed under this name.
const ENROLLMENT: &str = "enrollment";
/// A device token that expires within this time is renewed when the app calls enroll.
const NEAR_ITS_END: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The stored result of an enrollment.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Enrollment {
    pub(super) device: DeviceId,
    pub(super) token: String,
    /// When the token expires; `None` if the coordinator did not say.
    #[serde(default)]
    pub(super) expires_at: Option<Timestamp>,
    /// The code with which the coordinator has refused the token; `None` if it has not.
    #[serde(default)]
    pub(super) refused: Option<String>,
}

impl Drop for Enrollment {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

impl Enrollment {
    /// The stored enrollment; `None` before the first, and where it cannot be read: enrolling again gives the same device.
    pub(super) async fn load<H: Host>(host: &H) -> Result<Option<Self>, HostError> {
        storage::get_json_or_none(host, ENROLLMENT).await
    }

    /// Whether the device token should be renewed.
    pub(super) fn needs_renewal(&self, now: Timestamp) -> bool {
        self.refused.is_some() || self.expires_at.is_some_and(|end| now.until(end) < NEAR_ITS_END)
    }

    /// Stores that the coordinator has refused the token, unless another token has replaced it meanwhile.
    pub(super) async fn mark_refused<H: Host>(&self, host: &H, code: &str) -> Result<(), HostError> {
        match Self::load(host).await? {
            Some(mut stored) if stored.token == self.token => {
                stored.refused = Some(code.to_owned());
                storage::put_json(host, ENROLLMENT, &stored).await
            }
            _ => Ok(()),
        }
    }
}

/// Enrolls, or renews: the same identity key gets the same device id and a fresh token. The stored enrollment changes
/// only after the answer is checked.
///
/// # Errors
/// [`Error::TaskKeyMismatch`]; [`Error::Call`], [`Error::Host`].
pub(super) async fn enroll<H: Host>(host: &H, task_key: &[u8; 32], token: &str) -> Result<DeviceId, Error> {
    let identity = IdentityKey::from_seed(&*host.keys().identity_seed().await?);
    let identity_key = identity.public();
    let signature = identity.sign(&Enroll::signed_bytes(token, &identity_key));
    let request = Enroll { enroll_token: token.to_owned(), identity_key, signature };
    let answer: Enrolled = host.transport().enroll(request).await?;
    let enrollment =
        Enrollment { device: answer.device, token: answer.device_token, expires_at: answer.expires_at, refused: None };
    if answer.task_key != *task_key {
        return Err(Error::TaskKeyMismatch);
    }
    storage::put_json(host, ENROLLMENT, &enrollment).await?;
    tracing::info!(device = %enrollment.device, "enrolled");
    Ok(enrollment.device)
}
