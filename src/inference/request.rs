//! What a host asks for: the prompt, how long, how to sample, where to stop. Checked before any work is done.

use std::time::Duration;

use super::constraint::ConstraintSource;
use crate::error::{Code, Error, Result};

/// What a session continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Text; the names of special tokens in it are read as those tokens, and the model's beginning token is
    /// added where the text does not begin with it.
    Text(String),
    /// Token ids, taken as they are.
    Tokens(Vec<u32>),
    /// Chat messages as JSON (`[{"role": "user", "content": "..."}]`), rendered by the model's own chat template.
    Chat(String),
}

/// Everything a session needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRequest {
    /// What to continue.
    pub prompt: Prompt,
    /// At most this many tokens are generated; 0: as many as the context holds.
    pub maximum_tokens: u32,
    /// How the next token is chosen.
    pub sampling: SamplingOptions,
    /// Generation ends before any of these texts would be emitted. None of them may be empty.
    pub stop: Vec<String>,
    /// The seed of the random numbers; `None` generates one, which [`super::Session::seed`] tells.
    pub seed: Option<u64>,
    /// How many of the likeliest tokens come with each token event, at most [`MAXIMUM_LOGPROBS`]; 0: no logprobs.
    pub logprobs: u32,
    /// What the text must match.
    pub constraint: Option<ConstraintSource>,
    /// The session ends when this much time has passed since its start.
    pub deadline: Option<Duration>,
    /// Never generate an end-of-generation token.
    pub ignore_end: bool,
}

/// Most `logprobs` a request may ask for.
pub const MAXIMUM_LOGPROBS: u32 = 20;

/// Tokens that the penalties look back over where the request leaves it open.
pub const DEFAULT_PENALTY_WINDOW: u32 = 64;

/// How the next token is chosen; see [`super::sampling`] for the order in which these apply.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingOptions {
    /// Divides the logits before the draw; 0 always takes the likeliest token.
    pub temperature: f32,
    /// Keep the k likeliest tokens; 0: all.
    pub top_k: u32,
    /// Keep the fewest likeliest tokens whose probabilities reach this sum; 1: all.
    pub top_p: f32,
    /// Keep tokens at least this fraction as likely as the likeliest; 0: all.
    pub min_p: f32,
    /// Keep the tokens closest to the expected surprise whose probabilities pass this sum; 1: all.
    pub typical_p: f32,
    /// Makes tokens of the window less likely: divides positive logits, multiplies the others; 1: off.
    pub repetition_penalty: f32,
    /// Subtracted once from the logits of tokens in the window; 0: off.
    pub presence_penalty: f32,
    /// Subtracted from the logits of tokens in the window for each time they occur there; 0: off.
    pub frequency_penalty: f32,
    /// How many of the last tokens, the prompt's included, the penalties look at; 0: [`DEFAULT_PENALTY_WINDOW`].
    pub penalty_window: u32,
    /// Added to these tokens' logits before anything else; negative infinity forbids a token.
    pub logit_bias: Vec<(u32, f32)>,
}

impl Default for SamplingOptions {
    /// Draws from the model's own distribution.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            penalty_window: 0,
            logit_bias: Vec::new(),
        }
    }
}

impl SamplingOptions {
    /// Always the likeliest token.
    #[must_use]
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Refuses what is not a number or out of its range, naming the field.
    pub fn validate(&self, vocabulary: u32) -> Result<()> {
        within("temperature", self.temperature, 0.0, 100.0)?;
        within("top_p", self.top_p, 0.0, 1.0)?;
        within("min_p", self.min_p, 0.0, 1.0)?;
        within("typical_p", self.typical_p, 0.0, 1.0)?;
        within("repetition_penalty", self.repetition_penalty, f32::MIN_POSITIVE, 100.0)?;
        within("presence_penalty", self.presence_penalty, -100.0, 100.0)?;
        within("frequency_penalty", self.frequency_penalty, -100.0, 100.0)?;
        for (index, &(token, bias)) in self.logit_bias.iter().enumerate() {
            if token >= vocabulary {
                return Err(invalid(format!(
                    "logit_bias[{index}]: token {token} is outside the vocabulary of {vocabulary} tokens"
                )));
            }
            if bias.is_nan() || bias == f32::INFINITY {
                return Err(invalid(format!(
                    "logit_bias[{index}]: {bias} for token {token}; expected a finite number or -infinity"
                )));
            }
        }
        Ok(())
    }
}

