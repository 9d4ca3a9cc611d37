//! ChaCha20 in plain Rust: for machines without a kernel of their own, and in RFC order for public permutations.
#![allow(unsafe_code, reason = "the trait's constructors are unsafe; nothing here needs any instructions")]

use super::Sign;
use super::lanes::{self, CONSTANTS, Lanes};

/// One lane: a word.
impl Lanes for u32 {
    const COUNT: usize = 1;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        word
    }
    #[inline(always)]
    unsafe fn counters(first: u32) -> Self {
        first
    }
    #[inline(always)]
    unsafe fn load(from: &[u32]) -> Self {
        from[0]
    }
    #[inline(always)]
    unsafe fn store(self, to: &mut [u32]) {
        to[0] = self;
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self ^ other
    }
    #[inline(always)]
    fn turn_16(self) -> Self {
        self.rotate_left(16)
    }
    #[inline(always)]
    fn turn_12(self) -> Self {
        self.rotate_left(12)
    }
    #[inline(always)]
    fn turn_8(self) -> Self {
        self.rotate_left(8)
    }
    #[inline(always)]
    fn turn_7(self) -> Self {
        self.rotate_left(7)
    }
}

pub(super) fn add_groups(acc: &mut [u32], key: &[u32; 8], vector: u32, block: u32, sign: Sign) {
    // SAFETY: u32 needs no instructions that a machine could lack.
    unsafe { lanes::add_groups::<u32>(acc, key, vector, block, sign) }
}

/// The words of a key's keystream in the order of RFC 8439, nonce 0, from counter 0.
pub(crate) struct Words {
    key: [u32; 8],
    counter: u32,
    block: [u32; 16],
    used: usize,
}

impl Words {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Self { key: words, counter: 0, block: [0; 16], used: 16 }
    }

    pub(crate) fn next_word(&mut self) -> u32 {
        if self.used == 16 {
            self.block = block(&self.key, self.counter, [0; 3]);
            self.counter = self.counter.wrapping_add(1);
            self.used = 0;
        }
        let word = self.block[self.used];
        self.used += 1;
        word
    }
}

/// One block, RFC 8439 section 2.3.
fn block(key: &[u32; 8], counter: u32, nonce: [u32; 3]) -> [u32; 16] {
    let mut start = [0; 16];
    start[..4].copy_from_slice(&CONSTANTS);
    start[4..12].copy_from_slice(key);
    start[12] = counter;
    start[13..].copy_from_slice(&nonce);
    let mut state = start;
    for _ in 0..10 {
        lanes::double_round(&mut state);
    }
    std::array::from_fn(|word| state[word].wrapping_add(start[word]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439 section 2.3.2: the only one of its blocks whose nonce the mask layout cannot have.
    #[test]
    fn a_block_of_the_rfc() {
        let key = std::array::from_fn(|i| u32::from_le_bytes(std::array::from_fn(|j| (4 * i + j) as u8)));
        let expected = [
            0xe4e7_f110,
            0x1559_3bd1,
            0x1fdd_0f50,
            0xc471_20a3,
            0xc7f4_d1c7,
            0x0368_c033,
            0x9aaa_2204,
            0x4e6c_d4c3,
            0x4664_82d2,
            0x09aa_9f07,
            0x05d7_c214,
            0xa202_8bd9,
            0xd19c_12b5,
            0xb94e_16de,
            0xe883_d0cb,
            0x4e3c_50a2,
        ];
        assert_eq!(block(&key, 1, [0x0900_0000, 0x4a00_0000, 0]), expected);
    }

    #[test]
    fn words_come_in_the_order_of_the_rfc() {
        use rand_chacha::ChaCha20Rng;
        use rand_core::{Rng as _, SeedableRng as _};
        let (mut ours, mut theirs) = (Words::new(&[9; 32]), ChaCha20Rng::from_seed([9; 32]));
        assert!((0..100).all(|_| ours.next_word() == theirs.next_u32()));
    }
}
