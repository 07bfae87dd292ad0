//! The 14 locked functions: their signatures are the seed documents', to the letter, and never change. Each translates
//! into one call of the Rust door in [`crate::cuda`]. They return the locked codes only; finer ones are mapped down.

use std::ffi::{c_char, c_int};

use super::locked_calls as calls;

/// A device prepared for use: an opaque pointer whose value is a handle, not an address; reading through it faults.
pub struct CudaContext {
    _private: [u8; 0],
}

/// A loaded model: an opaque pointer whose value is a handle, not an address; reading through it faults.
pub struct CudaModel {
    _private: [u8; 0],
}

/// A running or finished generation: an opaque pointer whose value is a handle, not an address; reading through it faults.
pub struct InferenceResult {
    _private: [u8; 0],
}

/// Prepares a device for use.
///
/// - gpu_device: -1 is the CPU; GPUs count from 0.
/// - error_code: set to 0, or to why the call failed; with NULL the call fails.
///
/// Returns the context, or NULL on failure.
///
/// *Errors*: WORKER_ERROR_INVALID_DEVICE (also for 0 on a machine without a GPU), WORKER_ERROR_INVALID_PARAMETER,
/// WORKER_ERROR_OUT_OF_MEMORY, WORKER_ERROR_KERNEL_LAUNCH_FAILED, WORKER_ERROR_UNKNOWN.
/// *Ownership*: the caller ends the context with cuda_destroy().
/// *Thread*: any.
/// *Blocks*: while a driver starts.
///
/// # Safety
/// `error_code` is NULL or valid.
#[no_mangle]
pub unsafe extern "C" fn cuda_init(gpu_device: c_int, error_code: *mut c_int) -> *mut CudaContext {
    // SAFETY: as this function's.
    unsafe { calls::pointer(error_code, || calls::init(gpu_device)) }
}

/// Ends a context, and cleanly ends the models and generations that live in it; their pointers become invalid.
///
/// - ctx: the context; NULL or one that was ended does nothing.
///
/// *Errors*: none are returned.
/// *Ownership*: ends the caller's ownership of the context and of all that was made with it.
/// *Thread*: any, also while others use the context.
/// *Blocks*: until the step that is running ends.
#[no_mangle]
pub extern "C" fn cuda_destroy(ctx: *mut CudaContext) {
    calls::silent((), || calls::destroy(ctx as u64));
}

/// Counts the GPUs that can be used. The CPU, device -1, is always there besides, and is not counted.
///
/// Returns 0 where there is none.
///
/// *Errors*: none.
/// *Ownership*: none.
/// *Thread*: any.
/// *Blocks*: the first call may, while a driver starts.
#[no_mangle]
pub extern "C" fn cuda_get_device_count() -> c_int {
    calls::silent(0, || Ok(crate::cuda::CudaContext::device_count()))
}

/// Loads a model from a GGUF file onto a context's device, with the library's default options.
///
/// - ctx: the context.
/// - model_path: the file's path; ends in NUL.
/// - vram_bytes_used: set to the bytes of device memory that the model uses, 0 on failure; with NULL the call fails.
/// - error_code: set to 0, or to why the call failed; with NULL the call fails.
///
/// Returns the model, or NULL on failure.
///
/// *Errors*: WORKER_ERROR_MODEL_LOAD_FAILED, WORKER_ERROR_MODEL_UNSUPPORTED, WORKER_ERROR_OUT_OF_MEMORY,
/// WORKER_ERROR_RESIDENCY_FAILED, WORKER_ERROR_INVALID_PARAMETER (NULL, or a context that is none),
/// WORKER_ERROR_INVALID_DEVICE, WORKER_ERROR_UNKNOWN.
/// *Ownership*: the caller ends the model with cuda_unload_model(), or with its context.
/// *Thread*: any.
/// *Blocks*: while the file is read.
///
/// # Safety
/// `model_path` is NULL or ends in NUL; `vram_bytes_used` and `error_code` are NULL or valid.
#[no_mangle]
pub unsafe extern "C" fn cuda_load_model(
    ctx: *mut CudaContext,
    model_path: *const c_char,
    vram_bytes_used: *mut u64,
    error_code: *mut c_int,
) -> *mut CudaModel {
    // SAFETY: as this function's.
    unsafe { calls::pointer(error_code, || calls::load_model(ctx as u64, model_path, vram_bytes_used)) }
}

