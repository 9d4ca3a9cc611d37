//! Keys: where each one comes from and what it is bound to (docs/protocol/session.md).
//!
//! Every derived key is salted with the round (`cfg`) or with the whole session (`sid`), so devices that saw different
//! models, rosters or rounds derive different masks and their sum is noise. Secrets are wiped on drop and cannot be
//! printed or cloned. `ring` wipes none of the copies that it makes of HMAC and AEAD keys: a device's steps overwrite the
//! stack that they lie on. Its Ed25519 key lives as long as the [`IdentityKey`], and is not wiped afterwards.

use std::fmt;

use curve25519_dalek::{MontgomeryPoint, Scalar};
use rand_core::CryptoRng;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use ring::{digest, hkdf as ring_hkdf};
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

mod batch;
mod peer_table;

pub use crate::prg::{MaskKey, Sign};
pub use batch::verify_all;
pub use peer_table::PeerTable;

use crate::check::Check;
use crate::error::{Reason, Refusal};
use crate::roster::Sid;

/// Bytes of one sealed pair of shares: two scalars and the tag.
pub const SEALED_LEN: usize = 80;

/// A device's long-lived Ed25519 identity. Signs stages 0 and 3 only, never takes part in a key agreement.
pub struct IdentityKey(Ed25519KeyPair);

impl IdentityKey {
    /// The key pair of a 32-byte seed (RFC 8032).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        // ring refuses a seed only for its length.
        Self(Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed has 32 bytes"))
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        // Ed25519 public keys have 32 bytes.
        self.0.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes")
    }

    /// Signs `message`; the same bytes always give the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        // Ed25519 signatures have 64 bytes.
        self.0.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityKey(redacted)")
    }
}

/// Whether `signature` is `public`'s Ed25519 signature over `message`.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

/// A secret element of the scalar field of Curve25519: `a`, `b`, or a share of one.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret(pub(crate) Scalar);

impl Secret {
    /// A uniform scalar from 64 random bytes.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        let mut wide = Zeroizing::new([0; 64]);
        rng.fill_bytes(&mut *wide);
        Self::from_wide(&wide)
    }

    /// 64 bytes read as one little-endian number, modulo the group order.
    pub fn from_wide(wide: &[u8; 64]) -> Self {
        Self(Scalar::from_bytes_mod_order_wide(wide))
    }

    /// Decodes the one canonical form.
    ///
    /// # Errors
    /// C12 [`Reason::NonCanonicalScalar`] unless `bytes` are 32 bytes that stand for a number below the group order.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, Refusal> {
        let refused = Refusal::by(Check::C12, Reason::NonCanonicalScalar);
        let bytes = Zeroizing::new(<[u8; 32]>::try_from(bytes).map_err(|_| refused)?);
        Scalar::from_canonical_bytes(*bytes).into_option().map(Self).ok_or(refused)
    }

    /// The canonical 32 bytes.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }
}

impl ConstantTimeEq for Secret {
    fn ct_eq(&self, other: &Self) -> subtle::Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// An X25519 private key: the channel key `c_sk` or the mask key `s_sk`. Wiped on drop.
pub struct DhSecret(StaticSecret);

impl DhSecret {
    /// A private key of 32 random bytes.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        Self::from_bytes(&bytes)
    }

    /// The private key with these bytes; X25519 clamps them when it is used.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(StaticSecret::from(*bytes))
    }

    /// The bytes it was made from, for a sealed snapshot.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        PublicKey::from(&self.0).to_bytes()
    }

    /// The raw X25519 output with `peer`'s public key. Never a key by itself: always goes through HKDF.
    ///
    /// # Errors
    /// C08 [`Reason::LowOrderKey`] when the output is all zero.
    pub fn agree(&self, peer: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, Refusal> {
        contributory(self.multiply(peer))
    }

    /// X25519 on the Edwards curve where that is faster: its additions run four at a time with AVX2.
    #[cfg(target_arch = "x86_64")]
    fn multiply(&self, peer: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        let point = MontgomeryPoint(*peer);
        // Whether the key lies on the curve or on its twist is as public as the key.
        let edwards = std::arch::is_x86_feature_detected!("avx2").then(|| point.to_edwards(0)).flatten();
        let bytes = self.to_bytes();
        // Both points over u have multiples with the same u.
        let product =
            edwards.map_or_else(|| point.mul_clamped(*bytes), |point| point.mul_clamped(*bytes).to_montgomery());
        Zeroizing::new(product.to_bytes())
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn multiply(&self, peer: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(MontgomeryPoint(*peer).mul_clamped(*self.to_bytes()).to_bytes())
    }
}

/// An X25519 output that the peer's key had a part in.
fn contributory(shared: Zeroizing<[u8; 32]>) -> Result<Zeroizing<[u8; 32]>, Refusal> {
    if shared.ct_eq(&[0; 32]).into() { Err(Refusal::by(Check::C08, Reason::LowOrderKey)) } else { Ok(shared) }
}

impl ZeroizeOnDrop for DhSecret {}

impl fmt::Debug for DhSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DhSecret(redacted)")
    }
}

