//! From decrypted shares to bytes that may be sent (checks C14 and C15; docs/adr/0008-paid-before-drawn.md). Each type
//! can only be made from the one above it, so no update is masked without its noise, and none is sent without a ledger
//! record:
//!
//! | type | what is made durable next | then |
//! |---|---|---|
//! | `client::Cleared` | the reservation | [`Paying`] |
//! | the ledger's `Spend` | | `Noised`, then [`Sealed`] |
//! | [`Sealed`] | the exact bytes; then their digest | [`Releasing`] |
//! | the ledger's `Released` | | [`Payload`] |

use bytes::Bytes;
use scale_privacy::ledger::{self, Append, Ledger, Noised, Pending, Released, Spend, Unreleased};
use scale_proto::ids::Digest;
use scale_proto::time::Timestamp;
use scale_secagg::client;
use scale_secagg::prg::Stream;

use super::{Cause, Round};
use crate::update::QuantizedUpdate;

/// A masked input that the ledger has released. Nothing else is uploaded; the same bytes may be sent any number of
/// times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    bytes: Bytes,
    digest: Digest,
}

impl Payload {
    /// `None` if the ledger released other bytes.
    fn new(bytes: Bytes, released: &Released) -> Option<Self> {
        let digest = Digest::of(&bytes);
        (digest.0 == *released.digest()).then_some(Self { bytes, digest })
    }

    /// The masked input.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of the masked input.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

/// A round whose reservation is being written to the ledger. No noise is drawn and nothing is masked yet.
#[derive(Debug)]
pub struct Paying {
    update: QuantizedUpdate,
    cleared: client::Cleared,
    pending: Pending<Spend>,
}

/// A masked input that is not in the ledger yet. The round never produces any other masked input.
#[derive(Debug)]
pub struct Sealed {
    pub(super) masked: client::Masked,
    pub(super) bytes: Bytes,
}

/// A masked input that is stored and whose digest is being written to the ledger.
#[derive(Debug)]
pub struct Releasing {
    pub(super) sealed: Sealed,
    pending: Pending<Released>,
}

/// The ledger's record of a masked input that a killed process stored.
#[derive(Debug)]
pub(super) enum StoredInput {
    /// The ledger had released it: the same bytes may be sent again.
    Released(client::Masked, Payload),
    /// Its cost was reserved and it was stored, but it was not released.
    Unreleased(Releasing),
}

impl Paying {
    /// Reserves the cost of `round`. A device that is killed afterwards cannot repeat this: the ledger refuses a second
    /// reservation for the round.
    pub(super) fn reserve(
        round: &Round,
        update: QuantizedUpdate,
        cleared: client::Cleared,
        ledger: &mut Ledger,
        now: Timestamp,
    ) -> Result<Self, Cause> {
        let config = round.config();
        let pending = match round.facts(update.dp_sgd()) {
            Some(facts) => ledger.reserve(&facts, now.as_millis()),
            None => ledger.reserve_without_noise(&config.task_id, config.round, &config.policy_id, now.as_millis()),
        };
        Ok(Self { update, cleared, pending: pending? })
    }

    /// The record that must be durable before [`Self::noise_and_mask`].
    pub(super) fn record(&self) -> Append {
        self.pending.append().clone()
    }

    /// Number of participants of the session.
    pub(super) fn cohort(&self) -> u32 {
        self.cleared.n()
    }

    /// To be called when the reservation is durable: draws the noise and masks, in one step that cannot be interrupted
    /// and repeated.
    pub(super) fn noise_and_mask(
        self,
        ledger: &mut Ledger,
        now: Timestamp,
        noise: &mut Stream,
    ) -> Result<Releasing, Cause> {
        let Self { update, cleared, pending } = self;
        let spend = ledger.durable(pending)?;
        let (masked, bytes, unreleased) = masked(cleared, Noised::new(spend, update.into_vectors(), noise)?)?;
        Releasing::new(Sealed { masked, bytes: bytes.into() }, &unreleased, ledger, now)
    }
}

/// The only place where this crate masks an update: it accepts only an update to which the ledger allowed noise to be
/// added.
fn masked(cleared: client::Cleared, noised: Noised) -> Result<(client::Masked, Vec<u8>, Unreleased), Cause> {
    let (vectors, unreleased) = noised.into_parts();
    let (masked, upload) = cleared.mask(vectors)?;
    Ok((masked, upload, unreleased))
}

impl Sealed {
    /// After a restart: looks up in the ledger whether these bytes were released.
    pub(super) fn look_up(self, round: &Round, ledger: &mut Ledger, now: Timestamp) -> Result<StoredInput, Cause> {
        let (task, number) = (&round.config().task_id, round.config().round);
        match ledger.resend(task, number, &Digest::of(&self.bytes).0) {
            Ok(released) => self.released(&released).map(|(masked, payload)| StoredInput::Released(masked, payload)),
            Err(ledger::Refusal::NothingToRelease) => {
                let unreleased = ledger.unreleased(task, number).ok_or(ledger::Refusal::NothingToRelease)?;
                Releasing::new(self, &unreleased, ledger, now).map(StoredInput::Unreleased)
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    fn released(self, released: &Released) -> Result<(client::Masked, Payload), Cause> {
        let payload = Payload::new(self.bytes, released).ok_or(ledger::Refusal::DifferentBytes)?;
        Ok((self.masked, payload))
    }
}

impl Releasing {
    fn new(sealed: Sealed, unreleased: &Unreleased, ledger: &mut Ledger, now: Timestamp) -> Result<Self, Cause> {
        let pending = ledger.release(unreleased, Digest::of(&sealed.bytes).0, now.as_millis())?;
        Ok(Self { sealed, pending })
    }

    /// The record that must be durable before [`Self::release`], written after the bytes themselves are stored.
    pub(super) fn record(&self) -> Append {
        self.pending.append().clone()
    }

    /// To be called when the digest is durable: releases the bytes for sending.
    pub(super) fn release(self, ledger: &mut Ledger) -> Result<(client::Masked, Payload), Cause> {
        let released = ledger.durable(self.pending)?;
        self.sealed.released(&released)
    }
}
