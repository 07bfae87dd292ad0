//! What the library tells about itself: log records for the host, and metrics.
//!
//! Inside, events are `tracing` events; [`event!`](crate::event) gives them to our own dispatcher, so nothing global is installed
//! in the host's process, and a host that uses `tracing` itself sees none of ours. Nothing that a model reads or
//! writes is ever put into a record: prompts and outputs appear as counts only.

pub mod log;
pub mod metrics;

pub use log::{Level, Record};

/// Emits one event, when its level is on: `event!(Info, "model_loaded", "Model loaded", bytes = 12_u64)`.
///
/// The first name is the event's stable name (its target is `worker::NAME`), then the sentence, then fields.
#[macro_export]
macro_rules! event {
    ($level:ident, $name:literal, $message:expr $(, $field:ident = $value:expr)* $(,)?) => {
        if $crate::telemetry::log::enabled($crate::telemetry::Level::$level) {
            $crate::telemetry::log::within(|| {
                $crate::emit_at!($level, $name, $message $(, $field = $value)*);
            });
        }
    };
}

/// The `tracing` macro of a level; part of [`event!`](crate::event).
#[doc(hidden)]
#[macro_export]
macro_rules! emit_at {
    (Trace, $name:literal, $message:expr $(, $field:ident = $value:expr)*) => {
        ::tracing::trace!(target: concat!("worker::", $name), $($field = $value,)* "{}", $message)
    };
    (Debug, $name:literal, $message:expr $(, $field:ident = $value:expr)*) => {
        ::tracing::debug!(target: concat!("worker::", $name), $($field = $value,)* "{}", $message)
    };
    (Info, $name:literal, $message:expr $(, $field:ident = $value:expr)*) => {
        ::tracing::info!(target: concat!("worker::", $name), $($field = $value,)* "{}", $message)
    };
    (Warn, $name:literal, $message:expr $(, $field:ident = $value:expr)*) => {
        ::tracing::warn!(target: concat!("worker::", $name), $($field = $value,)* "{}", $message)
    };
    (Error, $name:literal, $message:expr $(, $field:ident = $value:expr)*) => {
        ::tracing::error!(target: concat!("worker::", $name), $($field = $value,)* "{}", $message)
    };
}