/// The u-coordinates below 2^255 - 19 whose points, on the curve or on its twist, have an order that divides 8: X25519
/// gives zero for them, whatever the private key (RFC 7748, section 6.1; the list is Bernstein's, "Curve25519", PKC 2006).
const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
        0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    {
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        minus_one
    },
];

/// Refuses a public X25519 key that has another spelling or hides nothing (docs/protocol/session.md).
///
/// # Errors
/// C08 [`Reason::NonCanonicalKey`] unless the 256-bit number is below 2^255 - 19, then [`Reason::LowOrderKey`].
pub fn check_dh_key(key: &[u8; 32]) -> Result<(), Refusal> {
    const FIELD_PRIME_LOW: u8 = 0xed;
    let above = key[31] > 0x7f || (key[31] == 0x7f && key[1..31] == [0xff; 30] && key[0] >= FIELD_PRIME_LOW);
    if above {
        return Err(Refusal::by(Check::C08, Reason::NonCanonicalKey));
    }
    if LOW_ORDER.contains(key) {
        return Err(Refusal::by(Check::C08, Reason::LowOrderKey));
    }
    Ok(())
}

/// SHA-256 over the parts, one after the other.
pub fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    // SHA-256 gives 32 bytes.
    context.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// 32 bytes of HKDF-SHA256 (RFC 5869): extract with `salt`, expand with the concatenated `info`.
pub fn hkdf(salt: &[u8], ikm: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let prk = ring_hkdf::Salt::new(ring_hkdf::HKDF_SHA256, salt).extract(ikm);
    let mut out = Zeroizing::new([0; 32]);
    // 32 bytes are one block, far below the limit of 255.
    let okm = prk.expand(info, ring_hkdf::HKDF_SHA256).expect("one block is within HKDF's limit");
    okm.fill(&mut *out).expect("the buffer has the length that was asked for");
    out
}

/// The X25519 mask key `s_sk` of a device, from the scalar `a` that it shares with its neighbours.
pub fn mask_secret(cfg: &[u8; 32], a: &Secret) -> DhSecret {
    DhSecret::from_bytes(&hkdf(cfg, &*a.to_bytes(), &[b"FLSA1/ssk"]))
}

/// The key of a device's self mask, from the scalar `b` that it shares with its neighbours.
pub fn self_mask_key(sid: &Sid, id_pk: &[u8; 32], b: &Secret) -> MaskKey {
    MaskKey::new(&hkdf(sid.as_bytes(), &*b.to_bytes(), &[b"FLSA1/self", id_pk]))
}

/// The key of the mask between two devices; both sides derive the same one.
///
/// # Errors
/// C08 [`Reason::LowOrderKey`].
pub fn pair_mask_key(
    sid: &Sid,
    my_secret: &DhSecret,
    my_pk: &[u8; 32],
    peer_pk: &[u8; 32],
) -> Result<MaskKey, Refusal> {
    Ok(mask_key_between(sid, &*my_secret.agree(peer_pk)?, my_pk, peer_pk))
}

/// The key of the mask between two devices, from their raw X25519 output.
pub fn mask_key_between(sid: &Sid, shared: &[u8; 32], one_pk: &[u8; 32], other_pk: &[u8; 32]) -> MaskKey {
    let (low, high) = if one_pk < other_pk { (one_pk, other_pk) } else { (other_pk, one_pk) };
    MaskKey::new(&hkdf(sid.as_bytes(), shared, &[b"FLSA1/mask", low, high]))
}

