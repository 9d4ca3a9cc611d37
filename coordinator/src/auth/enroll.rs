//! Enrollment: an enrollment token and a key of the device's own become a device.

use std::sync::Arc;
use std::time::Duration;

use scale_proto::answer::{Enroll, Enrolled};
use scale_proto::ids::DeviceId;
use scale_secagg::keys::verify;

use super::secrets::{SecretsError, random};
use super::token::{Authority, Minted, TokenError};
use crate::clock::SharedClock;
use crate::driver::Caller;
use crate::store::{DeviceRow, Store, StoreError};

/// Why nobody was enrolled. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrollError {
    /// The enrollment token does not open this door.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The request was not signed by the key in it.
    #[error("the signature does not match the enrollment token and the identity key")]
    Signature,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system has no randomness.
    #[error(transparent)]
    Randomness(#[from] SecretsError),
}

impl EnrollError {
    /// One stable word per cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Token(error) => error.code(),
            Self::Signature => "bad_signature",
            Self::Store(error) => error.code(),
            Self::Randomness(_) => "internal",
        }
    }
}

/// Makes devices.
#[derive(Clone, Debug)]
pub struct Enrollment {
    /// Where devices are kept.
    pub store: Store,
    /// Checks enrollment tokens, mints device tokens.
    pub authority: Arc<Authority>,
    /// Time.
    pub clock: SharedClock,
    /// Ed25519 key that signs round configurations.
    pub task_key: [u8; 32],
    /// Life of a device token.
    pub device_ttl: Duration,
}

impl Enrollment {
    /// Enrolls an installation. The same key again gets the same device, with a fresh token.
    ///
    /// # Errors
    /// [`EnrollError`]; the token is checked first, so that nobody without one can make the coordinator work.
    pub async fn enroll(&self, request: &Enroll) -> Result<Enrolled, EnrollError> {
        let now = self.clock.now();
        self.authority.check_enroll(&request.enroll_token, now)?;
        let signed = Enroll::signed_bytes(&request.enroll_token, &request.identity_key);
        if !verify(&request.identity_key, &signed, &request.signature) {
            return Err(EnrollError::Signature);
        }
        let row =
            DeviceRow { id: DeviceId::from_random(random()?), identity_key: request.identity_key, enrolled_at: now };
        let row = self
            .store
            .run_tx("enroll", |tx| {
                let row = row.clone();
                Box::pin(async move { tx.enroll_device(&row).await })
            })
            .await?;
        let caller = Caller { device: row.id, identity_key: row.identity_key };
        let Minted { token, expires_at } = self.authority.mint_device(caller, self.device_ttl, now);
        Ok(Enrolled { device: row.id, device_token: token, expires_at: Some(expires_at), task_key: self.task_key })
    }
}

#[cfg(test)]
mod tests {
    use scale_proto::time::Timestamp;
    use scale_secagg::keys::IdentityKey;

    use super::*;
    use crate::auth::Kind;
    use crate::clock::{Clock as _, MockClock};

    fn signed(key: &IdentityKey, enroll_token: &str) -> Enroll {
        let identity_key = key.public();
        let signature = key.sign(&Enroll::signed_bytes(enroll_token, &identity_key));
        Enroll { enroll_token: enroll_token.to_owned(), identity_key, signature }
    }

    #[tokio::test]
    async fn a_key_enrolls_once_and_only_with_its_own_signature() {
        let clock = MockClock::at(Timestamp::from_millis(1_000_000));
        let authority = Arc::new(Authority::new(&[1; 32]));
        let enrollment = Enrollment {
            store: Store::open_in_memory().await.unwrap(),
            authority: authority.clone(),
            clock: Arc::new(clock.clone()),
            task_key: [9; 32],
            device_ttl: Duration::from_secs(60),
        };
        let hour = Duration::from_secs(3600);
        let token = authority.mint(Kind::Enroll, [0; 16], hour, clock.now()).token;
        let (ours, theirs) = (IdentityKey::from_seed(&[1; 32]), IdentityKey::from_seed(&[2; 32]));

        let first = enrollment.enroll(&signed(&ours, &token)).await.unwrap();
        assert_eq!(first.task_key, [9; 32]);
        assert_eq!(first.expires_at, Some(clock.now().plus(Duration::from_secs(60))));
        let caller = authority.check_device(&first.device_token, clock.now()).unwrap();
        assert_eq!((caller.device, caller.identity_key), (first.device, ours.public()));
        let again = enrollment.enroll(&signed(&ours, &token)).await.unwrap();
        assert_eq!(again.device, first.device);
        assert_ne!(enrollment.enroll(&signed(&theirs, &token)).await.unwrap().device, first.device);

        let stolen = Enroll { identity_key: theirs.public(), ..signed(&ours, &token) };
        assert_eq!(enrollment.enroll(&stolen).await.unwrap_err().code(), "bad_signature");
        let other_token = authority.mint(Kind::Enroll, [5; 16], hour, clock.now()).token;
        let replayed = Enroll { enroll_token: other_token, ..signed(&ours, &token) };
        assert_eq!(enrollment.enroll(&replayed).await.unwrap_err().code(), "bad_signature");
        let wrong = signed(&ours, &first.device_token);
        assert_eq!(enrollment.enroll(&wrong).await.unwrap_err().code(), "wrong_kind");
        clock.advance(hour);
        assert_eq!(enrollment.enroll(&signed(&ours, &token)).await.unwrap_err().code(), "expired_token");
    }
}
