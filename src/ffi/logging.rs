//! Logging: the library's records and the host's own, to the host's callback.

use std::ffi::{c_char, c_void};

use super::callbacks::HostFunction;
use super::errors::worker_status_t;
use super::guard;
use super::log_descriptor;
use super::marshal::{invalid, text};
use super::operation_types::{worker_log_fn, worker_log_level_t, worker_log_record_t};
use super::types::worker_destroy_fn;
use crate::engine;
use crate::error::Result;
use crate::telemetry::log::{self, Level, Record};

/// Sets who is given log records. Without a callback, as at first, the library is silent.
///
/// - callback: given each record of the level in force; NULL for silence.
/// - user_data: handed to callback and destroy.
/// - destroy: called once when callback will not be called again, also when this call fails; may be NULL.
///
/// Works before worker_bootstrap() and without it. When the call returns, the former callback is not called any more,
/// unless the call came from within it. C++ exceptions that the callback throws are dropped.
///
/// *Errors*: none at present.
/// *Ownership*: user_data stays the host's until destroy is called.
/// *Thread*: any, the callback included.
/// *Blocks*: until the former callback has returned.
///
/// # Safety
/// `callback` and `destroy` may be called on any thread with `user_data` until `destroy` was called.
#[no_mangle]
pub unsafe extern "C" fn worker_set_log_callback(
    callback: worker_log_fn,
    user_data: *mut c_void,
    destroy: worker_destroy_fn,
) -> worker_status_t {
    guard::plain(|| {
        // Made first, so that it is released whatever happens.
        let function = HostFunction::new(callback.map(erase), user_data, destroy);
        let sink: Option<log::Sink> =
            callback.is_some().then(|| -> log::Sink { Box::new(move |record: &Record| deliver(&function, record)) });
        log::set_sink(sink);
        Ok(())
    })
}

/// Has log records written to a file descriptor, such as a pipe's or a file's: each a JSON object on a line of its own,
/// with timestamp (nanoseconds since 1970), level ("trace" to "error"), target, message and fields. It is for languages
/// whose functions must not be called from threads that are not theirs, and takes the place of
/// worker_set_log_callback(), as that takes its.
///
/// - descriptor: where to write; -1 for silence. It is duplicated, so the host may close its own.
///
/// Records that a reader does not take within a second are lost.
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER (it is not open for writing).
/// *Ownership*: the descriptor stays the host's; ours is closed when another sink takes its place.
/// *Thread*: any.
/// *Blocks*: until the former sink has been given what waits for it.
#[no_mangle]
pub extern "C" fn worker_set_log_descriptor(descriptor: i32) -> worker_status_t {
    guard::plain(|| {
        log::set_sink(if descriptor == -1 { None } else { Some(log_descriptor::sink(descriptor)?) });
        Ok(())
    })
}

/// Sets the least level of the records that the callback or the descriptor is given; WORKER_LOG_INFO at first.
///
/// - level: one of the WORKER_LOG_* values.
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER (no such level).
/// *Ownership*: none.
/// *Thread*: any.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn worker_set_log_level(level: worker_log_level_t) -> worker_status_t {
    guard::plain(|| {
        let level = Level::from_number(level)
            .ok_or_else(|| invalid(format!("level: {level} is none of 1 (trace) to 5 (error)")))?;
        log::set_level(level);
        Ok(())
    })
}

/// Adds a record of level WORKER_LOG_TRACE to the library's stream, with target "host".
///
/// - message: a sentence, in UTF-8; NULL with message_length 0.
/// - message_length: bytes of message.
/// - context_json: the record's fields, any JSON object; NULL with context_length 0 for none.
/// - context_length: bytes of context_json.
///
/// Works before worker_bootstrap(). Without a callback the arguments are checked and nothing is kept.
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER (not UTF-8, or no JSON object).
/// *Ownership*: the arguments are copied.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `message` is valid for `message_length` bytes, `context_json` for `context_length`.
#[no_mangle]
pub unsafe extern "C" fn worker_log_trace(
    message: *const c_char,
    message_length: usize,
    context_json: *const c_char,
    context_length: usize,
) -> worker_status_t {
    // SAFETY: as this function's.
    guard::plain(|| unsafe { host(Level::Trace, message, message_length, context_json, context_length) })
}

