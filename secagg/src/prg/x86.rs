//! x86-64 kernels, chosen at run time.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_rol_epi32, _mm512_set1_epi32, _mm512_setr_epi32,
    _mm512_storeu_si512, _mm512_sub_epi32, _mm512_xor_si512,
};

use super::portable::{self, CONSTANTS};
use super::{GROUP, Sign};

/// AVX2: the portable code with sixteen lanes, compiled for 256-bit registers. Two halves of eight lanes then run
/// interleaved, which hides the latency of the rotations.
pub(super) fn add_groups_avx2(acc: &mut [u32], key: &[u32; 8], vector: u32, block: u32, sign: Sign) {
    #[target_feature(enable = "avx2")]
    fn run(acc: &mut [u32], key: &[u32; 8], vector: u32, block: u32, sign: Sign) {
        portable::add_groups::<16>(acc, key, vector, block, sign);
    }
    // SAFETY: `accumulate_with` has asserted `Backend::Avx2.is_available()`, that is, AVX2.
    unsafe { run(acc, key, vector, block, sign) }
}

/// AVX-512F: one register per word of the state, sixteen blocks side by side.
pub(super) fn add_groups_avx512(acc: &mut [u32], key: &[u32; 8], vector: u32, block: u32, sign: Sign) {
    // SAFETY: `accumulate_with` has asserted `Backend::Avx512.is_available()`, that is, AVX-512F.
    unsafe {
        match sign {
            Sign::Plus => run_avx512::<true>(acc, key, vector, block),
            Sign::Minus => run_avx512::<false>(acc, key, vector, block),
        }
    }
}

#[target_feature(enable = "avx512f")]
fn run_avx512<const PLUS: bool>(acc: &mut [u32], key: &[u32; 8], vector: u32, block: u32) {
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let mut start = [_mm512_set1_epi32(0); 16];
    for (row, word) in start.iter_mut().zip(CONSTANTS.iter().chain(key)) {
        *row = _mm512_set1_epi32(*word as i32);
    }
    start[12] = _mm512_add_epi32(_mm512_set1_epi32(block as i32), lanes);
    start[13] = _mm512_set1_epi32(vector as i32);
    for group in acc.as_chunks_mut::<GROUP>().0 {
        let mut s = start;
        for _ in 0..10 {
            double_round(&mut s);
        }
        for (entries, (word, initial)) in group.as_chunks_mut::<16>().0.iter_mut().zip(s.iter().zip(&start)) {
            let keystream = _mm512_add_epi32(*word, *initial);
            let at: *mut [u32; 16] = entries;
            // SAFETY: `at` comes from a unique reference to 64 bytes; these instructions need no alignment.
            unsafe {
                let old = _mm512_loadu_si512(at.cast());
                let new = if PLUS { _mm512_add_epi32(old, keystream) } else { _mm512_sub_epi32(old, keystream) };
                _mm512_storeu_si512(at.cast(), new);
            }
        }
        start[12] = _mm512_add_epi32(start[12], _mm512_set1_epi32(16));
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn double_round(s: &mut [__m512i; 16]) {
    // All four quarter rounds of a row advance together: four independent chains fill the pipeline.
    macro_rules! step {
        ($p:expr, $q:expr, $r:expr, $turn:literal) => {
            for i in 0..4 {
                s[$p[i]] = _mm512_add_epi32(s[$p[i]], s[$q[i]]);
                s[$r[i]] = _mm512_rol_epi32::<$turn>(_mm512_xor_si512(s[$r[i]], s[$p[i]]));
            }
        };
    }
    macro_rules! quarters {
        ($a:expr, $b:expr, $c:expr, $d:expr) => {
            step!($a, $b, $d, 16);
            step!($c, $d, $b, 12);
            step!($a, $b, $d, 8);
            step!($c, $d, $b, 7);
        };
    }
    quarters!([0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]);
    quarters!([0, 1, 2, 3], [5, 6, 7, 4], [10, 11, 8, 9], [15, 12, 13, 14]);
}
