//! `cuda/include/engine.h`, declared: names and layouts are the header's, and `engine/tests.rs` has a model cross it.
#![allow(non_camel_case_types, missing_docs)]

use std::ffi::{c_char, c_void};
use std::ptr::NonNull;

use crate::error::{Code, Error, Result};

pub const ENGINE_PAGE_TOKENS: u32 = 32;

#[repr(C)]
pub struct engine_error {
    pub code: i32,
    pub message: [c_char; 1020],
}

macro_rules! opaque {
    ($($name:ident)*) => {$(
        #[repr(C)]
        pub struct $name {
            _private: [u8; 0],
        }
    )*};
}
opaque!(engine_device engine_model engine_cache);

#[repr(C)]
pub struct engine_device_information {
    pub ordinal: i32,
    pub compute_capability: u32,
    pub total_memory: u64,
    pub free_memory: u64,
    pub threads: u32,
    pub reserved: u32,
    pub name: [c_char; 128],
    pub kernel_path: [c_char; 32],
}

pub const ENGINE_MEMORY_NVML: u32 = 1;
pub const ENGINE_MEMORY_LEDGER: u32 = 2;

#[repr(C)]
#[derive(Default)]
pub struct engine_device_usage {
    pub process_bytes: u64,
    pub device_bytes: u64,
    pub process_source: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Default)]
pub struct engine_memory {
    pub weights: u64,
    pub kv_cache: u64,
    pub workspace: u64,
    pub other: u64,
    pub allocations: u64,
}

#[repr(C)]
pub struct engine_model_description {
    pub vocabulary: u32,
    pub width: u32,
    pub layers: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub head_size: u32,
    pub value_size: u32,
    pub feed_forward: u32,
    pub context_length: u32,
    pub norm: u32,
    pub activation: u32,
    pub gated: u32,
    pub experts: u32,
    pub experts_used: u32,
    pub experts_softmax_after: u32,
    pub rotary: u32,
    pub rotary_size: u32,
    pub original_context: u32,
    pub window: u32,
    pub window_period: u32,
    pub embedding_norm_scale: u32,
    pub reserved: u32,
    pub norm_epsilon: f32,
    pub embedding_scale: f32,
    pub attention_scale: f32,
    pub attention_softcap: f32,
    pub final_softcap: f32,
    pub rotary_base: f32,
    pub rotary_base_windowed: f32,
    pub rotary_scale: f32,
    pub rotary_scale_windowed: f32,
    pub yarn_factor: f32,
    pub yarn_attention: f32,
    pub yarn_beta_fast: f32,
    pub yarn_beta_slow: f32,
    pub residual_scale: f32,
    pub logit_scale: f32,
    pub swiglu_alpha: f32,
    pub swiglu_limit: f32,
}

#[repr(C)]
pub struct engine_tensor {
    pub name: *const c_char,
    pub data: *const c_void,
    pub bytes: u64,
    pub shape: [u64; 4],
    pub kind: u32,
    pub role: u32,
    pub layer: i32,
    pub reserved: u32,
}

pub type engine_callback = unsafe extern "C" fn(user_data: *mut c_void, argument: *const c_void);
pub type engine_question = unsafe extern "C" fn(user_data: *mut c_void, argument: *const c_void) -> i32;
pub type engine_fraction_question = unsafe extern "C" fn(user_data: *mut c_void, fraction: f32) -> i32;
pub type engine_release = unsafe extern "C" fn(user_data: *mut c_void);

pub type engine_progress = unsafe extern "C" fn(context: *mut c_void, done_bytes: u64, total_bytes: u64) -> i32;

#[repr(C)]
pub struct engine_load {
    pub description: *const engine_model_description,
    pub tensors: *const engine_tensor,
    pub tensor_count: u64,
    pub residency: u32,
    pub mode: u32,
    pub progress: Option<engine_progress>,
    pub progress_context: *mut c_void,
    pub backing: *const c_void,
    pub backing_bytes: u64,
}

#[repr(C)]
pub struct engine_residency {
    pub checked_bytes: u64,
    pub resident_bytes: u64,
    pub allocations: u64,
    pub violations: u64,
    pub violating_bytes: u64,
    pub resident: u32,
    pub policy: u32,
    pub violating: [c_char; 192],
}

/// Mirrored by [`super::Row`], field for field.
#[repr(C)]
pub struct engine_row {
    pub token: u32,
    pub position: u32,
    pub sequence: u32,
    pub role: u32,
    pub output: u32,
}

/// Mirrored by [`super::TokenCount`], field for field.
#[repr(C)]
pub struct engine_token_count {
    pub token: u32,
    pub count: u32,
}

/// Mirrored by [`super::TokenBias`], field for field.
#[repr(C)]
pub struct engine_token_bias {
    pub token: u32,
    pub bias: f32,
}

