//! The keystream kernel, written once for registers of any width.
#![allow(unsafe_code)]

use super::{GROUP, Sign};

/// "expand 32-byte k".
pub(super) const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// Several u32s side by side, one per block. A value exists only where its instructions do: the constructors are unsafe,
/// so the operations are safe.
///
/// Implementations are `#[inline(always)]` throughout: the kernel around them is compiled once per instruction set.
pub(super) trait Lanes: Copy {
    /// Number of lanes: divides 16.
    const COUNT: usize;

    /// `word` in every lane.
    ///
    /// # Safety
    /// The machine has the instructions of this type.
    unsafe fn splat(word: u32) -> Self;

    /// `first`, `first + 1` and so on.
    ///
    /// # Safety
    /// The machine has the instructions of this type.
    unsafe fn counters(first: u32) -> Self;

    /// The first [`Self::COUNT`] words of `from`.
    ///
    /// # Safety
    /// The machine has the instructions of this type, and `from` holds that many words.
    unsafe fn load(from: &[u32]) -> Self;

    /// Overwrites the first [`Self::COUNT`] words of `to`.
    ///
    /// # Safety
    /// `to` holds that many words.
    unsafe fn store(self, to: &mut [u32]);

    /// Lane by lane, modulo 2^32.
    fn add(self, other: Self) -> Self;
    /// Lane by lane, modulo 2^32.
    fn sub(self, other: Self) -> Self;
    /// Lane by lane.
    fn xor(self, other: Self) -> Self;
    /// Left by 16 bits.
    fn turn_16(self) -> Self;
    /// Left by 12 bits.
    fn turn_12(self) -> Self;
    /// Left by 8 bits.
    fn turn_8(self) -> Self;
    /// Left by 7 bits.
    fn turn_7(self) -> Self;
}

/// Adds the keystream from block `block` on onto whole groups.
///
/// # Safety
/// The machine has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn add_groups<V: Lanes>(acc: &mut [u32], key: &[u32; 8], vector: u32, block: u32, sign: Sign) {
    const { assert!(16 % V::COUNT == 0, "a group holds whole registers") };
    // SAFETY: the caller vouches for the instructions; every slice is exactly COUNT words long.
    unsafe {
        let mut start = [V::splat(0); 16];
        for (row, word) in start.iter_mut().zip(CONSTANTS.iter().chain(key)) {
            *row = V::splat(*word);
        }
        start[12] = V::counters(block);
        start[13] = V::splat(vector);
        let step = V::splat(V::COUNT as u32);
        for group in acc.as_chunks_mut::<GROUP>().0 {
            for part in 0..16 / V::COUNT {
                let mut s = start;
                for _ in 0..10 {
                    double_round(&mut s);
                }
                for word in 0..16 {
                    let keystream = s[word].add(start[word]);
                    let at = 16 * word + V::COUNT * part;
                    let entries = &mut group[at..at + V::COUNT];
                    let old = V::load(entries);
                    match sign {
                        Sign::Plus => old.add(keystream).store(entries),
                        Sign::Minus => old.sub(keystream).store(entries),
                    }
                }
                start[12] = start[12].add(step);
            }
        }
    }
}

/// A column round and a diagonal round of RFC 8439 on as many blocks as `V` has lanes.
#[inline(always)]
pub(super) fn double_round<V: Lanes>(s: &mut [V; 16]) {
    quarters(s, [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]);
    quarters(s, [0, 1, 2, 3], [5, 6, 7, 4], [10, 11, 8, 9], [15, 12, 13, 14]);
}

/// Four quarter rounds in step: four independent chains hide the latency of the rotations.
#[inline(always)]
fn quarters<V: Lanes>(s: &mut [V; 16], a: [usize; 4], b: [usize; 4], c: [usize; 4], d: [usize; 4]) {
    for i in 0..4 {
        s[a[i]] = s[a[i]].add(s[b[i]]);
        s[d[i]] = s[d[i]].xor(s[a[i]]).turn_16();
    }
    for i in 0..4 {
        s[c[i]] = s[c[i]].add(s[d[i]]);
        s[b[i]] = s[b[i]].xor(s[c[i]]).turn_12();
    }
    for i in 0..4 {
        s[a[i]] = s[a[i]].add(s[b[i]]);
        s[d[i]] = s[d[i]].xor(s[a[i]]).turn_8();
    }
    for i in 0..4 {
        s[c[i]] = s[c[i]].add(s[d[i]]);
        s[b[i]] = s[b[i]].xor(s[c[i]]).turn_7();
    }
}
