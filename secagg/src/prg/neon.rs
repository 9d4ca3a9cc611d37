//! The kernel of 64-bit ARM: NEON, which every such machine has.
#![allow(unsafe_code)]

use std::arch::aarch64::{
    uint32x4_t, vaddq_u32, vdupq_n_u32, veorq_u32, vld1q_u32, vreinterpretq_u16_u32, vreinterpretq_u32_u16,
    vrev32q_u16, vshlq_n_u32, vsriq_n_u32, vst1q_u32, vsubq_u32,
};

use super::Sign;
use super::lanes::{self, Lanes};

/// NEON. Shift left, then insert the bits that fell out.
///
/// SAFETY of every block: NEON is part of the aarch64 target.
#[derive(Clone, Copy)]
struct Four(uint32x4_t);

impl Lanes for Four {
    const COUNT: usize = 4;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        // SAFETY: as above.
        Self(unsafe { vdupq_n_u32(word) })
    }
    #[inline(always)]
    unsafe fn counters(first: u32) -> Self {
        let lanes: [u32; 4] = std::array::from_fn(|lane| first.wrapping_add(lane as u32));
        // SAFETY: as above; the array holds four words.
        Self(unsafe { vld1q_u32(lanes.as_ptr()) })
    }
    #[inline(always)]
    unsafe fn load(from: &[u32]) -> Self {
        // SAFETY: as above; the caller says that four words are there.
        Self(unsafe { vld1q_u32(from.as_ptr()) })
    }
    #[inline(always)]
    unsafe fn store(self, to: &mut [u32]) {
        // SAFETY: as above; the caller says that four words are there.
        unsafe { vst1q_u32(to.as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vaddq_u32(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vsubq_u32(self.0, other.0) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { veorq_u32(self.0, other.0) })
    }
    #[inline(always)]
    fn turn_16(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vreinterpretq_u32_u16(vrev32q_u16(vreinterpretq_u16_u32(self.0))) })
    }
    #[inline(always)]
    fn turn_12(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vsriq_n_u32::<20>(vshlq_n_u32::<12>(self.0), self.0) })
    }
    #[inline(always)]
    fn turn_8(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vsriq_n_u32::<24>(vshlq_n_u32::<8>(self.0), self.0) })
    }
    #[inline(always)]
    fn turn_7(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vsriq_n_u32::<25>(vshlq_n_u32::<7>(self.0), self.0) })
    }
}

pub(super) fn add_groups(acc: &mut [u32], key: &[u32; 8], vector: u32, block: u32, sign: Sign) {
    // SAFETY: every aarch64 machine has NEON.
    unsafe { lanes::add_groups::<Four>(acc, key, vector, block, sign) }
}
