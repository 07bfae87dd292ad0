//! Sixteen floats that are computed with side by side.

/// Sixteen floats. All operations give the bits that the same ones on each float give: nothing is fused or reordered, so
/// that results are the same on every processor.
///
/// Only [`with_wide_vectors`](super::with_wide_vectors) gives out a type of them: one that the processor has instructions for.
pub trait Lanes: Copy {
    /// Whether there are registers enough for the steps of eight of them side by side.
    const MANY_REGISTERS: bool;
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
