//! Bearer tokens: `scale_<kind>_<payload>.<mac>`, both parts base64url.
//!
//! | payload | bytes |
//! |---|---|
//! | version, 1 | 1 |
//! | kind: 1 enrollment, 2 device, 3 operator, 4 enrollment of one key | 1 |
//! | id: the device's, or random | 16 |
//! | expiry, ms since 1970, little-endian | 8 |
//! | device tokens only: Ed25519 identity key | 32 |
//!
//! The MAC is HMAC-SHA256 over `"scale-fl/token/v1"` and the payload. It is checked, in constant time, before anything in
//! the payload is believed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use scale_proto::ids::DeviceId;
use scale_proto::time::Timestamp;

use crate::Caller;

const DOMAIN: &[u8] = b"scale-fl/token/v1";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 1 + 1 + 16 + 8;
/// Kind of an enrollment token that enrolls one key. In the token's text it is `enroll` like any other.
const ENROLL_ONE: u8 = 4;
/// Nothing longer is looked at.
const TOKEN_BYTES: usize = 512;

/// What a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Enrollment of one or more installations.
    Enroll,
    /// The calls of one device.
    Device,
    /// Administration.
    Operator,
}

impl Kind {
    /// The word in the token.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Device => "device",
            Self::Operator => "operator",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Enroll, Self::Device, Self::Operator].into_iter().find(|kind| kind.name() == text)
    }

    /// The kind in the payload; enrollment has a second one, [`ENROLL_ONE`].
    const fn byte(self) -> u8 {
        match self {
            Self::Enroll => 1,
            Self::Device => 2,
            Self::Operator => 3,
        }
    }
}

/// What a good enrollment token enrolls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrolls {
    /// Any number of keys until it ends: an operator's token.
    Many,
    /// The first key that uses it, as often as that key asks: a person's token.
    One {
        /// Tells this token from all others.
        id: [u8; 16],
        /// When it ends.
        expires_at: Timestamp,
    },
}

/// Why a token does not open a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("this call needs a token: send the metadata `authorization: Bearer scale_{}_…`", .0.name())]
    Missing(Kind),
    /// It was not minted here, or was changed since.
    #[error("the token was not minted by this coordinator, or is damaged; enroll again or ask the operator for one")]
    Bad,
    /// It was good once.
    #[error("the token has expired; enroll again or ask the operator for one")]
    Expired,
    /// It opens another door.
    #[error("this call needs a token of kind {}, and this one is of kind {}", .wanted.name(), .got.name())]
    WrongKind {
        /// What the call needs.
        wanted: Kind,
        /// What was sent.
        got: Kind,
    },
}

impl TokenError {
    /// One stable word per cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "missing_token",
            Self::Bad => "bad_token",
            Self::Expired => "expired_token",
            Self::WrongKind { .. } => "wrong_kind",
        }
    }
}

/// A new token. Not printed by accident.
pub struct Minted {
    /// The token.
    pub token: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for Minted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minted").field("token", &"redacted").field("expires_at", &self.expires_at).finish()
    }
}

/// Mints and checks tokens.
pub struct Authority {
    key: hmac::Key,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(redacted)")
    }
}

impl Authority {
    /// From 32 secret bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// A token for `kind`, which is not [`Kind::Device`] (see [`Self::mint_device`]).
    pub fn mint(&self, kind: Kind, id: [u8; 16], ttl: Duration, now: Timestamp) -> Minted {
        self.mint_with((kind, kind.byte()), id, &[], ttl, now)
    }

    /// An enrollment token that enrolls one key. `id` is random: the token is known by it once it was used.
    pub fn mint_enroll_one(&self, id: [u8; 16], ttl: Duration, now: Timestamp) -> Minted {
        self.mint_with((Kind::Enroll, ENROLL_ONE), id, &[], ttl, now)
    }

    /// A device's token.
    pub fn mint_device(&self, caller: Caller, ttl: Duration, now: Timestamp) -> Minted {
        self.mint_with((Kind::Device, Kind::Device.byte()), *caller.device.as_bytes(), &caller.identity_key, ttl, now)
    }

