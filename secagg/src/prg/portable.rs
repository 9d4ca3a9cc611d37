//! ChaCha20 in plain Rust: sixteen, eight or four blocks side by side for masks, and one at a time in RFC order.

use super::{GROUP, Sign};

/// "expand 32-byte k".
pub(super) const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// The quarter rounds of one double round: four columns, then four diagonals.
const QUARTERS: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

/// Adds the keystream from block `block` on onto whole groups, `LANES` blocks at a time.
#[inline(always)]
pub(super) fn add_groups<const LANES: usize>(acc: &mut [u32], key: &[u32; 8], vector: u32, block: u32, sign: Sign) {
    const { assert!(16 % LANES == 0, "a group holds 16 lanes") };
    for (number, group) in acc.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        for part in 0..16 / LANES {
            let first = block.wrapping_add((16 * number + LANES * part) as u32);
            let keystream = blocks::<LANES>(key, first, [vector, 0, 0]);
            for (word, lanes) in keystream.iter().enumerate() {
                let at = 16 * word + LANES * part;
                let entries = &mut group[at..at + LANES];
                match sign {
                    Sign::Plus => entries.iter_mut().zip(lanes).for_each(|(e, k)| *e = e.wrapping_add(*k)),
                    Sign::Minus => entries.iter_mut().zip(lanes).for_each(|(e, k)| *e = e.wrapping_sub(*k)),
                }
            }
        }
    }
}

/// Blocks `first .. first + LANES`: word `w` of block `first + l` is `[w][l]`.
#[inline(always)]
fn blocks<const LANES: usize>(key: &[u32; 8], first: u32, nonce: [u32; 3]) -> [[u32; LANES]; 16] {
    let mut start = [[0; LANES]; 16];
    for (row, word) in start.iter_mut().zip(CONSTANTS.iter().chain(key)) {
        *row = [*word; LANES];
    }
    for (lane, counter) in start[12].iter_mut().enumerate() {
        *counter = first.wrapping_add(lane as u32);
    }
    for (row, word) in start[13..].iter_mut().zip(nonce) {
        *row = [word; LANES];
    }
    let mut state = start;
    for _ in 0..10 {
        for [a, b, c, d] in QUARTERS {
            for (p, q, r, turn) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
                for lane in 0..LANES {
                    state[p][lane] = state[p][lane].wrapping_add(state[q][lane]);
                    state[r][lane] = (state[r][lane] ^ state[p][lane]).rotate_left(turn);
                }
            }
        }
    }
    for (row, initial) in state.iter_mut().zip(start) {
        for (word, addend) in row.iter_mut().zip(initial) {
            *word = word.wrapping_add(addend);
        }
    }
    state
}

/// The words of a key's keystream in the order of RFC 8439, nonce 0, from counter 0. For public permutations.
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
            self.block = blocks::<1>(&self.key, self.counter, [0; 3]).map(|[word]| word);
            self.counter = self.counter.wrapping_add(1);
            self.used = 0;
        }
        let word = self.block[self.used];
        self.used += 1;
        word
    }
}
