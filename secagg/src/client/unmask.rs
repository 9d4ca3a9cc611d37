//! Stage 4: the device gives out one share per neighbour, of the kind that its own bitmaps choose
//! (docs/protocol/session.md).

use super::{Agreed, require};
use crate::bytes::Reader;
use crate::check::Check;
use crate::error::{Reason, Refusal};
use crate::graph::survivor_statement;
use crate::keys;

/// Bytes of one index and signature.
const SIGNED_LEN: usize = 68;

impl Agreed {
    /// Checks that enough neighbours signed the same two sets, and reveals: for each neighbour among the sharers,
    /// ascending, the share of its self mask if it survived, else the share of its pair masks. Everything is wiped.
    ///
    /// # Errors
    /// `malformed`; C20 for a signer out of order or outside the surviving neighbours, or fewer than t valid
    /// signatures; C25.
    pub fn on_signatures(self, bytes: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
        let Self { session, sharers, shares, survivors } = self;
        session.in_time(4, now_ms)?;
        if !bytes.len().is_multiple_of(SIGNED_LEN) {
            return Err(Reason::Malformed.into());
        }
        let statement = survivor_statement(&session.sid, &sharers, &survivors);
        let (mut signed, mut previous) = (Vec::new(), None);
        let mut reader = Reader::new(bytes);
        while reader.remaining() > 0 {
            let signer = reader.u32()?;
            let signature: [u8; 64] = reader.array()?;
            let rising = previous.is_none_or(|previous| previous < signer);
            let position = session.peers.binary_search_by_key(&signer, |peer| peer.index).ok();
            let peer = position.map(|position| &session.peers[position]);
            let peer = peer.filter(|_| rising && survivors.contains(signer));
            let peer = peer.ok_or(Refusal::by(Check::C20, Reason::Agreement))?;
            signed.push((&peer.id_pk, signature));
            previous = Some(signer);
        }
        require(valid(&signed, &statement) >= session.parameters.t as usize, Check::C20, Reason::Agreement)?;

        let mut reveal = Vec::with_capacity(32 * shares.len());
        for (position, pair) in session.live(&sharers).into_iter().zip(shares.iter()) {
            let (of_self_mask, of_pair_masks) = pair.split_at(32);
            let survived = survivors.contains(session.peers[position].index);
            reveal.extend_from_slice(if survived { of_self_mask } else { of_pair_masks });
        }
        Ok(reveal)
    }
}

/// How many of these keys have signed the statement. An invalid signature just does not count.
fn valid(signed: &[(&[u8; 32], [u8; 64])], statement: &[u8]) -> usize {
    let all: Vec<_> = signed.iter().map(|(key, signature)| (*key, statement, signature)).collect();
    if keys::verify_all(&all) {
        return all.len();
    }
    signed.iter().filter(|(key, signature)| keys::verify(key, statement, signature)).count()
}
