//! Models: load, unload, describe, and their text functions.

use std::ffi::c_char;

use super::errors::worker_status_t;
use super::guard;
use super::handles::{model, worker_model_t};
use super::marshal::{array, array_output, options_init, output, output_struct, text, text_output};
use super::model_calls as calls;
use super::objects::registry;
use super::types::{worker_chat_options_t, worker_error_t, worker_memory_t, worker_model_options_t};

/// Sets options to their defaults: all zero, with struct_size.
///
/// - options: the struct; NULL does nothing.
/// - size: sizeof(worker_model_options_t) in the caller's program.
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL), WORKER_ERROR_ABI_MISMATCH (no such size).
/// *Ownership*: the struct stays the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `options` is NULL or valid for `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn worker_model_options_init(
    options: *mut worker_model_options_t,
    size: usize,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::plain(|| options_init(options, size)) }
}

/// Loads a model from a GGUF file.
///
/// - path: the file's path, in the system's bytes (UTF-8 as a rule); need not end in NUL.
/// - path_length: bytes of path.
/// - options: how to load it; NULL for the defaults.
/// - out_model: set to the model's handle; 0 on failure.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_INPUT_OUTPUT (no such file, no permission), WORKER_ERROR_MODEL_LOAD_FAILED (damaged; the detail
/// names the key or tensor), WORKER_ERROR_MODEL_UNSUPPORTED, WORKER_ERROR_OUT_OF_MEMORY, WORKER_ERROR_INVALID_DEVICE,
/// WORKER_ERROR_RESIDENCY_FAILED, WORKER_ERROR_CANCELLED (by progress), WORKER_ERROR_INVALID_PARAMETER,
/// WORKER_ERROR_ABI_MISMATCH, WORKER_ERROR_HANDLES_EXHAUSTED.
/// *Ownership*: the caller owns the model and ends it with worker_model_unload(). progress_destroy is called before the
/// call returns, whatever it returns.
/// *Thread*: any; models load side by side.
/// *Blocks*: while the file is read. To end it early, return non-zero from progress.
///
/// # Safety
/// `path` is valid for `path_length` bytes, `out_model` NULL or valid; `options` and `error` are NULL or valid for the
/// size that their first member tells, and so is what the options point to.
#[no_mangle]
pub unsafe extern "C" fn worker_model_load(
    path: *const c_char,
    path_length: usize,
    options: *const worker_model_options_t,
    out_model: *mut worker_model_t,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || output(out_model, "out_model")?.write_with(|| calls::load(path, path_length, options)))
    }
}

/// Unloads a model: its sessions end with WORKER_END_CLOSED, its memory is freed, and its handle and theirs become stale.
///
/// - model: the model.
///
/// *Errors*: WORKER_ERROR_INVALID_HANDLE, WORKER_ERROR_STALE_HANDLE (it was unloaded before), WORKER_ERROR_WRONG_KIND,
/// WORKER_ERROR_FORKED.
/// *Ownership*: ends the caller's ownership of the model and of its sessions.
/// *Thread*: any, also while others use the model: their calls end cleanly.
/// *Blocks*: until the step that is running ends.
#[no_mangle]
pub extern "C" fn worker_model_unload(model: worker_model_t) -> worker_status_t {
    guard::plain(|| registry().close::<crate::cuda::CudaModel>(model))
}

/// Describes a model as a JSON object: architecture, shape, quantisation, tokenizer, context, licence, size.
///
/// - model: the model.
/// - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
/// - capacity: bytes of buffer.
/// - needed: set to the bytes that the text takes, its NUL included; may be NULL.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL, the handle errors of worker_model_unload(), WORKER_ERROR_INVALID_PARAMETER.
/// *Ownership*: the buffer stays the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `buffer` is NULL or valid for `capacity` bytes, `needed` NULL or valid; `error` is NULL or valid for the size that
/// its first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_model_info_json(
    model: worker_model_t,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || {
            text_output(buffer, capacity, needed)?
                .write_with(|| Ok(self::model(model)?.model()?.information().to_string().into_bytes()))
        })
    }
}

/// Tells how much device memory a model uses, by purpose.
///
/// - model: the model.
/// - out: the bytes; its struct_size must be set.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: the handle errors of worker_model_unload(), WORKER_ERROR_INVALID_PARAMETER, WORKER_ERROR_ABI_MISMATCH.
/// *Ownership*: the structs stay the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `out` and `error` are NULL or valid for the size that their first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_model_memory(
    model: worker_model_t,
    out: *mut worker_memory_t,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::status(error, || calls::memory(model, &output_struct(out, "out")?)) }
}

