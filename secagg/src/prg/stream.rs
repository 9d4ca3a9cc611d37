//! The generator as a source of random words, for who needs many: noise and rounding.

use std::convert::Infallible;
use std::fmt;

use rand_core::{TryCryptoRng, TryRng};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{GROUP, MAX_ENTRIES, MaskKey, Sign, accumulate};

/// Words made at once: enough for the widest kernel to be fast.
const WORDS: usize = 4 * GROUP;

/// The mask generator's entries under one key, vector after vector. ChaCha20 as fast as the machine has it: in WebAssembly
/// several times as fast as `rand_chacha`, which has no kernel for it.
///
/// Secret; wiped on drop, never printed. The key must have no other use.
pub struct Stream {
    key: MaskKey,
    words: Box<[u32; WORDS]>,
    /// Words of `words` that are used up.
    used: usize,
    /// Entries made so far; 2^68 of them are never used up.
    made: u128,
}

impl Stream {
    /// `seed`: from the system, never used twice.
    pub fn new(seed: &[u8; 32]) -> Self {
        Self { key: MaskKey::new(seed), words: Box::new([0; WORDS]), used: WORDS, made: 0 }
    }

    /// Words that have been handed out so far.
    pub fn drawn(&self) -> u128 {
        self.made - (WORDS - self.used) as u128
    }

    #[cold]
    #[inline(never)]
    fn refill(&mut self) {
        let (vector, first) = (self.made / u128::from(MAX_ENTRIES), self.made % u128::from(MAX_ENTRIES));
        self.words.fill(0);
        // Both fit: the remainder is below 2^36, the quotient below 2^32.
        accumulate(&mut self.words[..], vector as u32, first as u64, &[(Sign::Plus, &self.key)]);
        self.made += WORDS as u128;
        self.used = 0;
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        if self.used == WORDS {
            self.refill();
        }
        let word = self.words[self.used];
        self.used += 1;
        Ok(word)
    }

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let low = self.try_next_u32()?;
        Ok(u64::from(self.try_next_u32()?) << 32 | u64::from(low))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for part in out.chunks_mut(4) {
            part.copy_from_slice(&self.try_next_u32()?.to_le_bytes()[..part.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Stream {}

impl Drop for Stream {
    fn drop(&mut self) {
        // The key wipes itself.
        self.words.zeroize();
    }
}

impl ZeroizeOnDrop for Stream {}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use rand_core::Rng as _;

    use super::super::entries;
    use super::*;

    #[test]
    fn words_are_the_generators_entries_in_their_order() {
        let key = [7; 32];
        let expected = entries(&key, 0, 0, 2 * WORDS + 5).expect("in range");
        let mut stream = Stream::new(&key);
        let got: Vec<u32> = (0..expected.len()).map(|_| stream.next_u32()).collect();
        assert_eq!(got, expected);
        assert_eq!(stream.drawn(), expected.len() as u128);

        let mut stream = Stream::new(&key);
        assert_eq!(stream.drawn(), 0);
        assert_eq!(stream.next_u64(), u64::from(expected[1]) << 32 | u64::from(expected[0]));
        let mut bytes = [0; 6];
        stream.fill_bytes(&mut bytes);
        assert_eq!(bytes[..4], expected[2].to_le_bytes());
        assert_eq!(bytes[4..], expected[3].to_le_bytes()[..2]);
        assert_eq!(stream.next_u32(), expected[4], "what is left of a word is dropped");
    }

    #[test]
    fn a_vector_that_is_used_up_is_followed_by_the_next() {
        let key = [9; 32];
        let mut stream = Stream::new(&key);
        stream.made = u128::from(MAX_ENTRIES) - WORDS as u128;
        let last = entries(&key, 0, MAX_ENTRIES - 1, 1).expect("in range");
        let words: Vec<u32> = (0..=WORDS).map(|_| stream.next_u32()).collect();
        assert_eq!(words[WORDS - 1], last[0]);
        assert_eq!(words[WORDS], entries(&key, 1, 0, 1).expect("in range")[0]);
        assert_eq!(format!("{stream:?}"), "Stream(redacted)");
    }
}
