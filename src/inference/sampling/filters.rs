//! Top-k, typical, top-p and min-p: each keeps some of the candidates.
//!
//! Candidates stay in rising order of their tokens, so that the draw from what is left does not depend on how the set
//! was found. Every filter keeps at least one.

use super::blocks::{on_each_block, BlockWork, BLOCK};
use super::distribution::{Candidate, Distribution};
use super::exponential::{exponential, mass};
use super::guess::Bands;
use super::kept::{first_key, key, Interval, Kept};
use super::shares::{excess, first_reaching, First, Order, Sums};
use crate::engine::Lanes;

/// What is left to draw from.
pub(super) enum Remaining<'a> {
    /// The whole vocabulary, or what is kept of it.
    All(Distribution<'a>),
    /// These tokens, in rising order.
    Some(Vec<Candidate>),
}

impl<'a> Remaining<'a> {
    /// Keeps the `count` likeliest.
    pub(super) fn top_k(self, count: usize) -> Self {
        match self {
            Self::All(distribution) => Self::Some(rising(distribution.top(count.max(1)))),
            Self::Some(candidates) => {
                let mut ordered = candidates;
                ordered.sort_unstable_by(Candidate::order);
                ordered.truncate(count.max(1));
                Self::Some(rising(ordered))
            }
        }
    }

    /// Keeps the tokens whose surprise is closest to the expected one, until their probabilities pass `share`.
    pub(super) fn typical(self, share: f64) -> Self {
        let candidates = match self {
            Self::All(distribution) if distribution.logits().len() <= SHORT => distribution.all(),
            Self::All(distribution) => {
                let distribution = distribution.forbidding();
                let guess = Bands::of_typical(&distribution, share);
                let first = first_reaching::<ByTypicality>(&distribution, guess, |total| typical_target(share, total));
                return Self::first(distribution, first);
            }
            Self::Some(candidates) => candidates,
        };
        let maximum = maximum(&candidates);
        let mut ranked = ranked_by_likelihood(&candidates, maximum);
        let total: u64 = ranked.iter().map(|ranked| ranked.mass).sum();
        let weighted = candidates.iter().map(|candidate| weighted_excess(candidate.logit, maximum)).sum();
        let order = ByTypicality::among(maximum, Sums { mass: total, weighted });
        ranked.iter_mut().for_each(|ranked| ranked.rank = order.rank(ranked.candidate.logit));
        let kept = fewest_reaching(&mut ranked, typical_target(share, total));
        ranked.truncate(kept);
        Self::Some(rising(ranked.into_iter().map(|ranked| ranked.candidate).collect()))
    }

    /// Keeps the fewest likeliest tokens whose probabilities reach `share`.
    pub(super) fn top_p(self, share: f64) -> Self {
        let target = |total: u64| ((share * total as f64).ceil() as u64).clamp(1, total);
        let candidates = match self {
            Self::All(distribution) if distribution.logits().len() <= SHORT => distribution.all(),
            Self::All(distribution) => {
                let distribution = distribution.forbidding();
                let guess = Bands::of_likeliest(&distribution, share);
                let first = first_reaching::<ByLikelihood>(&distribution, guess, target);
                return Self::first(distribution, first);
            }
            Self::Some(candidates) => candidates,
        };
        let mut ranked = ranked_by_likelihood(&candidates, maximum(&candidates));
        let total: u64 = ranked.iter().map(|ranked| ranked.mass).sum();
        let kept = fewest_reaching(&mut ranked, target(total));
        ranked.truncate(kept);
        Self::Some(rising(ranked.into_iter().map(|ranked| ranked.candidate).collect()))
    }

    fn first(distribution: Distribution<'a>, First { kept, masses, maximum }: First) -> Self {
        let likeliest = distribution.maximum();
        let maximum = maximum.unwrap_or_else(|| largest_kept(&distribution, kept));
        Self::left(distribution.keeping(kept, maximum).with_masses(likeliest, masses))
    }

    /// A few tokens are drawn from by themselves.
    fn left(distribution: Distribution<'a>) -> Self {
        if distribution.most_left() > FEW {
            return Self::All(distribution);
        }
        Self::Some(distribution.all())
    }

    /// Keeps the tokens at least `fraction` as likely as the likeliest.
    pub(super) fn min_p(self, fraction: f32) -> Self {
        match self {
            Self::All(distribution) => {
                let maximum = distribution.maximum();
                let kept = distribution.kept().at_least(threshold(maximum, fraction));
                Self::left(distribution.keeping(kept, maximum))
            }
            Self::Some(mut candidates) => {
                let threshold = threshold(maximum(&candidates), fraction);
                candidates.retain(|candidate| candidate.logit >= threshold);
                Self::Some(candidates)
            }
        }
    }
}

/// The likeliest first.
#[derive(Clone, Copy)]
pub(super) struct ByLikelihood;

impl Order for ByLikelihood {
    const CENTRED: bool = false;

    fn among(_: f32, _: Sums) -> Self {
        Self
    }

    #[inline(always)]
    fn rank(self, logit: f32) -> f64 {
        -f64::from(logit)
    }

    fn least_rank(self, maximum: f32) -> f64 {
        self.rank(maximum)
    }

    fn rises_outside(self, _: f32, high: f32) -> bool {
        high == f32::INFINITY
    }

    fn up_to(self, last: Candidate) -> Kept {
        let low = key(last.logit);
        let high = Kept::ALL.including.high;
        Kept { until: last.token, including: Interval { low, high }, before: Interval { low: low + 1, high } }
    }
}

