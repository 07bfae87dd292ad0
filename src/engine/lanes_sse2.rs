//! Lanes in four registers of SSE2, which every x86-64 processor has.

use std::arch::x86_64::*;

use super::lanes_in_parts::{InParts, Part};

/// What every processor of this kind has.
pub(super) type Baseline = InParts<Four, 4>;

#[derive(Clone, Copy)]
pub(super) struct Four(__m128);

// SAFETY, of every block below: every processor of this kind has the instructions; what is loaded and stored are four floats of a
// slice whose length was looked at.
impl Part for Four {
    const WIDTH: usize = 4;

    #[inline(always)]
    fn splat(number: f32) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm_set1_ps(number) })
    }
    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm_loadu_ps(from[..4].as_ptr()) })
    }
    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        // SAFETY: as said at the top.
        unsafe { _mm_storeu_ps(to[..4].as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn or_larger(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn at_least(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm_cmpge_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn below(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm_cmplt_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm_and_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn and_not(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm_andnot_ps(other.0, self.0) })
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm_or_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn plus_bits(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm_castsi128_ps(_mm_add_epi32(_mm_castps_si128(self.0), _mm_castps_si128(other.0))) })
    }
    #[inline(always)]
    fn into_exponent(self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm_castsi128_ps(_mm_slli_epi32::<23>(_mm_castps_si128(self.0))) })
    }
    #[inline(always)]
    fn mask_bits(self) -> u32 {
        // SAFETY: as said at the top.
        unsafe { _mm_movemask_ps(self.0) as u32 }
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