/// Unloads a model, and cleanly ends the generations that run on it; their pointers become invalid.
///
/// - model: the model; NULL or one that was unloaded does nothing.
///
/// *Errors*: none are returned.
/// *Ownership*: ends the caller's ownership of the model and of its generations.
/// *Thread*: any, also while others use the model.
/// *Blocks*: until the step that is running ends.
#[no_mangle]
pub extern "C" fn cuda_unload_model(model: *mut CudaModel) {
    calls::silent((), || calls::unload_model(model as u64));
}

/// Tells how much device memory a model uses; on the CPU, the engine's memory for it.
///
/// - model: the model.
///
/// Returns bytes; 0 for NULL and for what is no model.
///
/// *Errors*: none are returned.
/// *Ownership*: none is taken.
/// *Thread*: any.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn cuda_model_get_vram_usage(model: *mut CudaModel) -> u64 {
    calls::silent(0, || calls::vram_usage(model as u64))
}

/// Starts to continue a text.
///
/// - model: the model.
/// - prompt: the text, in UTF-8; ends in NUL.
/// - max_tokens: tokens to generate at most; at least 1.
/// - temperature: 0 to 2; 0 always takes the likeliest token.
/// - seed: seed of the random numbers: with the same seed come the same tokens.
/// - error_code: set to 0, or to why the call failed; with NULL the call fails.
///
/// Returns the generation, or NULL on failure.
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL, out of range, not UTF-8, a prompt longer than the context),
/// WORKER_ERROR_OUT_OF_MEMORY, WORKER_ERROR_INFERENCE_FAILED, WORKER_ERROR_UNKNOWN.
/// *Ownership*: the caller ends it with cuda_inference_free(), or with its model or context. The prompt is copied.
/// *Thread*: any.
/// *Blocks*: no; the prompt is computed in the background.
///
/// # Safety
/// `prompt` is NULL or ends in NUL; `error_code` is NULL or valid.
#[no_mangle]
pub unsafe extern "C" fn cuda_inference_start(
    model: *mut CudaModel,
    prompt: *const c_char,
    max_tokens: c_int,
    temperature: f32,
    seed: u64,
    error_code: *mut c_int,
) -> *mut InferenceResult {
    // SAFETY: as this function's.
    unsafe { calls::pointer(error_code, || calls::start(model as u64, prompt, max_tokens, temperature, seed)) }
}

/// Waits for the next piece of text. A piece is whole UTF-8 characters and never empty: tokens whose text is not yet
/// certain come with the token that completes it.
///
/// - result: the generation.
/// - token_out: where the text goes, with a NUL at its end.
/// - token_buffer_size: bytes of token_out; 256 are plenty.
/// - token_index: set to the number of pieces given before this one; may be NULL.
/// - error_code: set to 0, or to why the call failed; with NULL the call fails.
///
/// Returns true with a piece of text; false at the end (error_code is 0) or on failure (it is not).
///
/// *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL, a generation that is none, or a buffer that is too small: call again
/// with a larger one, nothing is lost), WORKER_ERROR_INFERENCE_FAILED, WORKER_ERROR_OUT_OF_MEMORY,
/// WORKER_ERROR_KERNEL_LAUNCH_FAILED, WORKER_ERROR_UNKNOWN.
/// *Ownership*: the buffer stays the caller's.
/// *Thread*: any; calls on one generation wait for each other.
/// *Blocks*: until there is text or the end; freeing the generation from another thread ends the wait.
///
/// # Safety
/// `token_out` is NULL or valid for `token_buffer_size` bytes; `token_index` and `error_code` are NULL or valid.
#[no_mangle]
pub unsafe extern "C" fn cuda_inference_next_token(
    result: *mut InferenceResult,
    token_out: *mut c_char,
    token_buffer_size: c_int,
    token_index: *mut c_int,
    error_code: *mut c_int,
) -> bool {
    // SAFETY: as this function's.
    unsafe { calls::flag(error_code, || calls::next_token(result as u64, token_out, token_buffer_size, token_index)) }
}

