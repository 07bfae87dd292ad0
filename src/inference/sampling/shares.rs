//! The first tokens of an order that together reach a share of the whole vocabulary's probability, without sorting it.
//!
//! The order is cut into buckets; the masses of the buckets tell in which one the share is reached, and only that one's
//! tokens are looked at one by one. Masses are whole numbers, so the answer is that of a full sort.

use super::distribution::{Candidate, Distribution};
use super::exponential::{exponential, joined, mass_parts, on_each_block, BlockWork};
use super::filters::{fewest_reaching, Ranked};
use super::kept::{first_key, key, logit_of, Kept};

/// An order of tokens by their logits.
pub(super) trait Order: Copy {
    /// Lower comes first; of equals the lower token.
    fn rank(self, logit: f32) -> f64;
    /// Never falls where the rank rises. Beyond [`FAR`] there is no mass.
    fn distance(self, logit: f32) -> f32;
    /// Those that come before a token, and it.
    fn up_to(self, last: Candidate) -> Kept;
}

/// The first tokens by `order` whose masses together reach what `target` says of the mass of all; it is at least 1 and at most
/// that.
pub(super) fn first_reaching(distribution: &Distribution<'_>, order: impl Order, target: impl Fn(u64) -> u64) -> Kept {
    let maximum = distribution.maximum();
    let mut fill = Fill { maximum, order, sums: Box::new([[0; BUCKETS]; SUMS]) };
    on_each_block(distribution.logits(), &mut fill);
    let target = target(fill.sums.as_flattened().iter().sum());
    let (bucket, before) = bucket_reaching(&fill.sums, target);

    // Of all distances in the bucket, the least and the one after the last.
    let edge = |bucket| logit_of(first_key(key(0.0), key(f32::INFINITY), |distance| bucket_of(distance) >= bucket));
    let mut gather = Gather { order, from: edge(bucket), to: edge(bucket + 1), found: Vec::new() };
    on_each_block(distribution.logits(), &mut gather);
    let rank = |candidate: Candidate| Ranked::new(order.rank(candidate.logit), candidate, maximum);
    let mut ranked: Vec<Ranked> = gather.found.into_iter().map(rank).collect();
    let count = fewest_reaching(&mut ranked, target - before);
    ranked[..count].last().map_or(Kept::ALL, |last| order.up_to(last.candidate))
}

/// The bucket in which the masses reach `target`, and the mass of those before it.
fn bucket_reaching(sums: &Sums, target: u64) -> (u32, u64) {
    let mut before = 0;
    for bucket in 0..BUCKETS {
        let mass: u64 = sums.iter().map(|sums| sums[bucket]).sum();
        if before + mass >= target {
            return (bucket as u32, before);
        }
        before += mass;
    }
    (BUCKETS as u32 - 1, before)
}

/// Of the buckets. Neighbours are often in one bucket: with some sums for each, adding to one need not wait for the addition
/// before.
type Sums = [[u64; BUCKETS]; SUMS];

/// Adds every token's mass to its bucket's.
struct Fill<By> {
    maximum: f32,
    order: By,
    sums: Box<Sums>,
}

impl<By: Order> BlockWork<MANY> for Fill<By> {
    #[inline(always)]
    fn block(&mut self, _: usize, block: &[f32; MANY]) {
        // Through memory: taking masses out of vectors one by one costs more.
        let (mut buckets, mut high, mut low) = ([0; MANY], [0; MANY], [0; MANY]);
        for (bucket, &logit) in buckets.iter_mut().zip(block) {
            *bucket = bucket_of(self.order.distance(logit));
        }
        for ((high, low), &logit) in high.iter_mut().zip(&mut low).zip(block) {
            (*high, *low) = mass_parts(exponential(logit - self.maximum));
        }
        let sums: &mut Sums = &mut self.sums;
        let parts = high.as_chunks::<SUMS>().0.iter().zip(low.as_chunks::<SUMS>().0);
        for (buckets, (high, low)) in buckets.as_chunks::<SUMS>().0.iter().zip(parts) {
            for (sums, (&bucket, (&high, &low))) in sums.iter_mut().zip(buckets.iter().zip(high.iter().zip(low))) {
                sums[bucket as usize % BUCKETS] += joined(high, low);
            }
        }
    }
}

/// Finds what has distances of one bucket.
struct Gather<By> {
    order: By,
    from: f32,
    to: f32,
    found: Vec<Candidate>,
}

