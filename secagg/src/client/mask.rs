//! Stage 2: the device opens its neighbours' shares, then masks its input (docs/protocol/session.md).

use zeroize::{Zeroize, Zeroizing};

use super::{Session, Shared, require, session_facts};
use crate::check::Check;
use crate::error::{Reason, Refusal};
use crate::graph::Members;
use crate::keys::{self, MaskKey, Secret, ShareCipher, Sign};
use crate::wipe::{Held, scrubbed};
use crate::{pack, prg};

/// Every check of stage 2 has passed and nothing is masked yet. This is the point at which the device reserves in its
/// privacy ledger and draws noise (C14), or drops this state if the ledger does not allow the round: aborts before it cost
/// no budget.
pub struct Cleared {
    pub(super) session: Session,
    pub(super) sharers: Members,
    pub(super) shares: Held<Shares>,
    /// The self mask, then the masks with every neighbour among the sharers.
    pub(super) masks: Held<Vec<(Sign, MaskKey)>>,
}

/// Stage 2 answered: the input is masked and its keys are gone.
pub struct Masked {
    pub(super) session: Session,
    pub(super) sharers: Members,
    pub(super) shares: Held<Shares>,
}

session_facts!(Cleared);
session_facts!(Masked);

/// For each neighbour among the sharers, ascending: its share of `b`, then its share of `a`.
pub(super) type Shares = Vec<Zeroizing<[u8; 64]>>;

impl Shared {
    /// Reads the set of sharers and opens every share for this device.
    ///
    /// # Errors
    /// `malformed`, C12, C04 in the order of docs/protocol/session.md, with the first neighbour whose share does not
    /// open to blame; C25.
    pub fn on_shares(self, bytes: &[u8], now_ms: u64) -> Result<Cleared, Refusal> {
        scrubbed(|| self.open_shares(bytes, now_ms))
    }

    fn open_shares(self, bytes: &[u8], now_ms: u64) -> Result<Cleared, Refusal> {
        let Self { session, channels, mask, mask_public, channel_public, self_mask } = self;
        session.in_time(2, now_ms)?;

        let bitmap_len = session.n.div_ceil(8) as usize;
        let (bitmap, sealed) = bytes.split_at_checked(bitmap_len).ok_or(Reason::Malformed)?;
        let sharers = Members::decode(session.n, bitmap)?;
        let live = session.live(&sharers);
        if sealed.len() != keys::SEALED_LEN * live.len() {
            return Err(Reason::Malformed.into());
        }
        require(sharers.contains(session.index), Check::C12, Reason::NotListed)?;
        require(sharers.len() >= session.config.survivors_min(), Check::C04, Reason::CohortFloor)?;
        require(live.len() >= session.parameters.t as usize, Check::C12, Reason::TooFewNeighbours)?;

        let mut shares = Shares::with_capacity(live.len());
        for (&position, sealed) in live.iter().zip(sealed.chunks_exact(keys::SEALED_LEN)) {
            let peer = &session.peers[position];
            let cipher = ShareCipher::new(&session.sid, &channels[position], &peer.c_pk, &channel_public);
            let opened = cipher.open(peer.index, session.index, sealed).filter(canonical);
            shares.push(opened.ok_or(Refusal::by(Check::C12, Reason::BadShare).blaming(peer.index))?);
        }

        let mut masks = Vec::with_capacity(live.len() + 1);
        masks.push((Sign::Plus, MaskKey::new(self_mask.as_bytes())));
        for &position in &live {
            let peer = &session.peers[position].s_pk;
            let key = keys::pair_mask_key(&session.sid, &mask, &mask_public, peer)?;
            masks.push((keys::sign_of(&mask_public, peer), key));
        }
        Ok(Cleared { session, sharers, shares: Held::new(shares), masks: Held::new(masks) })
    }
}

fn canonical(plain: &Zeroizing<[u8; 64]>) -> bool {
    plain.chunks_exact(32).all(|scalar| Secret::from_canonical(scalar).is_ok())
}

impl Cleared {
    /// Masks the input in place and packs it: MaskedInput, ready to send.
    ///
    /// `input`: one vector per entry of the configuration, signed values as their residues modulo 2^32; only the low
    /// `wire_bits` of each entry are sent. Time is (neighbours + 1) x entries; holds one packed copy besides `input`.
    ///
    /// # Errors
    /// C26 when number or lengths of the vectors differ from the configuration's. The input is wiped.
    pub fn mask(self, mut input: Vec<Vec<u32>>) -> Result<(Masked, Vec<u8>), Refusal> {
        let Self { session, sharers, shares, masks } = self;
        let vectors = &session.config.vectors;
        let fits = input.len() == vectors.len()
            && input.iter().zip(vectors).all(|(values, spec)| values.len() as u64 == spec.len);
        if !fits {
            input.zeroize();
            return Err(Refusal::by(Check::C26, Reason::Plan));
        }
        let masks: Vec<(Sign, &MaskKey)> = masks.iter().map(|(sign, key)| (*sign, key)).collect();
        let mut upload = Vec::with_capacity(session.config.masked_input_len() as usize);
        scrubbed(|| {
            for (number, values) in input.iter_mut().enumerate() {
                // At most 65,535 vectors.
                prg::accumulate(values, number as u32, 0, &masks);
                pack::pack(values, session.config.wire_bits, &mut upload);
            }
        });
        Ok((Masked { session, sharers, shares }, upload))
    }
}
