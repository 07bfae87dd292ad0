//! What the functions of the managed worker do between their arguments and the layer below.

use std::ffi::c_char;
use std::time::Duration;

use super::marshal::zeroed;
use super::objects::registry;
use super::operation_types::{worker_bootstrap_t, worker_health_t, worker_overview_t};
use crate::cuda::{CudaContext, CudaModel};
use crate::error::Result;
use crate::worker::lifecycle;
use crate::worker::HealthReport;

pub(super) fn bootstrap(configuration: &str) -> Result<worker_bootstrap_t> {
    let bootstrapped = lifecycle::bootstrap(configuration)?;
    let mut out = zeroed::<worker_bootstrap_t>();
    if let Some(model) = bootstrapped.model {
        out.model = registry().insert(CudaModel::new(model)).inspect_err(|_| {
            // Without its handle the worker would be of no use to its host.
            let _stopped = lifecycle::stop();
        })?;
    }
    copy_text(&mut out.worker_id, &bootstrapped.worker_id);
    Ok(out)
}

pub(super) fn overview() -> worker_overview_t {
    let status = lifecycle::status();
    let mut out = zeroed::<worker_overview_t>();
    out.state = status.state as u32;
    out.device = status.device;
    out.healthy = u32::from(status.health.healthy);
    out.uptime_seconds = status.uptime_seconds;
    out.steps_processed = status.steps_processed;
    out.steps_failed = status.steps_failed;
    out.sessions_running = status.sessions_running;
    out.sessions_queued = status.sessions_queued;
    out.models = status.models;
    out.memory = status.memory.iter().sum();
    copy_text(&mut out.worker_id, &status.worker_id);
    copy_text(&mut out.reason, &status.reason);
    out
}

pub(super) fn shut_down(deadline: Duration) -> Result<()> {
    lifecycle::transition_to_graceful_shutdown(deadline)?;
    close_handles();
    Ok(())
}

pub(super) fn stop() -> Result<()> {
    lifecycle::stop()?;
    close_handles();
    Ok(())
}

pub(super) fn health(report: &HealthReport) -> worker_health_t {
    let mut out = zeroed::<worker_health_t>();
    out.healthy = u32::from(report.healthy);
    out.checks = report.checks;
    out.last_check_seconds = report.age_seconds().unwrap_or(-1.0);
    out.checked_bytes = report.checked_bytes;
    out.resident_bytes = report.resident_bytes;
    copy_text(&mut out.reason, &report.reason);
    out
}

/// Ends every object of the process. What another thread closes meanwhile is ended all the same.
fn close_handles() {
    for (handle, _) in registry().all::<CudaContext>() {
        let _ended = registry().close::<CudaContext>(handle);
    }
    for (handle, _) in registry().all::<CudaModel>() {
        let _ended = registry().close::<CudaModel>(handle);
    }
}

/// As much of a text as fits, in whole characters, with a NUL.
fn copy_text(target: &mut [c_char], text: &str) {
    let mut end = text.len().min(target.len() - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    for (to, from) in target.iter_mut().zip(text.as_bytes()[..end].iter().filter(|byte| **byte != 0)) {
        *to = *from as c_char;
    }
}
