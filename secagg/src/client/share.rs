//! Stage 1: the device checks the roster, derives the session and shares its two secrets (docs/protocol/session.md).

use std::collections::{BTreeMap, HashSet};

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{Keyed, Peer, Session, in_time, require, session_facts};
use crate::check::Check;
use crate::config::RoundConfig;
use crate::error::{Reason, Refusal};
use crate::graph::Graph;
use crate::keys::{self, DhSecret, MaskKey, Secret, ShareCipher};
use crate::params::{self, GraphKind, Parameters};
use crate::roster::{self, Certificate, Entry, RosterForm, SparseRoster, advertise_statement, session_id};
use crate::shamir::Polynomial;
use crate::wipe::{Held, scrubbed};

/// Stage 1 answered: a session with its neighbours. The polynomials and both shared secrets are gone.
pub struct Shared {
    pub(super) session: Session,
    pub(super) channel_public: [u8; 32],
    /// Raw X25519 output with each neighbour's channel key, in the order of the neighbours: opens their shares.
    pub(super) channels: Held<Vec<Zeroizing<[u8; 32]>>>,
    /// Derives the pair masks.
    pub(super) mask: Held<DhSecret>,
    pub(super) mask_public: [u8; 32],
    pub(super) self_mask: Held<MaskKey>,
}

session_facts!(Shared);

impl Keyed {
    /// Checks the roster, derives the session id from it and shares both secrets among the neighbours. Returns
    /// ShareKeys: 80 sealed bytes per neighbour in ascending order, then the commitment to the self mask.
    ///
    /// `now_ms`: Unix milliseconds.
    ///
    /// # Errors
    /// `malformed`, C04 and C06 to C11 in the order of docs/protocol/session.md; C25.
    pub fn on_roster<R: CryptoRng>(
        self,
        form: RosterForm,
        bytes: &[u8],
        now_ms: u64,
        rng: &mut R,
    ) -> Result<(Shared, Vec<u8>), Refusal> {
        self.answer(form, bytes, now_ms, rng, |n, config| params::parameters(n, config.profile, config.class))
    }

    /// [`Self::on_roster`] with parameters of the caller's choice, to measure other systems' settings.
    ///
    /// # Errors
    /// Those of [`Self::on_roster`].
    #[cfg(feature = "chosen-parameters")]
    #[doc(hidden)]
    pub fn on_roster_with<R: CryptoRng>(
        self,
        form: RosterForm,
        bytes: &[u8],
        now_ms: u64,
        rng: &mut R,
        parameters: Parameters,
    ) -> Result<(Shared, Vec<u8>), Refusal> {
        self.answer(form, bytes, now_ms, rng, |_, _| Ok(parameters))
    }

    fn answer<R: CryptoRng>(
        self,
        form: RosterForm,
        bytes: &[u8],
        now_ms: u64,
        rng: &mut R,
        parameters: impl FnOnce(u32, &RoundConfig) -> Result<Parameters, Refusal>,
    ) -> Result<(Shared, Vec<u8>), Refusal> {
        in_time(&self.config, 1, now_ms)?;
        let session = self.check_roster(Listed::decode(form, bytes)?, parameters)?;
        let Self { cfg, seed, channel, entry, .. } = self;

        scrubbed(|| {
            let mut channels = Vec::with_capacity(session.peers.len());
            for peer in &session.peers {
                channels.push(channel.agree(&peer.c_pk)?);
            }
            let own_mask = Secret::draw(rng);
            let message = share(&session, &entry, &channels, &own_mask, &seed, rng)?;
            let shared = Shared {
                channel_public: entry.c_pk,
                channels: Held::new(channels),
                mask: Held::new(keys::mask_secret(&cfg, &seed)),
                mask_public: entry.s_pk,
                self_mask: Held::new(keys::self_mask_key(&session.sid, &entry.id_pk, &own_mask)),
                session,
            };
            Ok((shared, message))
        })
    }

