//! Scores and embeddings of given tokens.

use super::errors::worker_status_t;
use super::guard;
use super::handles::worker_model_t;
use super::marshal::{array, array_output, options_init};
use super::model_calls as calls;
use super::session_types::{worker_embed_options_t, worker_score_options_t};
use super::types::worker_error_t;

/// Sets options to their defaults: all zero, with struct_size.
///
/// - options: the struct.
/// - size: sizeof(worker_score_options_t) in the caller's program.
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL), WORKER_ERROR_ABI_MISMATCH (no such size).
/// *Ownership*: the struct stays the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `options` is NULL or valid for `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn worker_score_options_init(
    options: *mut worker_score_options_t,
    size: usize,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::plain(|| options_init(options, size)) }
}

/// Computes what the model makes of given tokens: for perplexity, reranking and evaluation.
///
/// - model: the model.
/// - tokens: the tokens, taken as they are.
/// - token_count: how many; from 1 to the context length.
/// - options: what to compute; NULL for the defaults.
/// - scores: where the numbers go, for the chosen tokens in order: a row of the vocabulary's size for each with
///   WORKER_SCORE_LOGITS, one number with WORKER_SCORE_LOGPROBS. May be NULL with capacity 0.
/// - capacity: how many numbers fit.
/// - needed: set to how many there are; may be NULL.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL (nothing was computed), WORKER_ERROR_INVALID_PARAMETER (a token outside the
/// vocabulary, too many, none), WORKER_ERROR_OUT_OF_MEMORY, WORKER_ERROR_INFERENCE_FAILED, the handle errors of
/// worker_model_unload(), WORKER_ERROR_ABI_MISMATCH.
/// *Ownership*: the buffers stay the caller's.
/// *Thread*: any; sessions of the model go on between its steps.
/// *Blocks*: while it computes.
///
/// # Safety
/// `tokens` is valid for `token_count` tokens, `scores` for `capacity` numbers, `needed` NULL or valid; `options` and
/// `error` are NULL or valid for the size that their first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_model_score(
    model: worker_model_t,
    tokens: *const u32,
    token_count: usize,
    options: *const worker_score_options_t,
    scores: *mut f32,
    capacity: usize,
    needed: *mut usize,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || {
            let output = array_output(scores, capacity, needed, "scores")?;
            calls::score(model, array(tokens, token_count, "tokens")?, options, output)
        })
    }
}

/// Sets options to their defaults: all zero, with struct_size.
///
/// - options: the struct.
/// - size: sizeof(worker_embed_options_t) in the caller's program.
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL), WORKER_ERROR_ABI_MISMATCH (no such size).
/// *Ownership*: the struct stays the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `options` is NULL or valid for `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn worker_embed_options_init(
    options: *mut worker_embed_options_t,
    size: usize,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::plain(|| options_init(options, size)) }
}

/// Computes embeddings of given tokens: the model's states after its last layer.
///
/// - model: the model.
/// - tokens: the tokens, taken as they are.
/// - token_count: how many; from 1 to the context length.
/// - options: how to pool; NULL for the defaults.
/// - embedding: where the numbers go: one vector of the model's width, or one for each token with WORKER_POOLING_NONE.
///   May be NULL with capacity 0.
/// - capacity: how many numbers fit.
/// - needed: set to how many there are; may be NULL.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: as worker_model_score().
/// *Ownership*: the buffers stay the caller's.
/// *Thread*: any; sessions of the model go on between its steps.
/// *Blocks*: while it computes.
///
/// # Safety
/// As worker_model_score().
#[no_mangle]
pub unsafe extern "C" fn worker_model_embed(
    model: worker_model_t,
    tokens: *const u32,
    token_count: usize,
    options: *const worker_embed_options_t,
    embedding: *mut f32,
    capacity: usize,
    needed: *mut usize,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || {
            let output = array_output(embedding, capacity, needed, "embedding")?;
            calls::embed(model, array(tokens, token_count, "tokens")?, options, output)
        })
    }
}
