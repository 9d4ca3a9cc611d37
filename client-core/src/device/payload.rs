//! From shares that opened to bytes that may be sent (C14, C15; docs/adr/0008-paid-before-drawn.md). Each type is made
//! from the one above it and from nothing else, so no update is masked without its noise, and none is sent without its
//! receipt:
//!
//! | have | what becomes durable | then |
//! |---|---|---|
//! | `client::Cleared` | the reservation | [`Paying`] |
//! | `Spend`, the ledger's | | `Noised`, then [`Sealed`] |
//! | [`Sealed`] | the exact bytes; then their digest | [`Releasing`] |
//! | `Released`, the ledger's | | [`Payload`] |

use bytes::Bytes;
use scale_privacy::ledger::{self, Append, Ledger, Noised, Pending, Released, Spend, Unreleased};
use scale_proto::ids::Digest;
use scale_proto::time::Timestamp;
use scale_secagg::client;
use scale_secagg::prg::Stream;

use super::{Cause, Round};
use crate::update::QuantizedUpdate;

/// Bytes that the ledger has released: the only thing that is uploaded, as often as it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    bytes: Bytes,
    digest: Digest,
}

impl Payload {
    /// `None` if other bytes were released.
    fn new(bytes: Bytes, released: &Released) -> Option<Self> {
        let digest = Digest::of(&bytes);
        (digest.0 == *released.digest()).then_some(Self { bytes, digest })
    }

    /// The masked input.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of it.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

/// A round whose reservation is being written: nothing is drawn and nothing masked yet.
#[derive(Debug)]
pub struct Paying {
    update: QuantizedUpdate,
    cleared: client::Cleared,
    pending: Pending<Spend>,
}

/// A masked input: these bytes are the only ones there will ever be. The ledger does not know them yet.
#[derive(Debug)]
pub struct Sealed {
    pub(super) masked: client::Masked,
    pub(super) bytes: Bytes,
}

/// A masked input that is stored, and whose digest is being written.
#[derive(Debug)]
pub struct Releasing {
    pub(super) sealed: Sealed,
    pending: Pending<Released>,
}

/// What the ledger says about a masked input that a killed process left.
#[derive(Debug)]
pub(super) enum Vouched {
    /// It was released: the same bytes again.
    Released(client::Masked, Payload),
    /// It was paid for and stored, not released.
    Unreleased(Releasing),
}

impl Paying {
    /// Reserves what `round` costs. A device that was killed after this does not come back here: the ledger refuses a
    /// second reservation.
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

    /// What has to be durable before [`Self::noise_and_mask`].
    pub(super) fn record(&self) -> Append {
        self.pending.append().clone()
    }

    /// Participants of the session.
    pub(super) fn cohort(&self) -> u32 {
        self.cleared.n()
    }

    /// The reservation is durable: draws the noise and masks, in one step that nothing can interrupt and repeat.
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

/// The one place where this crate masks anything: it takes nothing but what the ledger has let be noised.
fn masked(cleared: client::Cleared, noised: Noised) -> Result<(client::Masked, Vec<u8>, Unreleased), Cause> {
    let (vectors, unreleased) = noised.into_parts();
    let (masked, upload) = cleared.mask(vectors)?;
    Ok((masked, upload, unreleased))
}

impl Sealed {
    /// After a restart: asks the ledger what became of these bytes.
    pub(super) fn vouch(self, round: &Round, ledger: &mut Ledger, now: Timestamp) -> Result<Vouched, Cause> {
        let (task, number) = (&round.config().task_id, round.config().round);
        match ledger.resend(task, number, &Digest::of(&self.bytes).0) {
            Ok(released) => self.released(&released).map(|(masked, payload)| Vouched::Released(masked, payload)),
            Err(ledger::Refusal::NothingToRelease) => {
                let unreleased = ledger.unreleased(task, number).ok_or(ledger::Refusal::NothingToRelease)?;
                Releasing::new(self, &unreleased, ledger, now).map(Vouched::Unreleased)
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

    /// What has to be durable before [`Self::release`], after the bytes themselves.
    pub(super) fn record(&self) -> Append {
        self.pending.append().clone()
    }

    /// The digest is durable: the bytes may go.
    pub(super) fn release(self, ledger: &mut Ledger) -> Result<(client::Masked, Payload), Cause> {
        let released = ledger.durable(self.pending)?;
        self.sealed.released(&released)
    }
}
