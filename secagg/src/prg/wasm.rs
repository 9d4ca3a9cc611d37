//! The WebAssembly kernel: simd128. Plain arrays do not become vectors there, so these are intrinsics.
#![allow(unsafe_code)]

use std::arch::wasm32::{
    i8x16_shuffle, i32x4_add, i32x4_shl, i32x4_sub, u32x4, u32x4_shr, u32x4_splat, v128, v128_load, v128_or,
    v128_store, v128_xor,
};

use super::Sign;
use super::lanes::{self, Lanes};

/// simd128. A rotation by whole bytes is one shuffle.
#[derive(Clone, Copy)]
struct Four(v128);

impl Lanes for Four {
    const COUNT: usize = 4;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        Self(u32x4_splat(word))
    }
    #[inline(always)]
    unsafe fn counters(first: u32) -> Self {
        Self(i32x4_add(u32x4_splat(first), u32x4(0, 1, 2, 3)))
    }
    #[inline(always)]
    unsafe fn load(from: &[u32]) -> Self {
        // SAFETY: the caller says that four words are there; this instruction needs no alignment.
        Self(unsafe { v128_load(from.as_ptr().cast()) })
    }
    #[inline(always)]
    unsafe fn store(self, to: &mut [u32]) {
        // SAFETY: the caller says that four words are there; this instruction needs no alignment.
        unsafe { v128_store(to.as_mut_ptr().cast(), self.0) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(i32x4_add(self.0, other.0))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(i32x4_sub(self.0, other.0))
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(v128_xor(self.0, other.0))
    }
    #[inline(always)]
    fn turn_16(self) -> Self {
        Self(i8x16_shuffle::<2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13>(self.0, self.0))
    }
    #[inline(always)]
    fn turn_12(self) -> Self {
        Self(v128_or(i32x4_shl(self.0, 12), u32x4_shr(self.0, 20)))
    }
    #[inline(always)]
    fn turn_8(self) -> Self {
        Self(i8x16_shuffle::<3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14>(self.0, self.0))
    }
    #[inline(always)]
    fn turn_7(self) -> Self {
        Self(v128_or(i32x4_shl(self.0, 7), u32x4_shr(self.0, 25)))
    }
}

pub(super) fn add_groups(acc: &mut [u32], key: &[u32; 8], vector: u32, block: u32, sign: Sign) {
    // SAFETY: this module exists only in builds with simd128, which then run nowhere else.
    unsafe { lanes::add_groups::<Four>(acc, key, vector, block, sign) }
}
