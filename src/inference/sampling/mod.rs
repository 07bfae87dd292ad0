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
//! Probabilities are single-precision exponentials relative to the maximum, turned into whole numbers of 2^-38ths: sums of
//! them are exact in any order, so a device that adds them in another one chooses the same token. So are the products of
//! probability and surprise that the expected surprise is made of.
//! Log-probabilities that are reported belong to the model's own distribution: all logits as the model gave them,
//! before step 1.

mod blocks;
mod distribution;
mod exponential;
mod filters;
mod guess;
mod kept;
mod open;
mod penalties;
pub mod rng;
mod shares;

use std::cell::OnceCell;
use std::sync::Arc;

use self::distribution::{Candidate, Distribution};
use self::exponential::{exponential, mass};
use self::filters::{maximum, Remaining};
use self::penalties::PenaltyWindow;
use super::request::SamplingOptions;
use crate::engine::{Sampling, TokenBias};
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
    /// The options' logit bias, as a device takes it; made when it is first asked for.
    biases: OnceCell<Arc<[TokenBias]>>,
    penalties: Option<PenaltyWindow>,
    seed: u64,
    index: u64,
}

impl Sampler {
    /// A sampler with validated `options` for a session that continues `prompt`.
    #[must_use]
    pub fn new(options: SamplingOptions, seed: u64, prompt: &[u32]) -> Self {
        let penalties = PenaltyWindow::new(&options, prompt);
        Self { options, biases: OnceCell::new(), penalties, seed, index: 0 }
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
            let likeliest = distribution.maximum();
            self.draw(self.filter(distribution), likeliest)
        };
        self.accept(token);
        Ok(token)
    }

    /// What a device needs to choose the next token as [`sample`](Self::sample) would; `allowed` has a bit for each token that
    /// the constraint lets through. The token is then given to [`accept`](Self::accept).
    pub fn parameters(&self, allowed: Option<Vec<u32>>) -> Sampling {
        let options = &self.options;
        let biases = self.biases.get_or_init(|| {
            options.logit_bias.iter().map(|&(token, bias)| TokenBias { token, bias }).collect::<Vec<_>>().into()
        });
        Sampling {
            seed: self.seed,
            index: self.index,
            temperature: options.temperature,
            top_k: options.top_k,
            typical_p: options.typical_p,
            top_p: options.top_p,
            min_p_logarithm: options.min_p.ln(),
            repetition_penalty: options.repetition_penalty,
            frequency_penalty: options.frequency_penalty,
            presence_penalty: options.presence_penalty,
            window: self.penalties.as_ref().map_or_else(Vec::new, PenaltyWindow::tokens),
            biases: Arc::clone(biases),
            allowed,
        }
    }

    /// Takes in the token that was chosen.
    pub fn accept(&mut self, token: u32) {
        self.index += 1;
        if let Some(penalties) = &mut self.penalties {
            penalties.accept(token);
        }
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

    /// Draws from what remains of tokens of which the likeliest had the logit `likeliest`.
    fn draw(&self, remaining: Remaining, likeliest: f32) -> u32 {
        let place_among = |total| rng::below(self.seed, self.index, total);
        let scale = scale(self.options.temperature);
        match remaining {
            Remaining::All(distribution) => {
                let reference = reference(likeliest, distribution.maximum(), scale);
                let blocks = distribution.block_masses(reference, scale);
                let target = place_among(blocks.iter().sum());
                let (block, before) = place(blocks.iter().copied(), target);
                let (first, logits) = distribution.block(block);
                let masses = logits.map(|logit| mass(exponential((logit - reference) * scale)));
                first + place(masses, target - before).0 as u32
            }
            Remaining::Some(candidates) => {
                let reference = reference(likeliest, maximum(&candidates), scale);
                let masses =
                    || candidates.iter().map(|candidate| mass(exponential((candidate.logit - reference) * scale)));
                let (chosen, _) = place(masses(), place_among(masses().sum()));
                candidates[chosen].token
            }
        }
    }
}

/// The logit whose token has a mass of 1 in the draw: the likeliest of all, so that what a filter added up can be used again;
/// but the likeliest that is left, `maximum`, where that is not a thousandth as likely.
fn reference(likeliest: f32, maximum: f32, scale: f32) -> f32 {
    const LN_OF_THOUSAND: f32 = 6.9;
    if (likeliest - maximum) * scale <= LN_OF_THOUSAND {
        likeliest
    } else {
        maximum
    }
}

/// What multiplies the logits at `temperature`: so small a one that its inverse is infinite would make 0 * infinity of the
/// likeliest token.
fn scale(temperature: f32) -> f32 {
    (1.0 / temperature).min(f32::MAX)
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

/// The first place at which the running sum of `masses` passes `target`, which is less than all of them, and the sum
/// before it. A mass of 0 is never chosen.
fn place(masses: impl Iterator<Item = u64>, target: u64) -> (usize, u64) {
    let mut sum = 0;
    let mut last = (0, 0);
    for (index, mass) in masses.enumerate() {
        last = (index, sum);
        sum += mass;
        if sum > target {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests;
