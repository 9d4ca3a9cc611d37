//! One public key for many agreements: the multiples of its point, prepared once.

use std::fmt;

use curve25519_dalek::traits::Identity as _;
use curve25519_dalek::{EdwardsPoint, MontgomeryPoint};
use zeroize::Zeroizing;

use super::{DhSecret, contributory};
use crate::error::Refusal;

/// Digits of a private key in base 32, from -16 to 16; the last one is 0 or 1.
const DIGITS: usize = 52;
const BITS: usize = 5;

/// A peer's public key, prepared for agreements with many private keys: each takes a third of the time.
///
/// Not in constant time in the private keys. It is for the server's unmasking, where they are those of devices that were
/// lost: rebuilt from revealed shares, and gone with the session.
pub struct PeerTable {
    /// `multiples[i][j]` is `(j + 1) 32^i` times the point.
    multiples: Vec<[EdwardsPoint; 16]>,
}

impl PeerTable {
    /// Agreements from which on preparing a key pays.
    pub const PAYS_FROM: usize = 6;

    /// Prepares a key. `None` when it lies on the curve's twist, where [`DhSecret::agree`] is the only way.
    pub fn new(peer: &[u8; 32]) -> Option<Self> {
        // Either of the two points over a u-coordinate will do: their multiples have the same u-coordinate.
        let mut power = MontgomeryPoint(*peer).to_edwards(0)?;
        let mut multiples = Vec::with_capacity(DIGITS);
        for _ in 0..DIGITS {
            let mut row = [power; 16];
            for j in 1..16 {
                row[j] = row[j - 1] + power;
            }
            multiples.push(row);
            power = row[15] + row[15];
        }
        Some(Self { multiples })
    }

    /// What [`DhSecret::agree`] gives with this peer, bit by bit.
    ///
    /// # Errors
    /// C08 `low_order_key` when the output is all zero.
    pub fn agree(&self, mine: &DhSecret) -> Result<Zeroizing<[u8; 32]>, Refusal> {
        let mut sum = EdwardsPoint::identity();
        for (digit, row) in digits(mine).iter().zip(&self.multiples) {
            match digit {
                0 => {}
                1.. => sum += row[*digit as usize - 1],
                _ => sum -= row[digit.unsigned_abs() as usize - 1],
            }
        }
        contributory(Zeroizing::new(sum.to_montgomery().to_bytes()))
    }
}

/// The clamped private key, not reduced: on points with a part of low order only the integer itself is right.
fn digits(secret: &DhSecret) -> Zeroizing<[i8; DIGITS]> {
    let mut bytes = secret.to_bytes();
    bytes[0] &= 0xf8;
    bytes[31] = bytes[31] & 0x7f | 0x40;
    let mut digits = Zeroizing::new([0_i8; DIGITS]);
    let mut carry = 0;
    for (i, digit) in digits.iter_mut().enumerate() {
        let (byte, shift) = (BITS * i / 8, BITS * i % 8);
        let two = u16::from_le_bytes([bytes[byte], bytes.get(byte + 1).copied().unwrap_or(0)]);
        let raw = (two >> shift & 31) as i8 + carry;
        // 51 digits hold all 255 bits: nothing is carried out of the last one.
        carry = i8::from(raw > 16);
        *digit = raw - 32 * carry;
    }
    digits
}

impl fmt::Debug for PeerTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerTable")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LOW_ORDER, hash};
    use super::*;

    #[test]
    fn a_prepared_key_agrees_as_the_key_does() {
        let mut on_the_twist = 0;
        for seed in 0..40_u8 {
            let mine = DhSecret::from_bytes(&hash(&[&[seed]]));
            // Half of all numbers are on the twist, and seven in eight points of the rest have a part of low order.
            let mut any = hash(&[b"any", &[seed]]);
            any[31] &= 0x7f;
            for peer in [DhSecret::from_bytes(&[seed; 32]).public(), any] {
                match PeerTable::new(&peer) {
                    Some(table) => assert_eq!(table.agree(&mine).ok(), mine.agree(&peer).ok(), "{peer:?}"),
                    None => on_the_twist += 1,
                }
            }
        }
        assert!((10..30).contains(&on_the_twist), "{on_the_twist}");
        for extreme in [[0; 32], [0xff; 32], [0x88; 32], [0x77; 32]] {
            let mine = DhSecret::from_bytes(&extreme);
            let peer = DhSecret::from_bytes(&[5; 32]).public();
            assert_eq!(PeerTable::new(&peer).unwrap().agree(&mine).ok(), mine.agree(&peer).ok(), "{extreme:?}");
        }
        for key in &LOW_ORDER {
            let agreed = PeerTable::new(key).map(|table| table.agree(&DhSecret::from_bytes(&[3; 32])).is_ok());
            assert_ne!(agreed, Some(true), "{key:?}");
        }
    }
}
