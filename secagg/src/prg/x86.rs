//! x86-64 kernels: SSE2, which every such machine has, AVX2 and AVX-512F by choice at run time.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::Sign;
use super::lanes::{self, Lanes};

/// Writes one [`Lanes`] implementation from the names of the intrinsics.
///
/// SAFETY of every block in it: a value of the type exists, or the caller of the constructor vouches, so the machine has
/// the instructions; loads and stores go through a reference to a slice that the caller says is long enough, and need no
/// alignment.
macro_rules! register {
    (
        $(#[$meta:meta])* $name:ident($raw:ty), $count:literal lanes,
        splat $splat:ident, counters $counters:expr, load $load:ident, store $store:ident,
        add $add:ident, sub $sub:ident, xor $xor:ident,
        turn |$x:ident| $turn_16:expr, $turn_12:expr, $turn_8:expr, $turn_7:expr $(,)?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy)]
        struct $name($raw);

        impl Lanes for $name {
            const COUNT: usize = $count;

            #[inline(always)]
            unsafe fn splat(word: u32) -> Self {
                // SAFETY: as above.
                Self(unsafe { $splat(word as i32) })
            }
            #[inline(always)]
            unsafe fn counters(first: u32) -> Self {
                // SAFETY: as above.
                Self(unsafe { $add($splat(first as i32), $counters) })
            }
            #[inline(always)]
            unsafe fn load(from: &[u32]) -> Self {
                debug_assert!(from.len() >= Self::COUNT);
                // SAFETY: as above.
                Self(unsafe { $load(from.as_ptr().cast()) })
            }
            #[inline(always)]
            unsafe fn store(self, to: &mut [u32]) {
                debug_assert!(to.len() >= Self::COUNT);
                // SAFETY: as above.
                unsafe { $store(to.as_mut_ptr().cast(), self.0) }
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $sub(self.0, other.0) })
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $xor(self.0, other.0) })
            }
            #[inline(always)]
            fn turn_16(self) -> Self {
                let $x = self.0;
                // SAFETY: as above.
                Self(unsafe { $turn_16 })
            }
            #[inline(always)]
            fn turn_12(self) -> Self {
                let $x = self.0;
                // SAFETY: as above.
                Self(unsafe { $turn_12 })
            }
            #[inline(always)]
            fn turn_8(self) -> Self {
                let $x = self.0;
                // SAFETY: as above.
                Self(unsafe { $turn_8 })
            }
            #[inline(always)]
            fn turn_7(self) -> Self {
                let $x = self.0;
                // SAFETY: as above.
                Self(unsafe { $turn_7 })
            }
        }
    };
}

register! {
    /// SSE2.
    Four(__m128i), 4 lanes,
    splat _mm_set1_epi32, counters _mm_setr_epi32(0, 1, 2, 3), load _mm_loadu_si128, store _mm_storeu_si128,
    add _mm_add_epi32, sub _mm_sub_epi32, xor _mm_xor_si128,
    turn |x|
        _mm_or_si128(_mm_slli_epi32::<16>(x), _mm_srli_epi32::<16>(x)),
        _mm_or_si128(_mm_slli_epi32::<12>(x), _mm_srli_epi32::<20>(x)),
        _mm_or_si128(_mm_slli_epi32::<8>(x), _mm_srli_epi32::<24>(x)),
        _mm_or_si128(_mm_slli_epi32::<7>(x), _mm_srli_epi32::<25>(x)),
}

register! {
    /// AVX2. A rotation by whole bytes is one shuffle.
    Eight(__m256i), 8 lanes,
    splat _mm256_set1_epi32, counters _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
    load _mm256_loadu_si256, store _mm256_storeu_si256,
    add _mm256_add_epi32, sub _mm256_sub_epi32, xor _mm256_xor_si256,
    turn |x|
        _mm256_shuffle_epi8(x, _mm256_setr_epi8(
            2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13,
        )),
        _mm256_or_si256(_mm256_slli_epi32::<12>(x), _mm256_srli_epi32::<20>(x)),
        _mm256_shuffle_epi8(x, _mm256_setr_epi8(
            3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14,
        )),
        _mm256_or_si256(_mm256_slli_epi32::<7>(x), _mm256_srli_epi32::<25>(x)),
}

