//! A client that follows the steps and checks nothing: what the liar can do to it shows that the count counts.
//!
//! Built from the protocol's own primitives. It believes the server's session name and threshold, answers every request
//! as often as it comes, and keeps its secrets.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use scale_client_core::update;
use scale_proto::ids::Digest;
use scale_secagg::config::RoundConfig;
use scale_secagg::error::{Reason, Refusal};
use scale_secagg::graph::{Members, survivor_statement};
use scale_secagg::keys::{self, DhSecret, IdentityKey, MaskKey, SEALED_LEN, Secret, ShareCipher, Sign};
use scale_secagg::roster::{self, Entry, RosterForm, Sid, SparseRoster, Tree, advertise_statement};
use scale_secagg::shamir::Polynomial;
use scale_secagg::{pack, prg};

use super::setting::{self, GRID, Offer};
use super::shown::Rule;
use super::victim::{Message, Refused, Victim};

/// The client without checks.
pub struct Gullible {
    identity: IdentityKey,
    rule: Rule,
    rng: ChaCha20Rng,
    trained_on: [u8; 32],
    input: Vec<Vec<u32>>,
    keys: Option<Keys>,
    session: Option<Session>,
}

struct Keys {
    config: RoundConfig,
    mask_seed: Secret,
    self_seed: Secret,
    mask: DhSecret,
    channel: DhSecret,
    entry: Entry,
}

struct Session {
    sid: Sid,
    n: u32,
    index: u32,
    peers: BTreeMap<u32, Entry>,
    /// For each owner whose ciphertext opened.
    held: BTreeMap<u32, [u8; 64]>,
    sharers: Members,
    survivors: Members,
}

impl Gullible {
    /// Client number `number`, who lets the server tell what `rule` says.
    pub fn new(number: u32, rule: Rule) -> Self {
        Self {
            identity: identity(number),
            rule,
            rng: ChaCha20Rng::seed_from_u64(u64::from(number) + 4000),
            trained_on: [0; 32],
            input: vec![],
            keys: None,
            session: None,
        }
    }

    fn share(&mut self, form: RosterForm, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let keys = self.keys.as_ref().ok_or(Reason::StageOrder)?;
        let (n, root, entries) = match form {
            RosterForm::Sparse => {
                let shown = SparseRoster::decode(bytes)?;
                (shown.n, shown.root, shown.entries)
            }
            _ => {
                let shown = match form {
                    RosterForm::Complete => roster::decode_complete(bytes)?,
                    _ => roster::decode_certified(bytes)?.into_iter().map(|(entry, _)| entry).collect(),
                };
                let root = Tree::new(&shown.iter().map(Entry::leaf).collect::<Vec<_>>()).root();
                (shown.len() as u32, root, (0..).zip(shown).collect())
            }
        };
        let own = entries.iter().find(|(_, entry)| entry.id_pk == keys.entry.id_pk);
        let index = *own.ok_or(Reason::OwnEntry)?.0;
        let sid = self.rule.sid(&keys.config, n, &root);
        let peers: BTreeMap<u32, Entry> = entries.into_iter().filter(|(at, _)| *at != index).collect();
        let t = self.rule.threshold(&keys.config, n, peers.len() as u32);
        let of_b = Polynomial::new(&keys.self_seed, t, &mut self.rng);
        let of_a = Polynomial::new(&keys.mask_seed, t, &mut self.rng);
        let mut message = vec![];
        for (x, (at, peer)) in (1..).zip(&peers) {
            let plain = [*of_b.share(x).to_bytes(), *of_a.share(x).to_bytes()].concat();
            let sealed = keys.channel.agree(&peer.c_pk).map(|agreed| {
                let cipher = ShareCipher::new(&sid, &agreed, &keys.entry.c_pk, &peer.c_pk);
                // Two scalars have 64 bytes.
                cipher.seal(index, *at, plain.as_slice().try_into().expect("64 bytes"))
            });
            message.extend_from_slice(&sealed.unwrap_or([0; SEALED_LEN]));
        }
        message.extend_from_slice(&keys::commitment(&sid, &keys.entry.id_pk, &keys.self_seed));
        let (held, sharers, survivors) = (BTreeMap::new(), Members::none(n), Members::none(n));
        self.session = Some(Session { sid, n, index, peers, held, sharers, survivors });
        Ok(message)
    }

