//! States as bytes, so that a device that was killed can go on.
//!
//! The bytes hold every secret of the state: the caller seals them before they are stored, stores them before the
//! answer of the state's stage is sent, and deletes older ones. Going back to an older snapshot would let a server ask
//! twice. The identity key is never inside; what can be computed again is not stored.

use zeroize::Zeroizing;

use super::mask::Shares;
use super::{Agreed, Cleared, Keyed, Masked, Peer, Session, Shared};
use crate::bytes::Reader;
use crate::config::RoundConfig;
use crate::error::{Reason, Refusal};
use crate::graph::Members;
use crate::keys::{DhSecret, MaskKey, Secret, Sign, mask_secret};
use crate::params;
use crate::roster::Entry;
use crate::wipe::{Held, scrubbed};

/// First byte of every snapshot. No other version can be read.
const VERSION: u8 = 2;

/// Second byte: what kind of state follows.
mod tag {
    pub(super) const KEYED: u8 = 1;
    pub(super) const SHARED: u8 = 2;
    pub(super) const CLEARED: u8 = 3;
    pub(super) const MASKED: u8 = 4;
    pub(super) const AGREED: u8 = 5;
}

/// Appends to a buffer that is wiped, also when it has to grow.
struct Sealed(Zeroizing<Vec<u8>>);

impl Sealed {
    fn new(tag: u8) -> Self {
        let mut out = Self(Zeroizing::new(Vec::with_capacity(4096)));
        out.put(&[VERSION, tag]);
        out
    }

    fn put(&mut self, bytes: &[u8]) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            // Vec would leave the old allocation as it is; dropping a Zeroizing one wipes it.
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.0.capacity())));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }
}

/// One state's bytes, behind its tag.
trait Body: Sized {
    const TAG: u8;
    fn write(&self, out: &mut Sealed);
    fn read(r: &mut Reader<'_>) -> Result<Self, Refusal>;
}

macro_rules! snapshots {
    ($($state:ident)*) => {$(
        impl $state {
            /// The state as bytes, secrets included: the caller seals them.
            pub fn snapshot(&self) -> Zeroizing<Vec<u8>> {
                let mut out = Sealed::new(Self::TAG);
                scrubbed(|| self.write(&mut out));
                out.0
            }

            /// Reads [`Self::snapshot`] back.
            ///
            /// # Errors
            /// [`Reason::Malformed`] for anything else.
            pub fn restore(bytes: &[u8]) -> Result<Self, Refusal> {
                let mut r = Reader::new(bytes);
                need(r.u8()? == VERSION && r.u8()? == Self::TAG)?;
                let state = scrubbed(|| Self::read(&mut r))?;
                r.finish()?;
                Ok(state)
            }
        }
    )*};
}
snapshots!(Keyed Shared Cleared Masked Agreed);

impl Body for Keyed {
    const TAG: u8 = tag::KEYED;

    fn write(&self, out: &mut Sealed) {
        write_config(&self.config, out);
        out.u32(self.floor);
        out.put(&[u8::from(self.certified)]);
        out.put(&*self.seed.to_bytes());
        out.put(&*self.channel.to_bytes());
        out.put(&self.entry.id_pk);
        out.put(&self.entry.sig);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Refusal> {
        let config = read_config(r)?;
        let cfg = config.cfg();
        let floor = r.u32()?;
        let certified = flag(r)?;
        let seed = Held::new(Secret::from_canonical(r.take(32)?).map_err(|_| Reason::Malformed)?);
        let channel = Held::new(DhSecret::from_bytes(&*secret(r)?));
        let (c_pk, s_pk) = (channel.public(), mask_secret(&cfg, &seed).public());
        let entry = Entry { id_pk: r.array()?, c_pk, s_pk, sig: r.array()? };
        Ok(Self { config, cfg, floor, certified, seed, channel, entry })
    }
}

impl Body for Shared {
    const TAG: u8 = tag::SHARED;

    fn write(&self, out: &mut Sealed) {
        write_session(&self.session, out);
        out.put(&self.channel_public);
        for channel in self.channels.iter() {
            out.put(&**channel);
        }
        out.put(&*self.mask.to_bytes());
        out.put(self.self_mask.as_bytes());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Refusal> {
        let session = read_session(r)?;
        let channel_public = r.array()?;
        let channels = Held::new(several(session.peers.len(), || secret(r))?);
        let mask = Held::new(DhSecret::from_bytes(&*secret(r)?));
        let mask_public = mask.public();
        let self_mask = Held::new(MaskKey::new(&*secret(r)?));
        Ok(Self { session, channel_public, channels, mask, mask_public, self_mask })
    }
}

impl Body for Cleared {
    const TAG: u8 = tag::CLEARED;

