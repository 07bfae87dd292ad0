//! Devices: how many, what they are, and whether they work.

use super::errors::worker_status_t;
use super::guard;
use super::marshal::{output, output_struct};
use super::model_calls as calls;
use super::types::{worker_device_info_t, worker_error_t};
use crate::cuda::devices;

/// Counts the GPUs that can be used. The CPU is always there besides, and is not counted.
///
/// Returns 0 where there is no GPU, no driver, or the library was built without GPU support.
///
/// *Errors*: none.
/// *Ownership*: none.
/// *Thread*: any.
/// *Blocks*: the first call may, while a driver starts.
#[no_mangle]
pub extern "C" fn worker_device_count() -> u32 {
    guard::value(0, || Ok(crate::engine::Device::gpu_count()))
}

/// Describes a device.
///
/// - device: WORKER_CPU, or a GPU's number from 0.
/// - out: the description; its struct_size must be set.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_INVALID_DEVICE, WORKER_ERROR_INVALID_PARAMETER, WORKER_ERROR_ABI_MISMATCH.
/// *Ownership*: the structs stay the caller's.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `out` and `error` are NULL or valid for the size that their first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_device_info(
    device: i32,
    out: *mut worker_device_info_t,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::status(error, || output_struct(out, "out")?.write_with(|| calls::device_info(device))) }
}

/// Tells how much of a device's memory this process uses. On the CPU that is what it has in RAM; on a GPU what the driver
/// counts (NVML), its context included, or, where the driver does not tell, what this library has allocated there. What all
/// processes together use is another figure: total_memory less free_memory of worker_device_info().
///
/// - device: WORKER_CPU, or a GPU's number from 0.
/// - out_bytes: set to the bytes.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_INVALID_DEVICE, WORKER_ERROR_INVALID_PARAMETER.
/// *Ownership*: none is taken.
/// *Thread*: any.
/// *Blocks*: no.
///
/// # Safety
/// `out_bytes` is NULL or valid; `error` is NULL or valid for the size that its first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_device_process_memory(
    device: i32,
    out_bytes: *mut u64,
    error: *mut worker_error_t,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe {
        guard::status(error, || {
            output(out_bytes, "out_bytes")?.write_with(|| Ok(devices::open(device, 0)?.process_memory()))
        })
    }
}

/// Checks that a device answers and has no lasting fault.
///
/// - device: WORKER_CPU, or a GPU's number from 0.
/// - error: why the call failed; may be NULL.
///
/// *Errors*: WORKER_ERROR_INVALID_DEVICE, WORKER_ERROR_KERNEL_LAUNCH_FAILED, WORKER_ERROR_OUT_OF_MEMORY.
/// *Ownership*: the struct stays the caller's.
/// *Thread*: any.
/// *Blocks*: while the device answers, at most some milliseconds.
///
/// # Safety
/// `error` is NULL or valid for the size that its first member tells.
#[no_mangle]
pub unsafe extern "C" fn worker_device_check_health(device: i32, error: *mut worker_error_t) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::status(error, || devices::open(device, 0)?.check_health()) }
}
