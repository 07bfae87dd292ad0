//! The logits of one position, indexed by the maxima of their blocks, so that the few likeliest tokens are found
//! without sorting or even visiting most of the vocabulary.

use std::borrow::Cow;

use super::exponential::{block_masses, log_sum, on_each_block, BlockWork, BLOCK};
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
    block_maxima: Vec<f32>,
    maximum: f32,
}

impl<'a> Distribution<'a> {
    /// Looks at every logit once.
    pub(super) fn new(logits: &'a [f32]) -> Result<Self> {
        let distribution = Self::indexed(Cow::Borrowed(logits));
        let maximum = distribution.maximum;
        if maximum.is_nan() || maximum == f32::INFINITY {
            let token = logits.iter().position(|logit| logit.is_nan() || *logit == f32::INFINITY).unwrap_or(0);
            return Err(not_finite(token as u32, logits[token]));
        }
        if maximum == f32::NEG_INFINITY {
            return Err(nothing_allowed());
        }
        Ok(distribution)
    }

    /// Of logits that come from a distribution, some of them forbidden since.
    pub(super) fn of_finite(logits: Vec<f32>) -> Self {
        Self::indexed(Cow::Owned(logits))
    }

    fn indexed(logits: Cow<'a, [f32]>) -> Self {
        let mut work = BlockMaxima(vec![0.0; logits.len().div_ceil(BLOCK)]);
        on_each_block(&logits, &mut work);
        let BlockMaxima(block_maxima) = work;
        let maximum =
            block_maxima.iter().copied().fold(f32::NEG_INFINITY, |a, b| if a.is_nan() || a > b { a } else { b });
        Self { logits, block_maxima, maximum }
    }

    /// All of them.
    pub(super) fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// The logit of the likeliest token.
    pub(super) fn maximum(&self) -> f32 {
        self.maximum
    }

    /// The likeliest token, of equals the lowest.
    pub(super) fn likeliest(&self) -> u32 {
        let block = self.block_maxima.iter().position(|&maximum| maximum == self.maximum).unwrap_or(0);
        let within = self.logits[block * BLOCK..].iter().position(|&logit| logit == self.maximum).unwrap_or(0);
        (block * BLOCK + within) as u32
    }

    /// The natural logarithm of the sum of all exponentials.
    pub(super) fn log_sum(&self) -> f64 {
        log_sum(&self.logits, self.maximum)
    }

    /// The masses of e^((logit - maximum) * scale), summed over each block.
    pub(super) fn block_masses(&self, scale: f32) -> Vec<u64> {
        block_masses(&self.logits, self.maximum, scale)
    }

    /// The logits of one block, and the token that the first of them belongs to.
    pub(super) fn block(&self, index: usize) -> (u32, &[f32]) {
        let start = index * BLOCK;
        (start as u32, &self.logits[start..self.logits.len().min(start + BLOCK)])
    }

    /// Every token that is not forbidden, in rising order.
    pub(super) fn all(&self) -> Vec<Candidate> {
        self.at_least(f32::MIN)
    }

    /// The tokens whose logit is at least `threshold`, in rising order.
    pub(super) fn at_least(&self, threshold: f32) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for (block, maximum) in self.block_maxima.iter().enumerate() {
            if *maximum >= threshold {
                let (first, logits) = self.block(block);
                let tokens = logits.iter().zip(first..);
                candidates.extend(
                    tokens.filter(|(logit, _)| **logit >= threshold).map(|(&logit, token)| Candidate { token, logit }),
                );
            }
        }
        candidates
    }

    /// The same with the tokens forbidden whose logit is below `threshold`.
    pub(super) fn without_below<'b>(&self, threshold: f32) -> Distribution<'b> {
        let keep = |&logit: &f32| if logit >= threshold { logit } else { f32::NEG_INFINITY };
        Distribution::of_finite(self.logits.iter().map(keep).collect())
    }

    /// About how many tokens have at least this logit; never too few.
    pub(super) fn most_at_least(&self, threshold: f32) -> usize {
        self.block_maxima.iter().filter(|maximum| **maximum >= threshold).count() * BLOCK
    }

    /// The `count` likeliest tokens, likeliest first; fewer where fewer are allowed.
    pub(super) fn top(&self, count: usize) -> Vec<Candidate> {
        let mut candidates = if count >= self.block_maxima.len() {
            self.all()
        } else {
            // At least `count` blocks, hence tokens, reach the count-th largest block maximum: nothing below it can be
            // among the `count` likeliest.
            let mut maxima = self.block_maxima.clone();
            let (_, bound, _) = maxima.select_nth_unstable_by(count.saturating_sub(1), |a, b| b.total_cmp(a));
            self.at_least(bound.max(f32::MIN))
        };
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

/// The largest logit of each block; NaN if there is any, or a positive infinity.
struct BlockMaxima(Vec<f32>);

impl BlockWork for BlockMaxima {
    #[inline(always)]
    fn block(&mut self, number: usize, block: &[f32; BLOCK]) {
        let mut lanes = [f32::NEG_INFINITY; 16];
        let mut poison = [0f32; 16];
        for chunk in block.as_chunks::<16>().0 {
            for ((lane, poison), &logit) in lanes.iter_mut().zip(&mut poison).zip(chunk) {
                *lane = if logit > *lane { logit } else { *lane };
                // 0 unless the logit is NaN or infinite; negative infinity is allowed and is taken out first.
                *poison += if logit == f32::NEG_INFINITY { 0.0 } else { logit * 0.0 };
            }
        }
        // By halves, which is done in vectors too.
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                lanes[lane] = if lanes[lane + half] > lanes[lane] { lanes[lane + half] } else { lanes[lane] };
                poison[lane] += poison[lane + half];
            }
        }
        self.0[number] = lanes[0] + poison[0];
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
        for bad in [f32::NAN, f32::INFINITY] {
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
