//! How the next token is chosen from a position's logits.
//!
//! In this order, which is the reference engine's default one:
//!
//! 1. logit bias is added, and what the constraint forbids is taken out;
//! 2. penalties: repetition, frequency and presence, over the window of last tokens, the prompt's included;
//! 3. at temperature 0 the likeliest token is taken, of equals the lowest: steps 4 to 8 do not apply;
//! 4. top-k;
//! 5. typical;
//! 6. top-p;
//! 7. min-p: each filter works on the probabilities among the tokens that the ones before it left, at temperature 1;
//! 8. temperature divides what is left, and a token is drawn: the random number is a function of the seed and of the
//!    token's index alone ([`rng`]).
//!
//! Probabilities are computed from single-precision exponentials relative to the maximum, summed in double precision.
//! Log-probabilities that are reported belong to the model's own distribution: all logits as the model gave them,
//! before step 1.

mod distribution;
mod exponential;
mod filters;
mod penalties;
pub mod rng;

use self::distribution::{Candidate, Distribution};
use self::exponential::exponential;
use self::filters::{maximum, Remaining};
use self::penalties::PenaltyWindow;
use super::request::SamplingOptions;
use crate::error::Result;

/// The log-probability of a token and of the likeliest ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    /// The chosen token's.
    pub chosen: f32,
    /// The likeliest tokens and theirs, likeliest first.
    pub top: Vec<(u32, f32)>,
}

/// Chooses the tokens of one session.
pub struct Sampler {
    options: SamplingOptions,
    penalties: Option<PenaltyWindow>,
    seed: u64,
    index: u64,
}

impl Sampler {
    /// A sampler with validated `options` for a session that continues `prompt`.
    #[must_use]
    pub fn new(options: SamplingOptions, seed: u64, prompt: &[u32]) -> Self {
        let penalties = PenaltyWindow::new(&options, prompt);
        Self { options, penalties, seed, index: 0 }
    }

    /// Chooses the next token from `logits`, which are changed on the way; `mask` takes out what a constraint forbids.
    ///
    /// Fails where a logit is not a number, or nothing is allowed.
    pub fn sample(&mut self, logits: &mut [f32], mask: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<u32> {
        for &(token, bias) in &self.options.logit_bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
        mask(logits)?;
        if let Some(penalties) = &self.penalties {
            penalties.apply(logits);
        }
        let distribution = Distribution::new(logits)?;
        let token = if self.options.temperature == 0.0 {
            distribution.likeliest()
        } else {
            self.draw(self.filter(distribution))
        };
        self.index += 1;
        if let Some(penalties) = &mut self.penalties {
            penalties.accept(token);
        }
        Ok(token)
    }

    fn filter<'a>(&self, distribution: Distribution<'a>) -> Remaining<'a> {
        let options = &self.options;
        let mut remaining = Remaining::All(distribution);
        if options.top_k > 0 {
            remaining = remaining.top_k(options.top_k as usize);
        }
        if options.typical_p < 1.0 {
            remaining = remaining.typical(f64::from(options.typical_p));
        }
        if options.top_p < 1.0 {
            remaining = remaining.top_p(f64::from(options.top_p));
        }
        if options.min_p > 0.0 {
            remaining = remaining.min_p(options.min_p);
        }
        remaining
    }

    fn draw(&self, remaining: Remaining) -> u32 {
        let uniform = rng::uniform(self.seed, self.index);
        // A temperature so small that its inverse is infinite would make 0 * infinity of the likeliest token.
        let scale = (1.0 / self.options.temperature).min(f32::MAX);
        match remaining {
            Remaining::All(distribution) => {
                let sums = distribution.block_sums(scale);
                let total: f64 = sums.iter().sum();
                let (block, before) = place(sums.iter().copied(), uniform * total);
                let (first, logits) = distribution.block(block);
                let maximum = distribution.maximum();
                let weights = logits.iter().map(|logit| f64::from(exponential((logit - maximum) * scale)));
                first + place(weights, uniform * total - before).0 as u32
            }
            Remaining::Some(candidates) => {
                let maximum = maximum(&candidates);
                let weights =
                    || candidates.iter().map(|candidate| f64::from(exponential((candidate.logit - maximum) * scale)));
                let total: f64 = weights().sum();
                let (chosen, _) = place(weights(), uniform * total);
                candidates[chosen].token
            }
        }
    }
}

/// The log-probabilities of the `count` likeliest tokens in the distribution that `logits` are; the chosen one's is
/// asked for later, by [`ModelLogprobs::of`], since sampling changes the logits.
pub struct ModelLogprobs {
    log_sum: f64,
    top: Vec<Candidate>,
}

impl ModelLogprobs {
    /// Looks at the logits as the model gave them.
    pub fn new(logits: &[f32], count: usize) -> Result<Self> {
        let distribution = Distribution::new(logits)?;
        Ok(Self { log_sum: distribution.log_sum(), top: distribution.top(count) })
    }

    /// The result for the token that was chosen, whose logit was `logit` before sampling.
    #[must_use]
    pub fn of(self, logit: f32) -> Logprobs {
        let logprob = |logit: f32| (f64::from(logit) - self.log_sum) as f32;
        let top = self.top.iter().map(|candidate| (candidate.token, logprob(candidate.logit))).collect();
        Logprobs { chosen: logprob(logit), top }
    }
}

/// The first place at which the running sum of `weights` passes `target`, and the sum before it.
///
/// A weight of 0 is never chosen. Where rounding keeps the sum from passing, the last place with a weight is taken.
fn place(weights: impl Iterator<Item = f64>, target: f64) -> (usize, f64) {
    let mut sum = 0.0;
    let mut last = (0, 0.0);
    for (index, weight) in weights.enumerate() {
        if weight > 0.0 {
            last = (index, sum);
            sum += weight;
            if sum > target {
                return last;
            }
        }
    }
    last
}

#[cfg(test)]
mod tests;
