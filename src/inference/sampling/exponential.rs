//! Sums of exponentials over a whole vocabulary, fast enough to be done for every token.

use super::blocks::{on_blocks, on_each_block, BlockWork, BLOCK};
use super::kept::Kept;
use crate::engine::{Lanes, LANES};

/// e^x for x <= 0, to within 3 units in the last place, 0 below -87.
#[inline(always)]
pub(super) fn exponential(x: f32) -> f32 {
    let clamped = if x > LEAST { x } else { LEAST };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = clamped - whole * LN_2_HIGH + whole * LN_2_LOW;
    let mut series = SERIES[0];
    for coefficient in &SERIES[1..] {
        series = series * rest + coefficient;
    }
    let fraction = series * rest * rest + rest + 1.0;
    let weight = f32::from_bits(fraction.to_bits().wrapping_add(shifted.to_bits() << 23));
    if x > LEAST {
        weight
    } else {
        0.0
    }
}

/// The bits of [`exponential`] for each x from -[`MOST_EXCESS`] to 0.
#[inline(always)]
fn exponentials<L: Lanes, const SIDE: usize>(x: [L; SIDE]) -> [L; SIDE] {
    // Each step for all of them: the steps of one wait for each other, and a processor looks ahead to no more than a few
    // that it could do meanwhile.
    let (mut shifted, mut rest) = (x, x);
    for shifted in &mut shifted {
        *shifted = shifted.times(L::splat(std::f32::consts::LOG2_E)).plus(L::splat(ROUND));
    }
    for (rest, shifted) in rest.iter_mut().zip(shifted) {
        let whole = shifted.minus(L::splat(ROUND));
        *rest = rest.minus_exact_product(whole, L::splat(LN_2_HIGH)).plus(whole.times(L::splat(LN_2_LOW)));
    }
    let mut series = [L::splat(SERIES[0]); SIDE];
    for coefficient in &SERIES[1..] {
        for (series, rest) in series.iter_mut().zip(rest) {
            *series = series.times(rest).plus(L::splat(*coefficient));
        }
    }
    for (series, (rest, shifted)) in series.iter_mut().zip(rest.into_iter().zip(shifted)) {
        let fraction = series.times(rest).times(rest).plus(rest).plus(L::splat(1.0));
        *series = fraction.times_two_to_the_low_bits(shifted);
    }
    series
}

/// The weights of a block. Kept from block to block, for to fill it with zeros takes time.
#[repr(align(64))]
pub(super) struct Weights([f32; BLOCK]);

impl Weights {
    pub(super) const fn new() -> Self {
        Self([0.0; BLOCK])
    }

    /// The weights of the logits of `block`, of which the likeliest has the logit `maximum`.
    #[inline(always)]
    pub(super) fn of<L: Lanes>(&mut self, block: &[f32; BLOCK], maximum: f32) -> &[f32; BLOCK] {
        self.of_scaled(block, |logits: L| logits.minus(L::splat(maximum)))
    }

    /// The exponentials of x(logits), which are at most 0.
    #[inline(always)]
    fn of_scaled<L: Lanes>(&mut self, block: &[f32; BLOCK], of: impl Fn(L) -> L) -> &[f32; BLOCK] {
        if L::MANY_REGISTERS {
            self.side_by_side::<L, 8>(block, of);
        } else {
            self.side_by_side::<L, 2>(block, of);
        }
        &self.0
    }

    #[inline(always)]
    fn side_by_side<L: Lanes, const SIDE: usize>(&mut self, block: &[f32; BLOCK], of: impl Fn(L) -> L) {
        let parts = block.as_chunks::<LANES>().0.as_chunks::<SIDE>().0;
        let weights = self.0.as_chunks_mut::<LANES>().0.as_chunks_mut::<SIDE>().0;
        for (part, weights) in parts.iter().zip(weights) {
            let mut x = [L::splat(0.0); SIDE];
            for (x, logits) in x.iter_mut().zip(part) {
                *x = of(L::load(logits)).or_larger(L::splat(-MOST_EXCESS));
            }
            for (weights, to) in exponentials(x).into_iter().zip(weights) {
                weights.store(to);
            }
        }
    }
}

/// Of the exponential's series, the highest power first.
const SERIES: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
const LEAST: f32 = -87.0;
/// Adding and taking away 1.5 * 2^23 rounds to the nearest whole number, which the low bits of the sum are.
const ROUND: f32 = 12_582_912.0;
/// ln 2 is the first, of few bits so that its products with whole numbers are exact, less the second.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = 2.121_944_4e-4;

