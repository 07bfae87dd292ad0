//! The logits of one position, indexed by the maxima of their blocks, so that the few likeliest tokens are found
//! without sorting or even visiting most of the vocabulary.

use std::borrow::Cow;

use super::blocks::{on_blocks, on_each_block, BlockWork, Hits, BLOCK};
use super::exponential::{block_masses, kept_masses, log_sum};
use super::kept::Kept;
use crate::engine::{not_finite, nothing_allowed, Lanes};
use crate::error::Result;

/// A token that is still in the running.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) token: u32,
    pub(super) logit: f32,
}

impl Candidate {
    /// Likelier first; of equals the lower token.
    pub(super) fn order(&self, other: &Self) -> std::cmp::Ordering {
        other.logit.total_cmp(&self.logit).then(self.token.cmp(&other.token))
    }
}

/// Logits that hold no NaN and no positive infinity, and at least one finite number.
pub(super) struct Distribution<'a> {
    logits: Cow<'a, [f32]>,
    /// What filters left of them.
    kept: Kept,
    /// Of each block, kept or not.
    maxima: Vec<f32>,
    /// Of what is kept.
    maximum: f32,
    /// Those of what is kept, by block, at temperature 1, where a filter has them already, and the logit they are relative to.
    masses: Option<(f32, Vec<u64>)>,
}

impl<'a> Distribution<'a> {
    /// Looks at every logit once.
    pub(super) fn new(logits: &'a [f32]) -> Result<Self> {
        let (distribution, are_numbers) = Self::indexed(Cow::Borrowed(logits));
        let maximum = distribution.maximum;
        if !are_numbers {
            let token = logits.iter().position(|logit| logit.is_nan() || *logit == f32::INFINITY).unwrap_or(0);
            return Err(not_finite(token as u32, logits[token]));
        }
        if maximum == f32::NEG_INFINITY {
            return Err(nothing_allowed());
        }
        Ok(distribution)
    }

    /// Also tells whether there is no NaN and no positive infinity.
    fn indexed(logits: Cow<'a, [f32]>) -> (Self, bool) {
        let mut work = BlockMaxima { maxima: Vec::with_capacity(logits.len().div_ceil(BLOCK)), are_numbers: true };
        on_each_block(&logits, &mut work);
        let BlockMaxima { maxima, are_numbers } = work;
        let maximum = maxima.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        (Self { logits, kept: Kept::ALL, maxima, maximum, masses: None }, are_numbers)
    }

    /// What `kept` leaves of it, the likeliest of which has the logit `maximum`.
    pub(super) fn keeping(mut self, kept: Kept, maximum: f32) -> Self {
        self.kept = kept;
        self.maximum = maximum;
        self.masses = None;
        self
    }

    /// The same with what [`block_masses`](Self::block_masses) would find at temperature 1.
    pub(super) fn with_masses(mut self, reference: f32, masses: Vec<u64>) -> Self {
        self.masses = Some((reference, masses));
        self
    }

    /// What filters left.
    pub(super) fn kept(&self) -> Kept {
        self.kept
    }

    /// The same with the logits of what is not kept at negative infinity, for filters that need every logit to count.
    pub(super) fn forbidding(self) -> Self {
        if self.kept == Kept::ALL {
            return self;
        }
        let keep = |(&logit, token)| if self.kept.holds(token, logit) { logit } else { f32::NEG_INFINITY };
        Self::indexed(Cow::Owned(self.logits.iter().zip(0..).map(keep).collect())).0
    }

    /// All of them, kept or not.
    pub(super) fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// The logit of the likeliest token.
    pub(super) fn maximum(&self) -> f32 {
        self.maximum
    }

    /// The likeliest token, of equals the lowest.
    pub(super) fn likeliest(&self) -> u32 {
        let first = BLOCK * self.maxima.iter().position(|&maximum| maximum == self.maximum).unwrap_or(0);
        let within = self.logits[first..].iter().position(|&logit| logit == self.maximum).unwrap_or(0);
        (first + within) as u32
    }

    /// The natural logarithm of the sum of all exponentials.
    pub(super) fn log_sum(&self) -> f64 {
        log_sum(&self.logits, self.maximum)
    }