    fn mask(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let (Some(keys), Some(session)) = (&self.keys, &mut self.session) else {
            return Err(Reason::StageOrder.into());
        };
        let (bitmap, sealed) = bytes.split_at_checked(session.n.div_ceil(8) as usize).ok_or(Reason::Malformed)?;
        session.sharers = Members::decode(session.n, bitmap)?;
        let listed = session.peers.iter().filter(|(at, _)| session.sharers.contains(**at));
        let mut masks = vec![(Sign::Plus, keys::self_mask_key(&session.sid, &keys.entry.id_pk, &keys.self_seed))];
        for ((at, peer), sealed) in listed.zip(sealed.chunks(SEALED_LEN)) {
            if let Ok(agreed) = keys.channel.agree(&peer.c_pk) {
                let cipher = ShareCipher::new(&session.sid, &agreed, &peer.c_pk, &keys.entry.c_pk);
                if let Some(plain) = cipher.open(*at, session.index, sealed) {
                    session.held.insert(*at, *plain);
                }
            }
            let (own, theirs) = (&keys.entry.s_pk, &peer.s_pk);
            if let Ok(key) = keys::pair_mask_key(&session.sid, &keys.mask, own, theirs) {
                masks.push((keys::sign_of(own, theirs), key));
            }
        }
        let masks: Vec<(Sign, &MaskKey)> = masks.iter().map(|(sign, key)| (*sign, key)).collect();
        // Trained anew: whoever asks twice is shown two updates.
        self.input = draw_input(&mut self.rng);
        let mut upload = vec![];
        for (number, mut values) in (0..).zip(self.input.clone()) {
            prg::accumulate(&mut values, number, 0, &masks);
            pack::pack(&values, keys.config.wire_bits, &mut upload);
        }
        Ok(upload)
    }

    fn agree(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let session = self.session.as_mut().ok_or(Reason::StageOrder)?;
        session.survivors = Members::decode(session.n, bytes)?;
        let statement = survivor_statement(&session.sid, &session.sharers, &session.survivors);
        Ok(self.identity.sign(&statement).to_vec())
    }

    fn reveal(&self) -> Result<Vec<u8>, Refusal> {
        let session = self.session.as_ref().ok_or(Reason::StageOrder)?;
        let mut out = vec![];
        for at in session.peers.keys().filter(|at| session.sharers.contains(**at)) {
            let (b, a) = session.held.get(at).map_or((&[0; 32][..], &[0; 32][..]), |pair| pair.split_at(32));
            out.extend_from_slice(if session.survivors.contains(*at) { b } else { a });
        }
        Ok(out)
    }
}

impl Victim for Gullible {
    fn identity(&self) -> [u8; 32] {
        self.identity.public()
    }

    fn offer(&mut self, offer: &Offer, _: u64) -> Result<Vec<u8>, Refused> {
        let config = RoundConfig::decode(&offer.config)?;
        self.trained_on = Digest::of(&offer.model).0;
        let cfg = config.cfg();
        let (mask_seed, self_seed) = (Secret::draw(&mut self.rng), Secret::draw(&mut self.rng));
        let (mask, channel) = (keys::mask_secret(&cfg, &mask_seed), DhSecret::draw(&mut self.rng));
        let (id_pk, c_pk, s_pk) = (self.identity.public(), channel.public(), mask.public());
        let sig = self.identity.sign(&advertise_statement(&cfg, &id_pk, &c_pk, &s_pk));
        let entry = Entry { id_pk, c_pk, s_pk, sig };
        self.keys = Some(Keys { config, mask_seed, self_seed, mask, channel, entry });
        self.session = None;
        Ok([&id_pk[..], &c_pk, &s_pk, &cfg, &sig].concat())
    }

    fn handle(&mut self, message: Message<'_>, _: u64) -> Result<Vec<u8>, Refused> {
        Ok(match message {
            Message::Roster { form, bytes } => self.share(form, bytes)?,
            Message::Shares(bytes) => self.mask(bytes)?,
            Message::Survivors(bytes) => self.agree(bytes)?,
            Message::Signatures(_) => self.reveal()?,
        })
    }

    fn input(&self) -> Vec<Vec<u32>> {
        self.input.clone()
    }

    fn trained_on(&self) -> [u8; 32] {
        self.trained_on
    }

    fn is_over(&self) -> bool {
        false
    }
}

/// The key that client `number` enrolled with.
fn identity(number: u32) -> IdentityKey {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    IdentityKey::from_seed(&seed)
}

/// Small signed numbers in the shape of a configuration's vectors, as residues modulo 2^32.
fn draw_input(rng: &mut ChaCha20Rng) -> Vec<Vec<u32>> {
    let entry = |rng: &mut ChaCha20Rng| (rng.next_u32() % (2 * GRID)).wrapping_sub(GRID);
    update::vectors(&setting::plan()).iter().map(|spec| (0..spec.len).map(|_| entry(rng)).collect()).collect()
}
