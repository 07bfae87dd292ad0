//! Residency: whether weights are where they were put.

use std::ffi::c_char;

use super::errors::worker_status_t;
use super::guard;
use super::handles::worker_model_t;
use super::marshal::{output_struct, text_output};
use super::model_calls as calls;
use super::types::{worker_error_t, worker_residency_t};

/// Checks that a model's weights are where they were put: on a GPU in its own memory, on the CPU in RAM.
///
/// - model: the model.
/// - out: what was found; its struct_size must be set. Weights that are not in place are a finding, not an error: look at
///   its member resident.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_RESIDENCY_FAILED (the check itself could not be made), WORKER_ERROR_INVALID_PARAMETER,
/// WORKER_ERROR_ABI_MISMATCH, the handle errors of worker_model_unload().
/// *Ownership*: the structs stay the caller's.
/// *Thread*: any.
/// *Blocks*: while it looks; about a millisecond for each gigabyte on the CPU.
///
/// # Safety
/// `out` and `error` are NULL or valid for the size that their first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_model_check_residency(
    model: worker_model_t,
    out: *mut worker_residency_t,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::status(error, || output_struct(out, "out")?.write_with(|| calls::check_residency(model))) }
}

/// Brings a model's weights back to where they were put, then checks as worker_model_check_residency() does.
///
/// - model: the model.
/// - out: what was found afterwards; its struct_size must be set.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: as worker_model_check_residency().
/// *Ownership*: the structs stay the caller's.
/// *Thread*: any.
/// *Blocks*: while missing weights are read again.
///
/// # Safety
/// `out` and `error` are NULL or valid for the size that their first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_model_repair_residency(
    model: worker_model_t,
    out: *mut worker_residency_t,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::status(error, || output_struct(out, "out")?.write_with(|| calls::repair_residency(model))) }
}

/// Checks all models of this process, and reports as a JSON object: "resident" tells whether all are in place, and
/// "models" has for each its handle, device, memory by purpose and what worker_model_check_residency() finds. Its
/// "device_memory" tells "process_bytes", what this process uses of the device, with "process_source", who counted that
/// ("resident_set" on the CPU, "nvml", or "ledger": this library's own allocations), and "all_processes_bytes".
///
/// - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
/// - capacity: bytes of buffer.
/// - needed: set to the bytes that the text takes, its NUL included; may be NULL.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL, WORKER_ERROR_INVALID_PARAMETER.
/// *Ownership*: the buffer stays the caller's.
/// *Thread*: any.
/// *Blocks*: while it looks.
///
/// # Safety
/// `buffer` is NULL or valid for `capacity` bytes, `needed` NULL or valid; `error` is NULL or valid for the size that
/// its first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_residency_report_json(
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::status(error, || text_output(buffer, capacity, needed)?.write_with(calls::residency_report)) }
}