    fn check_roster(
        &self,
        listed: Listed,
        parameters: impl FnOnce(u32, &RoundConfig) -> Result<Parameters, Refusal>,
    ) -> Result<Session, Refusal> {
        let config = &self.config;
        let n = listed.n;
        let in_bounds = n >= self.floor.max(params::FLOOR) && (config.n_lo..=config.n_hi).contains(&n);
        require(in_bounds, Check::C04, Reason::CohortFloor)?;
        let parameters = parameters(n, config)?;
        require(listed.fits(&parameters, self.certified), Check::C10, Reason::Parameters)?;
        let index = self.own_place(&listed)?;
        check_entries(&self.cfg, &listed.entries)?;
        if self.certified {
            listed.check_certificates(config)?;
        }
        let root = listed.root()?;
        let sid = session_id(&self.cfg, n, &root);
        if parameters.graph == GraphKind::Sparse {
            check_neighbours(&listed, Graph::harary(n, parameters.k, &sid).neighbours(index), index)?;
        }
        let peers = listed.entries.into_iter().filter(|(at, _)| *at != index);
        let peers = peers.map(|(index, Entry { id_pk, c_pk, s_pk, .. })| Peer { index, id_pk, c_pk, s_pk }).collect();
        Ok(Session { config: config.clone(), cfg: self.cfg, sid, n, index, peers, parameters })
    }

    /// The own entry stands in the roster exactly once, unchanged, and none of its keys stands in another (C06).
    fn own_place(&self, listed: &Listed) -> Result<u32, Refusal> {
        let own = &self.entry;
        let alike = |entry: &Entry| entry.id_pk == own.id_pk || entry.c_pk == own.c_pk || entry.s_pk == own.s_pk;
        let mut places = listed.entries.iter().filter(|(_, entry)| alike(entry));
        match (places.next(), places.next()) {
            (Some((&index, entry)), None) if entry == own && listed.own.is_none_or(|own| own == index) => Ok(index),
            _ => Err(Refusal::by(Check::C06, Reason::OwnEntry)),
        }
    }
}

/// A roster message as it came; nothing in it is believed yet.
struct Listed {
    n: u32,
    /// The own index, as the server states it; only in a sparse roster.
    own: Option<u32>,
    entries: BTreeMap<u32, Entry>,
    /// In index order; only in a certified roster.
    certificates: Option<Vec<Certificate>>,
    /// The sparse message, for its proof.
    proof: Option<SparseRoster>,
}

impl Listed {
    fn decode(form: RosterForm, bytes: &[u8]) -> Result<Self, Refusal> {
        match form {
            RosterForm::Complete => {
                let entries: BTreeMap<u32, Entry> = (0..).zip(roster::decode_complete(bytes)?).collect();
                Ok(Self { n: entries.len() as u32, own: None, entries, certificates: None, proof: None })
            }
            RosterForm::Certified => {
                let (entries, certificates): (Vec<_>, _) = roster::decode_certified(bytes)?.into_iter().unzip();
                let entries: BTreeMap<u32, Entry> = (0..).zip(entries).collect();
                Ok(Self { n: entries.len() as u32, own: None, entries, certificates: Some(certificates), proof: None })
            }
            RosterForm::Sparse => {
                let message = SparseRoster::decode(bytes)?;
                let entries = message.entries.clone();
                Ok(Self { n: message.n, own: Some(message.own), entries, certificates: None, proof: Some(message) })
            }
        }
    }

    /// The form is the one for this graph, and nobody sends certificates that were not asked for. Their lack is not a
    /// matter of form: [`Self::check_certificates`] names it.
    fn fits(&self, parameters: &Parameters, certified: bool) -> bool {
        self.proof.is_some() == (parameters.graph == GraphKind::Sparse) && (certified || self.certificates.is_none())
    }