/// What a device publishes in stage 1 so that the server can check its rebuilt `b`.
pub fn commitment(sid: &Sid, id_pk: &[u8; 32], b: &Secret) -> [u8; 32] {
    hash(&[b"FLSA1/com", sid.as_bytes(), id_pk, &*b.to_bytes()])
}

/// The sign with which a device adds the mask it has in common with a peer; the peer's is the opposite.
pub fn sign_of(my_s_pk: &[u8; 32], peer_s_pk: &[u8; 32]) -> Sign {
    if my_s_pk < peer_s_pk { Sign::Plus } else { Sign::Minus }
}

/// Seals one pair of shares from one device to another. One key per direction and session, hence one nonce: zero.
pub struct ShareCipher {
    sid: Sid,
    key: Zeroizing<[u8; 32]>,
}

impl ShareCipher {
    /// The cipher for the direction `from_pk` to `to_pk` (channel keys), from their X25519 output.
    pub fn new(sid: &Sid, shared_secret: &[u8; 32], from_pk: &[u8; 32], to_pk: &[u8; 32]) -> Self {
        Self::from_key(sid, &hkdf(sid.as_bytes(), shared_secret, &[b"FLSA1/share", from_pk, to_pk]))
    }

    /// The cipher with this derived key.
    pub fn from_key(sid: &Sid, key: &[u8; 32]) -> Self {
        Self { sid: *sid, key: Zeroizing::new(*key) }
    }

    /// Seals the share of `b`, then the share of `a`, from the device at index `i` for the one at `j`.
    pub fn seal(&self, i: u32, j: u32, shares: &[u8; 64]) -> [u8; SEALED_LEN] {
        let mut plain = Zeroizing::new(*shares);
        // ring refuses only plaintexts of 256 GiB and more.
        let tag = self.cipher().seal_in_place_separate_tag(zero_nonce(), self.aad(i, j), &mut *plain);
        let tag = tag.expect("64 bytes are within the cipher's limit");
        let mut sealed = [0; SEALED_LEN];
        sealed[..64].copy_from_slice(&*plain);
        sealed[64..].copy_from_slice(tag.as_ref());
        sealed
    }

    /// Opens what the device at index `i` sealed for the one at `j`. None when it was not made so, byte for byte.
    pub fn open(&self, i: u32, j: u32, sealed: &[u8]) -> Option<Zeroizing<[u8; 64]>> {
        let mut sealed = Zeroizing::new(<[u8; SEALED_LEN]>::try_from(sealed).ok()?);
        let plain = self.cipher().open_in_place(zero_nonce(), self.aad(i, j), &mut *sealed).ok()?;
        Some(Zeroizing::new((&*plain).try_into().ok()?))
    }

    fn cipher(&self) -> LessSafeKey {
        // ring refuses a key only for its length.
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &*self.key).expect("the key has 32 bytes"))
    }

    fn aad(&self, i: u32, j: u32) -> Aad<[u8; 51]> {
        let mut aad = [0; 51];
        aad[..11].copy_from_slice(b"FLSA1/share");
        aad[11..43].copy_from_slice(self.sid.as_bytes());
        aad[43..47].copy_from_slice(&i.to_le_bytes());
        aad[47..].copy_from_slice(&j.to_le_bytes());
        Aad::from(aad)
    }
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

