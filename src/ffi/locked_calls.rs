//! What the locked functions do between their arguments and the Rust door.

use std::ffi::{c_char, c_int, CStr};

use super::guard;
use super::marshal::{invalid, required, utf8};
use super::objects::registry;
use super::session_calls::SessionEntry;
use crate::cuda::{CudaContext, CudaError, CudaModel};
use crate::error::{Code, Error, Result};

/// Runs the body of a function that gives an object, whose handle becomes a pointer.
///
/// # Safety
/// `error_code` is NULL or valid.
pub(super) unsafe fn pointer<T>(error_code: *mut c_int, body: impl FnOnce() -> Result<u64>) -> *mut T {
    // SAFETY: as this function's.
    unsafe { locked(error_code, 0, body) as usize as *mut T }
}

/// Runs the body of a function that gives yes or no.
///
/// # Safety
/// `error_code` is NULL or valid.
pub(super) unsafe fn flag(error_code: *mut c_int, body: impl FnOnce() -> Result<bool>) -> bool {
    // SAFETY: as this function's.
    unsafe { locked(error_code, false, body) }
}

/// Runs the body of a function that tells no errors. What it is given may be NULL or ended already, which is no failure
/// worth a word, but is kept for `worker_last_error` all the same.
pub(super) fn silent<T>(otherwise: T, body: impl FnOnce() -> Result<T>) -> T {
    guard::value(otherwise, body)
}

unsafe fn locked<T>(error_code: *mut c_int, otherwise: T, body: impl FnOnce() -> Result<T>) -> T {
    let result = required(error_code, "error_code").and_then(|()| {
        // SAFETY: the caller's; it is not NULL.
        unsafe { error_code.write_unaligned(0) };
        guard::contain(body)
    });
    result.unwrap_or_else(|failure| {
        guard::keep(&failure);
        if !error_code.is_null() {
            // SAFETY: the caller's.
            unsafe { error_code.write_unaligned(CudaError::from(failure).code()) };
        }
        otherwise
    })
}

/// `cuda_init`.
pub(super) fn init(gpu_device: c_int) -> Result<u64> {
    registry().insert(CudaContext::new(gpu_device)?)
}

/// `cuda_destroy`.
pub(super) fn destroy(context: u64) -> Result<()> {
    if context == 0 {
        return Ok(());
    }
    registry().close::<CudaContext>(context)
}

/// `cuda_load_model`.
///
/// # Safety
/// `path` is NULL or ends in NUL; `vram_bytes_used` is NULL or valid.
pub(super) unsafe fn load_model(context: u64, path: *const c_char, vram_bytes_used: *mut u64) -> Result<u64> {
    required(vram_bytes_used, "vram_bytes_used")?;
    // SAFETY: the caller's; it is not NULL.
    unsafe { vram_bytes_used.write_unaligned(0) };
    let entry = registry().get::<CudaContext>(context)?;
    // SAFETY: as this function's.
    let model = entry.load_model(unsafe { text(path, "model_path") }?)?;
    let bytes = model.vram_usage();
    let handle = registry().insert_owned(model, context)?;
    // SAFETY: the caller's; it is not NULL.
    unsafe { vram_bytes_used.write_unaligned(bytes) };
    Ok(handle)
}

/// `cuda_unload_model`.
pub(super) fn unload_model(model: u64) -> Result<()> {
    if model == 0 {
        return Ok(());
    }
    registry().close::<CudaModel>(model)
}

/// `cuda_model_get_vram_usage` and `cuda_get_vram_usage`.
pub(super) fn vram_usage(model: u64) -> Result<u64> {
    registry().with(model, CudaModel::vram_usage)
}

/// `cuda_inference_start`.
///
/// # Safety
/// `prompt` is NULL or ends in NUL.
pub(super) unsafe fn start(
    model: u64,
    prompt: *const c_char,
    max_tokens: c_int,
    temperature: f32,
    seed: u64,
) -> Result<u64> {
    let entry = registry().get::<CudaModel>(model)?;
    // SAFETY: as this function's.
    let prompt = unsafe { text(prompt, "prompt") }?;
    let max_tokens = u32::try_from(max_tokens).map_err(|_| invalid(format!("max_tokens: {max_tokens} is below 1")))?;
    let result = entry.start_inference(prompt, max_tokens, temperature, seed)?;
    registry().insert_owned(SessionEntry::of(result)?, model)
}

/// `cuda_inference_next_token`.
///
/// # Safety
/// `token_out` is NULL or valid for `size` bytes; `token_index` is NULL or valid.
pub(super) unsafe fn next_token(
    result: u64,
    token_out: *mut c_char,
    size: c_int,
    token_index: *mut c_int,
) -> Result<bool> {
    if !token_index.is_null() {
        // SAFETY: the caller's.
        unsafe { token_index.write_unaligned(0) };
    }
    required(token_out, "token_out")?;
    let size = usize::try_from(size).ok().filter(|size| *size > 0);
    let size = size.ok_or_else(|| invalid("token_buffer_size is below 1".to_owned()))?;
    // SAFETY: the caller's; there is room for one byte.
    unsafe { token_out.write(0) };
    let entry = registry().get::<SessionEntry>(result)?;
    let mut reader = entry.reader();
    let Some((text, index)) = reader.peek_token()? else { return Ok(false) };
    if text.len() >= size {
        let detail = format!("token_buffer_size is {size}, the text needs {}; call again", text.len() + 1);
        return Err(Error::new(Code::BufferTooSmall, detail));
    }
    // SAFETY: the caller's; the text and its NUL fit, as was just checked.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), token_out.cast(), text.len());
        token_out.add(text.len()).write(0);
        if !token_index.is_null() {
            token_index.write_unaligned(c_int::try_from(index).unwrap_or(c_int::MAX));
        }
    }
    reader.take();
    Ok(true)
}

/// `cuda_inference_free`.
pub(super) fn free_inference(result: u64) -> Result<()> {
    if result == 0 {
        return Ok(());
    }
    registry().close::<SessionEntry>(result)
}

/// `cuda_check_vram_residency`.
pub(super) fn check_residency(model: u64) -> Result<bool> {
    Ok(registry().get::<CudaModel>(model)?.check_vram_residency()?)
}

/// `cuda_get_process_vram_usage`.
pub(super) fn process_vram_usage(context: u64) -> Result<u64> {
    Ok(registry().get::<CudaContext>(context)?.process_vram_usage())
}

/// `cuda_check_device_health`.
pub(super) fn check_health(context: u64) -> Result<bool> {
    Ok(registry().get::<CudaContext>(context)?.check_device_health()?)
}

/// # Safety
/// `pointer` is NULL or ends in NUL, for as long as the result is used.
unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str> {
    required(pointer, name)?;
    // SAFETY: the caller's; it is not NULL.
    utf8(unsafe { CStr::from_ptr(pointer) }.to_bytes(), name)
}