    /// Every entry, the own included, has a certificate that lasts for the whole session (C07).
    fn check_certificates(&self, config: &RoundConfig) -> Result<(), Refusal> {
        let certificates = self.certificates.as_ref().ok_or(Refusal::by(Check::C07, Reason::CertificateMissing))?;
        for (entry, certificate) in self.entries.values().zip(certificates) {
            config.check_certificate(&entry.id_pk, certificate).map_err(|reason| Refusal::by(Check::C07, reason))?;
        }
        Ok(())
    }

    /// Order of the leaves, and the root that they lead to (C09).
    fn root(&self) -> Result<[u8; 32], Refusal> {
        let leaves: Vec<[u8; 32]> = self.entries.values().map(Entry::leaf).collect();
        require(leaves.windows(2).all(|pair| pair[0] < pair[1]), Check::C09, Reason::RosterRoot)?;
        let Some(message) = &self.proof else { return Ok(roster::merkle_root(&leaves)) };
        require(message.proven_root()? == message.root, Check::C09, Reason::RosterRoot)?;
        Ok(message.root)
    }
}

/// Signatures (C07) and keys (C08) of all entries shown.
fn check_entries(cfg: &[u8; 32], entries: &BTreeMap<u32, Entry>) -> Result<(), Refusal> {
    let statements: Vec<_> =
        entries.values().map(|entry| advertise_statement(cfg, &entry.id_pk, &entry.c_pk, &entry.s_pk)).collect();
    let signed: Vec<_> = entries
        .values()
        .zip(&statements)
        .map(|(entry, statement)| (&entry.id_pk, &statement[..], &entry.sig))
        .collect();
    require(keys::verify_all(&signed), Check::C07, Reason::RosterSignature)?;
    let distinct = |key: fn(&Entry) -> &[u8; 32]| {
        let keys: HashSet<_> = entries.values().map(key).collect();
        require(keys.len() == entries.len(), Check::C08, Reason::DuplicateKey)
    };
    distinct(|entry| &entry.id_pk)?;
    distinct(|entry| &entry.c_pk)?;
    distinct(|entry| &entry.s_pk)?;
    for entry in entries.values() {
        require(entry.c_pk != entry.s_pk, Check::C08, Reason::DuplicateKey)?;
        keys::check_dh_key(&entry.c_pk)?;
        keys::check_dh_key(&entry.s_pk)?;
    }
    Ok(())
}

/// A sparse roster shows the own entry and the neighbours that the session id asks for, no others (C11).
fn check_neighbours(listed: &Listed, mut expected: Vec<u32>, index: u32) -> Result<(), Refusal> {
    expected.push(index);
    expected.sort_unstable();
    require(listed.entries.keys().eq(&expected), Check::C11, Reason::Neighbours)
}

/// Shares `own_mask` (b) and `seed` (a) with threshold t, sealed for each neighbour. The random numbers are drawn for
/// b's polynomial first.
fn share<R: CryptoRng>(
    session: &Session,
    own: &Entry,
    channels: &[Zeroizing<[u8; 32]>],
    own_mask: &Secret,
    seed: &Secret,
    rng: &mut R,
) -> Result<Vec<u8>, Refusal> {
    let Parameters { k, t, .. } = session.parameters;
    let of_b = Polynomial::new(own_mask, t, rng).shares(k)?;
    let of_a = Polynomial::new(seed, t, rng).shares(k)?;
    let mut message = Vec::with_capacity(keys::SEALED_LEN * k as usize + 32);
    for (((peer, channel), b), a) in session.peers.iter().zip(channels).zip(&of_b).zip(&of_a) {
        let mut plain = Zeroizing::new([0; 64]);
        plain[..32].copy_from_slice(&*b.to_bytes());
        plain[32..].copy_from_slice(&*a.to_bytes());
        let cipher = ShareCipher::new(&session.sid, channel, &own.c_pk, &peer.c_pk);
        message.extend_from_slice(&cipher.seal(session.index, peer.index, &plain));
    }
    message.extend_from_slice(&keys::commitment(&session.sid, &own.id_pk, own_mask));
    Ok(message)
}
