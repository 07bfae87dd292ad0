//! Sessions: start, read, cancel, close.

use std::ffi::{c_char, c_void};

use super::errors::worker_status_t;
use super::guard;
use super::handles::{session, worker_model_t, worker_session_t};
use super::marshal::{array, options_init, output, output_struct, text};
use super::objects::registry;
use super::session_calls as calls;
use super::session_types::{worker_event_fn, worker_event_t, worker_session_options_t, worker_usage_t};
use super::types::{worker_destroy_fn, worker_error_t};
use crate::inference::Prompt;

/// Sets options to their defaults: all zero, with struct_size.
///
/// - options: the struct.
/// - size: sizeof(worker_session_options_t) in the caller's program.
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL), WORKER_ERROR_ABI_MISMATCH (no such size).
/// *Ownership*: the struct stays the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `options` is NULL or valid for `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn worker_session_options_init(
    options: *mut worker_session_options_t,
    size: usize,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::plain(|| options_init(options, size)) }
}

/// Starts to continue a text.
///
/// - model: the model.
/// - prompt: the text, in UTF-8; names of special tokens in it are read as those tokens. NULL with prompt_length 0.
/// - prompt_length: bytes of prompt.
/// - options: how to generate; NULL for the defaults.
/// - out_session: set to the session's handle; 0 on failure.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER (out of range, not UTF-8, a prompt longer than the context; the detail names
/// the option), WORKER_ERROR_OUT_OF_MEMORY, WORKER_ERROR_BUSY, the handle errors of worker_model_unload(),
/// WORKER_ERROR_ABI_MISMATCH, WORKER_ERROR_HANDLES_EXHAUSTED.
/// *Ownership*: the caller owns the session and ends it with worker_session_close(). The arguments are copied.
/// *Thread*: any; sessions of one model run together.
/// *Blocks*: no; the prompt is computed in the background.
///
/// # Safety
/// `prompt` is valid for `prompt_length` bytes, `out_session` NULL or valid; `options` and `error` are NULL or valid for
/// the size that their first member tells, and so is what the options point to.
#[no_mangle]
pub unsafe extern "C" fn worker_session_start(
    model: worker_model_t,
    prompt: *const c_char,
    prompt_length: usize,
    options: *const worker_session_options_t,
    out_session: *mut worker_session_t,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || {
            output(out_session, "out_session")?.write_with(|| {
                let prompt = text(prompt, prompt_length, "prompt")?;
                calls::start(model, Prompt::Text(prompt.to_owned()), options)
            })
        })
    }
}

/// Starts to continue a sequence of tokens, taken as they are.
///
/// - model: the model.
/// - tokens: the tokens.
/// - token_count: how many; at least 1.
/// - options: how to generate; NULL for the defaults.
/// - out_session: set to the session's handle; 0 on failure.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: as worker_session_start(); WORKER_ERROR_INVALID_PARAMETER also for a token outside the vocabulary.
/// *Ownership*: the caller owns the session and ends it with worker_session_close(). The arguments are copied.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// As worker_session_start(); `tokens` is valid for `token_count` tokens.
#[no_mangle]
pub unsafe extern "C" fn worker_session_start_tokens(
    model: worker_model_t,
    tokens: *const u32,
    token_count: usize,
    options: *const worker_session_options_t,
    out_session: *mut worker_session_t,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || {
            output(out_session, "out_session")?.write_with(|| {
                let tokens = array(tokens, token_count, "tokens")?;
                calls::start(model, Prompt::Tokens(tokens.to_vec()), options)
            })
        })
    }
}

/// Starts to answer chat messages, rendered with the model's own template.
///
/// - model: the model.
/// - messages_json: a JSON array such as [{"role": "user", "content": "Hello"}], in UTF-8.
/// - messages_length: bytes of messages_json.
/// - options: how to generate; NULL for the defaults.
/// - out_session: set to the session's handle; 0 on failure.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: as worker_session_start(); WORKER_ERROR_MODEL_UNSUPPORTED where the model has no template.
/// *Ownership*: the caller owns the session and ends it with worker_session_close(). The arguments are copied.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// As worker_session_start(); `messages_json` is valid for `messages_length` bytes.
#[no_mangle]
pub unsafe extern "C" fn worker_session_start_chat(
    model: worker_model_t,
    messages_json: *const c_char,
    messages_length: usize,
    options: *const worker_session_options_t,
    out_session: *mut worker_session_t,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || {
            output(out_session, "out_session")?.write_with(|| {
                let messages = text(messages_json, messages_length, "messages_json")?;
                calls::start(model, Prompt::Chat(messages.to_owned()), options)
            })
        })
    }
}

/// Sets an event to zero, with struct_size. Set its text and text_capacity afterwards.
///
/// - event: the struct.
/// - size: sizeof(worker_event_t) in the caller's program.
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL), WORKER_ERROR_ABI_MISMATCH (no such size).
/// *Ownership*: the struct stays the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `event` is NULL or valid for `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn worker_event_init(event: *mut worker_event_t, size: usize) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::plain(|| options_init(event, size)) }
}