/// Ends a generation, whether it has finished or not.
///
/// - result: the generation; NULL or one that was freed does nothing.
///
/// *Errors*: none are returned.
/// *Ownership*: ends the caller's ownership of it.
/// *Thread*: any, also while another waits for its next piece.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn cuda_inference_free(result: *mut InferenceResult) {
    calls::silent((), || calls::free_inference(result as u64));
}

/// Checks that a model's weights are where they were put: on a GPU in its own memory, on the CPU in RAM.
///
/// - model: the model.
/// - error_code: set to 0, or to why the call failed; with NULL the call fails.
///
/// Returns true when all weights are in place. When some are not, it returns false with WORKER_ERROR_RESIDENCY_FAILED.
///
/// *Errors*: WORKER_ERROR_RESIDENCY_FAILED, WORKER_ERROR_INVALID_PARAMETER, WORKER_ERROR_UNKNOWN.
/// *Ownership*: none is taken.
/// *Thread*: any.
/// *Blocks*: while it looks.
///
/// # Safety
/// `error_code` is NULL or valid.
#[no_mangle]
pub unsafe extern "C" fn cuda_check_vram_residency(model: *mut CudaModel, error_code: *mut c_int) -> bool {
    // SAFETY: as this function's.
    unsafe { calls::flag(error_code, || calls::check_residency(model as u64)) }
}

/// Tells how much device memory a model uses: the same as cuda_model_get_vram_usage().
///
/// - model: the model.
///
/// Returns bytes; 0 for NULL and for what is no model.
///
/// *Errors*: none are returned.
/// *Ownership*: none is taken.
/// *Thread*: any.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn cuda_get_vram_usage(model: *mut CudaModel) -> u64 {
    calls::silent(0, || calls::vram_usage(model as u64))
}

/// Tells how much of its device's memory this process uses, as worker_device_process_memory() counts: on the CPU what it has
/// in RAM, on a GPU never what other processes have there.
///
/// - ctx: the context.
///
/// Returns bytes; 0 for NULL and for what is no context.
///
/// *Errors*: none are returned.
/// *Ownership*: none is taken.
/// *Thread*: any.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn cuda_get_process_vram_usage(ctx: *mut CudaContext) -> u64 {
    calls::silent(0, || calls::process_vram_usage(ctx as u64))
}

/// Checks that a context's device answers and has no lasting fault.
///
/// - ctx: the context.
/// - error_code: set to 0, or to why the call failed; with NULL the call fails.
///
/// Returns true when it does; otherwise false, and error_code says why.
///
/// *Errors*: WORKER_ERROR_INVALID_DEVICE, WORKER_ERROR_INVALID_PARAMETER, WORKER_ERROR_KERNEL_LAUNCH_FAILED,
/// WORKER_ERROR_UNKNOWN.
/// *Ownership*: none is taken.
/// *Thread*: any.
/// *Blocks*: while the device answers, at most some milliseconds.
///
/// # Safety
/// `error_code` is NULL or valid.
#[no_mangle]
pub unsafe extern "C" fn cuda_check_device_health(ctx: *mut CudaContext, error_code: *mut c_int) -> bool {
    // SAFETY: as this function's.
    unsafe { calls::flag(error_code, || calls::check_health(ctx as u64)) }
}

/// Says in a few words what a code means; for what happened in particular see worker_last_error().
///
/// - error_code: any number; "Unrecognized error code" where it is no code of this library.
///
/// Returns the text, never NULL.
///
/// *Errors*: none.
/// *Ownership*: the text belongs to the library, ends in NUL, and stays valid until the process ends.
/// *Thread*: any.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn cuda_error_message(error_code: c_int) -> *const c_char {
    super::errors::worker_error_message(error_code)
}
