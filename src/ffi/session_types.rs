//! The public structs of sessions, scores and embeddings; see [`super::types`] for the rules of their layout.
#![allow(non_camel_case_types)]

use std::ffi::{c_char, c_void};

use super::types::{worker_kv_type_t, worker_text_t};

/// Kind of a constraint: one of the WORKER_CONSTRAINT_* values.
pub type worker_constraint_kind_t = u32;
/// No constraint.
pub const WORKER_CONSTRAINT_NONE: worker_constraint_kind_t = 0;
/// The text is JSON that a JSON schema describes.
pub const WORKER_CONSTRAINT_JSON_SCHEMA: worker_constraint_kind_t = 1;
/// The text matches a regular expression, from its beginning to its end.
pub const WORKER_CONSTRAINT_REGEX: worker_constraint_kind_t = 2;
/// The text follows a grammar in Lark's notation.
pub const WORKER_CONSTRAINT_LARK: worker_constraint_kind_t = 3;

/// Makes one token more or less likely.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct worker_logit_bias_t {
    /// The token.
    pub token: u32,
    /// Added to its logit; negative infinity forbids it.
    pub bias: f32,
}

/// A token and how likely it was.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct worker_logprob_t {
    /// The token.
    pub token: u32,
    /// Natural logarithm of its probability in the model's own distribution.
    pub logprob: f32,
}

/// How to generate. Everything zero means: always the likeliest token, until the text or the context ends.
#[repr(C)]
pub struct worker_session_options_t {
    /// sizeof(worker_session_options_t).
    pub struct_size: u32,
    /// Tokens to generate at most; 0: as many as the context holds.
    pub maximum_tokens: u32,
    /// 0 to 100: divides the logits before the draw; 0 always takes the likeliest token (of equals, the lowest).
    pub temperature: f32,
    /// Keep so many likeliest tokens; 0: all.
    pub top_k: u32,
    /// 0 to 1: keep the fewest likeliest tokens whose probabilities reach this sum; 0 and 1: all.
    pub top_p: f32,
    /// 0 to 1: keep tokens at least this fraction as likely as the likeliest; 0: all.
    pub min_p: f32,
    /// 0 to 1: keep the tokens closest to the expected surprise whose probabilities reach this sum; 0 and 1: all.
    pub typical_p: f32,
    /// Up to 100: makes tokens of the window less likely, dividing positive logits and multiplying others; 0 and 1: off.
    pub repetition_penalty: f32,
    /// -100 to 100: subtracted from the logits of tokens that occur in the window; 0: off.
    pub presence_penalty: f32,
    /// -100 to 100: subtracted from a token's logit for each time it occurs in the window; 0: off.
    pub frequency_penalty: f32,
    /// How many of the last tokens the penalties look at; 0: 64.
    pub penalty_window: u32,
    /// 1: seed is given; 0: the library draws one, which worker_session_seed() tells.
    pub seed_given: u32,
    /// Seed of the random numbers: with the same seed, model, device and options come the same tokens.
    pub seed: u64,
    /// Tokens that get a bias; NULL: none.
    pub logit_bias: *const worker_logit_bias_t,
    /// How many logit_bias has.
    pub logit_bias_count: u64,
    /// Texts before which generation ends; they are never emitted, not even in part. None may be empty. NULL: none.
    pub stop: *const worker_text_t,
    /// How many stop has.
    pub stop_count: u64,
    /// 0 to 20: how many of the likeliest tokens come with each token event, beside its own logprob; 0: no logprobs.
    pub logprobs: u32,
    /// What the text must match: one of the WORKER_CONSTRAINT_* values.
    pub constraint_kind: worker_constraint_kind_t,
    /// The schema, expression or grammar, in UTF-8; NULL with WORKER_CONSTRAINT_NONE.
    pub constraint: *const c_char,
    /// Bytes of constraint.
    pub constraint_length: u64,
    /// Milliseconds after which the session ends with WORKER_END_DEADLINE; 0: no deadline.
    pub deadline_ms: u64,
    /// 1: never generate an end-of-text token.
    pub ignore_end: u32,
    /// 0.
    pub reserved: u32,
}

/// Kind of an event: one of the WORKER_EVENT_* values.
pub type worker_event_kind_t = u32;
/// Nothing happened: the call failed or timed out.
pub const WORKER_EVENT_NONE: worker_event_kind_t = 0;
/// A token was generated.
pub const WORKER_EVENT_TOKEN: worker_event_kind_t = 1;
/// The session is over; reading again gives this again.
pub const WORKER_EVENT_END: worker_event_kind_t = 2;
/// Running the model failed: error_code says how, and so does the call that gave this event. The end event comes next,
/// with WORKER_END_ERROR.
pub const WORKER_EVENT_ERROR: worker_event_kind_t = 3;

/// Why a session ended: one of the WORKER_END_* values.
pub type worker_end_reason_t = u32;
/// It has not ended.
pub const WORKER_END_NONE: worker_end_reason_t = 0;
/// The model generated an end-of-text token.
pub const WORKER_END_OF_TEXT: worker_end_reason_t = 1;
/// As many tokens were generated as were asked for.
pub const WORKER_END_MAXIMUM_TOKENS: worker_end_reason_t = 2;
/// The text ran into a stop string.
pub const WORKER_END_STOP_STRING: worker_end_reason_t = 3;
/// The host cancelled it.
pub const WORKER_END_CANCELLED: worker_end_reason_t = 4;
/// The session or its model was closed while it ran.
pub const WORKER_END_CLOSED: worker_end_reason_t = 5;
/// The deadline passed.
pub const WORKER_END_DEADLINE: worker_end_reason_t = 6;
/// The context has no room for another token.
pub const WORKER_END_CONTEXT_FULL: worker_end_reason_t = 7;
/// Running the model failed; the error event came before.
pub const WORKER_END_ERROR: worker_end_reason_t = 8;
/// The constraint is met, and nothing may follow.
pub const WORKER_END_CONSTRAINT_COMPLETE: worker_end_reason_t = 9;