/// So much less likely than the likeliest, a token has no mass, and its weight times this has none.
pub(super) const MOST_EXCESS: f32 = 40.0;

/// A weight from 0 to 1 as a whole number of [`UNIT`]ths, the nearest one, of two equally near the even one.
///
/// Sums of masses are exact: any order of adding gives the same, here and on every device.
#[inline(always)]
pub(super) fn mass(weight: f32) -> u64 {
    // Added to this number, a weight is rounded to its last bit, which is a unit.
    const ROUND_TO_UNIT: f64 = 24_576.0; // 1.5 * 2^(52 - 38)
    (f64::from(weight) + ROUND_TO_UNIT).to_bits() - ROUND_TO_UNIT.to_bits()
}

/// The mass of a weight of 1. The vocabulary's 2^24 tokens at most cannot overflow a sum.
pub(super) const UNIT: f64 = (1u64 << 38) as f64;

/// The sum of the [`mass`]es of weights in lanes, of one block at most.
///
/// Each has its bits of 2^-19 and above added up by themselves, so that single precision and whole numbers of 32 bits do.
#[derive(Clone, Copy)]
pub(super) struct MassSum<L: Lanes> {
    high: L::Counts,
    low: L::Counts,
    /// How many there are.
    count: u32,
}

impl<L: Lanes> MassSum<L> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self { high: L::no_counts(), low: L::no_counts(), count: 0 }
    }

    /// Adds weights from -1 to 1.
    #[inline(always)]
    pub(super) fn add(&mut self, weights: L) {
        let (high, low) = Self::parts(weights);
        self.high = high.count(self.high);
        self.low = low.count(self.low);
        self.count += LANES as u32;
    }

    /// The same, and those that `mask` has a one for to `part` too.
    #[inline(always)]
    pub(super) fn add_and(&mut self, weights: L, mask: L::Mask, part: &mut Self) {
        let (high, low) = Self::parts(weights);
        self.high = high.count(self.high);
        self.low = low.count(self.low);
        self.count += LANES as u32;
        part.high = high.count_where(mask, part.high);
        part.low = low.count_where(mask, part.low);
        part.count += L::bits(mask).count_ones();
    }

    /// Adds those that `mask` has a one for.
    #[inline(always)]
    pub(super) fn add_where(&mut self, weights: L, mask: L::Mask) {
        Self::new().add_and(weights, mask, self);
    }

    /// The weights rounded to 2^-19ths, and what is left of them rounded to [`UNIT`]ths, in the low bits.
    #[inline(always)]
    fn parts(weights: L) -> (L, L) {
        let high = weights.plus(L::splat(ROUND_TO_HIGH));
        let rest = weights.minus(high.minus(L::splat(ROUND_TO_HIGH)));
        (high, rest.plus(L::splat(ROUND_TO_LOW)))
    }

    /// The sum, which may be below zero if weights are.
    #[inline(always)]
    pub(super) fn total(self) -> i64 {
        let sum = |counts, bias: f32| {
            let sum = L::total(counts).wrapping_sub(bias.to_bits().wrapping_mul(self.count));
            i64::from(sum as i32)
        };
        (sum(self.high, ROUND_TO_HIGH) << LOW_BITS) + sum(self.low, ROUND_TO_LOW)
    }
}

/// Of a mass of 38 bits.
const LOW_BITS: u32 = 19;
const ROUND_TO_HIGH: f32 = 24.0; // 1.5 * 2^(23 - 19)
const ROUND_TO_LOW: f32 = 1.5 / 32_768.0; // 1.5 * 2^(23 - 38)

/// The masses of e^((logit - maximum) * scale), summed over each block of `logits`.
pub(super) fn block_masses(logits: &[f32], maximum: f32, scale: f32) -> Vec<u64> {
    let mut work = BlockMasses { maximum, scale, weights: Weights::new(), sums: vec![0; logits.len().div_ceil(BLOCK)] };
    on_each_block(logits, &mut work);
    work.sums
}

/// The same of what is `kept`, all of which is in blocks of these numbers.
pub(super) fn kept_masses(
    logits: &[f32],
    kept: Kept,
    blocks: impl Iterator<Item = usize>,
    maximum: f32,
    scale: f32,
) -> Vec<u64> {
    let masses = BlockMasses { maximum, scale, weights: Weights::new(), sums: vec![0; logits.len().div_ceil(BLOCK)] };
    let mut work = KeptMasses { kept, masses };
    on_blocks(logits, blocks, &mut work);
    work.masses.sums
}

struct BlockMasses {
    maximum: f32,
    scale: f32,
    weights: Weights,
    sums: Vec<u64>,
}

