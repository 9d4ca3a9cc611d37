//! What the liar knows, and what it makes of it.
//!
//! It keeps every message and every secret of its own devices. [`Knowledge::attack`] then does what such a server can do:
//! opens the shares that were sealed to its own keys, adds those that were revealed to it, rebuilds every secret that
//! reaches the threshold, takes all masks off that follow from these, and combines what is left so that the unknown
//! masks cancel ([`super::kernel`]).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use scale_proto::ids::Digest;
use scale_secagg::keys::{self, DhSecret, MaskKey, Secret, ShareCipher, Sign};
use scale_secagg::roster::Entry;
use scale_secagg::shamir::Rebuilder;
use scale_secagg::{pack, prg};

use super::kernel::kernel;
use super::leak::{Leak, Learned, promised};
use super::shown::Shown;

/// Which of an owner's two secrets a share belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `b`: the self mask.
    SelfMask,
    /// `a`: the masks with all others.
    PairMasks,
}

/// Names one participant in one session: the session's id and its mask key there.
type Owner = ([u8; 32], [u8; 32]);

/// Names one mask: the session, and the mask keys of the two that have it in common; twice the own one for a self mask.
type Mask<'a> = (&'a [u8; 32], &'a [u8; 32], &'a [u8; 32]);

/// A victim's ShareKeys, and the shares of it that the liar has got.
struct Sharing {
    victim: usize,
    shown: Rc<Shown>,
    index: u32,
    entry: Entry,
    /// Indices of the receivers, ascending: their places number the shares.
    receivers: Vec<u32>,
    sealed: Vec<u8>,
    /// By kind and holder number.
    shares: BTreeMap<(Kind, u32), [u8; 32]>,
}

impl Sharing {
    fn commitment(&self) -> &[u8] {
        &self.sealed[keys::SEALED_LEN * self.receivers.len()..]
    }

    /// The secret, if enough of its shares are known and fit what was published about it.
    fn rebuild(&self, kind: Kind) -> Option<Secret> {
        let points: Vec<(u32, Secret)> = self
            .shares
            .iter()
            .filter(|((of, _), _)| *of == kind)
            .filter_map(|((_, x), share)| Some((*x, Secret::from_canonical(share).ok()?)))
            .collect();
        let (sid, cfg) = (&self.shown.sid, self.shown.config.cfg());
        let fits = |secret: &Secret| match kind {
            Kind::SelfMask => keys::commitment(sid, &self.entry.id_pk, secret) == self.commitment(),
            Kind::PairMasks => keys::mask_secret(&cfg, secret).public() == self.entry.s_pk,
        };
        Rebuilder::new(self.receivers.len() as u32).rebuild_checked(&points, self.shown.t, fits).ok()
    }
}

/// A masked input, and what it is masked with as far as a server can tell.
struct Upload {
    victim: usize,
    shown: Rc<Shown>,
    entry: Entry,
    /// Mask keys of the neighbours among the sharers that the victim was shown.
    peers: Vec<[u8; 32]>,
    digest: Digest,
    values: Vec<Vec<u32>>,
    truth: Truth,
}

/// For the judge alone: what stands behind a masked input.
#[derive(Clone)]
pub struct Truth {
    /// The integers.
    pub input: Vec<Vec<u32>>,
    /// SHA-256 of the model that they were trained on.
    pub model: [u8; 32],
}

/// Everything that has come in.
#[derive(Default)]
pub struct Knowledge {
    /// X25519 secrets of the liar's own entries, channel and mask keys alike, by public key.
    own: BTreeMap<[u8; 32], DhSecret>,
    advertised: Vec<(usize, [u8; 32])>,
    sharings: BTreeMap<Owner, Sharing>,
    uploads: Vec<Upload>,
    statements: BTreeSet<(usize, [u8; 32], Vec<u8>)>,
}

impl Knowledge {
    /// Makes a key of the liar's own known.
    pub fn own_key(&mut self, secret: &DhSecret) {
        self.own.insert(secret.public(), DhSecret::from_bytes(&secret.to_bytes()));
    }

    /// Whether the liar has the secret of this public key.
    pub fn has(&self, public: &[u8; 32]) -> bool {
        self.own.contains_key(public)
    }

    /// AdvertiseKeys of `victim`.
    pub fn advertised(&mut self, victim: usize, entry: &Entry) {
        self.advertised.extend([(victim, entry.c_pk), (victim, entry.s_pk)]);
    }

    /// ShareKeys of `victim`, who stands at `index` of `shown` and was shown `receivers` as its neighbours.
    pub fn shared(&mut self, victim: usize, shown: &Rc<Shown>, index: u32, receivers: Vec<u32>, message: &[u8]) {
        let entry = shown.entry(index).clone();
        let owner = (*shown.sid.as_bytes(), entry.s_pk);
        let sharing = Sharing {
            victim,
            shown: Rc::clone(shown),
            index,
            entry,
            receivers,
            sealed: message.to_vec(),
            shares: BTreeMap::new(),
        };
        // A second one under the same keys would only be more of the same.
        self.sharings.entry(owner).or_insert(sharing);
    }

