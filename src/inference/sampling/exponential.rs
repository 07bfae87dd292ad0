//! Sums of exponentials over a whole vocabulary, fast enough to be done for every token.

use super::kept::Kept;
use crate::engine::{with_wide_vectors, WideWork};

/// Logits in one block; a block's sum stands for it in later searches.
pub(super) const BLOCK: usize = 64;

/// e^x for x <= 0, to within 3 units in the last place, 0 below -87; straight-line code that compilers vectorise.
#[inline(always)]
pub(super) fn exponential(x: f32) -> f32 {
    let (shifted, rest) = reduced(x);
    let mut series = SERIES[0];
    for coefficient in &SERIES[1..] {
        series = series * rest + coefficient;
    }
    scaled(series, rest, shifted, x)
}

/// Of the exponential's series, the highest power first.
const SERIES: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
const LEAST: f32 = -87.0;

/// The whole number of ln 2 in `x`, in the low bits, and the rest.
#[inline(always)]
fn reduced(x: f32) -> (f32, f32) {
    // Adding and taking away 1.5 * 2^23 rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x > LEAST { x } else { LEAST };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts, so that the remainder is exact.
    (shifted, clamped - whole * 0.693_359_4 + whole * 2.121_944_4e-4)
}

#[inline(always)]
fn scaled(series: f32, rest: f32, shifted: f32, x: f32) -> f32 {
    let fraction = series * rest * rest + rest + 1.0;
    // The low bits of `shifted` are the whole number: moved into the exponent, they multiply by 2^whole.
    let scaled = f32::from_bits(fraction.to_bits().wrapping_add(shifted.to_bits() << 23));
    if x > LEAST {
        scaled
    } else {
        0.0
    }
}

/// A weight from 0 to 1 as a whole number of [`UNIT`]ths, the nearest one, of two equally near the even one.
///
/// Sums of masses are exact: any order of adding gives the same, here and on every device.
#[inline(always)]
pub(super) fn mass(weight: f32) -> u64 {
    (f64::from(weight) * UNIT).round_ties_even() as u64
}

/// The mass of a weight of 1. The vocabulary's 2^24 tokens at most cannot overflow a sum.
pub(super) const UNIT: f64 = (1u64 << 38) as f64;

/// Work on a vocabulary's logits, block by block. `block` must be `#[inline(always)]`, so that it is compiled for wide
/// vectors.
pub(super) trait BlockWork<const LENGTH: usize = BLOCK> {
    /// Takes the block of this number.
    fn block(&mut self, number: usize, block: &[f32; LENGTH]);
}

/// Has `work` done on each block; the last one is filled up with forbidden logits. Blocks of one known length are what
/// compilers vectorise best.
pub(super) fn on_each_block<const LENGTH: usize>(logits: &[f32], work: &mut impl BlockWork<LENGTH>) {
    with_wide_vectors(OnEachBlock { logits, work });
}

struct OnEachBlock<'a, Work, const LENGTH: usize> {
    logits: &'a [f32],
    work: &'a mut Work,
}

impl<const LENGTH: usize, Work: BlockWork<LENGTH>> WideWork for OnEachBlock<'_, Work, LENGTH> {
    type Answer = ();

    #[inline(always)]
    fn run(self) {
        let (blocks, rest) = self.logits.as_chunks::<LENGTH>();
        for (number, block) in blocks.iter().enumerate() {
            self.work.block(number, block);
        }
        if !rest.is_empty() {
            let mut last = [f32::NEG_INFINITY; LENGTH];
            last[..rest.len()].copy_from_slice(rest);
            self.work.block(blocks.len(), &last);
        }
    }
}

/// The masses of e^((logit - maximum) * scale) of what is `kept`, summed over each block of `logits`.
pub(super) fn block_masses(logits: &[f32], kept: Kept, maximum: f32, scale: f32) -> Vec<u64> {
    let sums = vec![0; logits.len().div_ceil(BLOCK)];
    if kept == Kept::ALL {
        let mut work = BlockMasses { maximum, scale, sums };
        on_each_block(logits, &mut work);
        return work.sums;
    }
    let mut work = KeptMasses { maximum, scale, kept, sums };
    on_each_block(logits, &mut work);
    work.sums
}