    /// The masses of e^((logit - reference) * scale) of what is kept, summed over each block.
    pub(super) fn block_masses(&self, reference: f32, scale: f32) -> Cow<'_, [u64]> {
        match &self.masses {
            Some((own, masses)) if *own == reference && scale == 1.0 => Cow::Borrowed(masses),
            _ if self.kept == Kept::ALL => Cow::Owned(block_masses(&self.logits, reference, scale)),
            _ => {
                Cow::Owned(kept_masses(&self.logits, self.kept, self.blocks_from(self.kept.least()), reference, scale))
            }
        }
    }

    /// The logits of one block, and the token that the first of them belongs to; negative infinity where one is not kept.
    pub(super) fn block(&self, index: usize) -> (u32, impl Iterator<Item = f32> + '_) {
        let start = index * BLOCK;
        let logits = &self.logits[start..self.logits.len().min(start + BLOCK)];
        let keep = |(&logit, token)| if self.kept.holds(token, logit) { logit } else { f32::NEG_INFINITY };
        (start as u32, logits.iter().zip(start as u32..).map(keep))
    }

    /// Every token that is left, in rising order.
    pub(super) fn all(&self) -> Vec<Candidate> {
        self.at_least(f32::MIN)
    }

    /// The tokens whose logit is at least `threshold`, in rising order.
    pub(super) fn at_least(&self, threshold: f32) -> Vec<Candidate> {
        let mut work = Holding { kept: self.kept.at_least(threshold), hits: Hits::new() };
        on_blocks(&self.logits, self.blocks_from(threshold), &mut work);
        work.hits.tokens.iter().map(|&token| Candidate { token, logit: self.logits[token as usize] }).collect()
    }

    /// The numbers of the blocks that have a logit of at least `threshold`.
    fn blocks_from(&self, threshold: f32) -> impl Iterator<Item = usize> + '_ {
        self.maxima.iter().enumerate().filter(move |(_, maximum)| **maximum >= threshold).map(|(number, _)| number)
    }

    /// About how many tokens are left; never too few.
    pub(super) fn most_left(&self) -> usize {
        self.blocks_from(self.kept.least()).count() * BLOCK
    }

    /// The `count`-th largest of the blocks' maxima: at least so many tokens reach it. Negative infinity where there are no
    /// more blocks.
    pub(super) fn reached_by(&self, count: usize) -> f32 {
        if count >= self.maxima.len() {
            return f32::NEG_INFINITY;
        }
        let mut maxima = self.maxima.clone();
        let (_, bound, _) = maxima.select_nth_unstable_by(count.saturating_sub(1), |a, b| b.total_cmp(a));
        *bound
    }

    /// The `count` likeliest tokens, likeliest first; fewer where fewer are allowed.
    pub(super) fn top(&self, count: usize) -> Vec<Candidate> {
        // Nothing below what `count` tokens reach can be among the `count` likeliest.
        let mut candidates = self.at_least(self.reached_by(count).max(f32::MIN));
        if count < candidates.len() {
            if count > 0 {
                candidates.select_nth_unstable_by(count - 1, Candidate::order);
            }
            candidates.truncate(count);
        }
        candidates.sort_unstable_by(Candidate::order);
        candidates
    }
}

/// Finds the largest logit of each block, and whether all are numbers.
struct BlockMaxima {
    maxima: Vec<f32>,
    are_numbers: bool,
}

impl BlockWork for BlockMaxima {
    #[inline(always)]
    fn block<L: Lanes>(&mut self, _: usize, block: &[f32; BLOCK]) {
        let mut largest = L::splat(f32::NEG_INFINITY);
        let mut are_numbers = largest.below(L::splat(0.0));
        for logits in block.as_chunks().0 {
            let logits = L::load(logits);
            largest = largest.or_larger(logits);
            // NaN is not below anything.
            are_numbers = L::both(are_numbers, logits.below(L::splat(f32::INFINITY)));
        }
        self.maxima.push(largest.largest());
        self.are_numbers &= L::bits(are_numbers) == u16::MAX;
    }
}

/// Finds the tokens that are kept.
struct Holding {
    kept: Kept,
    hits: Hits,
}

impl BlockWork for Holding {
    #[inline(always)]
    fn block<L: Lanes>(&mut self, number: usize, block: &[f32; BLOCK]) {
        self.hits.append(number, &self.kept.block(number, block), |logit| logit > f32::NEG_INFINITY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn logits(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Coarse, so that there are ties.
                ((state >> 16) % 512) as f32 / 16.0 - 16.0
            })
            .collect()
    }

    fn sorted(logits: &[f32]) -> Vec<Candidate> {
        let mut all: Vec<Candidate> =
            logits.iter().zip(0..).map(|(&logit, token)| Candidate { token, logit }).collect();
        all.sort_by(Candidate::order);
        all
    }

    #[test]
    fn the_likeliest_are_those_of_a_full_sort() {
        for count in [1usize, 5, 64, 65, 1000, 10_000] {
            let logits = logits(count, count as u32);
            let distribution = Distribution::new(&logits).unwrap();
            let expected = sorted(&logits);
            assert_eq!(distribution.likeliest(), expected[0].token);
            assert_eq!(distribution.maximum(), expected[0].logit);
            for top in [0usize, 1, 2, 3, 17, 100, 157, 1000, 20_000] {
                assert_eq!(distribution.top(top), expected[..top.min(count)], "{top} of {count}");
            }
            let threshold = expected[count / 2].logit;
            let mut above: Vec<Candidate> = expected.iter().copied().filter(|c| c.logit >= threshold).collect();
            above.sort_by_key(|candidate| candidate.token);
            assert_eq!(distribution.at_least(threshold), above);
        }
    }

    #[test]
    fn forbidden_tokens_are_never_among_the_likeliest() {
        let mut logits = vec![f32::NEG_INFINITY; 1000];
        logits[700] = -3.0;
        logits[30] = -4.0;
        let distribution = Distribution::new(&logits).unwrap();
        let tokens: Vec<u32> = distribution.top(5).iter().map(|candidate| candidate.token).collect();
        assert_eq!(tokens, [700, 30]);
        assert_eq!(distribution.all().len(), 2);
        assert_eq!(distribution.likeliest(), 700);
    }

    #[test]
    fn what_is_not_a_number_is_refused_wherever_it_stands() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY] {
            for place in [0usize, 7, 8, 63, 64, 99] {
                let mut logits = vec![1.0; 100];
                logits[place] = bad;
                let error = Distribution::new(&logits).err().unwrap();
                assert_eq!(error.code, Code::InferenceFailed);
                assert!(error.detail.contains(&format!("token {place} is")), "{}", error.detail);
            }
        }
        let error = Distribution::new(&[f32::NEG_INFINITY; 3]).err().unwrap();
        assert!(error.detail.contains("no token may follow"));
        assert_eq!(Distribution::new(&[]).err().unwrap().code, Code::InferenceFailed);
    }
}
