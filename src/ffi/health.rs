//! The managed worker's health, and metrics.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::callbacks::HostFunction;
use super::errors::worker_status_t;
use super::guard;
use super::lifecycle_calls as calls;
use super::marshal::{output_struct, text_output};
use super::operation_types::{worker_health_fn, worker_health_t};
use super::types::{worker_destroy_fn, worker_error_t};
use crate::engine;
use crate::telemetry::metrics::{self, METRICS};
use crate::worker::health::OnChange;
use crate::worker::{lifecycle, HealthReport};

/// Tells what the health monitor found last, without checking.
///
/// - out: the answer; its struct_size must be set.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_NOT_INITIALIZED (no worker is running), WORKER_ERROR_INVALID_PARAMETER,
/// WORKER_ERROR_ABI_MISMATCH.
/// *Ownership*: the structs stay the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `out` and `error` are NULL or valid for the size that their first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_health(out: *mut worker_health_t, error: *mut worker_error_t) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || {
            output_struct(out, "out")?.write_with(|| lifecycle::with_health(|monitor| calls::health(&monitor.report())))
        })
    }
}

/// Checks health now: the residency of every model's weights, and that the device answers.
///
/// - out: what was found; its struct_size must be set.
/// - error: why the call failed; may be NULL. That something is not healthy is a finding, not a failure.
///
/// *Errors*: as worker_health().
/// *Ownership*: the structs stay the caller's.
/// *Thread*: any; checks take turns.
/// *Blocks*: while it checks; with health_repair also while evicted weights are brought back.
///
/// # Safety
/// `out` and `error` are NULL or valid for the size that their first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_health_check(out: *mut worker_health_t, error: *mut worker_error_t) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || {
            output_struct(out, "out")?.write_with(|| lifecycle::with_health(|monitor| calls::health(&monitor.check())))
        })
    }
}

/// Gives the health monitor's last report as a JSON object: status, reason, checks, last_check_seconds, checked_bytes,
/// resident_bytes, resident.
///
/// - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
/// - capacity: bytes of buffer.
/// - needed: set to the bytes that the text takes, its NUL included; may be NULL. It may grow between two calls.
///
/// *Errors*: WORKER_ERROR_NOT_INITIALIZED, WORKER_ERROR_BUFFER_TOO_SMALL, WORKER_ERROR_INVALID_PARAMETER.
/// *Ownership*: the buffer stays the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `buffer` is NULL or valid for `capacity` bytes, `needed` NULL or valid.
#[no_mangle]
pub unsafe extern "C" fn worker_health_json(
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> worker_status_t {
    guard::plain(|| {
        // SAFETY: as this function's.
        unsafe { text_output(buffer, capacity, needed) }?
            .write_with(|| lifecycle::with_health(|monitor| monitor.report().json().to_string().into_bytes()))
    })
}

/// Gives the health monitor's last report as lines for people.
///
/// - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
/// - capacity: bytes of buffer.
/// - needed: set to the bytes that the text takes, its NUL included; may be NULL. It may grow between two calls.
///
/// *Errors*: as worker_health_json().
/// *Ownership*: the buffer stays the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `buffer` is NULL or valid for `capacity` bytes, `needed` NULL or valid.
#[no_mangle]
pub unsafe extern "C" fn worker_health_text(
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> worker_status_t {
    guard::plain(|| {
        // SAFETY: as this function's.
        unsafe { text_output(buffer, capacity, needed) }?
            .write_with(|| lifecycle::with_health(|monitor| monitor.report().text().into_bytes()))
    })
}

/// Sets who is told when health changes from healthy to unhealthy or back. It ends with the worker.
///
/// - callback: told of each change; NULL for nobody.
/// - user_data: handed to callback and destroy.
/// - destroy: called once when callback will not be called again, also when this call fails; may be NULL.
///
/// C++ exceptions that the callback throws are dropped.
///
/// *Errors*: WORKER_ERROR_NOT_INITIALIZED (no worker is running).
/// *Ownership*: user_data stays the host's until destroy is called.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `callback` and `destroy` may be called on any thread with `user_data` until `destroy` was called.
#[no_mangle]
pub unsafe extern "C" fn worker_set_health_callback(
    callback: worker_health_fn,
    user_data: *mut c_void,
    destroy: worker_destroy_fn,
) -> worker_status_t {
    guard::plain(|| {
        // Made first, so that it is released whatever happens.
        let function = HostFunction::new(callback.map(erase), user_data, destroy);
        let on_change: Option<OnChange> = callback.is_some().then(|| -> OnChange {
            Arc::new(move |report: &HealthReport| {
                let health = calls::health(report);
                // SAFETY: the function was given as a worker_health_fn, which takes this struct.
                unsafe { function.call((&raw const health).cast()) };
            })
        });
        lifecycle::with_health(|monitor| monitor.set_on_change(on_change))
    })
}

/// Gives all counters, histograms and gauges of the process as one JSON object.
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
pub unsafe extern "C" fn worker_metrics_json(
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> worker_status_t {
    guard::plain(|| {
        // SAFETY: as this function's.
        unsafe { text_output(buffer, capacity, needed) }?
            .write_with(|| Ok(metrics::json(&METRICS, &lifecycle::gauges()).to_string().into_bytes()))
    })
}

/// Gives all counters, histograms and gauges of the process in Prometheus's text format, version 0.0.4.
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
pub unsafe extern "C" fn worker_metrics_prometheus(
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> worker_status_t {
    guard::plain(|| {
        // SAFETY: as this function's.
        unsafe { text_output(buffer, capacity, needed) }?
            .write_with(|| Ok(metrics::prometheus(&METRICS, &lifecycle::gauges()).into_bytes()))
    })
}

/// The callback as the engine's trampoline calls it: its argument's type is known to both ends only.
fn erase(callback: unsafe extern "C" fn(*mut c_void, *const worker_health_t)) -> engine::Callback {
    // SAFETY: the two differ in what a pointer points to, which no calling convention sees.
    unsafe { std::mem::transmute(callback) }
}