impl fmt::Debug for ShareCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShareCipher(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: [u8; 32] = [5; 32];

    #[test]
    fn rfc_8032_signature() {
        let seed: [u8; 32] =
            hex::FromHex::from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = IdentityKey::from_seed(&seed);
        assert_eq!(hex::encode(key.public()), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let signature = key.sign(b"");
        assert!(hex::encode(signature).starts_with("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"));
        assert!(verify(&key.public(), b"", &signature));
        assert!(!verify(&key.public(), b"x", &signature), "another message");
        let mut flipped = signature;
        flipped[40] ^= 1;
        assert!(!verify(&key.public(), b"", &flipped), "a flipped bit");
        assert!(!verify(&key.public(), b"", &signature[..63]), "cut short");
    }

    #[test]
    fn both_ends_of_a_pair_derive_one_key_with_opposite_signs() {
        let sid = Sid::from(SID);
        let (a, b) = (DhSecret::from_bytes(&[1; 32]), DhSecret::from_bytes(&[2; 32]));
        let (pa, pb) = (a.public(), b.public());
        let ab = pair_mask_key(&sid, &a, &pa, &pb).unwrap();
        let ba = pair_mask_key(&sid, &b, &pb, &pa).unwrap();
        assert_eq!(ab.as_bytes(), ba.as_bytes());
        assert_eq!(sign_of(&pa, &pb), sign_of(&pb, &pa).opposite());
        let other = pair_mask_key(&Sid::from([6; 32]), &a, &pa, &pb).unwrap();
        assert_ne!(ab.as_bytes(), other.as_bytes(), "another session");
    }

    /// The list is the whole truth: X25519 gives zero for these keys and for no others that are close by.
    #[test]
    fn keys_of_low_order_are_those_that_give_zero() {
        let secret = DhSecret::from_bytes(&[1; 32]);
        for key in &LOW_ORDER {
            assert_eq!(secret.agree(key).err(), check_dh_key(key).err(), "{key:?}");
            assert_eq!(check_dh_key(key), Err(Refusal::by(Check::C08, Reason::LowOrderKey)), "{key:?}");
            for at in [0, 15, 31] {
                let mut near = *key;
                near[at] ^= 0x02;
                assert_eq!(secret.agree(&near).is_ok(), check_dh_key(&near).is_ok() || near[31] > 0x7f, "{near:?}");
            }
        }
        for base in [9_u8, 10, 11, 12, 13] {
            assert_eq!(check_dh_key(&DhSecret::from_bytes(&[base; 32]).public()), Ok(()));
        }
    }

    /// Bit by bit what the ladder of RFC 7748 gives, for points on the curve, on its twist and with a part of low order.
    #[test]
    fn agreements_are_x25519() {
        let mut on_the_twist = 0;
        for seed in 0..60_u8 {
            let mine = DhSecret::from_bytes(&hash(&[&[seed]]));
            let mut any = hash(&[b"any", &[seed]]);
            any[31] &= 0x7f;
            for peer in [DhSecret::from_bytes(&[seed; 32]).public(), any] {
                let ladder = MontgomeryPoint(peer).mul_clamped(*mine.to_bytes()).to_bytes();
                assert_eq!(*mine.agree(&peer).unwrap(), ladder, "{peer:?}");
                on_the_twist += u32::from(MontgomeryPoint(peer).to_edwards(0).is_none());
            }
        }
        assert!((15..45).contains(&on_the_twist), "{on_the_twist}");
    }

    #[test]
    fn a_sealed_share_opens_only_as_it_was_sealed() {
        let sid = Sid::from(SID);
        let cipher = ShareCipher::new(&sid, &[1; 32], &[2; 32], &[3; 32]);
        let sealed = cipher.seal(4, 5, &[6; 64]);
        assert_eq!(cipher.open(4, 5, &sealed).as_deref(), Some(&[6; 64]));
        assert!(cipher.open(5, 4, &sealed).is_none(), "direction");
        assert!(
            ShareCipher::new(&sid, &[1; 32], &[3; 32], &[2; 32]).open(4, 5, &sealed).is_none(),
            "key of the way back"
        );
        for at in 0..SEALED_LEN {
            let mut flipped = sealed;
            flipped[at] ^= 0x80;
            assert!(cipher.open(4, 5, &flipped).is_none(), "byte {at}");
        }
        assert!(cipher.open(4, 5, &sealed[..79]).is_none() && cipher.open(4, 5, &[0; 81]).is_none(), "length");
    }

    #[test]
    fn scalars_have_one_encoding() {
        let secret = Secret::from_wide(&[0xff; 64]);
        assert!(bool::from(Secret::from_canonical(&*secret.to_bytes()).unwrap().ct_eq(&secret)));
        let refused = Refusal::by(Check::C12, Reason::NonCanonicalScalar);
        assert_eq!(Secret::from_canonical(&[0xff; 32]).err(), Some(refused));
        assert_eq!(Secret::from_canonical(&[0; 31]).err(), Some(refused));
    }

    #[test]
    fn secrets_are_not_printed() {
        let texts = [
            format!("{:?}", Secret::from_wide(&[0x42; 64])),
            format!("{:?}", DhSecret::from_bytes(&[0x42; 32])),
            format!("{:?}", IdentityKey::from_seed(&[0x42; 32])),
            format!("{:?}", ShareCipher::from_key(&Sid::from(SID), &[0x42; 32])),
        ];
        for text in texts {
            assert!(text.ends_with("(redacted)") && text.len() < 30, "{text}");
        }
    }
}
