//! Every secret of the device, computed by the test from the randomness that it handed out.

use std::convert::Infallible;
use std::path::Path;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _, TryCryptoRng, TryRng};
use scale_secagg::config::RoundConfig;
use scale_secagg::graph::Members;
use scale_secagg::keys::{self, DhSecret, IdentityKey, SEALED_LEN, Secret, ShareCipher};
use scale_secagg::roster::Sid;
use scale_secagg::shamir::Polynomial;

use crate::common::Cohort;

/// Seed of the device's long-lived key, which outlives sessions and is not searched for.
pub(crate) const IDENTITY: [u8; 32] = [0x1d; 32];
/// Bytes of randomness: more than a session draws.
const RANDOM: usize = 4096;

/// The bytes of a secret and what it is.
pub(crate) type Needle = (&'static str, Vec<u8>);

pub(crate) struct Secrets {
    random: Vec<u8>,
    update: Vec<u8>,
    cfg: [u8; 32],
    own: u32,
    /// Known once the session is.
    sid: Option<Sid>,
    /// Place, channel key and mask key of the others.
    peers: Vec<(u32, [u8; 32], [u8; 32])>,
    needles: Vec<Needle>,
    /// Shares of the others' secrets, by place: of b, of a.
    shares: Vec<(u32, Vec<u8>, Vec<u8>)>,
}

/// The handed-out randomness once more.
struct Again<'a>(&'a [u8]);

impl TryRng for Again<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a session draws bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("a session draws bytes")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let (now, later) = self.0.split_at(out.len());
        out.copy_from_slice(now);
        self.0 = later;
        Ok(())
    }
}

impl TryCryptoRng for Again<'_> {}

/// The task key's signature over the configuration.
pub(crate) fn signature(cohort: &Cohort) -> Vec<u8> {
    cohort.signature.to_vec()
}

/// X25519 keys without the bits that clamping changes.
fn unclamped(key: &DhSecret) -> Vec<u8> {
    key.to_bytes()[1..31].to_vec()
}

impl Secrets {
    pub(crate) fn new(config: &RoundConfig, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut random = vec![0; RANDOM];
        rng.fill_bytes(&mut random);
        // One word more, for an update of the wrong shape.
        let mut update = vec![0; 4 * (config.dim() as usize + 1)];
        rng.fill_bytes(&mut update);
        let mut needles = Vec::new();
        for at in [0, 4 * 300, 4 * 690] {
            needles.push(("update", update[at..at + 32].to_vec()));
        }
        let (cfg, peers, shares) = (config.cfg(), Vec::new(), Vec::new());
        let mut secrets = Self { random, update, cfg, own: 0, sid: None, peers, needles, shares };
        let (a, channel, _) = secrets.stage_0();
        secrets.needles.push(("a", a.to_bytes().to_vec()));
        secrets.needles.push(("channel key", unclamped(&channel)));
        secrets.needles.push(("mask key", unclamped(&keys::mask_secret(&secrets.cfg, &a))));
        secrets
    }

    /// Writes the randomness and the update where the device reads them.
    pub(crate) fn write_to(&self, folder: &Path) {
        std::fs::write(folder.join("random"), &self.random).unwrap();
        std::fs::write(folder.join("update"), &self.update).unwrap();
    }

    pub(crate) fn identity(&self) -> [u8; 32] {
        IdentityKey::from_seed(&IDENTITY).public()
    }

    /// What was drawn in stage 0, and the rest of the randomness.
    fn stage_0(&self) -> (Secret, DhSecret, Again<'_>) {
        let mut again = Again(&self.random);
        (Secret::draw(&mut again), DhSecret::draw(&mut again), again)
    }

    /// The session is fixed; `others` are in the order of their places.
    pub(crate) fn joined(&mut self, sid: Sid, own: u32, others: &Cohort) {
        self.own = own;
        self.sid = Some(sid);
        let places = (0..).filter(|place| *place != own);
        let keys_of = |cohort: &Cohort, device: usize| {
            let (a, channel) = cohort.devices[device].drawn();
            (channel.public(), keys::mask_secret(&cohort.config.cfg(), &a).public())
        };
        self.peers = places
            .zip(0..others.devices.len())
            .map(|(place, device)| {
                let (c_pk, s_pk) = keys_of(others, device);
                (place, c_pk, s_pk)
            })
            .collect();
        let (a, channel, mut again) = self.stage_0();
        let b = Secret::draw(&mut again);
        let (k, t) = (self.peers.len() as u32, 7);
        let mut found: Vec<Needle> = vec![("b", b.to_bytes().to_vec())];
        for secret in [&b, &a] {
            let polynomial = Polynomial::new(secret, t, &mut again);
            found.extend(polynomial.coefficients().skip(1).map(|c| ("coefficient", c.to_bytes().to_vec())));
            let dealt = polynomial.shares(k).unwrap();
            found.extend(dealt.iter().map(|share| ("dealt share", share.to_bytes().to_vec())));
        }
        found.push(("self mask", keys::self_mask_key(&sid, &self.identity(), &b).as_bytes().to_vec()));
        let mask = keys::mask_secret(&self.cfg, &a);
        let (own_c, own_s) = (channel.public(), mask.public());
        for (_, c_pk, s_pk) in &self.peers {
            let agreed = channel.agree(c_pk).unwrap();
            for (from, to) in [(&own_c, c_pk), (c_pk, &own_c)] {
                found.push(("share key", keys::hkdf(sid.as_bytes(), &*agreed, &[b"FLSA1/share", from, to]).to_vec()));
            }
            found.push(("channel agreement", agreed.to_vec()));
            found.push(("mask agreement", mask.agree(s_pk).unwrap().to_vec()));
            found.push(("pair mask", keys::pair_mask_key(&sid, &mask, &own_s, s_pk).unwrap().as_bytes().to_vec()));
        }
        self.needles.extend(found);
    }

    /// The shares that the device gets in stage 2.
    pub(crate) fn opened(&mut self, message: &[u8]) {
        let (_, channel, _) = self.stage_0();
        let n = self.peers.len() as u32 + 1;
        let (bitmap, sealed) = message.split_at(n.div_ceil(8) as usize);
        let sharers = Members::decode(n, bitmap).unwrap();
        let listed = self.peers.iter().filter(|(place, ..)| sharers.contains(*place));
        let mut shares = Vec::new();
        for ((place, c_pk, _), sealed) in listed.zip(sealed.as_chunks::<SEALED_LEN>().0) {
            let agreed = channel.agree(c_pk).unwrap();
            let cipher = ShareCipher::new(&self.sid.unwrap(), &agreed, c_pk, &channel.public());
            let pair = cipher.open(*place, self.own, sealed).unwrap();
            shares.push((*place, pair[..32].to_vec(), pair[32..].to_vec()));
        }
        self.shares = shares;
    }

    /// The last answer gives these away: they are no secrets any more.
    pub(crate) fn revealed(&mut self, survivors: &Members) {
        for (place, of_b, of_a) in &mut self.shares {
            if survivors.contains(*place) { of_b.clear() } else { of_a.clear() }
        }
    }

    pub(crate) fn needles(&self) -> Vec<Needle> {
        let mut all = self.needles.clone();
        for (_, of_b, of_a) in &self.shares {
            all.extend([("share of b", of_b.clone()), ("share of a", of_a.clone())]);
        }
        all.retain(|(_, bytes)| !bytes.is_empty());
        all
    }
}
