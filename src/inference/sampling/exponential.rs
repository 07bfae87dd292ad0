//! Sums of exponentials over a whole vocabulary, fast enough to be done for every token.

use super::blocks::{on_each_block, BlockWork, BLOCK};
use super::kept::Kept;

/// e^x for x <= 0, to within 3 units in the last place, 0 below -87; straight-line code that compilers vectorise.
#[inline(always)]
pub(super) fn exponential(x: f32) -> f32 {
    let (shifted, rest) = reduced(x, LEAST);
    let weight = scaled(series(rest), shifted);
    if x > LEAST {
        weight
    } else {
        0.0
    }
}

/// Of the exponential's series, the highest power first.
const SERIES: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
const LEAST: f32 = -87.0;

/// The whole number of ln 2 in `x`, in the low bits, and the rest.
#[inline(always)]
fn reduced(x: f32, least: f32) -> (f32, f32) {
    // Adding and taking away 1.5 * 2^23 rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x > least { x } else { least };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts, so that the remainder is exact.
    (shifted, clamped - whole * 0.693_359_4 + whole * 2.121_944_4e-4)
}

/// e^rest.
#[inline(always)]
fn series(rest: f32) -> f32 {
    let mut series = SERIES[0];
    for coefficient in &SERIES[1..] {
        series = series * rest + coefficient;
    }
    series * rest * rest + rest + 1.0
}

/// The low bits of `shifted` are a whole number: moved into the exponent, they multiply by 2^whole.
#[inline(always)]
fn scaled(fraction: f32, shifted: f32) -> f32 {
    f32::from_bits(fraction.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// The weights of a block. Kept from block to block, and aligned, for both take time.
#[repr(align(64))]
pub(super) struct Weights {
    all: [f32; BLOCK],
    shifted: [f32; BLOCK],
}

impl Weights {
    pub(super) const fn new() -> Self {
        Self { all: [0.0; BLOCK], shifted: [0.0; BLOCK] }
    }

    /// [`exponential`] of each `x(logit)` of a block, but that of -[`MOST_EXCESS`] for what is below: no mass either way.
    #[inline(always)]
    pub(super) fn of(&mut self, block: &[f32; BLOCK], x: impl Fn(f32) -> f32) -> &[f32; BLOCK] {
        // Step by step through memory: the steps of one number wait for each other, and a processor looks ahead to no more
        // than a few numbers that it could compute meanwhile.
        for ((shifted, rest), &logit) in self.shifted.iter_mut().zip(&mut self.all).zip(block) {
            (*shifted, *rest) = reduced(x(logit), -MOST_EXCESS);
        }
        for (rest, &shifted) in self.all.iter_mut().zip(&self.shifted) {
            *rest = scaled(series(*rest), shifted);
        }
        &self.all
    }
}

/// So much less likely than the likeliest, a token has no mass, and its weight times this has none.
pub(super) const MOST_EXCESS: f32 = 40.0;

/// A weight from 0 to 1 as a whole number of [`UNIT`]ths, the nearest one, of two equally near the even one.
///
/// Sums of masses are exact: any order of adding gives the same, here and on every device.
#[inline(always)]
pub(super) fn mass(weight: f32) -> u64 {
    (f64::from(weight) * UNIT).round_ties_even() as u64
}

/// The mass of a weight of 1. The vocabulary's 2^24 tokens at most cannot overflow a sum.
pub(super) const UNIT: f64 = (1u64 << 38) as f64;

/// [`mass`] and [`NO_MASS`] together: added to this number, a weight is rounded to its last bit, which is a [`UNIT`]th.
#[inline(always)]
pub(super) fn mass_bits(weight: f32) -> u64 {
    (f64::from(weight) + ROUND_TO_UNIT).to_bits()
}

const ROUND_TO_UNIT: f64 = 24_576.0; // 1.5 * 2^(52 - 38)
/// The [`mass_bits`] of nothing.
pub(super) const NO_MASS: u64 = ROUND_TO_UNIT.to_bits();

/// The sum of a block's masses, of that of their [`mass_bits`].
#[inline(always)]
pub(super) fn masses_of(bits: u64) -> u64 {
    bits.wrapping_sub(NO_MASS.wrapping_mul(BLOCK as u64))
}

/// The masses of e^((logit - maximum) * scale) of what is `kept`, summed over each block of `logits`.
pub(super) fn block_masses(logits: &[f32], kept: Kept, maximum: f32, scale: f32) -> Vec<u64> {
    let sums = vec![0; logits.len().div_ceil(BLOCK)];
    if kept == Kept::ALL {
        let mut work = BlockMasses { maximum, scale, weights: Weights::new(), sums };
        on_each_block(logits, &mut work);
        return work.sums;
    }
    let mut work = KeptMasses { maximum, scale, kept, weights: Weights::new(), sums };
    on_each_block(logits, &mut work);
    work.sums
}

struct BlockMasses {
    maximum: f32,
    scale: f32,
    weights: Weights,
    sums: Vec<u64>,
}

impl BlockWork for BlockMasses {
    #[inline(always)]
    fn block(&mut self, number: usize, block: &[f32; BLOCK]) {
        let (maximum, scale) = (self.maximum, self.scale);
        self.sums[number] = sum_of_masses(self.weights.of(block, |logit| (logit - maximum) * scale));
    }
}

struct KeptMasses {
    maximum: f32,
    scale: f32,
    kept: Kept,
    weights: Weights,
    sums: Vec<u64>,
}

impl BlockWork for KeptMasses {
    #[inline(always)]
    fn block(&mut self, number: usize, block: &[f32; BLOCK]) {
        let (maximum, scale) = (self.maximum, self.scale);
        let block = self.kept.block(number, block);
        self.sums[number] = sum_of_masses(self.weights.of(&block, |logit| (logit - maximum) * scale));
    }
}

/// The sum of the masses of `weights`.
#[inline(always)]
fn sum_of_masses(weights: &[f32; BLOCK]) -> u64 {
    masses_of(weights.iter().fold(0, |sum: u64, &weight| sum.wrapping_add(mass_bits(weight))))
}

/// The natural logarithm of the sum of e^logit, exact to double rounding of single-precision terms.
pub(super) fn log_sum(logits: &[f32], maximum: f32) -> f64 {
    let total = block_masses(logits, Kept::ALL, maximum, 1.0).iter().sum::<u64>();
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
                let blocks = block_masses(&logits, Kept::ALL, maximum, scale);
                assert_eq!(blocks.iter().sum::<u64>(), masses.sum::<u64>(), "{length} {scale}");
            }
        }
        assert_eq!((mass(1.0), mass(0.0), mass(f32::MIN_POSITIVE)), (1 << 38, 0, 0));
        // Halves go to the even number.
        let unit = 1.0 / UNIT as f32;
        assert_eq!((mass(0.5 * unit), mass(1.5 * unit), mass(2.5 * unit)), (0, 2, 2));
        assert_eq!(block_masses(&[f32::NEG_INFINITY, 0.0, -100.0], Kept::ALL, 0.0, 1.0), [1 << 38]);
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
