//! Top-k, typical, top-p and min-p: each keeps some of the candidates.
//!
//! Candidates stay in rising order of their tokens, so that the draw from what is left does not depend on how the set
//! was found. Every filter keeps at least one.

use super::distribution::{Candidate, Distribution};
use super::exponential::{exponential, mass};

/// What is left to draw from.
pub(super) enum Remaining<'a> {
    /// The whole vocabulary: nothing was filtered.
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
        let candidates = self.into_candidates();
        let maximum = maximum(&candidates);
        let mut ranked = ranked_by_likelihood(&candidates, maximum);
        let total: u64 = ranked.iter().map(|ranked| ranked.mass).sum();
        // How much more surprising than the likeliest one: that one's own surprise is in all of them.
        let excess = |ranked: &Ranked| f64::from(maximum) - f64::from(ranked.candidate.logit);
        let weighted = |ranked: &Ranked| (ranked.mass as f64 * excess(ranked)).round_ties_even() as u64;
        let expected = ranked.iter().map(weighted).sum::<u64>() as f64 / total as f64;
        ranked.iter_mut().for_each(|ranked| ranked.rank = (excess(ranked) - expected).abs());
        let kept = fewest_reaching(&mut ranked, ((share * total as f64).floor() as u64 + 1).min(total));
        ranked.truncate(kept);
        Self::Some(rising(ranked.into_iter().map(|ranked| ranked.candidate).collect()))
    }

    /// Keeps the fewest likeliest tokens whose probabilities reach `share`.
    pub(super) fn top_p(self, share: f64) -> Self {
        let target = |total: u64| ((share * total as f64).ceil() as u64).clamp(1, total);
        let candidates = match self {
            Self::All(distribution) => {
                let total: u64 = distribution.block_masses(1.0).iter().sum();
                // A model that is sure of itself needs only a few tokens; then nothing else is even looked at.
                let likeliest = distribution.top(LIKELY_ENOUGH);
                let mut ranked = ranked_by_likelihood(&likeliest, distribution.maximum());
                let reached: u64 = ranked.iter().map(|ranked| ranked.mass).sum();
                if reached >= target(total) {
                    let kept = fewest_reaching(&mut ranked, target(total));
                    return Self::Some(rising(likeliest[..kept].to_vec()));
                }
                distribution.all()
            }
            Self::Some(candidates) => candidates,
        };
        let mut ranked = ranked_by_likelihood(&candidates, maximum(&candidates));
        let total: u64 = ranked.iter().map(|ranked| ranked.mass).sum();
        let kept = fewest_reaching(&mut ranked, target(total));
        ranked.truncate(kept);
        Self::Some(rising(ranked.into_iter().map(|ranked| ranked.candidate).collect()))
    }

    /// Keeps the tokens at least `fraction` as likely as the likeliest.
    pub(super) fn min_p(self, fraction: f32) -> Self {
        match self {
            Self::All(distribution) => Self::Some(distribution.at_least(threshold(distribution.maximum(), fraction))),
            Self::Some(mut candidates) => {
                let threshold = threshold(maximum(&candidates), fraction);
                candidates.retain(|candidate| candidate.logit >= threshold);
                Self::Some(candidates)
            }
        }
    }

    fn into_candidates(self) -> Vec<Candidate> {
        match self {
            Self::All(distribution) => distribution.all(),
            Self::Some(candidates) => candidates,
        }
    }
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
struct Ranked {
    /// Lower comes first.
    rank: f64,
    mass: u64,
    candidate: Candidate,
}

impl Ranked {
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.total_cmp(&other.rank).then(self.candidate.token.cmp(&other.candidate.token))
    }
}

fn ranked_by_likelihood(candidates: &[Candidate], maximum: f32) -> Vec<Ranked> {
    candidates
        .iter()
        .map(|&candidate| Ranked {
            rank: -f64::from(candidate.logit),
            mass: mass(exponential(candidate.logit - maximum)),
            candidate,
        })
        .collect()
}

/// How many of `ranked`, in their order, it takes until the sum of their masses reaches `target`, which all together do.
/// Those come to stand first.
///
/// Halves the part in which the answer lies, so the cost is linear where a sort's would not be.
fn fewest_reaching(ranked: &mut [Ranked], target: u64) -> usize {
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

/// How many of the likeliest tokens top-p tries before it looks at the whole vocabulary.
const LIKELY_ENOUGH: usize = 512;
/// A part this short is sorted.
const SMALL: usize = 64;
