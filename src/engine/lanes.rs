//! Sixteen floats that are computed with side by side.

/// Sixteen floats. All operations give the bits that the same ones on each float give: nothing is fused or reordered, so
/// that results are the same on every processor.
///
/// Only [`with_wide_vectors`](super::with_wide_vectors) gives out a type of them: one that the processor has instructions for.
pub trait Lanes: Copy {
    /// One bit for each of them.
    type Mask: Copy;
    /// Sixteen whole numbers, for sums of bits.
    type Counts: Copy;

    /// The same number sixteen times.
    fn splat(number: f32) -> Self;
    /// The numbers of `from`.
    fn load(from: &[f32; LANES]) -> Self;
    /// Writes them.
    fn store(self, to: &mut [f32; LANES]);
    /// The sums.
    fn plus(self, other: Self) -> Self;
    /// The differences.
    fn minus(self, other: Self) -> Self;
    /// These less `a` times `b`, whose product is exact.
    fn minus_exact_product(self, a: Self, b: Self) -> Self;
    /// The products.
    fn times(self, other: Self) -> Self;
    /// The larger ones; of numbers alone.
    fn or_larger(self, other: Self) -> Self;
    /// The largest of the sixteen.
    fn largest(self) -> f32;
    /// Numbers whose bits are the sums of these ones' and of `power`'s moved up into a float's exponent.
    fn times_two_to_the_low_bits(self, power: Self) -> Self;

    /// Where these are larger than the others or equal to them.
    fn at_least(self, other: Self) -> Self::Mask;
    /// Where these are smaller than the others.
    fn below(self, other: Self) -> Self::Mask;
    /// Where both masks have a one.
    fn both(a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// Where `a` has a one and `b` none.
    fn but_not(a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// The mask's bits, the first number's in the lowest.
    fn bits(mask: Self::Mask) -> u16;
    /// These where `mask` has a one.
    fn or_negative_infinity(self, mask: Self::Mask) -> Self;
    /// Writes those numbers that `mask` has a one for, side by side, and others after them; tells how many they are.
    fn pack(self, mask: Self::Mask, to: &mut [f32; LANES]) -> usize;

    /// Sixteen zeros.
    fn no_counts() -> Self::Counts;
    /// Adds the numbers' bits, as whole numbers without a carry out of 32 bits.
    fn count(self, to: Self::Counts) -> Self::Counts;
    /// The same where `mask` has a one.
    fn count_where(self, mask: Self::Mask, to: Self::Counts) -> Self::Counts;
    /// The sum of all sixteen, without a carry.
    fn total(counts: Self::Counts) -> u32;
}

/// How many numbers [`Lanes`] has.
pub const LANES: usize = 16;

/// For every processor; the compiler makes vectors of it.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, of: impl Fn(f32, f32) -> f32) -> Self {
        let mut result = self;
        for (result, other) in result.0.iter_mut().zip(other.0) {
            *result = of(*result, other);
        }
        result
    }

    #[inline(always)]
    fn compare(self, other: Self, of: impl Fn(f32, f32) -> bool) -> [u32; LANES] {
        let mut mask = [0; LANES];
        for (mask, (a, b)) in mask.iter_mut().zip(self.0.into_iter().zip(other.0)) {
            *mask = if of(a, b) { u32::MAX } else { 0 };
        }
        mask
    }
}

impl Lanes for Portable {
    /// All bits of a number, or none.
    type Mask = [u32; LANES];
    type Counts = [u32; LANES];

    #[inline(always)]
    fn splat(number: f32) -> Self {
        Self([number; LANES])
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        Self(*from)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        *to = self.0;
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    fn minus_exact_product(self, a: Self, b: Self) -> Self {
        self.minus(a.times(b))
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    fn or_larger(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        self.0.into_iter().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn times_two_to_the_low_bits(self, power: Self) -> Self {
        self.zip(power, |a, b| f32::from_bits(a.to_bits().wrapping_add(b.to_bits() << 23)))
    }
    #[inline(always)]
    fn at_least(self, other: Self) -> Self::Mask {
        self.compare(other, |a, b| a >= b)
    }
    #[inline(always)]
    fn below(self, other: Self) -> Self::Mask {
        self.compare(other, |a, b| a < b)
    }
    #[inline(always)]
    fn both(mut a: Self::Mask, b: Self::Mask) -> Self::Mask {
        for (a, b) in a.iter_mut().zip(b) {
            *a &= b;
        }
        a
    }
    #[inline(always)]
    fn but_not(mut a: Self::Mask, b: Self::Mask) -> Self::Mask {
        for (a, b) in a.iter_mut().zip(b) {
            *a &= !b;
        }
        a
    }
    #[inline(always)]
    fn bits(mask: Self::Mask) -> u16 {
        mask.iter().enumerate().fold(0, |bits, (lane, mask)| bits | (*mask as u16 & 1) << lane)
    }
    #[inline(always)]
    fn or_negative_infinity(mut self, mask: Self::Mask) -> Self {
        for (number, mask) in self.0.iter_mut().zip(mask) {
            *number = if mask == 0 { f32::NEG_INFINITY } else { *number };
        }
        self
    }
    #[inline(always)]
    fn pack(self, mask: Self::Mask, to: &mut [f32; LANES]) -> usize {
        let mut count = 0;
        for (number, mask) in self.0.into_iter().zip(mask) {
            to[count % LANES] = number;
            count += (mask & 1) as usize;
        }
        count
    }
    #[inline(always)]
    fn no_counts() -> Self::Counts {
        [0; LANES]
    }
    #[inline(always)]
    fn count(self, mut to: Self::Counts) -> Self::Counts {
        for (to, number) in to.iter_mut().zip(self.0) {
            *to = to.wrapping_add(number.to_bits());
        }
        to
    }
    #[inline(always)]
    fn count_where(self, mask: Self::Mask, mut to: Self::Counts) -> Self::Counts {
        for (to, (number, mask)) in to.iter_mut().zip(self.0.into_iter().zip(mask)) {
            *to = to.wrapping_add(number.to_bits() & mask);
        }
        to
    }
    #[inline(always)]
    fn total(counts: Self::Counts) -> u32 {
        counts.into_iter().fold(0, u32::wrapping_add)
    }
}
