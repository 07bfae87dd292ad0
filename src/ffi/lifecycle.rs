//! The managed worker: bootstrap, status, graceful shutdown, stop.

use std::ffi::c_char;
use std::time::Duration;

use super::errors::worker_status_t;
use super::guard;
use super::lifecycle_calls as calls;
use super::marshal::{output_struct, text, text_output};
use super::operation_types::{worker_bootstrap_t, worker_overview_t};
use super::types::worker_error_t;
use crate::worker::lifecycle;

/// Starts the managed worker of this process: one place for configuration, health and the end. Everything else works
/// without one too.
///
/// - config_json: a JSON object in UTF-8; NULL with config_length 0 for the defaults. Keys: worker_id (made up when
///   absent), namespace ("default"), config_path (a JSON file with the same keys), log_level (trace, debug, info, warn,
///   error; "info"), device (-1, the CPU), threads (0: all cores), model (a GGUF file to load), context_length,
///   maximum_sessions, residency (off, verify, locked; "verify"), load_mode (map, copy; "map"),
///   health_interval_seconds (60; 0: no checks), health_repair (false), refuse_while_unhealthy (false). Unknown keys
///   are errors that name the key. The file's values give way to the object's, and those to the environment's:
///   WORKER_ID, WORKER_LOG_LEVEL, WORKER_DEVICE and so on.
/// - config_length: bytes of config_json.
/// - out: the worker's name and its model; its struct_size must be set.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_ALREADY_INITIALIZED (the first worker is untouched), WORKER_ERROR_INVALID_PARAMETER naming the
/// key, WORKER_ERROR_INPUT_OUTPUT, WORKER_ERROR_INVALID_DEVICE, those of worker_model_load(). After any of them but the
/// first the state is WORKER_STATE_ERROR, and bootstrap may be called again.
/// *Ownership*: the model belongs to the worker and ends with it; worker_model_unload() ends it sooner.
/// *Thread*: any; of several threads one succeeds.
/// *Blocks*: while the model is loaded.
///
/// # Safety
/// `config_json` is valid for `config_length` bytes; `out` and `error` are NULL or valid for the size that their first
/// member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_bootstrap(
    config_json: *const c_char,
    config_length: usize,
    out: *mut worker_bootstrap_t,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || {
            let out = output_struct(out, "out")?;
            let configuration = text(config_json, config_length, "config_json")?;
            out.write_with(|| calls::bootstrap(configuration))
        })
    }
}

/// Tells how the managed worker is, or that there is none. Works in every state.
///
/// - out: the answer; its struct_size must be set.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER, WORKER_ERROR_ABI_MISMATCH.
/// *Ownership*: the structs stay the caller's.
/// *Thread*: any.
/// *Blocks*: no, also while a bootstrap or a shutdown is at work.
///
/// # Safety
/// `out` and `error` are NULL or valid for the size that their first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_status(out: *mut worker_overview_t, error: *mut worker_error_t) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::status(error, || output_struct(out, "out")?.write_with(|| Ok(calls::overview()))) }
}

/// Gives the managed worker's status as a JSON object, with memory by purpose and health.
///
/// - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
/// - capacity: bytes of buffer.
/// - needed: set to the bytes that the text takes, its NUL included; may be NULL. It may grow between two calls.
///
/// *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL, WORKER_ERROR_INVALID_PARAMETER.
/// *Ownership*: the buffer stays the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `buffer` is NULL or valid for `capacity` bytes, `needed` NULL or valid.
#[no_mangle]
pub unsafe extern "C" fn worker_status_json(
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> worker_status_t {
    guard::plain(|| {
        // SAFETY: as this function's.
        unsafe { text_output(buffer, capacity, needed) }?
            .write_with(|| Ok(lifecycle::status().json().to_string().into_bytes()))
    })
}

/// Stops the managed worker gently: new models and sessions are refused with WORKER_ERROR_SHUTTING_DOWN, running and
/// queued sessions may finish, what still runs at the deadline is ended, then everything stops as by worker_stop().
///
/// - deadline_ms: how long sessions may go on, in milliseconds.
///
/// *Errors*: WORKER_ERROR_NOT_INITIALIZED unless the worker is running.
/// *Ownership*: ends every model, session and context of the process; their handles become stale.
/// *Thread*: any but those of callbacks. worker_stop() meanwhile ends the waiting.
/// *Blocks*: until everything has stopped.
#[no_mangle]
pub extern "C" fn worker_transition_to_graceful_shutdown(deadline_ms: u64) -> worker_status_t {
    guard::plain(|| calls::shut_down(Duration::from_millis(deadline_ms)))
}

/// Stops the managed worker at once: sessions end with WORKER_END_CLOSED, models are unloaded, device memory is freed,
/// threads are joined. Afterwards no thread of the library is left but the log's, which ends with
/// worker_set_log_callback(NULL), and worker_bootstrap() may be called again.
///
/// *Errors*: WORKER_ERROR_NOT_INITIALIZED unless the worker is running or shutting down.
/// *Ownership*: ends every model, session and context of the process; their handles become stale.
/// *Thread*: any but those of callbacks.
/// *Blocks*: until everything has stopped.
#[no_mangle]
pub extern "C" fn worker_stop() -> worker_status_t {
    guard::plain(calls::stop)
}
