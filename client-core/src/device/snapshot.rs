//! Serialization of a state, so that a device that was killed continues where it was.
//!
//! ```text
//! version u8 ‖ state u8 ‖ manifest ‖ fields of the state, each with its length as u64 in front
//! ```
//!
//! Values as large as the model are not fields. Each of them is a separate [`Part`], stored once, and a field refers to
//! it by its digest (docs/adr/0013).
//!
//! The bytes contain secrets: the host seals them. The manifest is checked again when they are read, so a new version
//! of the app with stricter guardrails leaves a round that the old version had joined.

use bytes::Bytes;
use prost::Message as _;
use scale_proto::ids::{Digest, SessionId};
use scale_proto::manifest::Manifest;
use scale_proto::wire;
use scale_secagg::client;
use zeroize::Zeroizing;

use super::payload::{Releasing, Sealed};
use super::state::Session;
use super::{Cause, Round, Rules, State};
use crate::update::QuantizedUpdate;

/// First byte. Snapshots of other versions are not read: the round is lost, but its number stays in the history.
const VERSION: u8 = 4;

mod tag {
    pub(super) const JOINED: u8 = 1;
    pub(super) const TRAINED: u8 = 2;
    pub(super) const KEYED: u8 = 3;
    pub(super) const SHARED: u8 = 4;
    pub(super) const MASKED: u8 = 5;
    pub(super) const AGREED: u8 = 6;
    pub(super) const REVEALING: u8 = 7;
}

/// Why stored bytes could not be restored: they are damaged, of another version, or violate the current rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored round cannot be resumed: {0}")]
pub struct Unreadable(pub String);

impl From<Cause> for Unreadable {
    fn from(cause: Cause) -> Self {
        Self(cause.to_string())
    }
}

/// A stored state.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The fields of the state: small, rewritten in every state. They refer to the parts.
    pub state: Zeroizing<Vec<u8>>,
    /// The update, until it is masked.
    pub update: Option<Part>,
    /// The masked input, until it is in the sum.
    pub masked: Option<Part>,
}

/// A large value that stays the same from one state to the next.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    bytes: Bytes,
    digest: Digest,
}

impl Part {
    /// A part with these bytes; computes their digest.
    pub fn new(bytes: Bytes) -> Self {
        let digest = Digest::of(&bytes);
        Self { bytes, digest }
    }

    /// The bytes. They are secret.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Snapshot(redacted)")
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Part(redacted)")
    }
}