/// Reads a session's next event: a token, the end, or an error. Tokens come in order, each once, as soon as they are
/// generated; after the end, the end comes again.
///
/// - session: the session.
/// - event: what happened; its struct_size and buffers must be set.
/// - timeout_ms: how long to wait in milliseconds; 0: not at all; WORKER_WAIT_FOREVER (or any negative number): until
///   there is an event.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_TIMED_OUT (nothing is lost; call again), WORKER_ERROR_BUFFER_TOO_SMALL (text_needed and
/// top_count tell what is needed; nothing is lost), WORKER_ERROR_INVALID_PARAMETER, WORKER_ERROR_ABI_MISMATCH, the handle
/// errors of worker_session_close(). Where running the model failed, its error, once; event->kind is then
/// WORKER_EVENT_ERROR.
/// *Ownership*: the struct and its buffers stay the caller's.
/// *Thread*: any; calls on one session wait for each other.
/// *Blocks*: up to timeout_ms; less when the session is cancelled or closed, or its model unloaded: then the end comes.
///
/// # Safety
/// `event` and `error` are NULL or valid for the size that their first member tells; the event's buffers are valid for
/// their capacities.
#[no_mangle]
pub unsafe extern "C" fn worker_session_next(
    session: worker_session_t,
    event: *mut worker_event_t,
    timeout_ms: i64,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::status(error, || calls::next(session, event, timeout_ms)) }
}

/// Reads a session to its end, calling a function for each event, the end included.
///
/// - session: the session.
/// - callback: told each event; returns non-zero to cancel the session.
/// - user_data: given to callback and destroy.
/// - destroy: called once before the call returns, whatever it returns; may be NULL.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER (no callback), the handle errors of worker_session_close(); where running the
/// model failed, that error, after its event and the end's; WORKER_ERROR_CANCELLED when the callback ended with a C++
/// exception, which goes no further: the session is cancelled then, and the callback is not called again.
/// *Ownership*: user_data stays the caller's until destroy is called with it.
/// *Thread*: any; the callback runs on the same one, under no lock, and may call any function of this library. Events that
/// are read elsewhere meanwhile do not come here.
/// *Blocks*: until the session ends.
///
/// # Safety
/// `callback` and `destroy` may be called with `user_data`; `error` is NULL or valid for the size that its first member
/// tells.
#[no_mangle]
pub unsafe extern "C" fn worker_session_run(
    session: worker_session_t,
    callback: worker_event_fn,
    user_data: *mut c_void,
    destroy: worker_destroy_fn,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::status(error, || calls::run(session, callback, user_data, destroy)) }
}

/// Cancels a session: it stops at its next step, unread tokens are dropped, and the next event is the end, with
/// WORKER_END_CANCELLED. A session whose end was read stays as it is. The handle stays valid.
///
/// - session: the session.
///
/// *Errors*: the handle errors of worker_session_close().
/// *Ownership*: none is taken.
/// *Thread*: any, also while another reads the session.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn worker_session_cancel(session: worker_session_t) -> worker_status_t {
    guard::plain(|| {
        self::session(session)?.session().cancel();
        Ok(())
    })
}

/// Tells what a session took so far.
///
/// - session: the session.
/// - out: counts and times; its struct_size must be set.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER, WORKER_ERROR_ABI_MISMATCH, the handle errors of worker_session_close().
/// *Ownership*: the structs stay the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `out` and `error` are NULL or valid for the size that their first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_session_usage(
    session: worker_session_t,
    out: *mut worker_usage_t,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::status(error, || output_struct(out, "out")?.write_with(|| calls::usage(session))) }
}

/// Tells the seed of a session's random numbers, given or drawn.
///
/// - session: the session.
/// - out_seed: set to the seed.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER, the handle errors of worker_session_close().
/// *Ownership*: none is taken.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `out_seed` is NULL or valid; `error` is NULL or valid for the size that its first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_session_seed(
    session: worker_session_t,
    out_seed: *mut u64,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || {
            output(out_seed, "out_seed")?
                .write_with(|| registry().with(session, |entry: &calls::SessionEntry| entry.session().seed()))
        })
    }
}

/// Gives a file descriptor that is readable while worker_session_next() has something to give at once, for programs with
/// a poll or epoll loop. It is the same one each time, and is not worth asking for otherwise.
///
/// - session: the session.
/// - out_descriptor: set to the descriptor. Watch it for reading; never read, write or close it.
/// - error: why the call failed; may be NULL.
///
/// It may be readable a little longer than there are events: call worker_session_next() with a timeout of 0.
///
/// *Errors*: WORKER_ERROR_INPUT_OUTPUT (the process may open no more files), WORKER_ERROR_INVALID_PARAMETER, the handle
/// errors of worker_session_close().
/// *Ownership*: the descriptor is the session's, and is closed with it.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `out_descriptor` is NULL or valid; `error` is NULL or valid for the size that its first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_session_event_descriptor(
    session: worker_session_t,
    out_descriptor: *mut i32,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || {
            output(out_descriptor, "out_descriptor")?.write_with(|| self::session(session)?.descriptor())
        })
    }
}

/// Ends a session, if it still runs, and frees what it holds. Whoever reads it gets the end, with WORKER_END_CLOSED.
///
/// - session: the session.
///
/// *Errors*: WORKER_ERROR_INVALID_HANDLE, WORKER_ERROR_STALE_HANDLE (it was closed before, or its model was unloaded),
/// WORKER_ERROR_WRONG_KIND, WORKER_ERROR_FORKED.
/// *Ownership*: ends the caller's ownership of the session.
/// *Thread*: any, also while another reads the session.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn worker_session_close(session: worker_session_t) -> worker_status_t {
    guard::plain(|| registry().close::<calls::SessionEntry>(session))
}
