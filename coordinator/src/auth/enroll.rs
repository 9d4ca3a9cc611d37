//! Enrollment: an enrollment token and a key of the device's own become a device.

use std::sync::Arc;
use std::time::Duration;

use scale_proto::answer::{Enroll, Enrolled};
use scale_proto::ids::DeviceId;
use scale_proto::time::Timestamp;
use scale_secagg::keys::verify;

use super::secrets::{SecretsError, random};
use super::token::{Authority, Enrolls, Minted, TokenError};
use crate::Caller;
use crate::store::{DeviceRow, Store, StoreError, UsedTokenRow};
use scale_clock::SharedClock;

/// How much longer than the token the row of a used one is kept, for clocks that are set back.
const KEPT_AFTER_END: Duration = Duration::from_secs(3600);

/// Why nobody was enrolled. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrollError {
    /// The enrollment token does not open this door.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token enrolls one key, and that is another one.
    #[error(
        "this enrollment token has enrolled another installation already, and it enrolls only one; ask for a new token \
         for this one"
    )]
    Used,
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
            Self::Used => "used_token",
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
        let enrolls = self.authority.check_enroll(&request.enroll_token, now)?;
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
                Box::pin(async move {
                    if let Enrolls::One { id, expires_at } = enrolls {
                        let ended = now.as_millis().saturating_sub(KEPT_AFTER_END.as_millis() as u64);
                        tx.forget_used_tokens(Timestamp::from_millis(ended)).await?;
                        let used = UsedTokenRow { id, identity_key: row.identity_key, expires_at };
                        if tx.use_token(&used).await? != row.identity_key {
                            return Err(EnrollError::Used);
                        }
                    }
                    Ok(tx.enroll_device(&row).await?)
                })
            })
            .await?;
        let caller = Caller { device: row.id, identity_key: row.identity_key };
        let Minted { token, expires_at } = self.authority.mint_device(caller, self.device_ttl, now);
        Ok(Enrolled { device: row.id, device_token: token, expires_at: Some(expires_at), task_key: self.task_key })
    }
}

#[cfg(test)]
mod tests {
    use scale_secagg::keys::IdentityKey;

    use super::*;
    use crate::auth::Kind;
    use scale_clock::{Clock as _, MockClock};

    fn signed(key: &IdentityKey, enroll_token: &str) -> Enroll {
        let identity_key = key.public();
        let signature = key.sign(&Enroll::signed_bytes(enroll_token, &identity_key));
        Enroll { enroll_token: enroll_token.to_owned(), identity_key, signature }
    }

    async fn fresh() -> (Enrollment, Arc<Authority>, MockClock) {
        let clock = MockClock::at(Timestamp::from_millis(1_000_000_000));
        let authority = Arc::new(Authority::new(&[1; 32]));
        let enrollment = Enrollment {
            store: Store::open_in_memory().await.unwrap(),
            authority: authority.clone(),
            clock: Arc::new(clock.clone()),
            task_key: [9; 32],
            device_ttl: Duration::from_secs(60),
        };
        (enrollment, authority, clock)
    }

    #[tokio::test]
    async fn a_key_enrolls_once_and_only_with_its_own_signature() {
        let (enrollment, authority, clock) = fresh().await;
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
    const TEN_MINUTES: Duration = Duration::from_secs(600);

    fn key(seed: u8) -> IdentityKey {
        IdentityKey::from_seed(&[seed; 32])
    }

    #[tokio::test]
    async fn a_token_for_one_key_enrolls_that_key_as_often_as_it_asks_and_no_other() {
        let (enrollment, authority, clock) = fresh().await;
        let token = authority.mint_enroll_one([3; 16], TEN_MINUTES, clock.now()).token;
        // Who cannot sign for the key does not use the token up.
        let forged = Enroll { identity_key: key(2).public(), ..signed(&key(1), &token) };
        assert_eq!(enrollment.enroll(&forged).await.unwrap_err().code(), "bad_signature");

        let first = enrollment.enroll(&signed(&key(1), &token)).await.unwrap();
        let refused = enrollment.enroll(&signed(&key(2), &token)).await.unwrap_err();
        assert_eq!(refused.code(), "used_token");
        assert!(refused.to_string().contains("ask for a new token"), "{refused}");
        clock.advance(TEN_MINUTES - Duration::from_millis(1));
        assert_eq!(enrollment.enroll(&signed(&key(1), &token)).await.unwrap().device, first.device, "a retry");
        assert_eq!(enrollment.enroll(&signed(&key(2), &token)).await.unwrap_err().code(), "used_token");
        clock.advance(Duration::from_millis(1));
        assert_eq!(enrollment.enroll(&signed(&key(1), &token)).await.unwrap_err().code(), "expired_token");

        // A key that was enrolled before uses up its next token too, and the refused one becomes a device with its own.
        let next = authority.mint_enroll_one([4; 16], TEN_MINUTES, clock.now()).token;
        assert_eq!(enrollment.enroll(&signed(&key(1), &next)).await.unwrap().device, first.device);
        assert_eq!(enrollment.enroll(&signed(&key(2), &next)).await.unwrap_err().code(), "used_token");
        let own = authority.mint_enroll_one([5; 16], TEN_MINUTES, clock.now()).token;
        assert_ne!(enrollment.enroll(&signed(&key(2), &own)).await.unwrap().device, first.device);
    }

    #[tokio::test]
    async fn of_many_keys_at_once_a_token_for_one_enrolls_one() {
        let (enrollment, authority, clock) = fresh().await;
        let token = authority.mint_enroll_one([3; 16], TEN_MINUTES, clock.now()).token;
        let tries = (1..=8).map(|seed| {
            let (enrollment, request) = (enrollment.clone(), signed(&key(seed), &token));
            tokio::spawn(async move { enrollment.enroll(&request).await })
        });
        let mut refused = Vec::new();
        for result in tries.collect::<Vec<_>>() {
            refused.extend(result.await.unwrap().err().map(|error| error.code()));
        }
        assert_eq!(refused, ["used_token"; 7]);
    }

    #[tokio::test]
    async fn used_tokens_are_forgotten_an_hour_after_their_end() {
        let (enrollment, authority, clock) = fresh().await;
        let enroll = async |id: u8| {
            let token = authority.mint_enroll_one([id; 16], TEN_MINUTES, clock.now()).token;
            enrollment.enroll(&signed(&key(id), &token)).await.unwrap();
        };
        enroll(1).await;
        clock.advance(TEN_MINUTES + KEPT_AFTER_END);
        enroll(2).await;
        clock.advance(Duration::from_millis(1));
        enroll(3).await;
        let all = Timestamp::from_millis(u64::MAX);
        let left = enrollment.store.run_tx("test", |tx| Box::pin(async move { tx.forget_used_tokens(all).await }));
        assert_eq!(left.await, Ok::<_, StoreError>(2), "the first one went when the third one came");
    }
}