/// One thing that happened in a session. Before the call set `struct_size`, and `text` and `text_capacity` to a buffer of
/// yours (256 bytes are plenty for a token); where logprobs were asked for, also `top` and `top_capacity`. These are
/// never written; everything else is.
#[repr(C)]
pub struct worker_event_t {
    /// In: sizeof(worker_event_t).
    pub struct_size: u32,
    /// Out: one of the WORKER_EVENT_* values.
    pub kind: worker_event_kind_t,
    /// In: where the token's text goes.
    pub text: *mut c_char,
    /// In: bytes of text.
    pub text_capacity: u64,
    /// Out: bytes of the token's text, without the NUL that is written after it. The text is whole UTF-8 characters and
    /// may be empty: a character that takes several tokens comes with the last of them.
    pub text_length: u64,
    /// Out: bytes that text must have for this event; more than text_capacity with WORKER_ERROR_BUFFER_TOO_SMALL.
    pub text_needed: u64,
    /// In: where the likeliest tokens go, likeliest first; may be NULL where no logprobs were asked for.
    pub top: *mut worker_logprob_t,
    /// In: how many top can take.
    pub top_capacity: u32,
    /// Out: how many there are; more than top_capacity with WORKER_ERROR_BUFFER_TOO_SMALL.
    pub top_count: u32,
    /// Out: the token.
    pub token: u32,
    /// Out: its number in the session, from 0.
    pub index: u32,
    /// Out: 1 where logprob is set: logprobs were asked for.
    pub has_logprob: u32,
    /// Out: natural logarithm of the token's probability in the model's own distribution.
    pub logprob: f32,
    /// Out: why the session ended: one of the WORKER_END_* values.
    pub end_reason: worker_end_reason_t,
    /// Out: the code of an error event.
    pub error_code: i32,
    /// Out, at the end: which of the stop strings was met, from 0; -1: none.
    pub matched_stop: i32,
    /// Out, at the end: tokens of the prompt.
    pub prompt_tokens: u32,
    /// Out, at the end: how many of those were computed already by an earlier session.
    pub cached_tokens: u32,
    /// Out, at the end: tokens generated.
    pub generated_tokens: u32,
}

/// What a session took so far.
#[repr(C)]
pub struct worker_usage_t {
    /// In: sizeof(worker_usage_t).
    pub struct_size: u32,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// How many of those were computed already by an earlier session.
    pub cached_tokens: u32,
    /// Tokens generated; the end-of-text token is not counted.
    pub generated_tokens: u32,
    /// Seconds from the start until the session got its place.
    pub queue_seconds: f64,
    /// Seconds from there until the first token.
    pub prefill_seconds: f64,
    /// Seconds from the first token until the end, or until now.
    pub decode_seconds: f64,
    /// Seconds from the start until the first token; 0 while there is none.
    pub first_token_seconds: f64,
}

/// Told each event of a session by worker_session_run(), on the thread that called it. The event, its text (which ends
/// in NUL) and its top are valid until it returns. Returns 0 to go on; anything else cancels the session.
pub type worker_event_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, event: *const worker_event_t) -> i32>;

/// What worker_model_score() writes: one of the WORKER_SCORE_* values.
pub type worker_score_kind_t = u32;
/// For each token, what the model expects next: one logit for every token of the vocabulary.
pub const WORKER_SCORE_LOGITS: worker_score_kind_t = 0;
/// For each token but the first, one number: the natural logarithm of its probability after those before it.
pub const WORKER_SCORE_LOGPROBS: worker_score_kind_t = 1;

/// What to compute about given tokens. Everything zero means: logits, for every token.
#[repr(C)]
pub struct worker_score_options_t {
    /// sizeof(worker_score_options_t).
    pub struct_size: u32,
    /// One of the WORKER_SCORE_* values.
    pub kind: worker_score_kind_t,
    /// Type of the KV cache: one of the WORKER_KV_* values; WORKER_KV_F32 where exactness counts.
    pub kv_type: worker_kv_type_t,
    /// 0.
    pub reserved: u32,
    /// Only for so many last tokens; 0: for all that have scores.
    pub last: u64,
}

/// How token states become an embedding: one of the WORKER_POOLING_* values.
pub type worker_pooling_t = u32;
/// The mean over the tokens.
pub const WORKER_POOLING_MEAN: worker_pooling_t = 0;
/// The last token's state.
pub const WORKER_POOLING_LAST: worker_pooling_t = 1;
/// No pooling: one vector for each token.
pub const WORKER_POOLING_NONE: worker_pooling_t = 2;
/// The first token's state.
pub const WORKER_POOLING_FIRST: worker_pooling_t = 3;

/// How to embed tokens. Everything zero means: the mean of their states, as it is.
#[repr(C)]
pub struct worker_embed_options_t {
    /// sizeof(worker_embed_options_t).
    pub struct_size: u32,
    /// One of the WORKER_POOLING_* values.
    pub pooling: worker_pooling_t,
    /// 1: scale each vector to length 1.
    pub normalize: u32,
    /// 0.
    pub reserved: u32,
}
