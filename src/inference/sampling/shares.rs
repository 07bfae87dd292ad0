//! The first tokens of an order that together reach a share of the whole vocabulary's probability, without sorting it.
//!
//! The order is cut into buckets; the masses of the buckets tell in which one the share is reached, and only that one's
//! tokens are looked at one by one. Masses are whole numbers, so the answer is that of a full sort.

use super::distribution::{Candidate, Distribution};
use super::exponential::{masses, on_each_block, BlockWork, BLOCK};
use super::filters::{fewest_reaching, Ranked};

/// An order of tokens by their logits.
pub(super) trait Order: Copy {
    /// Lower comes first; of equals the lower token.
    fn rank(self, logit: f32) -> f64;
    /// Never falls where the rank rises. Beyond [`FAR`] there is no mass.
    fn distance(self, logit: f32) -> f32;
}

/// What is left of `distribution` when only the first tokens by `order` are kept whose masses together reach `target`; the
/// others are forbidden. `target` is at least 1 and at most the mass of all.
pub(super) fn keep_first<'a>(distribution: &Distribution<'_>, order: impl Order, target: u64) -> Distribution<'a> {
    let maximum = distribution.maximum();
    let (bucket, before) = bucket_reaching(distribution, order, target);
    let mut sift =
        Sift { order, bucket, kept: vec![f32::NEG_INFINITY; distribution.logits().len()], within: Vec::new() };
    on_each_block(distribution.logits(), &mut sift);
    let Sift { mut kept, within, .. } = sift;
    let mut ranked: Vec<Ranked> =
        within.into_iter().map(|candidate| Ranked::new(order.rank(candidate.logit), candidate, maximum)).collect();
    let count = fewest_reaching(&mut ranked, target - before);
    for candidate in ranked[..count].iter().map(|ranked| ranked.candidate) {
        kept[candidate.token as usize] = candidate.logit;
    }
    Distribution::of_finite(kept)
}

/// The bucket in which the masses reach `target`, and the mass of those before it.
fn bucket_reaching(distribution: &Distribution<'_>, order: impl Order, target: u64) -> (u32, u64) {
    let mut fill = Fill { maximum: distribution.maximum(), order, sums: vec![[0; SUMS]; BUCKETS] };
    on_each_block(distribution.logits(), &mut fill);
    let mut before = 0;
    for (bucket, sums) in fill.sums.iter().enumerate() {
        let mass: u64 = sums.iter().sum();
        if before + mass >= target {
            return (bucket as u32, before);
        }
        before += mass;
    }
    (BUCKETS as u32 - 1, before)
}

/// Adds every token's mass to its bucket's. Neighbours are often in one bucket: with some sums for each, adding to one
/// need not wait for the addition before.
struct Fill<By> {
    maximum: f32,
    order: By,
    sums: Vec<[u64; SUMS]>,
}

impl<By: Order> BlockWork for Fill<By> {
    #[inline(always)]
    fn block(&mut self, _: usize, block: &[f32; BLOCK]) {
        let buckets = buckets_of(block, self.order);
        let masses = masses(block, self.maximum);
        for (place, (&bucket, &mass)) in buckets.iter().zip(&masses).enumerate() {
            self.sums[bucket as usize % BUCKETS][place % SUMS] += mass;
        }
    }
}

/// Keeps what is in the buckets before this one, and finds what is in it.
struct Sift<By> {
    order: By,
    bucket: u32,
    kept: Vec<f32>,
    within: Vec<Candidate>,
}

impl<By: Order> BlockWork for Sift<By> {
    #[inline(always)]
    fn block(&mut self, number: usize, block: &[f32; BLOCK]) {
        let buckets = buckets_of(block, self.order);
        let mut kept = [f32::NEG_INFINITY; BLOCK];
        let mut hits = 0;
        for ((kept, &logit), &bucket) in kept.iter_mut().zip(block).zip(&buckets) {
            *kept = if bucket < self.bucket { logit } else { f32::NEG_INFINITY };
            hits += u32::from(bucket == self.bucket);
        }
        let first = number * BLOCK;
        let length = self.kept.len().min(first + BLOCK) - first;
        self.kept[first..first + length].copy_from_slice(&kept[..length]);
        if hits > 0 {
            for (place, (&logit, &bucket)) in block.iter().zip(&buckets).enumerate() {
                if bucket == self.bucket && logit > f32::NEG_INFINITY {
                    self.within.push(Candidate { token: (first + place) as u32, logit });
                }
            }
        }
    }
}

#[inline(always)]
fn buckets_of(block: &[f32; BLOCK], order: impl Order) -> [u32; BLOCK] {
    // As in `exponential`: rounds to the nearest whole number, which the low bits then hold.
    const ROUND: f32 = 12_582_912.0;
    const LAST: f32 = BUCKETS as f32 - 1.0;
    let mut buckets = [0; BLOCK];
    for (bucket, &logit) in buckets.iter_mut().zip(block) {
        let place = order.distance(logit) * (BUCKETS as f32 / FAR);
        *bucket = ((if place < LAST { place } else { LAST }) + ROUND).to_bits() - ROUND.to_bits();
    }
    buckets
}

/// Masses are below half a unit beyond this distance from the maximum: e^-27 is less than 2^-38.
const FAR: f32 = 27.0;
const BUCKETS: usize = 2048;
const SUMS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::sampling::filters::ByLikelihood;

    #[test]
    fn keeps_what_a_full_order_keeps() {
        for (count, levels) in [(5000u32, 4096u32), (5000, 7), (70, 1), (1, 1)] {
            // Coarse where there are few levels, so that there are ties; now and then forbidden.
            let logits: Vec<f32> = (0..count)
                .map(|token| match token.wrapping_mul(2_654_435_761) >> 16 {
                    hash if token > 0 && hash % 11 == 0 => f32::NEG_INFINITY,
                    hash => (hash % levels) as f32 / levels as f32 * 3.0,
                })
                .collect();
            let distribution = Distribution::new(&logits).unwrap();
            let maximum = distribution.maximum();
            let order = ByLikelihood { maximum };
            let total: u64 = distribution.block_masses(1.0).iter().sum();
            for part in 1..=10 {
                let target = (total / 10 * part).clamp(1, total);
                let mut ranked: Vec<Ranked> = distribution
                    .all()
                    .into_iter()
                    .map(|candidate| Ranked::new(order.rank(candidate.logit), candidate, maximum))
                    .collect();
                let kept = fewest_reaching(&mut ranked, target);
                let mut expected: Vec<u32> = ranked[..kept].iter().map(|ranked| ranked.candidate.token).collect();
                expected.sort_unstable();
                let found: Vec<u32> =
                    keep_first(&distribution, order, target).all().iter().map(|candidate| candidate.token).collect();
                assert_eq!(found, expected, "{count} tokens, {levels} levels, {part} tenths");
            }
        }
    }
}