impl SessionRequest {
    /// A request to continue `prompt` by at most `maximum_tokens` tokens, everything else by default.
    #[must_use]
    pub fn new(prompt: Prompt, maximum_tokens: u32) -> Self {
        Self {
            prompt,
            maximum_tokens,
            sampling: SamplingOptions::default(),
            stop: Vec::new(),
            seed: None,
            logprobs: 0,
            constraint: None,
            deadline: None,
            ignore_end: false,
        }
    }

    /// Refuses options out of their ranges, naming the field. The prompt is checked when it is turned into tokens.
    pub fn validate(&self, vocabulary: u32) -> Result<()> {
        self.sampling.validate(vocabulary)?;
        if self.logprobs > MAXIMUM_LOGPROBS {
            return Err(invalid(format!("logprobs: {} is outside 0 to {MAXIMUM_LOGPROBS}", self.logprobs)));
        }
        if let Some(index) = self.stop.iter().position(String::is_empty) {
            return Err(invalid(format!("stop[{index}] is empty; a stop string needs at least one character")));
        }
        Ok(())
    }
}

fn within(field: &str, value: f32, least: f32, most: f32) -> Result<()> {
    // Written so that NaN, which compares with nothing, is refused.
    if value >= least && value <= most {
        return Ok(());
    }
    if least == f32::MIN_POSITIVE {
        return Err(invalid(format!("{field}: {value} is outside the range above 0 up to {most}")));
    }
    Err(invalid(format!("{field}: {value} is outside {least} to {most}")))
}

fn invalid(detail: String) -> Error {
    Error::new(Code::InvalidParameter, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut SamplingOptions)) -> String {
        let mut options = SamplingOptions::default();
        change(&mut options);
        let error = options.validate(100).unwrap_err();
        assert_eq!(error.code, Code::InvalidParameter);
        error.detail
    }

    #[test]
    fn defaults_and_greedy_are_valid() {
        SamplingOptions::default().validate(1).unwrap();
        SamplingOptions::greedy().validate(1).unwrap();
        SessionRequest::new(Prompt::Text(String::new()), 1).validate(1).unwrap();
    }

    #[test]
    fn every_number_is_refused_out_of_range_and_as_nan_by_name() {
        type Set = fn(&mut SamplingOptions, f32);
        let fields: [(&str, Set, f32, f32); 7] = [
            ("temperature", |o, v| o.temperature = v, -0.1, 100.5),
            ("top_p", |o, v| o.top_p = v, -0.1, 1.1),
            ("min_p", |o, v| o.min_p = v, -0.1, 1.1),
            ("typical_p", |o, v| o.typical_p = v, -0.1, 1.1),
            ("repetition_penalty", |o, v| o.repetition_penalty = v, 0.0, 101.0),
            ("presence_penalty", |o, v| o.presence_penalty = v, -101.0, 101.0),
            ("frequency_penalty", |o, v| o.frequency_penalty = v, -101.0, 101.0),
        ];
        for (name, set, below, above) in fields {
            for value in [below, above, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let detail = refused(|options| set(options, value));
                assert!(detail.starts_with(&format!("{name}: {value} is outside")), "{detail}");
            }
        }
    }

    #[test]
    fn logit_bias_must_name_tokens_of_the_vocabulary_and_be_numbers() {
        assert!(refused(|o| o.logit_bias = vec![(0, 1.0), (100, 1.0)]).contains("logit_bias[1]: token 100"));
        assert!(refused(|o| o.logit_bias = vec![(0, f32::NAN)]).contains("logit_bias[0]: NaN"));
        assert!(refused(|o| o.logit_bias = vec![(0, f32::INFINITY)]).contains("logit_bias[0]: inf"));
        let banned = SamplingOptions { logit_bias: vec![(99, f32::NEG_INFINITY)], ..SamplingOptions::default() };
        banned.validate(100).unwrap();
    }

    #[test]
    fn empty_stop_strings_and_too_many_logprobs_are_refused() {
        let mut request = SessionRequest::new(Prompt::Tokens(vec![1]), 4);
        request.stop = vec!["a".into(), String::new()];
        assert!(request.validate(10).unwrap_err().detail.starts_with("stop[1] is empty"));
        request.stop.clear();
        request.logprobs = 21;
        assert_eq!(request.validate(10).unwrap_err().detail, "logprobs: 21 is outside 0 to 20");
    }
}