struct BlockMasses {
    maximum: f32,
    scale: f32,
    sums: Vec<u64>,
}

impl BlockWork for BlockMasses {
    #[inline(always)]
    fn block(&mut self, number: usize, block: &[f32; BLOCK]) {
        self.sums[number] = sum_of_masses(&weights(block, self.maximum, self.scale));
    }
}

struct KeptMasses {
    maximum: f32,
    scale: f32,
    kept: Kept,
    sums: Vec<u64>,
}

impl BlockWork for KeptMasses {
    #[inline(always)]
    fn block(&mut self, number: usize, block: &[f32; BLOCK]) {
        let mut weights = weights(block, self.maximum, self.scale);
        for (weight, &logit) in weights.iter_mut().zip(&self.kept.block(number, block)) {
            *weight = if logit == f32::NEG_INFINITY { 0.0 } else { *weight };
        }
        self.sums[number] = sum_of_masses(&weights);
    }
}

#[inline(always)]
fn weights(block: &[f32; BLOCK], maximum: f32, scale: f32) -> [f32; BLOCK] {
    exponentials(&block.map(|logit| (logit - maximum) * scale))
}

/// The sum of the masses of `weights`.
#[inline(always)]
fn sum_of_masses(weights: &[f32; BLOCK]) -> u64 {
    let (mut high, mut low) = (0, 0);
    for &weight in weights {
        let parts = mass_parts(weight);
        high += parts.0;
        low += parts.1;
    }
    joined(high, low)
}

/// [`exponential`] of each, one step after the other for all of them: a processor then has independent operations at hand.
#[inline(always)]
pub(super) fn exponentials<const LENGTH: usize>(x: &[f32; LENGTH]) -> [f32; LENGTH] {
    let (mut shifted, mut rest, mut series) = ([0f32; LENGTH], [0f32; LENGTH], [SERIES[0]; LENGTH]);
    for ((shifted, rest), &x) in shifted.iter_mut().zip(&mut rest).zip(x) {
        (*shifted, *rest) = reduced(x);
    }
    for coefficient in &SERIES[1..] {
        for (series, &rest) in series.iter_mut().zip(&rest) {
            *series = *series * rest + coefficient;
        }
    }
    for (((series, &rest), &shifted), &x) in series.iter_mut().zip(&rest).zip(&shifted).zip(x) {
        *series = scaled(*series, rest, shifted, x);
    }
    series
}

/// A mass of its parts, or sums of them.
#[inline(always)]
pub(super) fn joined(high: i32, low: i32) -> u64 {
    ((i64::from(high) << 23) + i64::from(low)) as u64
}

/// [`mass`] in two parts that straight-line single precision has exactly: 15 bits, then 23.
#[inline(always)]
pub(super) fn mass_parts(weight: f32) -> (i32, i32) {
    // As in `exponential`: rounds to the nearest whole number, which the low bits then hold.
    const ROUND: f32 = 12_582_912.0;
    let weight = weight * 32_768.0;
    let shifted = weight + ROUND;
    let rest = (weight - (shifted - ROUND)) * 8_388_608.0 + ROUND;
    ((shifted.to_bits() - ROUND.to_bits()) as i32, rest.to_bits() as i32 - ROUND.to_bits() as i32)
}

/// The natural logarithm of the sum of e^logit, exact to double rounding of single-precision terms.
pub(super) fn log_sum(logits: &[f32], maximum: f32) -> f64 {
    let mut work = Sum { maximum, total: 0.0 };
    on_each_block(logits, &mut work);
    f64::from(maximum) + work.total.ln()
}

struct Sum {
    maximum: f32,
    total: f64,
}

impl BlockWork for Sum {
    #[inline(always)]
    fn block(&mut self, _: usize, block: &[f32; BLOCK]) {
        // Eight lanes with a fixed assignment: vectorised, and the same order on every machine. A lane adds eight terms,
        // so single precision loses no more than the terms themselves have.
        let mut lanes = [0f32; 8];
        for chunk in block.as_chunks::<8>().0 {
            for (lane, &logit) in lanes.iter_mut().zip(chunk) {
                *lane += exponential(logit - self.maximum);
            }
        }
        let mut sum = 0.0;
        for lane in lanes {
            sum += f64::from(lane);
        }
        self.total += sum;
    }
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
