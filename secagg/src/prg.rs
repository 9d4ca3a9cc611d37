//! The mask generator CC20-L16 (spec section 6): ChaCha20 with 16 blocks side by side, added straight onto a vector.
//!
//! Block function of RFC 8439, nonce = u32 vector index ‖ 8 zero bytes, counter from 0. Group `g` of 256 entries is made
//! of blocks `16 g ..= 16 g + 15`; its entry `16 w + l` is word `w` of block `16 g + l`. So a register of 4, 8 or 16 lanes
//! is stored as it is. No mask is ever held in memory as a whole.
//!
//! The kernels under this module are the only code in the crate that needs `unsafe`.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::{Reason, Refusal};

mod portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use portable::Words;

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

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKey(redacted)")
    }
}

/// One way to compute the same keystream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Plain Rust, four lanes; what the compiler makes of it with the target's baseline instructions.
    Portable,
    /// x86-64 with AVX2: plain Rust, sixteen lanes.
    Avx2,
    /// x86-64 with AVX-512F: intrinsics, sixteen lanes.
    Avx512,
    /// WebAssembly built with `+simd128`: intrinsics, four lanes.
    Simd128,
}

impl Backend {
    /// All of them, whether this machine has them or not.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Simd128];

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
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => std::arch::is_x86_feature_detected!("avx512f"),
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
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
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
        Backend::Avx2 => x86::add_groups_avx2(acc, key, vector, block, sign),
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512 => x86::add_groups_avx512(acc, key, vector, block, sign),
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Backend::Simd128 => wasm::add_groups(acc, key, vector, block, sign),
        _ => portable::add_groups::<4>(acc, key, vector, block, sign),
    }
}
