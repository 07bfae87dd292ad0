//! Where the members of the public structs lie, as Rust has them.

use std::mem::{offset_of, size_of};

use worker::ffi::operation_types::*;
use worker::ffi::session_types::*;
use worker::ffi::types::*;

/// A public struct: its members with their offsets and sizes.
pub struct Layout {
    pub name: &'static str,
    pub size: usize,
    pub fields: &'static [(&'static str, usize, usize)],
}

impl Layout {
    /// An initial value in C.
    pub fn initial(&self) -> String {
        if self.fields[0].0 == "struct_size" {
            format!("{}_INIT", self.name.trim_end_matches("_t").to_uppercase())
        } else {
            "{ 0, 0 }".to_owned()
        }
    }
}

const fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! layouts {
    ($($name:ident { $($field:ident),* })*) => {
        pub const STRUCTS: &[Layout] = &[$(Layout {
            name: stringify!($name),
            size: size_of::<$name>(),
            fields: &[$((
                stringify!($field),
                offset_of!($name, $field),
                size_of_field::<$name, _>(|value| &value.$field),
            )),*],
        }),*];
    };
}

layouts! {
    worker_error_t { struct_size, code, detail }
    worker_device_info_t { struct_size, ordinal, kind, compute_capability, total_memory, free_memory, threads, reserved, name, kernel_path }
    worker_memory_t { struct_size, reserved, weights, kv_cache, workspace, other, total, allocations }
    worker_residency_t { struct_size, resident, policy, reserved, checked_bytes, resident_bytes, allocations, violations, violating_bytes, violating }
    worker_model_options_t { struct_size, device_kind, device_ordinal, context_length, kv_type, residency, load_mode, threads, maximum_sessions, maximum_waiting, kv_budget_bytes, progress, progress_user_data, progress_destroy }
    worker_chat_options_t { struct_size, no_generation_prompt, tools_json, tools_json_length, variables_json, variables_json_length }
    worker_text_t { data, length }
    worker_logit_bias_t { token, bias }
    worker_logprob_t { token, logprob }
    worker_session_options_t { struct_size, maximum_tokens, temperature, top_k, top_p, min_p, typical_p, repetition_penalty, presence_penalty, frequency_penalty, penalty_window, seed_given, seed, logit_bias, logit_bias_count, stop, stop_count, logprobs, constraint_kind, constraint, constraint_length, deadline_ms, ignore_end, reserved }
    worker_event_t { struct_size, kind, text, text_capacity, text_length, text_needed, top, top_capacity, top_count, token, index, has_logprob, logprob, end_reason, error_code, matched_stop, prompt_tokens, cached_tokens, generated_tokens }
    worker_usage_t { struct_size, prompt_tokens, cached_tokens, generated_tokens, queue_seconds, prefill_seconds, decode_seconds, first_token_seconds }
    worker_score_options_t { struct_size, kind, kv_type, reserved, last }
    worker_embed_options_t { struct_size, pooling, normalize, reserved }
    worker_log_record_t { struct_size, level, timestamp, target, message, fields, target_length, message_length, fields_length }
    worker_bootstrap_t { struct_size, reserved, model, worker_id }
    worker_overview_t { struct_size, state, device, healthy, uptime_seconds, steps_processed, steps_failed, sessions_running, sessions_queued, models, memory, worker_id, reason }
    worker_health_t { struct_size, healthy, checks, last_check_seconds, checked_bytes, resident_bytes, reason }
}
