//! Lanes in several registers.

use super::lanes::{Lanes, LANES};

/// Sixteen floats in `COUNT` parts.
#[derive(Clone, Copy)]
pub(super) struct InParts<P, const COUNT: usize>([P; COUNT]);

/// Some of the sixteen. Masks have all bits of a number or none; they and whole numbers are parts too.
pub(super) trait Part: Copy {
    /// How many.
    const WIDTH: usize;

    fn splat(number: f32) -> Self;
    /// The first of `from`.
    fn load(from: &[f32]) -> Self;
    fn store(self, to: &mut [f32]);
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn or_larger(self, other: Self) -> Self;
    fn at_least(self, other: Self) -> Self;
    fn below(self, other: Self) -> Self;
    /// The bits that both have.
    fn and(self, other: Self) -> Self;
    /// The bits that these have and the others have not.
    fn and_not(self, other: Self) -> Self;
    /// The bits that any has.
    fn or(self, other: Self) -> Self;
    /// The bits added as whole numbers.
    fn plus_bits(self, other: Self) -> Self;
    /// The bits moved up into a float's exponent.
    fn into_exponent(self) -> Self;
    /// A mask's bits, one for each number.
    fn mask_bits(self) -> u32;
    /// As [`Lanes::pack`].
    fn pack(self, mask_bits: u32, to: &mut [f32]);
}

impl<P: Part, const COUNT: usize> InParts<P, COUNT> {
    #[inline(always)]
    fn zip(mut self, other: Self, of: impl Fn(P, P) -> P) -> Self {
        for (part, other) in self.0.iter_mut().zip(other.0) {
            *part = of(*part, other);
        }
        self
    }

    #[inline(always)]
    fn array(self) -> [f32; LANES] {
        let mut array = [0.0; LANES];
        self.store(&mut array);
        array
    }
}

impl<P: Part, const COUNT: usize> Lanes for InParts<P, COUNT> {
    const MANY_REGISTERS: bool = false;
    type Mask = Self;
    type Counts = Self;

    #[inline(always)]
    fn splat(number: f32) -> Self {
        Self([P::splat(number); COUNT])
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        let mut parts = [P::splat(0.0); COUNT];
        for (part, from) in parts.iter_mut().zip(from.chunks_exact(P::WIDTH)) {
            *part = P::load(from);
        }
        Self(parts)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        for (part, to) in self.0.into_iter().zip(to.chunks_exact_mut(P::WIDTH)) {
            part.store(to);
        }
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.zip(other, P::plus)
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.zip(other, P::minus)
    }
    #[inline(always)]
    fn minus_exact_product(self, a: Self, b: Self) -> Self {
        self.minus(a.times(b))
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self.zip(other, P::times)
    }
    #[inline(always)]
    fn or_larger(self, other: Self) -> Self {
        self.zip(other, P::or_larger)
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        self.array().into_iter().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn times_two_to_the_low_bits(self, power: Self) -> Self {
        self.zip(power, |number, power| number.plus_bits(power.into_exponent()))
    }
    #[inline(always)]
    fn at_least(self, other: Self) -> Self {
        self.zip(other, P::at_least)
    }
    #[inline(always)]
    fn below(self, other: Self) -> Self {
        self.zip(other, P::below)
    }
    #[inline(always)]
    fn both(a: Self, b: Self) -> Self {
        a.zip(b, P::and)
    }
    #[inline(always)]
    fn but_not(a: Self, b: Self) -> Self {
        a.zip(b, P::and_not)
    }
    #[inline(always)]
    fn bits(mask: Self) -> u16 {
        let mut bits = 0;
        for (part, number) in mask.0.into_iter().zip(0..) {
            bits |= part.mask_bits() << (number * P::WIDTH);
        }
        bits as u16
    }
    #[inline(always)]
    fn or_negative_infinity(self, mask: Self) -> Self {
        let kept = self.zip(mask, P::and);
        kept.zip(Self::splat(f32::NEG_INFINITY).zip(mask, P::and_not), P::or)
    }
    #[inline(always)]
    fn pack(self, mask: Self, to: &mut [f32; LANES]) -> usize {
        let mut count = 0;
        for (part, mask) in self.0.into_iter().zip(mask.0) {
            let bits = mask.mask_bits();
            part.pack(bits, &mut to[count..]);
            count += bits.count_ones() as usize;
        }
        count
    }
    #[inline(always)]
    fn no_counts() -> Self {
        Self::splat(0.0)
    }
    #[inline(always)]
    fn count(self, to: Self) -> Self {
        to.zip(self, P::plus_bits)
    }
    #[inline(always)]
    fn count_where(self, mask: Self, to: Self) -> Self {
        to.zip(self.zip(mask, P::and), P::plus_bits)
    }
    #[inline(always)]
    fn total(counts: Self) -> u32 {
        counts.array().into_iter().fold(0, |sum: u32, count| sum.wrapping_add(count.to_bits()))
    }
}
