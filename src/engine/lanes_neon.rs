//! Lanes in four registers of NEON, which every aarch64 processor has.

use std::arch::aarch64::*;

use super::lanes_in_parts::{InParts, Part};

/// What every processor of this kind has.
pub(super) type Baseline = InParts<Four, 4>;

#[derive(Clone, Copy)]
pub(super) struct Four(float32x4_t);

// SAFETY, of every block below: every processor of this kind has the instructions; what is loaded and stored are four floats of a
// slice whose length was looked at.
impl Part for Four {
    const WIDTH: usize = 4;

    #[inline(always)]
    fn splat(number: f32) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { vdupq_n_f32(number) })
    }
    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { vld1q_f32(from[..4].as_ptr()) })
    }
    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        // SAFETY: as said at the top.
        unsafe { vst1q_f32(to[..4].as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { vaddq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { vsubq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { vmulq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn or_larger(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { vbslq_f32(vcgtq_f32(self.0, other.0), self.0, other.0) })
    }
    #[inline(always)]
    fn at_least(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { vreinterpretq_f32_u32(vcgeq_f32(self.0, other.0)) })
    }
    #[inline(always)]
    fn below(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { vreinterpretq_f32_u32(vcltq_f32(self.0, other.0)) })
    }
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(self.0), vreinterpretq_u32_f32(other.0))) })
    }
    #[inline(always)]
    fn and_not(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(self.0), vreinterpretq_u32_f32(other.0))) })
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(self.0), vreinterpretq_u32_f32(other.0))) })
    }
    #[inline(always)]
    fn plus_bits(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(self.0), vreinterpretq_u32_f32(other.0))) })
    }
    #[inline(always)]
    fn into_exponent(self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<23>(vreinterpretq_u32_f32(self.0))) })
    }
    #[inline(always)]
    fn mask_bits(self) -> u32 {
        // SAFETY: as said at the top; four numbers are read of an array of four.
        unsafe {
            let lanes = vld1q_u32([1, 2, 4, 8].as_ptr());
            vaddvq_u32(vandq_u32(vreinterpretq_u32_f32(self.0), lanes))
        }
    }
    #[inline(always)]
    fn pack(self, mask_bits: u32, to: &mut [f32]) {
        let mut numbers = [0.0; 4];
        self.store(&mut numbers);
        let mut count = 0;
        for (lane, number) in numbers.into_iter().enumerate() {
            to[count] = number;
            count += (mask_bits >> lane & 1) as usize;
        }
    }
}
