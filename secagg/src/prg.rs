//! The mask generator CC20-L16 (docs/protocol/session.md): ChaCha20 with 16 blocks side by side, added straight onto a
//! vector.
//!
//! Block function of RFC 8439, nonce = u32 vector index ‖ 8 zero bytes, counter from 0. Group `g` of 256 entries is made
//! of blocks `16 g ..= 16 g + 15`; its entry `16 w + l` is word `w` of block `16 g + l`. So a register of 4, 8 or 16 lanes
//! is stored as it is. No mask is ever held in memory as a whole.
//!
//! The kernels under this module are the only code in the crate that needs `unsafe`.

use std::fmt;

use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::error::{Reason, Refusal};

mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod stream;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use portable::Words;
pub use stream::Stream;

/// Entries of a vector that one key can mask: 2^32 blocks of 16.
pub const MAX_ENTRIES: u64 = 1 << 36;

/// Entries of one group: 16 blocks of 16 words.
const GROUP: usize = 256;

/// Entries that every key is added to before the next entries are touched: 64 KiB, which stay in the L2 cache.
const CHUNK: usize = 16 * 1024;

/// Whether a mask is added or taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Added.
    Plus,
    /// Subtracted.
    Minus,
}

impl Sign {
    /// The other one: what removes a mask.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Plus => Self::Minus,
            Self::Minus => Self::Plus,
        }
    }
}

/// The key of one mask. Wiped on drop, never printed.
pub struct MaskKey(Zeroizing<[u8; 32]>);

impl MaskKey {
    /// The mask key with these bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl ZeroizeOnDrop for MaskKey {}

/// A sign follows from public keys: there is nothing to wipe.
impl ZeroizeOnDrop for Sign {}

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKey(redacted)")
    }
}

/// One way to compute the same keystream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Plain Rust, one block at a time.
    Portable,
    /// x86-64: four blocks side by side.
    Sse2,
    /// x86-64 with AVX2: twice eight blocks.
    Avx2,
    /// x86-64 with AVX-512F: sixteen blocks.
    Avx512,
    /// 64-bit ARM: four blocks.
    Neon,
    /// WebAssembly built with `+simd128`: four blocks.
    Simd128,
}

impl Backend {
    /// All of them, whether this machine has them or not.
    pub const ALL: [Self; 6] = [Self::Portable, Self::Sse2, Self::Avx2, Self::Avx512, Self::Neon, Self::Simd128];

    /// The fastest one that this machine can run.
    pub fn best() -> Self {
        // ALL is in rising order of speed per platform, and Portable is always there.
        Self::ALL.into_iter().rev().find(|backend| backend.is_available()).unwrap_or(Self::Portable)
    }

    /// Whether this machine can run it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Sse2 => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => std::arch::is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => true,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128 => true,
            #[allow(unreachable_patterns, reason = "which arms exist depends on the platform")]
            _ => false,
        }
    }

    /// A word for logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Sse2 => "sse2",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
            Self::Simd128 => "simd128",
        }
    }
}

/// The name of the implementation that [`accumulate`] uses on this machine.
pub fn backend() -> &'static str {
    Backend::best().name()
}

/// Entries `first .. first + count` of mask vector number `vector`.
///
/// # Errors
/// [`Reason::PrgRange`] when the range ends beyond [`MAX_ENTRIES`].
pub fn entries(key: &[u8; 32], vector: u32, first: u64, count: usize) -> Result<Vec<u32>, Refusal> {
    check_range(first, count)?;
    let mut out = vec![0; count];
    accumulate(&mut out, vector, first, &[(Sign::Plus, &MaskKey::new(key))]);
    Ok(out)
}

/// Adds or subtracts each mask's entries `first .. first + acc.len()` of vector number `vector` onto `acc`, modulo 2^32.
///
/// Chunk by chunk, so `acc` passes through the cache once for all keys. Fastest when `first` is a multiple of 256.
///
/// # Panics
/// If the range ends beyond [`MAX_ENTRIES`]: a decoded round configuration has no such vector.
pub fn accumulate(acc: &mut [u32], vector: u32, first: u64, masks: &[(Sign, &MaskKey)]) {
    accumulate_with(Backend::best(), acc, vector, first, masks);
}

/// [`accumulate`] with a chosen implementation; all of them give the same bytes.
///
/// # Panics
/// If this machine cannot run `backend`, and as [`accumulate`] does.
pub fn accumulate_with(backend: Backend, acc: &mut [u32], vector: u32, first: u64, masks: &[(Sign, &MaskKey)]) {
    assert!(backend.is_available(), "this machine cannot run {}", backend.name());
    assert!(check_range(first, acc.len()).is_ok(), "a mask vector has at most 2^36 entries");
    let keys: Vec<_> = masks.iter().map(|(sign, key)| (*sign, key_words(key))).collect();
    let mut at = first;
    let mut rest = acc;
    while !rest.is_empty() {
        // The first chunk ends at a multiple of the group size, all others then start at one.
        let length = (CHUNK - (at % GROUP as u64) as usize).min(rest.len());
        let (chunk, later) = rest.split_at_mut(length);
        for (sign, key) in &keys {
            add_keystream(backend, chunk, key, vector, at, *sign);
        }
        at += length as u64;
        rest = later;
    }
}

