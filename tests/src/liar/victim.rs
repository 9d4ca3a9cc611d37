//! What the liar talks to: the device that ships, or a client without checks.

use scale_secagg::error::Refusal;
use scale_secagg::keys::IdentityKey;
use scale_secagg::params;
use scale_secagg::roster::{Certificate, RosterForm};

use super::setting::Offer;

/// What opens a stage.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// Stage 1: the roster, complete or with this device's neighbors only.
    Roster {
        /// Which of the encodings.
        form: RosterForm,
        /// The payload.
        bytes: &'a [u8],
    },
    /// Stage 2: who shared, and the shares for this device.
    Shares(&'a [u8]),
    /// Stage 3: whose input is in the sum.
    Survivors(&'a [u8]),
    /// Stage 4: the neighbors' signatures.
    Signatures(&'a [u8]),
}

impl Message<'_> {
    /// Number of the stage.
    pub const fn stage(&self) -> u8 {
        match self {
            Self::Roster { .. } => 1,
            Self::Shares(_) => 2,
            Self::Survivors(_) => 3,
            Self::Signatures(_) => 4,
        }
    }
}

/// Why a victim did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The client-side check, "C01" to "C26"; empty where a refusal has none.
    pub check: String,
    /// The stable word.
    pub code: String,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { check: refusal.check.map_or_else(String::new, |check| check.to_string()), code: refusal.code().into() }
    }
}

/// A device in the hands of the liar. The liar gets what its calls return, and nothing else.
pub trait Victim {
    /// The identity that it enrolled with.
    fn identity(&self) -> [u8; 32];

    /// Stage 0: takes a round, trains, and answers with AdvertiseKeys.
    ///
    /// # Errors
    /// The check that failed.
    fn offer(&mut self, offer: &Offer, now_ms: u64) -> Result<Vec<u8>, Refused>;

    /// A later stage, or a message out of turn: answers with the bytes that it sends.
    ///
    /// # Errors
    /// The check that failed.
    fn handle(&mut self, message: Message<'_>, now_ms: u64) -> Result<Vec<u8>, Refused>;

    /// For the judge alone: what the last masked input hides.
    fn input(&self) -> Vec<Vec<u32>>;

    /// For the judge alone: SHA-256 of the model bytes that were trained on last.
    fn trained_on(&self) -> [u8; 32];

    /// Whether it holds no secret of a session any more.
    fn is_over(&self) -> bool;

    /// The device is killed, and comes back with what it had stored: what it sends then, if it sends anything. A victim
    /// that stores nothing stays as it is.
    fn restart(&mut self) -> Option<Vec<u8>> {
        None
    }
}

/// What a victim's host does beyond the defaults.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// Fewest participants that the host app asks for.
    pub cohort_min: u32,
    /// Seed of the authority whose root the host pins and who has certified the device.
    pub authority: Option<[u8; 32]>,
}

impl Habits {
    /// The authority's key.
    pub fn authority(&self) -> Option<IdentityKey> {
        Some(IdentityKey::from_seed(&self.authority?))
    }

    /// The authority's certificate for `identity`.
    pub fn certificate(&self, identity: &[u8; 32]) -> Option<Certificate> {
        Some(Certificate::issue(&self.authority()?, identity, u64::MAX))
    }
}

impl Default for Habits {
    fn default() -> Self {
        Self { cohort_min: params::FLOOR, authority: None }
    }
}