/// The tokens first whose surprise is closest to the expected one.
#[derive(Clone, Copy)]
pub(super) struct ByTypicality {
    pub(super) maximum: f32,
    /// The mean of the excesses.
    pub(super) expected: f64,
}

impl Order for ByTypicality {
    const CENTRED: bool = true;

    fn among(maximum: f32, sums: Sums) -> Self {
        Self { maximum, expected: sums.weighted as f64 / sums.mass as f64 }
    }

    #[inline(always)]
    fn rank(self, logit: f32) -> f64 {
        (self.excess(logit) - self.expected).abs()
    }

    fn least_rank(self, _: f32) -> f64 {
        0.0
    }

    fn rises_outside(self, low: f32, high: f32) -> bool {
        self.excess(low) >= self.expected && (high == f32::INFINITY || self.excess(high) <= self.expected)
    }

    /// On either side of the expected surprise ranks rise with the distance from it, or stay.
    fn up_to(self, last: Candidate) -> Kept {
        let Interval { low, high } = Kept::ALL.including;
        let limit = self.rank(last.logit);
        let middle = first_key(low, high + 1, |logit| self.excess(logit) < self.expected);
        let interval = |within: &dyn Fn(f64) -> bool| Interval {
            low: first_key(low, middle, |logit| within(self.rank(logit))),
            high: first_key(middle, high + 1, |logit| !within(self.rank(logit))) - 1,
        };
        Kept { until: last.token, including: interval(&|rank| rank <= limit), before: interval(&|rank| rank < limit) }
    }
}

impl ByTypicality {
    /// How much more surprising than the likeliest one: that one's own surprise is in all of them.
    #[inline(always)]
    fn excess(self, logit: f32) -> f64 {
        f64::from(self.maximum) - f64::from(logit)
    }
}

/// Whole, as masses are, so that sums are exact.
pub(super) fn weighted_excess(logit: f32, maximum: f32) -> u64 {
    mass(exponential(logit - maximum) * excess(logit, maximum))
}

/// The largest logit that is kept.
fn largest_kept(distribution: &Distribution, kept: Kept) -> f32 {
    let mut work = LargestKept { kept, largest: [f32::NEG_INFINITY; BLOCK] };
    on_each_block(distribution.logits(), &mut work);
    work.largest.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

struct LargestKept {
    kept: Kept,
    largest: [f32; BLOCK],
}

impl BlockWork for LargestKept {
    #[inline(always)]
    fn block<L: Lanes>(&mut self, number: usize, block: &[f32; BLOCK]) {
        for (largest, logit) in self.largest.iter_mut().zip(self.kept.block(number, block)) {
            *largest = if logit > *largest { logit } else { *largest };
        }
    }
}

/// The least sum that is more than the share.
fn typical_target(share: f64, total: u64) -> u64 {
    ((share * total as f64).floor() as u64 + 1).min(total)
}

/// The largest logit among `candidates`.
pub(super) fn maximum(candidates: &[Candidate]) -> f32 {
    candidates.iter().map(|candidate| candidate.logit).fold(f32::NEG_INFINITY, f32::max)
}

/// The smallest logit that min-p keeps; never above the maximum, also where `fraction` is 1.
fn threshold(maximum: f32, fraction: f32) -> f32 {
    (maximum + fraction.ln()).min(maximum).max(f32::MIN)
}

fn rising(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort_unstable_by_key(|candidate| candidate.token);
    candidates
}

/// A candidate with its place in a filter's order and its share of the mass.
#[derive(Clone, Copy)]
pub(super) struct Ranked {
    /// Lower comes first.
    pub(super) rank: f64,
    pub(super) mass: u64,
    pub(super) candidate: Candidate,
}

impl Ranked {
    pub(super) fn new(rank: f64, candidate: Candidate, maximum: f32) -> Self {
        Self { rank, mass: mass(exponential(candidate.logit - maximum)), candidate }
    }

    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.total_cmp(&other.rank).then(self.candidate.token.cmp(&other.candidate.token))
    }
}

fn ranked_by_likelihood(candidates: &[Candidate], maximum: f32) -> Vec<Ranked> {
    candidates.iter().map(|&candidate| Ranked::new(-f64::from(candidate.logit), candidate, maximum)).collect()
}

/// How many of `ranked`, in their order, it takes until the sum of their masses reaches `target`, which all together do.
/// Those come to stand first.
///
/// Halves the part in which the answer lies, so the cost is linear where a sort's would not be.
pub(super) fn fewest_reaching(ranked: &mut [Ranked], target: u64) -> usize {
    let (mut start, mut end) = (0, ranked.len());
    let mut sum_before = 0;
    while end - start > SMALL {
        let middle = start + (end - start) / 2;
        ranked[start..end].select_nth_unstable_by(middle - start, Ranked::order);
        let sum: u64 = ranked[start..middle].iter().map(|ranked| ranked.mass).sum();
        if sum_before + sum >= target {
            end = middle;
        } else {
            sum_before += sum;
            start = middle;
        }
    }
    ranked[start..end].sort_unstable_by(Ranked::order);
    for (index, item) in ranked[start..end].iter().enumerate() {
        sum_before += item.mass;
        if sum_before >= target {
            return start + index + 1;
        }
    }
    end.max(1).min(ranked.len())
}

/// A vocabulary up to this is a list at once.
const SHORT: usize = 256;
/// Up to about so many tokens are taken out of the vocabulary.
const FEW: usize = 8192;
/// A part this short is sorted.
const SMALL: usize = 64;