    /// `kind`: the word in the token, and the byte in its payload.
    fn mint_with(&self, kind: (Kind, u8), id: [u8; 16], extra: &[u8], ttl: Duration, now: Timestamp) -> Minted {
        let (kind, byte) = kind;
        let expires_at = now.plus(ttl);
        let mut payload = vec![VERSION, byte];
        payload.extend(id);
        payload.extend(expires_at.as_millis().to_le_bytes());
        payload.extend(extra);
        let mac = hmac::sign(&self.key, &message(&payload));
        let token =
            format!("scale_{}_{}.{}", kind.name(), URL_SAFE_NO_PAD.encode(&payload), URL_SAFE_NO_PAD.encode(mac));
        Minted { token, expires_at }
    }

    /// Whether `token` opens enrollment now, and what it enrolls. Whether a token for one key was used is the caller's to
    /// look up.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn check_enroll(&self, token: &str, now: Timestamp) -> Result<Enrolls, TokenError> {
        let payload = self.check(Kind::Enroll, token, now)?;
        if payload[1] != ENROLL_ONE {
            return Ok(Enrolls::Many);
        }
        let id = payload[2..18].try_into().map_err(|_| TokenError::Bad)?;
        Ok(Enrolls::One { id, expires_at: expiry(&payload)? })
    }

    /// Whether `token` opens administration now.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn check_operator(&self, token: &str, now: Timestamp) -> Result<(), TokenError> {
        self.check(Kind::Operator, token, now).map(drop)
    }

    /// The device whose token this is.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn check_device(&self, token: &str, now: Timestamp) -> Result<Caller, TokenError> {
        let payload = self.check(Kind::Device, token, now)?;
        let device = DeviceId::try_from(&payload[2..18]).map_err(|_| TokenError::Bad)?;
        let identity_key = payload[HEADER_BYTES..].try_into().map_err(|_| TokenError::Bad)?;
        Ok(Caller { device, identity_key })
    }

    /// The payload of a good token.
    fn check(&self, wanted: Kind, token: &str, now: Timestamp) -> Result<Vec<u8>, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing(wanted));
        }
        let (kind, payload) = self.open(token).ok_or(TokenError::Bad)?;
        if kind != wanted {
            return Err(TokenError::WrongKind { wanted, got: kind });
        }
        if expiry(&payload)? <= now {
            return Err(TokenError::Expired);
        }
        Ok(payload)
    }

    /// Kind and payload of a token that was minted here, and has the form of its kind.
    fn open(&self, token: &str) -> Option<(Kind, Vec<u8>)> {
        let rest = token.strip_prefix("scale_").filter(|_| token.len() <= TOKEN_BYTES)?;
        let (kind, rest) = rest.split_once('_')?;
        let (payload, mac) = rest.split_once('.')?;
        let kind = Kind::parse(kind)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        hmac::verify(&self.key, &message(&payload), &mac).ok()?;
        let extra = if kind == Kind::Device { 32 } else { 0 };
        let fits = |byte: u8| byte == kind.byte() || (kind == Kind::Enroll && byte == ENROLL_ONE);
        let fits = payload.len() == HEADER_BYTES + extra && payload[0] == VERSION && fits(payload[1]);
        fits.then_some((kind, payload))
    }
}

/// When a token with this payload ends: 8 bytes after version, kind and id. [`Authority::open`] has checked the length.
fn expiry(payload: &[u8]) -> Result<Timestamp, TokenError> {
    let millis = payload[18..HEADER_BYTES].try_into().map(u64::from_le_bytes).map_err(|_| TokenError::Bad)?;
    Ok(Timestamp::from_millis(millis))
}

