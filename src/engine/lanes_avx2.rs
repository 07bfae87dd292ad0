//! Lanes in two registers of AVX2.

use std::arch::x86_64::*;

use super::lanes_in_parts::{InParts, Part};

/// Made only by code that runs where the processor has AVX2.
pub(super) type Avx2 = InParts<Eight, 2>;

#[derive(Clone, Copy)]
pub(super) struct Eight(__m256);

// SAFETY, of every block below: the processor has the instructions, as the type says; what is loaded and stored are eight floats
// of a slice whose length was looked at.
impl Part for Eight {
    const WIDTH: usize = 8;

    #[inline(always)]
    fn splat(number: f32) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm256_set1_ps(number) })
    }
    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm256_loadu_ps(from[..8].as_ptr()) })
    }
    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        // SAFETY: as said at the top.
        unsafe { _mm256_storeu_ps(to[..8].as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm256_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm256_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn or_larger(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm256_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn at_least(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm256_cmp_ps::<_CMP_GE_OQ>(self.0, other.0) })
    }
    #[inline(always)]
    fn below(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0) })
    }
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm256_and_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn and_not(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm256_andnot_ps(other.0, self.0) })
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm256_or_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn plus_bits(self, other: Self) -> Self {
        // SAFETY: as said at the top.
        unsafe {
            let sums = _mm256_add_epi32(_mm256_castps_si256(self.0), _mm256_castps_si256(other.0));
            Self(_mm256_castsi256_ps(sums))
        }
    }
    #[inline(always)]
    fn into_exponent(self) -> Self {
        // SAFETY: as said at the top.
        Self(unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(self.0))) })
    }
    #[inline(always)]
    fn mask_bits(self) -> u32 {
        // SAFETY: as said at the top.
        unsafe { _mm256_movemask_ps(self.0) as u32 }
    }
    #[inline(always)]
    fn pack(self, mask_bits: u32, to: &mut [f32]) {
        let places = &PLACES[mask_bits as usize & 255];
        // SAFETY: as said at the top; eight bytes are read of eight.
        unsafe {
            let places = _mm256_cvtepu8_epi32(_mm_loadl_epi64(places.as_ptr().cast()));
            _mm256_storeu_ps(to[..8].as_mut_ptr(), _mm256_permutevar8x32_ps(self.0, places));
        }
    }
}

/// Of each byte: the places of its ones.
const PLACES: [[u8; 8]; 256] = {
    let mut places = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut place, mut count) = (0, 0);
        while place < 8 {
            if byte >> place & 1 == 1 {
                places[byte][count] = place;
                count += 1;
            }
            place += 1;
        }
        byte += 1;
    }
    places
};
