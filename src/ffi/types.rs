//! The public structs of errors, devices, models and residency. Their layout is published: fields are only added at the
//! end, in place of padding or beyond it, and zero always means what it meant before.
#![allow(non_camel_case_types)]

use std::ffi::{c_char, c_void};

/// Number of this ABI. It rises whenever something is added; what exists keeps its meaning. A program compiled with one
/// number works with every library of the same soname whose worker_abi_version() is that number or higher.
pub const WORKER_ABI_VERSION: u32 = 1;

/// The CPU, where a device is asked for by its ordinal; GPUs are 0, 1, ...
pub const WORKER_CPU: i32 = -1;

/// Waits without end, where a timeout in milliseconds is asked for.
pub const WORKER_WAIT_FOREVER: i64 = -1;

/// Kind of a device: one of the WORKER_DEVICE_* values.
pub type worker_device_kind_t = u32;
/// What the library chooses by itself: the CPU. A GPU is used only when asked for, and never replaced by the CPU.
pub const WORKER_DEVICE_DEFAULT: worker_device_kind_t = 0;
/// The CPU; there is one.
pub const WORKER_DEVICE_CPU: worker_device_kind_t = 1;
/// A GPU, chosen by its ordinal.
pub const WORKER_DEVICE_GPU: worker_device_kind_t = 2;

/// Type of the numbers in a KV cache: one of the WORKER_KV_* values.
pub type worker_kv_type_t = u32;
/// Chosen by the library: WORKER_KV_F16.
pub const WORKER_KV_DEFAULT: worker_kv_type_t = 0;
/// Half precision: two bytes a value.
pub const WORKER_KV_F16: worker_kv_type_t = 1;
/// Single precision: four bytes a value; for exact comparisons.
pub const WORKER_KV_F32: worker_kv_type_t = 2;
/// Eight bits in blocks of 32 with a scale: 1.06 bytes a value.
pub const WORKER_KV_Q8_0: worker_kv_type_t = 3;

/// What is promised about where weights are: one of the WORKER_RESIDENCY_* values.
pub type worker_residency_policy_t = u32;
/// Chosen by the library: WORKER_RESIDENCY_VERIFY.
pub const WORKER_RESIDENCY_DEFAULT: worker_residency_policy_t = 0;
/// Nothing is promised: pages may be evicted and come back when they are used.
pub const WORKER_RESIDENCY_OFF: worker_residency_policy_t = 1;
/// Weights are brought in when the model is loaded, and can be checked at any time.
pub const WORKER_RESIDENCY_VERIFY: worker_residency_policy_t = 2;
/// Weights are locked in memory; loading fails with WORKER_ERROR_RESIDENCY_FAILED where the system does not allow it.
pub const WORKER_RESIDENCY_LOCKED: worker_residency_policy_t = 3;

/// How a model file becomes weights: one of the WORKER_LOAD_* values.
pub type worker_load_mode_t = u32;
/// Chosen by the library: WORKER_LOAD_MAP.
pub const WORKER_LOAD_DEFAULT: worker_load_mode_t = 0;
/// The file is mapped and its pages are the weights: quick, and shared between processes. While the model is loaded,
/// nobody may truncate the file: the system ends a process that reads beyond its end.
pub const WORKER_LOAD_MAP: worker_load_mode_t = 1;
/// The file is copied, and not needed any more when loading ends.
pub const WORKER_LOAD_COPY: worker_load_mode_t = 2;

/// Why a call failed. Set `struct_size` and pass it to any function with an `error` parameter: the same words as
/// worker_last_error() gives, but independent of the thread (a goroutine may continue on another one).
#[repr(C)]
pub struct worker_error_t {
    /// In: sizeof(worker_error_t), at least 16.
    pub struct_size: u32,
    /// Out: what the function returned.
    pub code: i32,
    /// Out: what was expected, what was found, and where; UTF-8, ends in NUL, cut to fit; empty on success.
    pub detail: [c_char; 504],
}

/// What a device is.
#[repr(C)]
pub struct worker_device_info_t {
    /// In: sizeof(worker_device_info_t).
    pub struct_size: u32,
    /// WORKER_CPU, or the GPU's number from 0.
    pub ordinal: i32,
    /// WORKER_DEVICE_CPU or WORKER_DEVICE_GPU.
    pub kind: worker_device_kind_t,
    /// Major version times 10 plus minor version; 0 on the CPU.
    pub compute_capability: u32,
    /// Bytes of memory; on the CPU the limit of this process' control group where that is lower than the machine's.
    pub total_memory: u64,
    /// Bytes of it that are free now.
    pub free_memory: u64,
    /// How many threads a model uses by default; 0 on a GPU.
    pub threads: u32,
    /// 0.
    pub reserved: u32,
    /// Its name, ends in NUL.
    pub name: [c_char; 128],
    /// The instruction set that the engine uses there, such as "avx512"; ends in NUL.
    pub kernel_path: [c_char; 32],
}

