//! How a device chooses a token from a row's logits: the parameters, and what comes of it.

use std::marker::PhantomData;
use std::sync::Arc;

use super::raw;
use crate::error::{Code, Error, Result};

/// What the choice of one token depends on beside the logits; [`crate::inference::sampling`] says what each does and in
/// which order. A device gives the token that the sampler there would.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// With `index` it gives the random number.
    pub seed: u64,
    /// The token's place in its session.
    pub index: u64,
    /// 0: the likeliest token, of equals the lowest.
    pub temperature: f32,
    /// 0: all.
    pub top_k: u32,
    /// 1: all.
    pub typical_p: f32,
    /// 1: all.
    pub top_p: f32,
    /// The natural logarithm of min-p; negative infinity: all.
    pub min_p_logarithm: f32,
    /// 1: none.
    pub repetition_penalty: f32,
    /// 0: none.
    pub frequency_penalty: f32,
    /// 0: none.
    pub presence_penalty: f32,
    /// The tokens that the penalties are for, each once.
    pub window: Vec<TokenCount>,
    /// Added in this order.
    pub biases: Arc<[TokenBias]>,
    /// One bit for each token that may follow, the lowest bit of the first word for token 0; `None`: all may.
    pub allowed: Option<Vec<u32>>,
}

/// A token, and how often it is in the penalties' window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct TokenCount {
    /// Which token.
    pub token: u32,
    /// How often.
    pub count: u32,
}

/// A token, and what is added to its logit.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct TokenBias {
    /// Which token.
    pub token: u32,
    /// How much.
    pub bias: f32,
}

/// The engine's view of samplings, which must outlive it.
pub(super) struct RawSamplings<'a> {
    entries: Vec<raw::engine_sampling>,
    _samplings: PhantomData<&'a [Sampling]>,
}

impl<'a> RawSamplings<'a> {
    /// Refuses a mask that is too short for the vocabulary: its length is not told to the engine.
    pub(super) fn new(samplings: &'a [Sampling], vocabulary: u32) -> Result<Self> {
        let words = vocabulary.div_ceil(32) as usize;
        for allowed in samplings.iter().filter_map(|sampling| sampling.allowed.as_ref()) {
            if allowed.len() < words {
                let detail = format!("a mask of {} words for a vocabulary of {vocabulary} tokens", allowed.len());
                return Err(Error::new(Code::InvalidParameter, detail));
            }
        }
        Ok(Self { entries: samplings.iter().map(raw_sampling).collect(), _samplings: PhantomData })
    }

    pub(super) fn as_slice(&self) -> &[raw::engine_sampling] {
        &self.entries
    }
}

fn raw_sampling(sampling: &Sampling) -> raw::engine_sampling {
    raw::engine_sampling {
        seed: sampling.seed,
        index: sampling.index,
        window: sampling.window.as_ptr().cast(),
        window_count: sampling.window.len() as u64,
        biases: sampling.biases.as_ptr().cast(),
        bias_count: sampling.biases.len() as u64,
        allowed: sampling.allowed.as_ref().map_or(std::ptr::null(), |words| words.as_ptr()),
        temperature: sampling.temperature,
        top_k: sampling.top_k,
        typical_p: sampling.typical_p,
        top_p: sampling.top_p,
        min_p_logarithm: sampling.min_p_logarithm,
        repetition_penalty: sampling.repetition_penalty,
        frequency_penalty: sampling.frequency_penalty,
        presence_penalty: sampling.presence_penalty,
    }
}

/// The token, or why there is none, in the words that the sampler of the host has.
pub(super) fn told(sampled: &raw::engine_sampled) -> Result<u32> {
    match sampled.status {
        raw::ENGINE_SAMPLED => Ok(sampled.token),
        raw::ENGINE_SAMPLED_NOT_FINITE => Err(not_finite(sampled.token, sampled.logit)),
        raw::ENGINE_SAMPLED_NOTHING => Err(nothing_allowed()),
        other => Err(Error::new(Code::Unknown, format!("the device's sampler gave the status {other}"))),
    }
}

/// A model's logit that no probability can be made of.
pub(crate) fn not_finite(token: u32, logit: f32) -> Error {
    Error::new(
        Code::InferenceFailed,
        format!("the model's logit for token {token} is {logit}; expected a finite number"),
    )
}

/// No token is left to choose from.
pub(crate) fn nothing_allowed() -> Error {
    Error::new(Code::InferenceFailed, "no token may follow: every one is forbidden by the constraint or the logit bias")
}

const _: () = {
    assert!(size_of::<TokenCount>() == size_of::<raw::engine_token_count>());
    assert!(std::mem::offset_of!(TokenCount, count) == std::mem::offset_of!(raw::engine_token_count, count));
    assert!(size_of::<TokenBias>() == size_of::<raw::engine_token_bias>());
    assert!(std::mem::offset_of!(TokenBias, bias) == std::mem::offset_of!(raw::engine_token_bias, bias));
};
