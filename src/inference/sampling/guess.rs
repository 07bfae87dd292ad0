//! A guess of where a filter's limit lies, from an eighth of the vocabulary and the likeliest tokens: it says which tokens have
//! to be looked at one by one. What is chosen does not depend on it, only how long that takes.

use super::blocks::{on_blocks, on_each_block, BlockWork, BLOCK};
use super::distribution::Distribution;
use super::exponential::exponential;
use crate::engine::Lanes;

/// Which logits are surely kept, from `sure_from` up to but not including `sure_to`, and which ones may be: the other ones from
/// `from` up to but not including `to`. An end of infinity is above all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bands {
    pub(super) from: f32,
    pub(super) sure_from: f32,
    pub(super) sure_to: f32,
    pub(super) to: f32,
}

impl Bands {
    /// Nothing is sure.
    pub(super) const ALL_OPEN: Self =
        Self { from: f32::MIN, sure_from: f32::INFINITY, sure_to: f32::INFINITY, to: f32::INFINITY };

    /// For the likeliest tokens that reach `share`.
    pub(super) fn of_likeliest(distribution: &Distribution<'_>, share: f64) -> Self {
        let Some(sketch) = Sketch::of(distribution) else { return Self::ALL_OPEN };
        sketch.bands(distribution.maximum(), 0.0, sketch.limits(share))
    }

    /// For those whose surprise is closest to the expected one.
    pub(super) fn of_typical(distribution: &Distribution<'_>, share: f64) -> Self {
        let Some(sketch) = Sketch::of(distribution) else { return Self::ALL_OPEN };
        let (expected, error) = sketch.expected();
        let (near, far) = sketch.around(expected).limits(share);
        let slack = f64::from(sketch.width) + CERTAINTY * error;
        sketch.bands(distribution.maximum(), expected, (near - slack, far + slack))
    }
}

/// About how much mass lies how far from the likeliest token, or from another place.
struct Sketch {
    /// Of a bin.
    width: f32,
    /// By distance; beyond the last bin nothing counts.
    bins: Vec<Bin>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    mass: f64,
    /// Of the mass, which is guessed from some of the tokens.
    variance: f64,
}

impl Sketch {
    /// None of few tokens.
    fn of(distribution: &Distribution<'_>) -> Option<Self> {
        if distribution.logits().len() < WORTH_IT {
            return None;
        }
        // The likeliest tokens may have most of the mass: these are all looked at.
        let likely = match distribution.reached_by(LIKELY_BLOCKS) {
            f32::NEG_INFINITY => f32::INFINITY,
            likely => likely,
        };
        let maximum = distribution.maximum();
        let sampled = sample(distribution.logits());
        let mut least = Least([f32::INFINITY; 16]);
        on_blocks(&sampled, (0..sampled.len().div_ceil(BLOCK)).step_by(8), &mut least);
        let least = least.0.into_iter().fold(f32::INFINITY, f32::min);
        let width = (maximum - least).clamp(f32::MIN_POSITIVE.sqrt(), FAR) / LAST_BIN as f32;
        let mut counts = Counts { maximum, likely, bins_per_unit: 1.0 / width, bins: Box::new([[0; BINS]; COUNTS]) };
        on_each_block(&sampled, &mut counts);
        let counts = (0..LAST_BIN).map(|bin| counts.bins.iter().map(|counts| counts[bin]).sum::<u32>());
        let mut weight = f64::from(-0.5 * width).exp() * SAMPLED_EACH as f64;
        let factor = f64::from(-width).exp();
        let bin = |count: u32| {
            let bin = Bin { mass: f64::from(count) * weight, variance: f64::from(count) * weight * weight };
            weight *= factor;
            bin
        };
        let mut bins: Vec<Bin> = counts.map(bin).collect();
        if likely < f32::INFINITY {
            for candidate in distribution.at_least(likely) {
                let distance = maximum - candidate.logit;
                if let Some(bin) = bins.get_mut((distance / width) as usize) {
                    bin.mass += f64::from(exponential(-distance));
                }
            }
        }
        Some(Self { width, bins }).filter(|sketch| sketch.reaching(f64::INFINITY).1.mass > 0.0)
    }

    fn middle(&self, bin: usize) -> f64 {
        (bin as f64 + 0.5) * f64::from(self.width)
    }

    /// The mean distance, and its standard error.
    fn expected(&self) -> (f64, f64) {
        let placed = || self.bins.iter().enumerate().map(|(bin, of)| (self.middle(bin), of));
        let total = self.reaching(f64::INFINITY).1.mass;
        let expected = placed().map(|(distance, bin)| distance * bin.mass).sum::<f64>() / total;
        let variance: f64 = placed().map(|(distance, bin)| (distance - expected).powi(2) * bin.variance).sum();
        (expected, variance.sqrt() / total)
    }