    /// What the owner with `entry` sealed in this session for the device at `to`.
    pub fn sealed(&self, shown: &Shown, entry: &Entry, to: u32) -> Option<&[u8]> {
        let sharing = self.sharings.get(&(*shown.sid.as_bytes(), entry.s_pk))?;
        let place = sharing.receivers.binary_search(&to).ok()?;
        sharing.sealed.get(keys::SEALED_LEN * place..keys::SEALED_LEN * (place + 1))
    }

    /// Whether the victim with this entry has answered stage 1 of the session.
    pub fn has_shared(&self, shown: &Shown, entry: &Entry) -> bool {
        self.sharings.contains_key(&(*shown.sid.as_bytes(), entry.s_pk))
    }

    /// Whether the victim with this entry has answered stage 2 of the session.
    pub fn has_uploaded(&self, shown: &Shown, entry: &Entry) -> bool {
        self.uploads.iter().any(|upload| upload.shown.sid == shown.sid && upload.entry.s_pk == entry.s_pk)
    }

    /// The masked input of `victim` at `index`, who was shown `peers` as its neighbours among the sharers.
    pub fn uploaded(
        &mut self,
        victim: usize,
        shown: &Rc<Shown>,
        index: u32,
        peers: &[u32],
        bytes: &[u8],
        truth: Truth,
    ) {
        let config = &shown.config;
        let mut rest = bytes;
        let mut values = vec![];
        for vector in &config.vectors {
            let len = vector.len as usize;
            let (packed, later) = rest.split_at(pack::packed_len(len, config.wire_bits));
            values.push(pack::unpack(packed, len, config.wire_bits).expect("a client packs as the protocol says"));
            rest = later;
        }
        self.uploads.push(Upload {
            victim,
            shown: Rc::clone(shown),
            entry: shown.entry(index).clone(),
            peers: peers.iter().map(|peer| shown.entry(*peer).s_pk).collect(),
            digest: Digest::of(bytes),
            values,
            truth,
        });
    }

    /// The signature of stage 3.
    pub fn stated(&mut self, victim: usize, shown: &Shown, signature: &[u8]) {
        self.statements.insert((victim, *shown.sid.as_bytes(), signature.to_vec()));
    }

    /// One revealed share: `owner` is the entry that the holder was shown, `holder` its own place.
    pub fn revealed(&mut self, shown: &Shown, owner: &Entry, holder: u32, kind: Kind, share: &[u8]) {
        let Some(sharing) = self.sharings.get_mut(&(*shown.sid.as_bytes(), owner.s_pk)) else { return };
        if let (Ok(place), Ok(share)) = (sharing.receivers.binary_search(&holder), share.try_into())
            && share != [0; 32]
        {
            sharing.shares.insert((kind, place as u32 + 1), share);
        }
    }

    /// Opens every share that was sealed to one of the liar's own keys.
    fn open_own(&mut self) {
        for sharing in self.sharings.values_mut() {
            for (place, receiver) in sharing.receivers.iter().enumerate() {
                let peer = sharing.shown.entry(*receiver);
                let Some(agreed) = self.own.get(&peer.c_pk).and_then(|own| own.agree(&sharing.entry.c_pk).ok()) else {
                    continue;
                };
                let cipher = ShareCipher::new(&sharing.shown.sid, &agreed, &sharing.entry.c_pk, &peer.c_pk);
                let sealed = &sharing.sealed[keys::SEALED_LEN * place..keys::SEALED_LEN * (place + 1)];
                if let Some(plain) = cipher.open(sharing.index, *receiver, sealed) {
                    let (b, a) = plain.split_at(32);
                    let x = place as u32 + 1;
                    sharing.shares.insert((Kind::SelfMask, x), b.try_into().expect("32 bytes"));
                    sharing.shares.insert((Kind::PairMasks, x), a.try_into().expect("32 bytes"));
                }
            }
        }
    }

    /// Runs the attack. Gives what was learned, and the leaks that show in the messages themselves.
    ///
    /// # Panics
    /// If a combination that should be bare differs from the true one: the attack itself would be wrong.
    pub fn attack(mut self) -> (Vec<Learned>, Vec<Leak>) {
        let mut leaks = self.in_the_open();
        self.open_own();
        let mut self_masks: BTreeMap<Owner, Secret> = BTreeMap::new();
        for (owner, sharing) in &self.sharings {
            let (b, a) = (sharing.rebuild(Kind::SelfMask), sharing.rebuild(Kind::PairMasks));
            if b.is_some() && a.is_some() {
                leaks.push(Leak::BothSecrets { victim: sharing.victim });
            }
            b.map(|b| self_masks.insert(*owner, b));
            if let Some(a) = a {
                self.own.insert(owner.1, keys::mask_secret(&sharing.shown.config.cfg(), &a));
            }
        }
        (self.combine(&self_masks), leaks)
    }

