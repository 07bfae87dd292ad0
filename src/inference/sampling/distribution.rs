//! The logits of one position, indexed by the maxima of their blocks, so that the few likeliest tokens are found
//! without sorting or even visiting most of the vocabulary.

use std::borrow::Cow;

use super::blocks::{on_blocks, on_each_block, BlockWork, Hits, BLOCK};
use super::exponential::{block_masses, log_sum};
use super::kept::Kept;
use crate::engine::{not_finite, nothing_allowed};
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
        let mut work = BlockMaxima::default();
        work.maxima.reserve_exact(logits.len().div_ceil(BLOCK));
        on_each_block(&logits, &mut work);
        let are_numbers = work.are_numbers();
        let maxima = work.maxima;
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
            _ => Cow::Owned(block_masses(&self.logits, self.kept, reference, scale)),
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
        let blocks = self.maxima.iter().enumerate().filter(|(_, maximum)| **maximum >= threshold);
        on_blocks(&self.logits, blocks.map(|(number, _)| number), &mut work);
        work.hits.tokens.iter().map(|&token| Candidate { token, logit: self.logits[token as usize] }).collect()
    }

    /// About how many tokens are left; never too few.
    pub(super) fn most_left(&self) -> usize {
        let least = self.kept.least();
        self.maxima.iter().filter(|maximum| **maximum >= least).count() * BLOCK
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
#[derive(Default)]
struct BlockMaxima {
    maxima: Vec<f32>,
    /// The largest of the bits of all logits as whole numbers with a sign: those of positive logits.
    positive: [i32; 16],
    /// The same without a sign: those of negative logits, where there are any.
    negative: [u32; 16],
}

impl BlockMaxima {
    /// NaN is beyond infinity, with either sign.
    fn are_numbers(&self) -> bool {
        self.positive.iter().all(|bits| *bits < f32::INFINITY.to_bits() as i32)
            && self.negative.iter().all(|bits| *bits <= f32::NEG_INFINITY.to_bits())
    }
}

impl BlockWork for BlockMaxima {
    #[inline(always)]
    fn block(&mut self, _: usize, block: &[f32; BLOCK]) {
        let mut lanes = [f32::NEG_INFINITY; 16];
        let (mut positive, mut negative) = (self.positive, self.negative);
        for chunk in block.as_chunks::<16>().0 {
            let numbers = positive.iter_mut().zip(&mut negative);
            for ((lane, (positive, negative)), &logit) in lanes.iter_mut().zip(numbers).zip(chunk) {
                *lane = if logit > *lane { logit } else { *lane };
                *positive = (*positive).max(logit.to_bits() as i32);
                *negative = (*negative).max(logit.to_bits());
            }
        }
        (self.positive, self.negative) = (positive, negative);
        // By halves, which is done in vectors too.
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                lanes[lane] = if lanes[lane + half] > lanes[lane] { lanes[lane + half] } else { lanes[lane] };
            }
        }
        self.maxima.push(lanes[0]);
    }
}

/// Finds the tokens that are kept.
struct Holding {
    kept: Kept,
    hits: Hits,
}

impl BlockWork for Holding {
    #[inline(always)]
    fn block(&mut self, number: usize, block: &[f32; BLOCK]) {
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
