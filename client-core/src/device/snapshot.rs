//! A state as bytes, so that a device that was killed goes on where it was.
//!
//! ```text
//! version u8 ‖ state u8 ‖ manifest ‖ fields of the state, each with its length as u64 in front
//! ```
//!
//! The bytes hold secrets: the host seals them. What the manifest says is checked again when they are read, so a new
//! version of the app with stricter guardrails leaves a round that the old one had joined.

use bytes::Bytes;
use prost::Message as _;
use scale_proto::ids::SessionId;
use scale_proto::manifest::Manifest;
use scale_proto::wire;
use scale_secagg::client;
use zeroize::Zeroizing;

use super::payload::{Releasing, Sealed};
use super::state::Session;
use super::{Reason, Round, Rules, State};
use crate::update::Update;

/// First byte. Snapshots of other versions are not read: the round is lost, the round number remembered.
const VERSION: u8 = 3;

mod tag {
    pub(super) const JOINED: u8 = 1;
    pub(super) const TRAINED: u8 = 2;
    pub(super) const KEYED: u8 = 3;
    pub(super) const SHARED: u8 = 4;
    pub(super) const MASKED: u8 = 5;
    pub(super) const AGREED: u8 = 6;
    pub(super) const REVEALING: u8 = 7;
}

/// Why stored bytes are no state: they are damaged, of another version, or break a rule by now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored round cannot be resumed: {0}")]
pub struct Unreadable(pub String);

impl From<Reason> for Unreadable {
    fn from(reason: Reason) -> Self {
        Self(reason.sentence)
    }
}

impl State {
    /// The state as bytes, secrets included; `None` where there is nothing to go on with. Training starts again from the
    /// stored manifest and model.
    pub fn snapshot(&self) -> Option<Zeroizing<Vec<u8>>> {
        let (tag, fields): (u8, Vec<Zeroizing<Vec<u8>>>) = match self {
            Self::Joined(_) => (tag::JOINED, vec![]),
            Self::Trained(_, update) => (tag::TRAINED, vec![update.encode()]),
            Self::Keyed(_, update, keyed, message) => {
                (tag::KEYED, vec![update.encode(), keyed.snapshot(), public(message)])
            }
            Self::Shared(session, update, shared, message) => {
                (tag::SHARED, vec![update.encode(), shared.snapshot(), public(message), public(session.id.as_bytes())])
            }
            // Whether the ledger has released the bytes stands in the ledger.
            Self::Sealed(session, Sealed { masked, bytes })
            | Self::Releasing(session, Releasing { sealed: Sealed { masked, bytes }, .. }) => {
                (tag::MASKED, vec![masked.snapshot(), public(bytes), public(session.id.as_bytes())])
            }
            Self::Masked(session, masked, payload) => {
                (tag::MASKED, vec![masked.snapshot(), public(payload.bytes()), public(session.id.as_bytes())])
            }
            Self::Agreed(session, agreed, message) => {
                (tag::AGREED, vec![agreed.snapshot(), public(message), public(session.id.as_bytes())])
            }
            Self::Revealing(session, message) => (tag::REVEALING, vec![public(message), public(session.id.as_bytes())]),
            // What is paid for and not masked is lost with the process: noise is drawn once.
            Self::Paying(..) => return None,
            Self::Idle | Self::Training(..) | Self::Waited(_) | Self::Done(_) | Self::Left(..) => return None,
        };
        let manifest = wire::Manifest::from(self.round()?.manifest()).encode_to_vec();
        // Allocated once: growing would leave an old copy of the secrets behind.
        let len = 2 + 8 + manifest.len() + fields.iter().map(|field| 8 + field.len()).sum::<usize>();
        let mut out = Zeroizing::new(Vec::with_capacity(len));
        out.extend_from_slice(&[VERSION, tag]);
        for field in std::iter::once(manifest.as_slice()).chain(fields.iter().map(|field| field.as_slice())) {
            out.extend_from_slice(&(field.len() as u64).to_le_bytes());
            out.extend_from_slice(field);
        }
        Some(out)
    }

    /// Reads [`Self::snapshot`] back; [`super::Event::Resume`] then goes on.
    ///
    /// # Errors
    /// [`Unreadable`]: the round is over for this device.
    pub fn restore(bytes: &[u8], rules: &Rules) -> Result<Self, Unreadable> {
        let [version, tag, rest @ ..] = bytes else { return Err(damaged()) };
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
                let update = fields.update(&round)?;
                Self::Trained(Box::new(round), update)
            }
            tag::KEYED => {
                let update = fields.update(&round)?;
                let keyed = client::Keyed::restore(fields.next()?).map_err(|_| damaged())?;
                let message = fields.message()?;
                belongs(&round, keyed.cfg())?;
                Self::Keyed(Box::new(round), update, keyed, message)
            }
            tag::SHARED => {
                let update = fields.update(&round)?;
                let shared = client::Shared::restore(fields.next()?).map_err(|_| damaged())?;
                belongs(&round, shared.cfg())?;
                let message = fields.message()?;
                Self::Shared(fields.session(round)?, update, shared, message)
            }
            tag::MASKED => {
                let masked = client::Masked::restore(fields.next()?).map_err(|_| damaged())?;
                belongs(&round, masked.cfg())?;
                let bytes = fields.message()?;
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

fn public(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(bytes.to_vec())
}

/// The protocol's state was made for the manifest beside it.
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

    fn update(&mut self, round: &Round) -> Result<Update, Unreadable> {
        let update = Update::decode(self.next()?).ok_or_else(damaged)?;
        if update.len() as u64 == round.plan().model.flat_len() { Ok(update) } else { Err(damaged()) }
    }

    fn message(&mut self) -> Result<Bytes, Unreadable> {
        Ok(Bytes::copy_from_slice(self.next()?))
    }

    fn session(&mut self, round: Round) -> Result<Box<Session>, Unreadable> {
        let id = SessionId::try_from(self.next()?).map_err(|_| damaged())?;
        Ok(Box::new(Session { round, id }))
    }
}
