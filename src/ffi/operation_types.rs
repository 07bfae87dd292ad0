//! The public structs of the managed worker, its health, and logging; see [`super::types`] for the rules of their layout.
#![allow(non_camel_case_types)]

use std::ffi::{c_char, c_void};

use super::handles::worker_model_t;

/// How much a log record matters: one of the WORKER_LOG_* values.
pub type worker_log_level_t = u32;
/// The hot path, step by step.
pub const WORKER_LOG_TRACE: worker_log_level_t = 1;
/// Detail for whoever looks for a fault.
pub const WORKER_LOG_DEBUG: worker_log_level_t = 2;
/// The life of workers, models and sessions; the level at first.
pub const WORKER_LOG_INFO: worker_log_level_t = 3;
/// Degraded, or refused but worth another try.
pub const WORKER_LOG_WARN: worker_log_level_t = 4;
/// Needs a person.
pub const WORKER_LOG_ERROR: worker_log_level_t = 5;

/// Where the managed worker is in its life: one of the WORKER_STATE_* values.
pub type worker_state_t = u32;
/// None was started, or the last one has ended.
pub const WORKER_STATE_STOPPED: worker_state_t = 0;
/// worker_bootstrap() is at work.
pub const WORKER_STATE_STARTING: worker_state_t = 1;
/// Work is taken.
pub const WORKER_STATE_RUNNING: worker_state_t = 2;
/// Running sessions may finish; nothing new is taken.
pub const WORKER_STATE_SHUTTING_DOWN: worker_state_t = 3;
/// The last worker_bootstrap() failed; it may be called again.
pub const WORKER_STATE_ERROR: worker_state_t = 4;

/// One thing that happened. The texts end in NUL and are valid during the callback only.
#[repr(C)]
pub struct worker_log_record_t {
    /// sizeof(worker_log_record_t) in the library's build; members are only added at the end.
    pub struct_size: u32,
    /// How much it matters.
    pub level: worker_log_level_t,
    /// Nanoseconds since 1970.
    pub timestamp: u64,
    /// The event's stable name, such as "worker::model_loaded"; "host" for the host's own records.
    pub target: *const c_char,
    /// A sentence for people.
    pub message: *const c_char,
    /// The fields, as one JSON object.
    pub fields: *const c_char,
    /// Bytes of target, without its NUL.
    pub target_length: u64,
    /// Bytes of message, without its NUL.
    pub message_length: u64,
    /// Bytes of fields, without its NUL.
    pub fields_length: u64,
}

/// Given each log record, one at a time, on a thread of the library that does nothing else. It may be slow (records are
/// then lost, counted, and their number logged) and may call any function of the library.
pub type worker_log_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, record: *const worker_log_record_t)>;

/// What worker_bootstrap() made.
#[repr(C)]
pub struct worker_bootstrap_t {
    /// In: sizeof(worker_bootstrap_t).
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The model that the configuration named; 0 when it named none.
    pub model: worker_model_t,
    /// The worker's name, given or made up; ends in NUL.
    pub worker_id: [c_char; 136],
}

/// The managed worker at one moment.
#[repr(C)]
pub struct worker_overview_t {
    /// In: sizeof(worker_overview_t).
    pub struct_size: u32,
    /// Where it is in its life.
    pub state: worker_state_t,
    /// WORKER_CPU, or the GPU's number.
    pub device: i32,
    /// 1: healthy by the last check, or not checked yet; 0: not.
    pub healthy: u32,
    /// Seconds since bootstrap; 0 without a worker.
    pub uptime_seconds: f64,
    /// Sessions of this process that ended well.
    pub steps_processed: u64,
    /// Sessions of this process that failed or ran into their deadline.
    pub steps_failed: u64,
    /// Sessions running now.
    pub sessions_running: u64,
    /// Sessions waiting to be let in.
    pub sessions_queued: u64,
    /// Models loaded.
    pub models: u64,
    /// Bytes of device memory of those models.
    pub memory: u64,
    /// The worker's name; ends in NUL; empty without one.
    pub worker_id: [c_char; 136],
    /// Why the last bootstrap failed; ends in NUL; empty unless the state is WORKER_STATE_ERROR.
    pub reason: [c_char; 504],
}

/// What the health monitor found last.
#[repr(C)]
pub struct worker_health_t {
    /// In: sizeof(worker_health_t).
    pub struct_size: u32,
    /// 1: everything was in place, or nothing was checked yet; 0: not.
    pub healthy: u32,
    /// How many checks were made.
    pub checks: u64,
    /// Seconds since the last check; negative before the first.
    pub last_check_seconds: f64,
    /// Bytes that the last check looked at.
    pub checked_bytes: u64,
    /// Of these, bytes where they should be.
    pub resident_bytes: u64,
    /// Why it is not healthy; ends in NUL; empty while it is.
    pub reason: [c_char; 504],
}

/// Told when health changes, on the monitor's thread. It may call any function of the library but worker_stop() and
/// worker_transition_to_graceful_shutdown().
pub type worker_health_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, health: *const worker_health_t)>;