/// [`accumulate`] from entry 0 on up to `threads` threads; the result does not depend on their number.
#[cfg(not(target_arch = "wasm32"))]
pub fn accumulate_parallel(acc: &mut [u32], vector: u32, masks: &[(Sign, &MaskKey)], threads: usize) {
    let share = acc.len().div_ceil(threads.max(1)).next_multiple_of(CHUNK);
    if share >= acc.len() {
        return accumulate(acc, vector, 0, masks);
    }
    std::thread::scope(|scope| {
        for (part, chunk) in acc.chunks_mut(share).enumerate() {
            scope.spawn(move || accumulate(chunk, vector, (part * share) as u64, masks));
        }
    });
}

fn check_range(first: u64, count: usize) -> Result<(), Refusal> {
    match first.checked_add(count as u64) {
        Some(end) if end <= MAX_ENTRIES => Ok(()),
        _ => Err(Reason::PrgRange.into()),
    }
}

fn key_words(key: &MaskKey) -> Zeroizing<[u32; 8]> {
    let mut words = Zeroizing::new([0; 8]);
    for (word, bytes) in words.iter_mut().zip(key.0.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

/// One key onto one stretch: whole groups go to the kernel, a cut first or last group goes through a buffer.
fn add_keystream(backend: Backend, acc: &mut [u32], key: &[u32; 8], vector: u32, first: u64, sign: Sign) {
    let skip = (first % GROUP as u64) as usize;
    let head = if skip == 0 { 0 } else { (GROUP - skip).min(acc.len()) };
    let (cut_head, rest) = acc.split_at_mut(head);
    let (whole, cut_tail) = rest.split_at_mut(rest.len() / GROUP * GROUP);
    let group = first / GROUP as u64;
    add_part_of_group(backend, cut_head, key, vector, group, skip, sign);
    let group = group + u64::from(head > 0);
    add_groups(backend, whole, key, vector, group, sign);
    add_part_of_group(backend, cut_tail, key, vector, group + (whole.len() / GROUP) as u64, 0, sign);
}

fn add_part_of_group(
    backend: Backend,
    acc: &mut [u32],
    key: &[u32; 8],
    vector: u32,
    group: u64,
    skip: usize,
    sign: Sign,
) {
    if acc.is_empty() {
        return;
    }
    let mut buffer = Zeroizing::new([0; GROUP]);
    add_groups(backend, &mut *buffer, key, vector, group, sign);
    for (entry, mask) in acc.iter_mut().zip(&buffer[skip..]) {
        *entry = entry.wrapping_add(*mask);
    }
}

/// `acc` holds whole groups, the first of which has number `group`.
fn add_groups(backend: Backend, acc: &mut [u32], key: &[u32; 8], vector: u32, group: u64, sign: Sign) {
    debug_assert_eq!(acc.len() % GROUP, 0);
    if acc.is_empty() {
        return;
    }
    // The range was checked, so the counter of the first block is below 2^32.
    let block = (16 * group) as u32;
    match backend {
        #[cfg(target_arch = "x86_64")]
        Backend::Sse2 => x86::add_groups_sse2(acc, key, vector, block, sign),
        #[cfg(target_arch = "x86_64")]
        Backend::Avx2 => x86::add_groups_avx2(acc, key, vector, block, sign),
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512 => x86::add_groups_avx512(acc, key, vector, block, sign),
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Backend::Simd128 => wasm::add_groups(acc, key, vector, block, sign),
        #[cfg(target_arch = "aarch64")]
        Backend::Neon => neon::add_groups(acc, key, vector, block, sign),
        _ => portable::add_groups(acc, key, vector, block, sign),
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng as _, SeedableRng as _};

    use super::*;

    /// Entries by the definition of the layout, from an independent ChaCha20: its 64-bit counter and stream fill the same
    /// four words as our counter and nonce.
    fn oracle(key: &[u8; 32], vector: u32, first: u64, count: usize) -> Vec<u32> {
        let mut rng = ChaCha20Rng::from_seed(*key);
        let mut entry = |e: u64| {
            let (group, place) = (e / 256, e % 256);
            let (word, lane) = (place / 16, place % 16);
            let block = u128::from(vector) << 32 | u128::from(16 * group + lane);
            rng.set_word_pos(16 * block + u128::from(word));
            rng.next_u32()
        };
        (first..first + count as u64).map(&mut entry).collect()
    }

    fn available() -> impl Iterator<Item = Backend> {
        Backend::ALL.into_iter().filter(|backend| backend.is_available())
    }

    fn numbers(count: usize) -> Vec<u32> {
        (0..count as u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect()
    }

    #[test]
    fn every_backend_is_the_definition() {
        let key = std::array::from_fn(|i| i as u8 ^ 0x5a);
        let last = MAX_ENTRIES - 256;
        for (vector, first, count) in [
            (0, 0, 1),
            (0, 0, 256),
            (3, 0, 257),
            (7, 255, 2),
            (u32::MAX, 100, 1000),
            (1, 511, 700),
            (0, last, 256),
            (2, last - 300, 500),
        ] {
            let keystream = oracle(&key, vector, first, count);
            assert_eq!(entries(&key, vector, first, count).unwrap(), keystream, "{vector} {first} {count}");
            for backend in available() {
                let name = backend.name();
                let mut acc = numbers(count);
                accumulate_with(backend, &mut acc, vector, first, &[(Sign::Plus, &MaskKey::new(&key))]);
                let sum =
                    |op: fn(u32, u32) -> u32| numbers(count).iter().zip(&keystream).map(|(a, k)| op(*a, *k)).collect();
                let plus: Vec<u32> = sum(u32::wrapping_add);
                assert_eq!(acc, plus, "{name}: plus, {vector} {first} {count}");
                let mut acc = numbers(count);
                accumulate_with(backend, &mut acc, vector, first, &[(Sign::Minus, &MaskKey::new(&key))]);
                let minus: Vec<u32> = sum(u32::wrapping_sub);
                assert_eq!(acc, minus, "{name}: minus, {vector} {first} {count}");
            }
        }
    }

    #[test]
    fn backends_agree_over_chunks_and_keys() {
        let keys: Vec<_> = (0..5).map(|i| MaskKey::new(&[i; 32])).collect();
        let masks: Vec<_> = [Sign::Plus, Sign::Minus].into_iter().cycle().zip(&keys).collect();
        let run = |backend, first| {
            let mut acc = numbers(3 * CHUNK + 77);
            accumulate_with(backend, &mut acc, 4, first, &masks);
            acc
        };
        for first in [0, 5, 256, CHUNK as u64 - 1] {
            let expected = run(Backend::Portable, first);
            for backend in available() {
                assert_eq!(run(backend, first), expected, "{}, from {first}", backend.name());
            }
        }
    }

    #[test]
    fn both_signs_of_a_mask_cancel_and_one_does_not() {
        let keys: Vec<_> = (0..3).map(|i| MaskKey::new(&[i; 32])).collect();
        let mut acc = numbers(1000);
        accumulate(&mut acc, 0, 0, &keys.iter().map(|key| (Sign::Plus, key)).collect::<Vec<_>>());
        assert_ne!(acc, numbers(1000));
        accumulate(&mut acc, 0, 0, &keys[1..].iter().map(|key| (Sign::Plus.opposite(), key)).collect::<Vec<_>>());
        assert_ne!(acc, numbers(1000), "one mask is still there");
        accumulate(&mut acc, 0, 0, &[(Sign::Minus, &keys[0])]);
        assert_eq!(acc, numbers(1000));
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let whole = entries(&[1; 32], 9, 0, 5000).unwrap();
        for (first, count) in [(0, 0), (1, 254), (255, 1), (256, 512), (300, 4000), (4999, 1)] {
            let piece = entries(&[1; 32], 9, first, count).unwrap();
            assert_eq!(piece, whole[first as usize..][..count], "{first} {count}");
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn threads_change_nothing() {
        let keys: Vec<_> = (0..3).map(|i| MaskKey::new(&[i; 32])).collect();
        let masks: Vec<_> = keys.iter().map(|key| (Sign::Minus, key)).collect();
        for length in [0, 1, CHUNK, 5 * CHUNK + 13] {
            let mut expected = numbers(length);
            accumulate(&mut expected, 1, 0, &masks);
            for threads in [0, 1, 2, 3, 8, 100] {
                let mut acc = numbers(length);
                accumulate_parallel(&mut acc, 1, &masks, threads);
                assert_eq!(acc, expected, "{length} entries, {threads} threads");
            }
        }
    }

    #[test]
    fn the_range_ends_with_the_last_block() {
        assert_eq!(entries(&[0; 32], 0, MAX_ENTRIES - 1, 1).unwrap().len(), 1);
        for (first, count) in [(MAX_ENTRIES - 1, 2), (MAX_ENTRIES, 1), (u64::MAX, 2)] {
            assert_eq!(entries(&[0; 32], 0, first, count), Err(Reason::PrgRange.into()), "{first} {count}");
        }
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", MaskKey::new(&[0x77; 32])), "MaskKey(redacted)");
    }
}