register! {
    /// AVX-512F.
    Sixteen(__m512i), 16 lanes,
    splat _mm512_set1_epi32, counters _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    load _mm512_loadu_si512, store _mm512_storeu_si512,
    add _mm512_add_epi32, sub _mm512_sub_epi32, xor _mm512_xor_si512,
    turn |x|
        _mm512_rol_epi32::<16>(x),
        _mm512_rol_epi32::<12>(x),
        _mm512_rol_epi32::<8>(x),
        _mm512_rol_epi32::<7>(x),
}

/// Two registers side by side: twice the independent work per step.
#[derive(Clone, Copy)]
struct Pair<V>(V, V);

impl<V: Lanes> Lanes for Pair<V> {
    const COUNT: usize = 2 * V::COUNT;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        // SAFETY: the same promise by the caller.
        unsafe { Self(V::splat(word), V::splat(word)) }
    }
    #[inline(always)]
    unsafe fn counters(first: u32) -> Self {
        // SAFETY: the same promise by the caller.
        unsafe { Self(V::counters(first), V::counters(first.wrapping_add(V::COUNT as u32))) }
    }
    #[inline(always)]
    unsafe fn load(from: &[u32]) -> Self {
        // SAFETY: the same promise by the caller; both halves have COUNT words.
        unsafe { Self(V::load(&from[..V::COUNT]), V::load(&from[V::COUNT..2 * V::COUNT])) }
    }
    #[inline(always)]
    unsafe fn store(self, to: &mut [u32]) {
        let (low, high) = to.split_at_mut(V::COUNT);
        // SAFETY: the same promise by the caller; both halves have COUNT words.
        unsafe {
            self.0.store(low);
            self.1.store(high);
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0.add(other.0), self.1.add(other.1))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(self.0.sub(other.0), self.1.sub(other.1))
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(self.0.xor(other.0), self.1.xor(other.1))
    }
    #[inline(always)]
    fn turn_16(self) -> Self {
        Self(self.0.turn_16(), self.1.turn_16())
    }
    #[inline(always)]
    fn turn_12(self) -> Self {
        Self(self.0.turn_12(), self.1.turn_12())
    }
    #[inline(always)]
    fn turn_8(self) -> Self {
        Self(self.0.turn_8(), self.1.turn_8())
    }
    #[inline(always)]
    fn turn_7(self) -> Self {
        Self(self.0.turn_7(), self.1.turn_7())
    }
}

pub(super) fn add_groups_sse2(acc: &mut [u32], key: &[u32; 8], vector: u32, block: u32, sign: Sign) {
    // SAFETY: every x86-64 machine has SSE2.
    unsafe { lanes::add_groups::<Four>(acc, key, vector, block, sign) }
}

pub(super) fn add_groups_avx2(acc: &mut [u32], key: &[u32; 8], vector: u32, block: u32, sign: Sign) {
    #[target_feature(enable = "avx2")]
    fn run(acc: &mut [u32], key: &[u32; 8], vector: u32, block: u32, sign: Sign) {
        // SAFETY: this function runs only where AVX2 is.
        unsafe { lanes::add_groups::<Pair<Eight>>(acc, key, vector, block, sign) }
    }
    // SAFETY: `accumulate_with` has asserted `Backend::Avx2.is_available()`, that is, AVX2.
    unsafe { run(acc, key, vector, block, sign) }
}

pub(super) fn add_groups_avx512(acc: &mut [u32], key: &[u32; 8], vector: u32, block: u32, sign: Sign) {
    #[target_feature(enable = "avx512f")]
    fn run(acc: &mut [u32], key: &[u32; 8], vector: u32, block: u32, sign: Sign) {
        // SAFETY: this function runs only where AVX-512F is.
        unsafe { lanes::add_groups::<Sixteen>(acc, key, vector, block, sign) }
    }
    // SAFETY: `accumulate_with` has asserted `Backend::Avx512.is_available()`, that is, AVX-512F.
    unsafe { run(acc, key, vector, block, sign) }
}