impl BlockWork for BlockMasses {
    #[inline(always)]
    fn block<L: Lanes>(&mut self, number: usize, block: &[f32; BLOCK]) {
        let (maximum, scale) = (L::splat(self.maximum), L::splat(self.scale));
        let weights = self.weights.of_scaled(block, |logits: L| logits.minus(maximum).times(scale));
        let mut sum = MassSum::<L>::new();
        for weights in weights.as_chunks().0 {
            sum.add(L::load(weights));
        }
        self.sums[number] = sum.total() as u64;
    }
}

struct KeptMasses {
    kept: Kept,
    masses: BlockMasses,
}

impl BlockWork for KeptMasses {
    #[inline(always)]
    fn block<L: Lanes>(&mut self, number: usize, block: &[f32; BLOCK]) {
        self.masses.block::<L>(number, &self.kept.block(number, block));
    }
}

/// The natural logarithm of the sum of e^logit, exact to double rounding of single-precision terms.
pub(super) fn log_sum(logits: &[f32], maximum: f32) -> f64 {
    let total = block_masses(logits, maximum, 1.0).iter().sum::<u64>();
    f64::from(maximum) + (total as f64 / UNIT).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_the_true_exponential_over_its_whole_range() {
        let mut worst = 0f64;
        for step in 0..870_000 {
            let x = -(step as f32) * 1e-4;
            let truth = f64::from(x).exp();
            worst = worst.max(((f64::from(exponential(x)) - truth) / truth).abs());
        }
        assert!(worst < 2e-7, "{worst}");
    }

    struct Side<'a>(&'a [f32; BLOCK]);

    impl crate::engine::WideWork for Side<'_> {
        type Answer = (Vec<f32>, i64);

        #[inline(always)]
        fn run<L: Lanes>(self) -> (Vec<f32>, i64) {
            let mut weights = Weights::new();
            let weights = weights.of::<L>(self.0, 0.0);
            let mut negative = MassSum::<L>::new();
            for weights in weights.as_chunks().0 {
                negative.add(L::splat(0.0).minus(L::load(weights)));
            }
            (weights.to_vec(), negative.total())
        }
    }

    #[test]
    fn side_by_side_and_alone_have_the_same_bits() {
        for block in 0..2000usize {
            let logits = std::array::from_fn(|place| -((block * BLOCK + place) as f32) * (MOST_EXCESS / 512_000.0));
            let (weights, negative) = crate::engine::with_wide_vectors(Side(&logits));
            let alone = logits.map(exponential);
            assert!(weights.iter().zip(alone).all(|(weight, alone)| weight.to_bits() == alone.to_bits()), "{block}");
            assert_eq!(-negative, alone.iter().map(|weight| mass(*weight) as i64).sum::<i64>(), "{block}");
        }
    }

    #[test]
    fn exact_at_the_ends() {
        assert_eq!(exponential(0.0), 1.0);
        assert_eq!(exponential(-88.0), 0.0);
        assert_eq!(exponential(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn a_block_s_mass_is_the_sum_of_its_masses() {
        let mut state = 1u32;
        for length in [1usize, 7, 8, 9, 63, 64, 65, 1000] {
            for scale in [0.3f32, 1.0, 4.0] {
                let logits: Vec<f32> = (0..length)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state >> 8) as f32 / (1 << 19) as f32 - 32.0
                    })
                    .collect();
                let maximum = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let masses = logits.iter().map(|logit| mass(exponential((logit - maximum) * scale)));
                let blocks = block_masses(&logits, maximum, scale);
                assert_eq!(blocks.iter().sum::<u64>(), masses.sum::<u64>(), "{length} {scale}");
            }
        }
        assert_eq!((mass(1.0), mass(0.0), mass(f32::MIN_POSITIVE)), (1 << 38, 0, 0));
        // Halves go to the even number.
        let unit = 1.0 / UNIT as f32;
        assert_eq!((mass(0.5 * unit), mass(1.5 * unit), mass(2.5 * unit)), (0, 2, 2));
        assert_eq!(block_masses(&[f32::NEG_INFINITY, 0.0, -100.0], 0.0, 1.0), [1 << 38]);
    }

    #[test]
    fn log_sums_of_blocks_that_do_not_divide_evenly() {
        for length in [1usize, 7, 8, 63, 64, 65, 1000] {
            let logits: Vec<f32> = (0..length).map(|index| (index as f32 * 0.37).sin() * 5.0).collect();
            let maximum = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let truth = logits.iter().map(|&logit| f64::from(logit).exp()).sum::<f64>().ln();
            assert!((log_sum(&logits, maximum) - truth).abs() < 1e-6, "{length}");
        }
    }
}