    fn write(&self, out: &mut Sealed) {
        write_session(&self.session, out);
        write_shares(&self.sharers, &self.shares, out);
        for (sign, key) in self.masks.iter() {
            out.put(&[u8::from(*sign == Sign::Minus)]);
            out.put(key.as_bytes());
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Refusal> {
        let session = read_session(r)?;
        let (sharers, shares) = read_shares(&session, r)?;
        let mask = |r: &mut Reader<'_>| {
            let sign = if flag(r)? { Sign::Minus } else { Sign::Plus };
            Ok::<_, Refusal>((sign, MaskKey::new(&*secret(r)?)))
        };
        // The self mask, then one per neighbour among the sharers.
        let masks = Held::new(several(shares.len() + 1, || mask(r))?);
        Ok(Self { session, sharers, shares, masks })
    }
}

impl Body for Masked {
    const TAG: u8 = tag::MASKED;

    fn write(&self, out: &mut Sealed) {
        write_session(&self.session, out);
        write_shares(&self.sharers, &self.shares, out);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Refusal> {
        let session = read_session(r)?;
        let (sharers, shares) = read_shares(&session, r)?;
        Ok(Self { session, sharers, shares })
    }
}

impl Body for Agreed {
    const TAG: u8 = tag::AGREED;

    fn write(&self, out: &mut Sealed) {
        write_session(&self.session, out);
        write_shares(&self.sharers, &self.shares, out);
        out.put(self.survivors.as_bytes());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Refusal> {
        let session = read_session(r)?;
        let (sharers, shares) = read_shares(&session, r)?;
        let survivors = read_members(session.n, r)?;
        need(survivors.is_subset(&sharers) && survivors.contains(session.index))?;
        Ok(Self { session, sharers, shares, survivors })
    }
}

fn write_config(config: &RoundConfig, out: &mut Sealed) {
    let bytes = config.encode();
    // A configuration of 65,535 vectors with the longest names has 17 MB.
    out.u32(bytes.len() as u32);
    out.put(&bytes);
}

fn read_config(r: &mut Reader<'_>) -> Result<RoundConfig, Refusal> {
    let len = r.u32()? as usize;
    RoundConfig::decode(r.take(len)?)
}

fn write_session(session: &Session, out: &mut Sealed) {
    write_config(&session.config, out);
    out.put(session.sid.as_bytes());
    out.u32(session.n);
    out.u32(session.index);
    for peer in &session.peers {
        out.u32(peer.index);
        out.put(&peer.id_pk);
        out.put(&peer.c_pk);
        out.put(&peer.s_pk);
    }
}

fn read_session(r: &mut Reader<'_>) -> Result<Session, Refusal> {
    let config = read_config(r)?;
    let cfg = config.cfg();
    let sid = r.array::<32>()?.into();
    let (n, index) = (r.u32()?, r.u32()?);
    let parameters = params::parameters(n, config.profile, config.class).map_err(|_| Reason::Malformed)?;
    let mut peers: Vec<Peer> = Vec::new();
    for _ in 0..parameters.k {
        let peer = Peer { index: r.u32()?, id_pk: r.array()?, c_pk: r.array()?, s_pk: r.array()? };
        need(peers.last().is_none_or(|before| before.index < peer.index) && peer.index != index && peer.index < n)?;
        peers.push(peer);
    }
    need(index < n)?;
    Ok(Session { config, cfg, sid, n, index, peers, parameters })
}

fn write_shares(sharers: &Members, shares: &Shares, out: &mut Sealed) {
    out.put(sharers.as_bytes());
    for pair in shares {
        out.put(&**pair);
    }
}

fn read_shares(session: &Session, r: &mut Reader<'_>) -> Result<(Members, Held<Shares>), Refusal> {
    let sharers = read_members(session.n, r)?;
    need(sharers.contains(session.index))?;
    let shares = several(session.live(&sharers).len(), || Ok(Zeroizing::new(r.array()?)))?;
    Ok((sharers, Held::new(shares)))
}

fn read_members(n: u32, r: &mut Reader<'_>) -> Result<Members, Refusal> {
    Members::decode(n, r.take(n.div_ceil(8) as usize)?)
}

fn flag(r: &mut Reader<'_>) -> Result<bool, Refusal> {
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Reason::Malformed.into()),
    }
}

/// Room for all of them is there from the start: a vector that grows leaves secrets in its old allocation.
fn several<T>(count: usize, mut read: impl FnMut() -> Result<T, Refusal>) -> Result<Vec<T>, Refusal> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(read()?);
    }
    Ok(all)
}

fn secret(r: &mut Reader<'_>) -> Result<Zeroizing<[u8; 32]>, Refusal> {
    Ok(Zeroizing::new(r.array()?))
}

fn need(holds: bool) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Reason::Malformed.into()) }
}