impl<By: Order> BlockWork<PART> for Gather<By> {
    #[inline(always)]
    fn block(&mut self, number: usize, block: &[f32; PART]) {
        let mut hits = [0; PART];
        let mut any = 0;
        for (hit, &logit) in hits.iter_mut().zip(block) {
            let distance = self.order.distance(logit);
            *hit = u32::from(distance >= self.from && distance < self.to);
            any |= *hit;
        }
        if any == 0 {
            return;
        }
        for ((&hit, &logit), token) in hits.iter().zip(block).zip((number * PART) as u32..) {
            if hit != 0 && logit > f32::NEG_INFINITY {
                self.found.push(Candidate { token, logit });
            }
        }
    }
}

#[inline(always)]
fn bucket_of(distance: f32) -> u32 {
    // As in `exponential`: rounds to the nearest whole number, which the low bits then hold.
    const ROUND: f32 = 12_582_912.0;
    const LAST: f32 = BUCKETS as f32 - 1.0;
    let place = distance * (BUCKETS as f32 / FAR);
    ((if place < LAST { place } else { LAST }) + ROUND).to_bits() - ROUND.to_bits()
}

/// Masses are below half a unit beyond this distance from the maximum: e^-27 is less than 2^-38.
const FAR: f32 = 27.0;
const BUCKETS: usize = 2048;
const SUMS: usize = 4;
/// Logits whose masses are computed before they are added up.
const MANY: usize = 1024;
/// Logits that are passed over together.
const PART: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::sampling::exponential::BLOCK;
    use crate::inference::sampling::filters::{ByLikelihood, ByTypicality};

    /// Coarse where there are few levels, so that there are ties; now and then forbidden, or minus zero.
    fn logits(count: u32, levels: u32) -> Vec<f32> {
        let logit = |token: u32| match token.wrapping_mul(2_654_435_761) >> 16 {
            hash if token > 0 && hash % 11 == 0 => f32::NEG_INFINITY,
            hash if hash % 13 == 0 => -0.0,
            hash => (hash % levels) as f32 / levels as f32 * 3.0,
        };
        (0..count).map(logit).collect()
    }

    fn check(logits: &[f32], order: impl Order, name: &str) {
        let distribution = Distribution::new(logits).unwrap();
        let maximum = distribution.maximum();
        let total: u64 = distribution.block_masses(1.0).iter().sum();
        for part in 1..=10 {
            let target = (total / 10 * part).clamp(1, total);
            let candidates = distribution.all().into_iter();
            let mut ranked: Vec<Ranked> =
                candidates.map(|candidate| Ranked::new(order.rank(candidate.logit), candidate, maximum)).collect();
            let first = fewest_reaching(&mut ranked, target);
            let mut expected: Vec<u32> = ranked[..first].iter().map(|ranked| ranked.candidate.token).collect();
            expected.sort_unstable();

            let kept = first_reaching(&distribution, order, |all| {
                assert_eq!(all, total);
                target
            });
            let found = |token: &u32| kept.holds(*token, logits[*token as usize]);
            let found: Vec<u32> = (0..logits.len() as u32).filter(found).collect();
            assert_eq!(found, expected, "{name}, {} tokens, {part} tenths", logits.len());
            for (number, block) in logits.as_chunks::<BLOCK>().0.iter().enumerate() {
                for (token, logit) in (number as u32 * BLOCK as u32..).zip(kept.block(number, block)) {
                    assert_eq!(logit > f32::NEG_INFINITY, expected.binary_search(&token).is_ok());
                }
            }
        }
    }

    #[test]
    fn keeps_what_a_full_order_keeps() {
        for (count, levels) in [(5000u32, 4096u32), (5000, 7), (5000, 2), (70, 1), (1, 1)] {
            let logits = logits(count, levels);
            let maximum = Distribution::new(&logits).unwrap().maximum();
            check(&logits, ByLikelihood { maximum }, "by likelihood");
            // Ties on both sides of what is expected, and on one.
            for expected in [1.5, 0.25, 0.0, 40.0] {
                check(&logits, ByTypicality { maximum, expected }, "by typicality");
            }
        }
        // So far apart that ranks of different logits are equal.
        let wide: Vec<f32> = (0..300).map(|token| if token % 50 == 7 { 1e30 } else { token as f32 }).collect();
        check(&wide, ByLikelihood { maximum: 1e30 }, "wide, by likelihood");
        check(&wide, ByTypicality { maximum: 1e30, expected: 1e29 }, "wide, by typicality");
    }
}