#[repr(C)]
pub struct engine_sampling {
    pub seed: u64,
    pub index: u64,
    pub window: *const engine_token_count,
    pub window_count: u64,
    pub biases: *const engine_token_bias,
    pub bias_count: u64,
    pub allowed: *const u32,
    pub temperature: f32,
    pub top_k: u32,
    pub typical_p: f32,
    pub top_p: f32,
    pub min_p_logarithm: f32,
    pub repetition_penalty: f32,
    pub frequency_penalty: f32,
    pub presence_penalty: f32,
}

pub const ENGINE_SAMPLED: u32 = 0;
pub const ENGINE_SAMPLED_NOT_FINITE: u32 = 1;
pub const ENGINE_SAMPLED_NOTHING: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct engine_sampled {
    pub status: u32,
    pub token: u32,
    pub logit: f32,
    pub reserved: u32,
}

#[repr(C)]
pub struct engine_batch {
    pub rows: *const engine_row,
    pub row_count: u64,
    pub page_tables: *const *const u32,
    pub page_counts: *const u32,
    pub sequence_count: u64,
    pub cancel: *const u32,
    pub outputs: *mut f32,
    pub output_capacity: u64,
    pub samplings: *const engine_sampling,
    pub sampled: *mut engine_sampled,
    pub sampling_count: u64,
}

extern "C" {
    pub fn engine_call_contained(callback: engine_callback, user_data: *mut c_void, argument: *const c_void) -> i32;
    pub fn engine_ask_contained(
        question: engine_question,
        user_data: *mut c_void,
        argument: *const c_void,
        answer: *mut i32,
    ) -> i32;
    pub fn engine_ask_fraction_contained(
        question: engine_fraction_question,
        user_data: *mut c_void,
        fraction: f32,
        answer: *mut i32,
    ) -> i32;
    pub fn engine_release_contained(release: engine_release, user_data: *mut c_void) -> i32;
    pub fn engine_gpu_count() -> u32;
    pub fn engine_device_open(
        ordinal: i32,
        threads: u32,
        out: *mut *mut engine_device,
        error: *mut engine_error,
    ) -> i32;
    pub fn engine_device_close(device: *mut engine_device);
    pub fn engine_device_get_information(
        device: *mut engine_device,
        out: *mut engine_device_information,
        error: *mut engine_error,
    ) -> i32;
    pub fn engine_device_process_memory(device: *mut engine_device) -> u64;
    pub fn engine_device_get_usage(
        device: *mut engine_device,
        out: *mut engine_device_usage,
        error: *mut engine_error,
    ) -> i32;
    pub fn engine_device_memory(device: *mut engine_device, out: *mut engine_memory);
    pub fn engine_device_check_health(device: *mut engine_device, error: *mut engine_error) -> i32;
    pub fn engine_model_load(
        device: *mut engine_device,
        load: *const engine_load,
        out: *mut *mut engine_model,
        error: *mut engine_error,
    ) -> i32;
    pub fn engine_model_unload(model: *mut engine_model);
    pub fn engine_model_memory(model: *mut engine_model, out: *mut engine_memory);
    pub fn engine_model_check_residency(
        model: *mut engine_model,
        out: *mut engine_residency,
        error: *mut engine_error,
    ) -> i32;
    pub fn engine_model_repair_residency(
        model: *mut engine_model,
        out: *mut engine_residency,
        error: *mut engine_error,
    ) -> i32;
    pub fn engine_cache_page_bytes(model: *mut engine_model, kind: u32) -> u64;
    pub fn engine_cache_create(
        model: *mut engine_model,
        pages: u32,
        kind: u32,
        out: *mut *mut engine_cache,
        error: *mut engine_error,
    ) -> i32;
    pub fn engine_cache_free(cache: *mut engine_cache);
    pub fn engine_cache_copy_page(cache: *mut engine_cache, from: u32, to: u32, error: *mut engine_error) -> i32;
    pub fn engine_model_samples(model: *mut engine_model) -> u32;
    pub fn engine_model_roles_agree(model: *mut engine_model, kind: u32) -> u32;
    pub fn engine_forward(
        model: *mut engine_model,
        cache: *mut engine_cache,
        batch: *const engine_batch,
        error: *mut engine_error,
    ) -> i32;
}

/// Runs one engine call and turns what it reports into a `Result`.
pub fn call(entry: impl FnOnce(*mut engine_error) -> i32) -> Result<()> {
    let mut error = engine_error { code: 0, message: [0; 1020] };
    match entry(&raw mut error) {
        0 => Ok(()),
        code => Err(Error::new(Code::from_number(code).unwrap_or(Code::Unknown), text(&error.message))),
    }
}

/// The text in a NUL-terminated array; all of it where no NUL is.
pub fn text(array: &[c_char]) -> String {
    let bytes: Vec<u8> = array.iter().take_while(|byte| **byte != 0).map(|byte| byte.to_ne_bytes()[0]).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The object that a successful call gave.
pub fn owned<T>(handle: *mut T) -> Result<NonNull<T>> {
    NonNull::new(handle).ok_or_else(|| Error::new(Code::Unknown, "the engine reported success and gave nothing"))
}