fn message(payload: &[u8]) -> Vec<u8> {
    [DOMAIN, payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn authority() -> Authority {
        Authority::new(&[7; 32])
    }

    fn caller() -> Caller {
        Caller { device: DeviceId::from_random([3; 16]), identity_key: [4; 32] }
    }

    #[test]
    fn a_token_opens_its_own_door_until_it_expires() {
        let authority = authority();
        let device = authority.mint_device(caller(), HOUR, NOW);
        assert!(device.token.starts_with("scale_device_"));
        assert_eq!(authority.check_device(&device.token, NOW), Ok(caller()));
        assert_eq!(
            authority.check_operator(&device.token, NOW),
            Err(TokenError::WrongKind { wanted: Kind::Operator, got: Kind::Device })
        );
        let enroll = authority.mint(Kind::Enroll, [1; 16], HOUR, NOW);
        let last = Timestamp::from_millis(enroll.expires_at.as_millis() - 1);
        assert_eq!(authority.check_enroll(&enroll.token, last), Ok(Enrolls::Many));
        assert_eq!(authority.check_enroll(&enroll.token, enroll.expires_at), Err(TokenError::Expired));
        assert_eq!(authority.check_device(&enroll.token, NOW).unwrap_err().code(), "wrong_kind");
        assert_eq!(authority.check_enroll("", NOW), Err(TokenError::Missing(Kind::Enroll)));
    }

    /// The MAC covers which of the two kinds an enrollment token is: one cannot be turned into the other.
    #[test]
    fn a_token_for_one_key_says_so_and_opens_nothing_else() {
        let authority = authority();
        let minted = authority.mint_enroll_one([9; 16], HOUR, NOW);
        assert!(minted.token.starts_with("scale_enroll_"));
        let expected = Enrolls::One { id: [9; 16], expires_at: NOW.plus(HOUR) };
        assert_eq!(authority.check_enroll(&minted.token, NOW), Ok(expected));
        assert_eq!(authority.check_enroll(&minted.token, minted.expires_at), Err(TokenError::Expired));
        assert_eq!(authority.check_device(&minted.token, NOW).unwrap_err().code(), "wrong_kind");
        let (words, mac) = minted.token.split_once('.').unwrap();
        let mut payload = URL_SAFE_NO_PAD.decode(words.strip_prefix("scale_enroll_").unwrap()).unwrap();
        assert_eq!(payload[1], ENROLL_ONE);
        payload[1] = Kind::Enroll.byte();
        let widened = format!("scale_enroll_{}.{mac}", URL_SAFE_NO_PAD.encode(payload));
        assert_eq!(authority.check_enroll(&widened, NOW), Err(TokenError::Bad));
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let authority = authority();
        let token = authority.mint_device(caller(), HOUR, NOW).token;
        for position in 0..token.len() {
            for replacement in ["A", "B", "_", "."] {
                let mut forged = token.clone();
                forged.replace_range(position..=position, replacement);
                if forged != token {
                    assert_eq!(authority.check_device(&forged, NOW), Err(TokenError::Bad), "{forged}");
                }
            }
            assert_eq!(
                authority.check_device(&token[..position], NOW).map(drop).unwrap_err().code(),
                match position {
                    0 => "missing_token",
                    _ => "bad_token",
                }
            );
        }
    }

    #[test]
    fn a_kind_cannot_be_relabelled_and_another_key_opens_nothing() {
        let authority = authority();
        let enroll = authority.mint(Kind::Enroll, [1; 16], HOUR, NOW).token;
        let relabeled = enroll.replace("scale_enroll_", "scale_operator_");
        assert_eq!(authority.check_operator(&relabeled, NOW), Err(TokenError::Bad));
        let foreign = Authority::new(&[8; 32]).mint(Kind::Operator, [1; 16], HOUR, NOW).token;
        assert_eq!(authority.check_operator(&foreign, NOW), Err(TokenError::Bad));
        for junk in ["scale_", "scale_operator_", "scale_operator_.", "Bearer x", &"scale_operator_".repeat(100)] {
            assert_eq!(authority.check_operator(junk, NOW), Err(TokenError::Bad), "{junk}");
        }
    }

    #[test]
    fn nothing_prints_a_token_or_a_key() {
        let minted = authority().mint(Kind::Operator, [1; 16], HOUR, NOW);
        let (_, secret) = minted.token.rsplit_once('_').unwrap();
        assert!(!format!("{minted:?}").contains(secret));
        assert_eq!(format!("{:?}", authority()), "Authority(redacted)");
    }
}