    /// Two of what there may be one of, and updates of other models.
    fn in_the_open(&self) -> Vec<Leak> {
        let mut leaks = vec![];
        let mut inputs = BTreeMap::new();
        for upload in &self.uploads {
            let victim = upload.victim;
            let round = (victim, upload.shown.config.round);
            if *inputs.entry(round).or_insert(upload.digest) != upload.digest {
                leaks.push(Leak::TwoInputs { victim });
            }
            if upload.truth.model != upload.shown.config.model_digest {
                leaks.push(Leak::OtherModel { victim });
            }
        }
        let mut last = None;
        for (victim, sid, _) in &self.statements {
            if last == Some((victim, sid)) {
                leaks.push(Leak::TwoStatements { victim: *victim });
            }
            last = Some((victim, sid));
        }
        let mut seen = BTreeSet::new();
        leaks.extend(
            self.advertised
                .iter()
                .filter(|(_, key)| !seen.insert(key))
                .map(|(victim, _)| Leak::KeyAgain { victim: *victim }),
        );
        leaks
    }

    /// Takes every known mask off, and combines what is left.
    fn combine(&self, self_masks: &BTreeMap<Owner, Secret>) -> Vec<Learned> {
        // The same bytes twice say nothing new.
        let mut seen = BTreeSet::new();
        let uploads: Vec<&Upload> = self
            .uploads
            .iter()
            .filter(|one| seen.insert((one.victim, *one.shown.sid.as_bytes(), one.digest.0)))
            .collect();
        let mut unknown: BTreeMap<Mask<'_>, Vec<(usize, i64)>> = BTreeMap::new();
        let mut bare = vec![];
        for (column, upload) in uploads.iter().enumerate() {
            let sid = upload.shown.sid.as_bytes();
            let own = &upload.entry.s_pk;
            let mut known: Vec<(Sign, MaskKey)> = vec![];
            match self_masks.get(&(*sid, *own)) {
                Some(b) => known.push((Sign::Minus, keys::self_mask_key(&upload.shown.sid, &upload.entry.id_pk, b))),
                None => unknown.entry((sid, own, own)).or_default().push((column, 1)),
            }
            for peer in &upload.peers {
                let sign = keys::sign_of(own, peer);
                let key = match (self.own.get(peer), self.own.get(own)) {
                    (Some(theirs), _) => keys::pair_mask_key(&upload.shown.sid, theirs, peer, own).ok(),
                    (None, Some(mine)) => keys::pair_mask_key(&upload.shown.sid, mine, own, peer).ok(),
                    (None, None) => {
                        let term = (sid, own.min(peer), own.max(peer));
                        unknown.entry(term).or_default().push((column, if sign == Sign::Plus { 1 } else { -1 }));
                        continue;
                    }
                };
                // A key that agrees to nothing masks nothing.
                known.extend(key.map(|key| (sign.opposite(), key)));
            }
            let known: Vec<(Sign, &MaskKey)> = known.iter().map(|(sign, key)| (*sign, key)).collect();
            let mut values = upload.values.clone();
            for (number, values) in (0..).zip(&mut values) {
                prg::accumulate(values, number, 0, &known);
            }
            bare.push(values);
        }
        kernel(uploads.len(), unknown.values().map(Vec::as_slice))
            .iter()
            .map(|coefficients| {
                let computed = combination(coefficients, bare.iter());
                let truth = combination(coefficients, uploads.iter().map(|upload| &upload.truth.input));
                let terms: Vec<(usize, i64)> =
                    coefficients.iter().copied().enumerate().filter(|(_, coefficient)| *coefficient != 0).collect();
                let config = &uploads[terms[0].0].shown.config;
                let low = |values: Vec<u32>| values.iter().map(|v| v << (32 - config.wire_bits)).collect::<Vec<_>>();
                assert_eq!(low(computed), low(truth), "the attack took the wrong masks off");
                let members = || terms.iter().map(|(column, _)| uploads[*column]);
                Learned {
                    sids: members().map(|upload| *upload.shown.sid.as_bytes()).collect(),
                    models: members().map(|upload| upload.truth.model).collect(),
                    // The least that any of them was promised would hide a lie about n.
                    promised: members()
                        .map(|upload| promised(&upload.shown.config, upload.shown.n()))
                        .max()
                        .unwrap_or(0),
                    terms: terms.iter().map(|(column, by)| (uploads[*column].victim, *by)).collect(),
                }
            })
            .collect()
    }
}

/// The sum of vectors, each times its coefficient, one vector after the other, modulo 2^32.
fn combination<'a>(coefficients: &[i64], vectors: impl Iterator<Item = &'a Vec<Vec<u32>>>) -> Vec<u32> {
    let mut sum: Vec<u32> = vec![];
    for (coefficient, vectors) in coefficients.iter().zip(vectors) {
        let flat = vectors.iter().flatten();
        sum.resize(sum.len().max(flat.clone().count()), 0);
        for (sum, entry) in sum.iter_mut().zip(flat) {
            // Modulo 2^32 throughout.
            *sum = sum.wrapping_add(entry.wrapping_mul(*coefficient as u32));
        }
    }
    sum
}