/// Adds a record of level WORKER_LOG_DEBUG; otherwise as worker_log_trace().
///
/// - message: a sentence, in UTF-8.
/// - message_length: bytes of message.
/// - context_json: the record's fields, any JSON object; NULL with context_length 0 for none.
/// - context_length: bytes of context_json.
///
/// *Errors*: as worker_log_trace().
/// *Ownership*: the arguments are copied.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// As `worker_log_trace`.
#[no_mangle]
pub unsafe extern "C" fn worker_log_debug(
    message: *const c_char,
    message_length: usize,
    context_json: *const c_char,
    context_length: usize,
) -> worker_status_t {
    // SAFETY: as this function's.
    guard::plain(|| unsafe { host(Level::Debug, message, message_length, context_json, context_length) })
}

/// Adds a record of level WORKER_LOG_INFO; otherwise as worker_log_trace().
///
/// - message: a sentence, in UTF-8.
/// - message_length: bytes of message.
/// - context_json: the record's fields, any JSON object; NULL with context_length 0 for none.
/// - context_length: bytes of context_json.
///
/// *Errors*: as worker_log_trace().
/// *Ownership*: the arguments are copied.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// As `worker_log_trace`.
#[no_mangle]
pub unsafe extern "C" fn worker_log_info(
    message: *const c_char,
    message_length: usize,
    context_json: *const c_char,
    context_length: usize,
) -> worker_status_t {
    // SAFETY: as this function's.
    guard::plain(|| unsafe { host(Level::Info, message, message_length, context_json, context_length) })
}

/// Adds a record of level WORKER_LOG_WARN; otherwise as worker_log_trace().
///
/// - message: a sentence, in UTF-8.
/// - message_length: bytes of message.
/// - context_json: the record's fields, any JSON object; NULL with context_length 0 for none.
/// - context_length: bytes of context_json.
///
/// *Errors*: as worker_log_trace().
/// *Ownership*: the arguments are copied.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// As `worker_log_trace`.
#[no_mangle]
pub unsafe extern "C" fn worker_log_warn(
    message: *const c_char,
    message_length: usize,
    context_json: *const c_char,
    context_length: usize,
) -> worker_status_t {
    // SAFETY: as this function's.
    guard::plain(|| unsafe { host(Level::Warn, message, message_length, context_json, context_length) })
}

/// Adds a record of level WORKER_LOG_ERROR; otherwise as worker_log_trace().
///
/// - message: a sentence, in UTF-8.
/// - message_length: bytes of message.
/// - context_json: the record's fields, any JSON object; NULL with context_length 0 for none.
/// - context_length: bytes of context_json.
///
/// *Errors*: as worker_log_trace().
/// *Ownership*: the arguments are copied.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// As `worker_log_trace`.
#[no_mangle]
pub unsafe extern "C" fn worker_log_error(
    message: *const c_char,
    message_length: usize,
    context_json: *const c_char,
    context_length: usize,
) -> worker_status_t {
    // SAFETY: as this function's.
    guard::plain(|| unsafe { host(Level::Error, message, message_length, context_json, context_length) })
}

unsafe fn host(
    level: Level,
    message: *const c_char,
    message_length: usize,
    context: *const c_char,
    context_length: usize,
) -> Result<()> {
    // SAFETY: as the exported functions'.
    let (message, context) =
        unsafe { (text(message, message_length, "message")?, text(context, context_length, "context_json")?) };
    log::host_record(level, message, context)
}

/// The callback as the engine's trampoline calls it: its argument's type is known to both ends only.
fn erase(callback: unsafe extern "C" fn(*mut c_void, *const worker_log_record_t)) -> engine::Callback {
    // SAFETY: the two differ in what a pointer points to, which no calling convention sees.
    unsafe { std::mem::transmute(callback) }
}

fn deliver(function: &HostFunction, record: &Record) {
    let with_nul = |text: &str| {
        let mut bytes: Vec<u8> = text.bytes().filter(|byte| *byte != 0).collect();
        bytes.push(0);
        bytes
    };
    let (target, message, fields) = (with_nul(&record.target), with_nul(&record.message), with_nul(&record.fields));
    let record = worker_log_record_t {
        struct_size: size_of::<worker_log_record_t>() as u32,
        level: record.level as u32,
        timestamp: record.time,
        target: target.as_ptr().cast(),
        message: message.as_ptr().cast(),
        fields: fields.as_ptr().cast(),
        target_length: target.len() as u64 - 1,
        message_length: message.len() as u64 - 1,
        fields_length: fields.len() as u64 - 1,
    };
    // SAFETY: the function was given as a worker_log_fn, which takes this struct; the texts live through the call.
    unsafe { function.call((&raw const record).cast()) };
}