    /// The same by distance from a place at the distance `centre`.
    fn around(&self, centre: f64) -> Self {
        let mut bins = vec![Bin::default(); self.bins.len()];
        for (bin, of) in self.bins.iter().enumerate() {
            let distance = (self.middle(bin) - centre).abs();
            if let Some(bin) = bins.get_mut((distance / f64::from(self.width)) as usize) {
                bin.mass += of.mass;
                bin.variance += of.variance;
            }
        }
        Self { width: self.width, bins }
    }

    /// Two distances between which the masses very likely reach `share` of all.
    fn limits(&self, share: f64) -> (f64, f64) {
        let (_, all) = self.reaching(f64::INFINITY);
        let target = share * all.mass;
        let (_, within) = self.reaching(target);
        // Of what lies within the limit, less its share of all.
        let variance = (1.0 - share).powi(2) * within.variance + share.powi(2) * (all.variance - within.variance);
        let margin = CERTAINTY * variance.max(0.0).sqrt();
        let (near, _) = self.reaching(target - margin);
        let (far, sum) = self.reaching(target + margin);
        let far = if sum.mass >= target + margin { far as f64 } else { f64::INFINITY };
        (near.saturating_sub(1) as f64 * f64::from(self.width), far * f64::from(self.width))
    }

    /// How many bins it takes to reach a mass, or all, and their sums.
    fn reaching(&self, mass: f64) -> (usize, Bin) {
        let mut sum = Bin::default();
        for (bin, of) in self.bins.iter().enumerate() {
            sum = Bin { mass: sum.mass + of.mass, variance: sum.variance + of.variance };
            if sum.mass >= mass {
                return (bin + 1, sum);
            }
        }
        (self.bins.len(), sum)
    }

    fn bands(&self, maximum: f32, centre: f64, (near, far): (f64, f64)) -> Bands {
        // Zero is two floats, which compare as equal: never an edge.
        let edge = |distance: f64| match (f64::from(maximum) - distance).max(f64::from(f32::MIN)) as f32 {
            0.0 => f32::MIN_POSITIVE,
            edge => edge,
        };
        let above = |distance: f64| if distance <= 0.0 { f32::INFINITY } else { edge(distance) };
        let (sure_from, sure_to) =
            if near > 0.0 { (edge(centre + near), above(centre - near)) } else { (f32::INFINITY, f32::INFINITY) };
        Bands { from: edge(centre + far), sure_from, sure_to, to: above(centre - far) }
    }
}

/// A few logits of each part, which lie side by side.
fn sample(logits: &[f32]) -> Vec<f32> {
    let parts = logits.as_chunks::<{ SAMPLED * SAMPLED_EACH }>().0;
    let mut sampled = Vec::with_capacity(parts.len() * SAMPLED);
    parts.iter().for_each(|part| sampled.extend_from_slice(&part[..SAMPLED]));
    sampled
}

/// Finds the least logit that is not forbidden.
struct Least([f32; 16]);

impl BlockWork for Least {
    #[inline(always)]
    fn block<L: Lanes>(&mut self, _: usize, block: &[f32; BLOCK]) {
        for chunk in block.as_chunks::<16>().0 {
            for (least, &logit) in self.0.iter_mut().zip(chunk) {
                *least = if logit < *least && logit > f32::NEG_INFINITY { logit } else { *least };
            }
        }
    }
}

/// Counts logits below `likely` by distance from the maximum.
struct Counts {
    maximum: f32,
    likely: f32,
    bins_per_unit: f32,
    /// Several for each, since adding to the same one again has to wait.
    bins: Box<[[u32; BINS]; COUNTS]>,
}

impl BlockWork for Counts {
    #[inline(always)]
    fn block<L: Lanes>(&mut self, _: usize, block: &[f32; BLOCK]) {
        // Rounds to the nearest whole number, which the low bits then hold.
        const ROUND: f32 = 12_582_912.0;
        let mut places = [0; BLOCK];
        for (place, &logit) in places.iter_mut().zip(block) {
            let distance = (self.maximum - logit) * self.bins_per_unit - 0.5;
            let bounded = if distance < LAST_BIN as f32 && logit < self.likely { distance } else { LAST_BIN as f32 };
            *place = (bounded + ROUND).to_bits() - ROUND.to_bits();
        }
        for places in places.as_chunks::<COUNTS>().0 {
            for (counts, place) in self.bins.iter_mut().zip(places) {
                counts[*place as usize % BINS] += 1;
            }
        }
    }
}

/// Of fewer tokens each may be looked at.
const WORTH_IT: usize = 4096;
const SAMPLED: usize = 16;
/// One of so many is looked at.
const SAMPLED_EACH: usize = 8;
const BINS: usize = 512;
const LAST_BIN: usize = BINS - 1;
const COUNTS: usize = 4;
/// Masses are below half a unit beyond this distance from the maximum: e^-27 is less than 2^-38.
const FAR: f32 = 27.0;
/// The likeliest tokens are looked at in about so many blocks.
const LIKELY_BLOCKS: usize = 40;
/// Standard errors by which a guess is widened.
const CERTAINTY: f64 = 3.0;
