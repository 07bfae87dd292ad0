//! Lanes in one register of AVX-512.

use std::arch::x86_64::*;

use super::lanes::{Lanes, LANES};

/// Made only by code that runs where the processor has AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

// SAFETY, of every block below: the processor has the instructions, as the type says; what is loaded and stored are whole arrays.
impl Lanes for Avx512 {
    const MANY_REGISTERS: bool = true;
    type Mask = __mmask16;
    type Counts = __m512i;

    #[inline(always)]
    fn splat(number: f32) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm512_set1_ps(number) })
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm512_loadu_ps(from.as_ptr()) })
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        // SAFETY: as said at the top.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn minus_exact_product(self, a: Self, b: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm512_fnmadd_ps(a.0, b.0, self.0) })
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn or_larger(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        // SAFETY: as said at the top.
        unsafe { _mm512_reduce_max_ps(self.0) }
    }
    #[inline(always)]
    fn times_two_to_the_low_bits(self, power: Self) -> Self {
        // SAFETY: as said at the top.
        unsafe {
            let power = _mm512_slli_epi32::<23>(_mm512_castps_si512(power.0));
            Self(_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(self.0), power)))
        }
    }
    #[inline(always)]
    fn at_least(self, other: Self) -> Self::Mask {
        // SAFETY: as said at the top.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(self.0, other.0) }
    }
    #[inline(always)]
    fn below(self, other: Self) -> Self::Mask {
        // SAFETY: as said at the top.
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0) }
    }
    #[inline(always)]
    fn both(a: Self::Mask, b: Self::Mask) -> Self::Mask {
        a & b
    }
    #[inline(always)]
    fn but_not(a: Self::Mask, b: Self::Mask) -> Self::Mask {
        a & !b
    }
    #[inline(always)]
    fn bits(mask: Self::Mask) -> u16 {
        mask
    }
    #[inline(always)]
    fn or_negative_infinity(self, mask: Self::Mask) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm512_mask_mov_ps(_mm512_set1_ps(f32::NEG_INFINITY), mask, self.0) })
    }
    #[inline(always)]
    fn pack(self, mask: Self::Mask, to: &mut [f32; LANES]) -> usize {
        // Packed in the register: the form that writes to memory takes a hundred cycles on Zen 4. As a rule few are left, and
        // half of a line crosses to the next one half as often.
        let count = mask.count_ones() as usize;
        // SAFETY: as said at the top.
        unsafe {
            let packed = _mm512_maskz_compress_ps(mask, self.0);
            if count <= LANES / 2 {
                _mm256_storeu_ps(to.as_mut_ptr(), _mm512_castps512_ps256(packed));
            } else {
                _mm512_storeu_ps(to.as_mut_ptr(), packed);
            }
        }
        count
    }
    #[inline(always)]
    fn no_counts() -> Self::Counts {
        // SAFETY: as said at the top.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    fn count(self, to: Self::Counts) -> Self::Counts {
        // SAFETY: as said at the top.
        unsafe { _mm512_add_epi32(to, _mm512_castps_si512(self.0)) }
    }
    #[inline(always)]
    fn count_where(self, mask: Self::Mask, to: Self::Counts) -> Self::Counts {
        // SAFETY: as said at the top.
        unsafe { _mm512_mask_add_epi32(to, mask, to, _mm512_castps_si512(self.0)) }
    }
    #[inline(always)]
    fn total(counts: Self::Counts) -> u32 {
        // SAFETY: as said at the top.
        unsafe { _mm512_reduce_add_epi32(counts) as u32 }
    }
}