impl State {
    /// The state as bytes, including secrets; `None` for a state that cannot be continued. A state in training contains
    /// no training progress: training starts again from the stored manifest and model.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let (mut kept, mut masked_input) = (None, None);
        let (tag, fields): (u8, Vec<Zeroizing<Vec<u8>>>) = match self {
            Self::Joined(_) => (tag::JOINED, vec![]),
            Self::Trained(_, update) => (tag::TRAINED, vec![name(&mut kept, part(update))]),
            Self::Keyed(_, update, keyed, message) => {
                (tag::KEYED, vec![name(&mut kept, part(update)), keyed.snapshot(), public(message)])
            }
            Self::Shared(session, update, shared, message) => {
                let update = name(&mut kept, part(update));
                (tag::SHARED, vec![update, shared.snapshot(), public(message), public(session.id.as_bytes())])
            }
            // Whether the bytes were released is recorded in the ledger only.
            Self::Sealed(session, Sealed { masked, bytes })
            | Self::Releasing(session, Releasing { sealed: Sealed { masked, bytes }, .. }) => {
                let bytes = name(&mut masked_input, Part::new(bytes.clone()));
                (tag::MASKED, vec![masked.snapshot(), bytes, public(session.id.as_bytes())])
            }
            Self::Masked(session, masked, payload) => {
                let part = Part { bytes: payload.bytes().clone(), digest: payload.digest() };
                let bytes = name(&mut masked_input, part);
                (tag::MASKED, vec![masked.snapshot(), bytes, public(session.id.as_bytes())])
            }
            Self::Agreed(session, agreed, message) => {
                (tag::AGREED, vec![agreed.snapshot(), public(message), public(session.id.as_bytes())])
            }
            Self::Revealing(session, message) => (tag::REVEALING, vec![public(message), public(session.id.as_bytes())]),
            // A reserved but unmasked update is lost with the process, because noise is drawn only once.
            Self::Paying(..) => return None,
            Self::Idle | Self::Training(..) | Self::Waited(_) | Self::Done(_) | Self::Left(..) => return None,
        };
        let manifest = wire::Manifest::from(self.round()?.manifest()).encode_to_vec();
        // Allocated once: growing the buffer would leave an old copy of the secrets in memory.
        let len = 2 + 8 + manifest.len() + fields.iter().map(|field| 8 + field.len()).sum::<usize>();
        let mut out = Zeroizing::new(Vec::with_capacity(len));
        out.extend_from_slice(&[VERSION, tag]);
        for field in std::iter::once(manifest.as_slice()).chain(fields.iter().map(|field| field.as_slice())) {
            out.extend_from_slice(&(field.len() as u64).to_le_bytes());
            out.extend_from_slice(field);
        }
        Some(Snapshot { state: out, update: kept, masked: masked_input })
    }

    /// Reads back what [`Self::snapshot`] gave. Continue with [`super::Event::Resume`].
    ///
    /// # Errors
    /// [`Unreadable`]: this device cannot continue the round.
    pub fn restore(snapshot: &Snapshot, rules: &Rules) -> Result<Self, Unreadable> {
        let [version, tag, rest @ ..] = &**snapshot.state else { return Err(damaged()) };
        if *version != VERSION {
            return Err(Unreadable(format!("it has version {version}, this build reads {VERSION}")));
        }
        let mut fields = Fields(rest);
        let manifest = wire::Manifest::decode(fields.next()?).map_err(|_| damaged())?;
        let manifest = Manifest::try_from(manifest).map_err(|_| damaged())?;
        let round = Round::restore(manifest, rules)?;
        let state = match *tag {
            tag::JOINED => Self::Joined(Box::new(round)),
            tag::TRAINED => {
                let update = fields.update(&snapshot.update, &round)?;
                Self::Trained(Box::new(round), update)
            }
            tag::KEYED => {
                let update = fields.update(&snapshot.update, &round)?;
                let keyed = client::Keyed::restore(fields.next()?).map_err(|_| damaged())?;
                let message = fields.message()?;
                belongs(&round, keyed.cfg())?;
                Self::Keyed(Box::new(round), update, keyed, message)
            }
            tag::SHARED => {
                let update = fields.update(&snapshot.update, &round)?;
                let shared = client::Shared::restore(fields.next()?).map_err(|_| damaged())?;
                belongs(&round, shared.cfg())?;
                let message = fields.message()?;
                Self::Shared(fields.session(round)?, update, shared, message)
            }
            tag::MASKED => {
                let masked = client::Masked::restore(fields.next()?).map_err(|_| damaged())?;
                belongs(&round, masked.cfg())?;
                let bytes = fields.part(&snapshot.masked)?.clone();
                Self::Sealed(fields.session(round)?, Sealed { masked, bytes })
            }
            tag::AGREED => {
                let agreed = client::Agreed::restore(fields.next()?).map_err(|_| damaged())?;
                belongs(&round, agreed.cfg())?;
                let message = fields.message()?;
                Self::Agreed(fields.session(round)?, agreed, message)
            }
            tag::REVEALING => {
                let message = fields.message()?;
                Self::Revealing(fields.session(round)?, message)
            }
            _ => return Err(damaged()),
        };
        if fields.0.is_empty() { Ok(state) } else { Err(damaged()) }
    }
}

fn damaged() -> Unreadable {
    Unreadable("its bytes are damaged".into())
}

/// Stores a part in `place`, and returns the field that refers to it.
fn name(place: &mut Option<Part>, part: Part) -> Zeroizing<Vec<u8>> {
    public(&place.insert(part).digest.0)
}

fn part(update: &QuantizedUpdate) -> Part {
    Part { bytes: update.bytes().clone(), digest: update.digest() }
}

fn public(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(bytes.to_vec())
}

/// Checks that the protocol's state belongs to the stored manifest.
fn belongs(round: &Round, cfg: &[u8; 32]) -> Result<(), Unreadable> {
    if round.config().cfg() == *cfg { Ok(()) } else { Err(damaged()) }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<&'a [u8], Unreadable> {
        let (len, rest) = self.0.split_first_chunk().ok_or_else(damaged)?;
        let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| damaged())?;
        let (field, rest) = rest.split_at_checked(len).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(field)
    }

    /// The stored part, if it has the digest that the state refers to.
    fn part<'p>(&mut self, stored: &'p Option<Part>) -> Result<&'p Bytes, Unreadable> {
        let named = self.next()?;
        let part = stored.as_ref().filter(|part| part.digest.0 == *named);
        part.map(|part| &part.bytes).ok_or_else(|| Unreadable("a part of it is missing".into()))
    }

    fn update(&mut self, stored: &Option<Part>, round: &Round) -> Result<QuantizedUpdate, Unreadable> {
        let bytes = self.part(stored)?.clone();
        let len = usize::try_from(round.plan().model.flat_len()).map_err(|_| damaged())?;
        QuantizedUpdate::restore(bytes, len).ok_or_else(damaged)
    }

    fn message(&mut self) -> Result<Bytes, Unreadable> {
        Ok(Bytes::copy_from_slice(self.next()?))
    }

    fn session(&mut self, round: Round) -> Result<Box<Session>, Unreadable> {
        let id = SessionId::try_from(self.next()?).map_err(|_| damaged())?;
        Ok(Box::new(Session { round, id }))
    }
}