/// Bytes of device memory, by what they are for.
#[repr(C)]
pub struct worker_memory_t {
    /// In: sizeof(worker_memory_t).
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The model's weights. With WORKER_LOAD_MAP these are pages of the file, shared with other processes.
    pub weights: u64,
    /// Keys and values of the tokens seen.
    pub kv_cache: u64,
    /// Intermediate results.
    pub workspace: u64,
    /// Everything else.
    pub other: u64,
    /// The sum of these.
    pub total: u64,
    /// How many allocations they are.
    pub allocations: u64,
}

/// Where a model's weights were found.
#[repr(C)]
pub struct worker_residency_t {
    /// In: sizeof(worker_residency_t).
    pub struct_size: u32,
    /// 1: all weights are where they should be; 0: some are not.
    pub resident: u32,
    /// The model's policy: one of the WORKER_RESIDENCY_* values.
    pub policy: worker_residency_policy_t,
    /// 0.
    pub reserved: u32,
    /// Bytes that were looked at.
    pub checked_bytes: u64,
    /// Bytes that were in place.
    pub resident_bytes: u64,
    /// Allocations that were looked at.
    pub allocations: u64,
    /// Allocations that are not wholly in place.
    pub violations: u64,
    /// Bytes that are not in place.
    pub violating_bytes: u64,
    /// The first allocation that is not in place, by name; ends in NUL; empty when all are.
    pub violating: [c_char; 192],
}

/// Told how far loading is, on the thread that loads and under no lock: 0 before the file is opened, then the share of the
/// weights' bytes that are in place, never less than before, and 1 at the end. Returns 0 to go on; anything else, a C++
/// exception too, cancels: the load ends with WORKER_ERROR_CANCELLED, and holds nothing.
pub type worker_progress_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, fraction: f32) -> i32>;

/// Called once when a callback will not be called again, also when the call that was given it fails. A C++ exception from
/// it is dropped.
pub type worker_destroy_fn = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// How to load a model. Everything zero means: on the CPU, with the library's choices.
#[repr(C)]
pub struct worker_model_options_t {
    /// sizeof(worker_model_options_t).
    pub struct_size: u32,
    /// Kind of device: 0 (the CPU), WORKER_DEVICE_CPU or WORKER_DEVICE_GPU.
    pub device_kind: worker_device_kind_t,
    /// Which GPU, from 0. Must be 0 where the device is the CPU.
    pub device_ordinal: u32,
    /// Tokens that one session may have, prompt and answer together; never more than the model was trained for. 0: that,
    /// but at most 4096.
    pub context_length: u32,
    /// Type of the KV cache: one of the WORKER_KV_* values.
    pub kv_type: worker_kv_type_t,
    /// One of the WORKER_RESIDENCY_* values.
    pub residency: worker_residency_policy_t,
    /// One of the WORKER_LOAD_* values.
    pub load_mode: worker_load_mode_t,
    /// CPU threads, the calling one included, at most 1024; 0: as many as there are cores for this process.
    pub threads: u32,
    /// Sessions that run at the same time; further ones wait for a place. 0: 32.
    pub maximum_sessions: u32,
    /// Sessions that wait for a place; further ones are refused with WORKER_ERROR_BUSY. 0: 256.
    pub maximum_waiting: u32,
    /// Bytes of KV cache, which all sessions share; 0: enough for 4 of full length. On the CPU they are taken as needed.
    pub kv_budget_bytes: u64,
    /// Told how far loading is, and may cancel it; NULL: nobody.
    pub progress: worker_progress_fn,
    /// Given back to progress and progress_destroy.
    pub progress_user_data: *mut c_void,
    /// Called once before the load returns, whether it succeeded or not, unless struct_size itself is wrong; may be NULL.
    pub progress_destroy: worker_destroy_fn,
}

/// How to render chat messages. Everything zero means: with the cue for the assistant to speak, and without tools.
#[repr(C)]
pub struct worker_chat_options_t {
    /// sizeof(worker_chat_options_t).
    pub struct_size: u32,
    /// 1: leave out the cue that makes the model speak next.
    pub no_generation_prompt: u32,
    /// Tools that the model may call, as a JSON array; NULL: none.
    pub tools_json: *const c_char,
    /// Bytes of tools_json.
    pub tools_json_length: u64,
    /// More variables for the template, as a JSON object; NULL: none.
    pub variables_json: *const c_char,
    /// Bytes of variables_json.
    pub variables_json_length: u64,
}

/// A piece of UTF-8 text that its owner keeps alive during the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct worker_text_t {
    /// The text; need not end in NUL.
    pub data: *const c_char,
    /// Its bytes.
    pub length: u64,
}

/// Flag of worker_model_tokenize(): add the special tokens that the model expects around a text.
pub const WORKER_TOKENIZE_ADD_SPECIAL: u32 = 1;
/// Flag of worker_model_tokenize(): read the names of special tokens in the text as those tokens.
pub const WORKER_TOKENIZE_PARSE_SPECIAL: u32 = 2;
/// Flag of worker_model_detokenize(): write special tokens by their names.
pub const WORKER_DETOKENIZE_SPECIAL: u32 = 1;
