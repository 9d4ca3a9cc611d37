//! A device that the liar makes up. It follows the protocol to the letter, and the liar knows all of its secrets.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use scale_secagg::graph::{Members, survivor_statement};
use scale_secagg::keys::{self, DhSecret, IdentityKey, SEALED_LEN, Secret, ShareCipher};
use scale_secagg::roster::{Entry, advertise_statement};
use scale_secagg::shamir::Polynomial;

use super::shown::Shown;

/// A roster entry whose keys the liar made.
pub struct Puppet {
    number: u32,
    identity: IdentityKey,
    /// The channel key.
    pub channel: DhSecret,
    /// The mask key.
    pub mask: DhSecret,
    mask_seed: Secret,
    self_seed: Secret,
    /// What stands in the roster.
    pub entry: Entry,
}

impl Puppet {
    /// A made-up device for the round of `cfg`: keys and signature are in order.
    pub fn new(number: u32, cfg: &[u8; 32]) -> Self {
        Self::make(number, cfg, None)
    }

    /// Own keys under somebody else's identity, with a signature that the own identity made.
    pub fn in_the_name_of(identity: [u8; 32], number: u32, cfg: &[u8; 32]) -> Self {
        Self::make(number, cfg, Some(identity))
    }

    fn make(number: u32, cfg: &[u8; 32], name: Option<[u8; 32]>) -> Self {
        let mut seed = [66; 32];
        seed[..4].copy_from_slice(&number.to_le_bytes());
        let identity = IdentityKey::from_seed(&seed);
        let mut rng = ChaCha20Rng::from_seed(keys::hash(&[&seed, cfg]));
        let (mask_seed, self_seed) = (Secret::draw(&mut rng), Secret::draw(&mut rng));
        let channel = DhSecret::draw(&mut rng);
        let mask = keys::mask_secret(cfg, &mask_seed);
        let (id_pk, c_pk, s_pk) = (name.unwrap_or(identity.public()), channel.public(), mask.public());
        let sig = identity.sign(&advertise_statement(cfg, &id_pk, &c_pk, &s_pk));
        let entry = Entry { id_pk, c_pk, s_pk, sig };
        Self { number, identity, channel, mask, mask_seed, self_seed, entry }
    }

    /// Its entry with other keys, signed by its identity as if they were its own.
    pub fn claiming(&self, cfg: &[u8; 32], c_pk: [u8; 32], s_pk: [u8; 32]) -> Entry {
        let id_pk = self.entry.id_pk;
        Entry { id_pk, c_pk, s_pk, sig: self.identity.sign(&advertise_statement(cfg, &id_pk, &c_pk, &s_pk)) }
    }

    /// What it seals in stage 1 for the device at `to`.
    pub fn sealed_for(&self, shown: &Shown, own: u32, to: u32) -> Option<[u8; SEALED_LEN]> {
        // Whoever is shown this entry as a neighbour's gets a share, also where no graph has that edge.
        let x = shown.graph.rank(own, to).map_or(1, |rank| rank + 1);
        let mut rng = ChaCha20Rng::seed_from_u64(u64::from(self.number));
        let shares = [&self.self_seed, &self.mask_seed]
            .map(|secret| Polynomial::new(secret, shown.t, &mut rng).share(x).to_bytes());
        let mut plain = [0; 64];
        plain[..32].copy_from_slice(&*shares[0]);
        plain[32..].copy_from_slice(&*shares[1]);
        self.seal(shown, own, to, &plain)
    }

    /// Seals anything in place of two shares.
    pub fn seal(&self, shown: &Shown, own: u32, to: u32, plain: &[u8; 64]) -> Option<[u8; SEALED_LEN]> {
        let peer = &shown.entry(to).c_pk;
        let agreed = self.channel.agree(peer).ok()?;
        Some(ShareCipher::new(&shown.sid, &agreed, &self.entry.c_pk, peer).seal(own, to, plain))
    }

    /// Its signature over these sets: whatever the liar wants it to say.
    pub fn sign(&self, shown: &Shown, sharers: &Members, survivors: &Members) -> [u8; 64] {
        self.identity.sign(&survivor_statement(&shown.sid, sharers, survivors))
    }
}