/// Turns text into tokens.
///
/// - model: the model.
/// - text: the text, in UTF-8; NULL with text_length 0.
/// - text_length: bytes of text.
/// - flags: WORKER_TOKENIZE_ADD_SPECIAL and WORKER_TOKENIZE_PARSE_SPECIAL, added; or 0.
/// - tokens: where the tokens go; may be NULL with capacity 0.
/// - capacity: how many tokens fit.
/// - needed: set to the number of tokens; may be NULL.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL, the handle errors of worker_model_unload(), WORKER_ERROR_INVALID_PARAMETER (not
/// UTF-8, unknown flags, NULL).
/// *Ownership*: the buffers stay the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `text` is valid for `text_length` bytes, `tokens` for `capacity` tokens, `needed` NULL or valid; `error` is NULL or
/// valid for the size that its first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_model_tokenize(
    model: worker_model_t,
    text: *const c_char,
    text_length: usize,
    flags: u32,
    tokens: *mut u32,
    capacity: usize,
    needed: *mut usize,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || {
            array_output(tokens, capacity, needed, "tokens")?
                .write_with(|| calls::tokenize(model, self::text(text, text_length, "text")?, flags))
        })
    }
}

/// Turns tokens into text.
///
/// - model: the model.
/// - tokens: the tokens; NULL with token_count 0.
/// - token_count: how many.
/// - flags: WORKER_DETOKENIZE_SPECIAL, or 0: special tokens are left out.
/// - buffer: where the text goes, with a NUL at its end; may be NULL with capacity 0. It is UTF-8 where the tokens are
///   whole characters: a character's bytes may be spread over several tokens.
/// - capacity: bytes of buffer.
/// - needed: set to the bytes that the text takes, its NUL included; may be NULL.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL, the handle errors of worker_model_unload(), WORKER_ERROR_INVALID_PARAMETER (a
/// token outside the vocabulary, unknown flags, NULL).
/// *Ownership*: the buffers stay the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `tokens` is valid for `token_count` tokens, `buffer` for `capacity` bytes, `needed` NULL or valid; `error` is NULL or
/// valid for the size that its first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_model_detokenize(
    model: worker_model_t,
    tokens: *const u32,
    token_count: usize,
    flags: u32,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || {
            text_output(buffer, capacity, needed)?
                .write_with(|| calls::detokenize(model, array(tokens, token_count, "tokens")?, flags))
        })
    }
}

/// Sets options to their defaults: all zero, with struct_size.
///
/// - options: the struct.
/// - size: sizeof(worker_chat_options_t) in the caller's program.
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL), WORKER_ERROR_ABI_MISMATCH (no such size).
/// *Ownership*: the struct stays the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `options` is NULL or valid for `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn worker_chat_options_init(options: *mut worker_chat_options_t, size: usize) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::plain(|| options_init(options, size)) }
}

/// Renders chat messages with the model's own template, into the prompt that the model was trained on.
///
/// - model: the model.
/// - messages_json: a JSON array such as [{"role": "user", "content": "Hello"}], in UTF-8.
/// - messages_length: bytes of messages_json.
/// - options: how to render; NULL for the defaults.
/// - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
/// - capacity: bytes of buffer.
/// - needed: set to the bytes that the text takes, its NUL included; may be NULL.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL, WORKER_ERROR_MODEL_UNSUPPORTED (the model has no template),
/// WORKER_ERROR_INVALID_PARAMETER (not JSON, or messages that the template refuses), the handle errors of
/// worker_model_unload(), WORKER_ERROR_ABI_MISMATCH.
/// *Ownership*: the buffers stay the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `messages_json` is valid for `messages_length` bytes, `buffer` for `capacity` bytes, `needed` NULL or valid; `options`
/// and `error` are NULL or valid for the size that their first member tells, and so is what the options point to.
#[no_mangle]
pub unsafe extern "C" fn worker_model_apply_chat_template(
    model: worker_model_t,
    messages_json: *const c_char,
    messages_length: usize,
    options: *const worker_chat_options_t,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || {
            text_output(buffer, capacity, needed)?
                .write_with(|| calls::render_chat(model, messages_json, messages_length, options))
        })
    }
}
