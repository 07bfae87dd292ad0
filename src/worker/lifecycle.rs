//! One managed worker per process: starting, running, shutting down, stopped, or failed to start.
//!
//! ```text
//! stopped -> starting -> running -> shutting down -> stopped
//!               \-> error -> starting
//! ```
//!
//! Everything works without a worker too; one is for a host that wants its configuration, health and end in one
//! place. The lock is never held while a model loads or sessions are waited for: status always answers at once.

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use serde_json::{json, Value};

use super::configuration::Configuration;
use super::health::{HealthMonitor, HealthReport, Residency, Watched};
use crate::engine::Device;
use crate::error::{Code, Error, Result};
use crate::event;
use crate::inference::{self, LoadOptions, Model};
use crate::registry::PerProcess;
use crate::telemetry::{self, metrics};

/// Where a worker is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// None was started, or the last one has ended.
    Stopped = 0,
    /// Bootstrap is at work.
    Starting = 1,
    /// Work is taken.
    Running = 2,
    /// Running sessions may finish; nothing new is taken.
    ShuttingDown = 3,
    /// The last bootstrap failed; status has the reason.
    Error = 4,
}

impl State {
    /// The state's name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::ShuttingDown => "shutting_down",
            Self::Error => "error",
        }
    }
}

/// What bootstrap made.
pub struct Bootstrapped {
    /// The worker's name.
    pub worker_id: String,
    /// The model that the configuration asked for.
    pub model: Option<Arc<Model>>,
}

/// A worker at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// Where it is in its life.
    pub state: State,
    /// Its name; empty without one.
    pub worker_id: String,
    /// Its namespace; empty without one.
    pub namespace: String,
    /// Why the last bootstrap failed; empty unless the state is error.
    pub reason: String,
    /// Its device; -1 is the CPU.
    pub device: i32,
    /// Seconds since it was bootstrapped.
    pub uptime_seconds: f64,
    /// Sessions that ended well since the process began.
    pub steps_processed: u64,
    /// Sessions that failed since the process began.
    pub steps_failed: u64,
    /// Sessions running now.
    pub sessions_running: u64,
    /// Sessions waiting for admission.
    pub sessions_queued: u64,
    /// Models loaded.
    pub models: u64,
    /// Device memory of those models: weights, KV cache, workspace, other; bytes.
    pub memory: [u64; 4],
    /// What the health monitor last found.
    pub health: HealthReport,
}

impl Status {
    /// The status as a JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "state": self.state.name(),
            "worker_id": self.worker_id,
            "namespace": self.namespace,
            "reason": self.reason,
            "device": self.device,
            "uptime_seconds": self.uptime_seconds,
            "steps_processed": self.steps_processed,
            "steps_failed": self.steps_failed,
            "sessions_running": self.sessions_running,
            "sessions_queued": self.sessions_queued,
            "models": self.models,
            "memory_bytes": {
                "weights": self.memory[0], "kv_cache": self.memory[1], "workspace": self.memory[2], "other": self.memory[3]
            },
            "health": self.health.json(),
        })
    }
}

/// Starts the process's worker.
///
/// # Errors
/// `AlreadyInitialized` while one is starting, running or shutting down; it is untouched. Otherwise whatever the
/// configuration, the device or the model says; the state is then error, and bootstrap may be called again.
pub fn bootstrap(configuration_json: &str) -> Result<Bootstrapped> {
    {
        let mut place = self::place();
        match place.state {
            State::Stopped | State::Error => place.enter(State::Starting),
            busy => {
                return Err(Error::new(
                    Code::AlreadyInitialized,
                    format!("a worker is {} in this process already; stop it first", busy.name()),
                ))
            }
        }
    }
    match start(configuration_json) {
        Ok((worker, model)) => {
            let worker_id = worker.configuration.worker_id.clone();
            let mut place = self::place();
            place.worker = Some(worker);
            place.reason.clear();
            place.enter(State::Running);
            drop(place);
            event!(Info, "worker_started", "Worker is running", worker_id = worker_id.as_str());
            Ok(Bootstrapped { worker_id, model })
        }
        Err(error) => {
            let mut place = self::place();
            place.reason = error.to_string();
            place.enter(State::Error);
            drop(place);
            event!(Error, "worker_start_failed", "Worker could not start", reason = error.detail.as_str());
            Err(error)
        }
    }
}

/// Where the worker is in its life.
#[must_use]
pub fn state() -> State {
    place().state
}

/// The worker, or the lack of one, at this moment. Answers at once in every state.
#[must_use]
pub fn status() -> Status {
    let (state, reason, worker) = {
        let place = self::place();
        (place.state, place.reason.clone(), place.worker.clone())
    };
    let gauges = gauges();
    let ended = |outcome: usize| metrics::METRICS.sessions_ended[outcome].get();
    Status {
        state,
        worker_id: worker.as_ref().map_or_else(String::new, |worker| worker.configuration.worker_id.clone()),
        namespace: worker.as_ref().map_or_else(String::new, |worker| worker.configuration.namespace.clone()),
        reason,
        device: worker.as_ref().map_or(-1, |worker| worker.configuration.device),
        uptime_seconds: gauges.uptime_seconds,
        steps_processed: ended(0),
        steps_failed: ended(2) + ended(3),
        sessions_running: gauges.sessions_running,
        sessions_queued: gauges.sessions_queued,
        models: gauges.models,
        memory: gauges.memory,
        health: health_report(worker.as_deref()),
    }
}

/// Takes no new work, lets sessions finish for up to `deadline`, cancels what is left, and stops.
///
/// # Errors
/// `NotInitialized` unless a worker is running.
pub fn transition_to_graceful_shutdown(deadline: Duration) -> Result<()> {
    {
        let mut place = self::place();
        if place.state != State::Running {
            return Err(not_running(place.state));
        }
        place.enter(State::ShuttingDown);
    }
    event!(Info, "worker_shutting_down", "Worker takes no new work", deadline_seconds = deadline.as_secs_f64());
    let begun = Instant::now();
    while begun.elapsed() < deadline && unfinished_sessions() > 0 {
        std::thread::sleep(POLL);
    }
    end();
    Ok(())
}

/// Stops at once: running sessions are ended, models unloaded, threads joined.
///
/// # Errors
/// `NotInitialized` unless a worker is running or shutting down.
pub fn stop() -> Result<()> {
    {
        let mut place = self::place();
        match place.state {
            State::Running => place.enter(State::ShuttingDown),
            State::ShuttingDown => {}
            state => return Err(not_running(state)),
        }
    }
    end();
    Ok(())
}

/// Whether new work may begin; one atomic load unless a worker refuses while unhealthy.
///
/// # Errors
/// `ShuttingDown`, or `Unhealthy` with the reason.
pub fn admit_new_work() -> Result<()> {
    match GATE.load(Ordering::Acquire) {
        OPEN => Ok(()),
        CLOSED => Err(Error::new(Code::ShuttingDown, "the worker is shutting down and takes no new work")),
        _ => {
            let report = health_report(place().worker.clone().as_deref());
            match report.healthy {
                true => Ok(()),
                false => Err(Error::new(Code::Unhealthy, format!("the worker is unhealthy: {}", report.reason))),
            }
        }
    }
}

/// What is true of all models now, for metrics.
#[must_use]
pub fn gauges() -> metrics::Gauges {
    let worker = place().worker.clone();
    let mut gauges = metrics::Gauges {
        uptime_seconds: worker.as_ref().map_or(0.0, |worker| worker.started.elapsed().as_secs_f64()),
        healthy: health_report(worker.as_deref()).healthy,
        ..metrics::Gauges::default()
    };
    for model in inference::live_models() {
        let (activity, memory, (used, total)) = (model.activity(), model.memory(), model.kv_pages());
        gauges.models += 1;
        gauges.sessions_running += activity.running as u64;
        gauges.sessions_queued += activity.waiting as u64;
        gauges.kv_pages_used += used as u64;
        gauges.kv_pages_total += total as u64;
        for (sum, bytes) in
            gauges.memory.iter_mut().zip([memory.weights, memory.kv_cache, memory.workspace, memory.other])
        {
            *sum += bytes;
        }
    }
    gauges
}

/// Runs `act` with the running worker's health monitor.
///
/// # Errors
/// `NotInitialized` unless a worker is running or shutting down.
pub fn with_health<T>(act: impl FnOnce(&HealthMonitor) -> T) -> Result<T> {
    let (state, worker) = {
        let place = self::place();
        (place.state, place.worker.clone())
    };
    worker.map(|worker| act(&worker.health)).ok_or_else(|| not_running(state))
}

struct Worker {
    configuration: Configuration,
    started: Instant,
    health: HealthMonitor,
    /// Kept so that the model lives as long as the worker, whatever its host does with the handle.
    _model: Option<Arc<Model>>,
}

struct Place {
    state: State,
    worker: Option<Arc<Worker>>,
    reason: String,
}

impl Place {
    fn enter(&mut self, state: State) {
        self.state = state;
        let careful = self.worker.as_ref().is_some_and(|worker| worker.configuration.refuse_while_unhealthy);
        let gate = match state {
            State::ShuttingDown => CLOSED,
            State::Running if careful => CAREFUL,
            _ => OPEN,
        };
        GATE.store(gate, Ordering::Release);
    }
}

fn start(configuration_json: &str) -> Result<(Arc<Worker>, Option<Arc<Model>>)> {
    let configuration = Configuration::resolve(configuration_json)?;
    telemetry::log::set_level(configuration.log_level);
    let device = Device::open(configuration.device, configuration.threads)?;
    device.check_health()?;
    let model = configuration.model.as_ref().map(|path| load(path, &device, &configuration)).transpose()?;
    let interval = (configuration.health_interval_seconds > 0.0)
        .then(|| Duration::from_secs_f64(configuration.health_interval_seconds));
    let source = Arc::new(|| inference::live_models().into_iter().map(|model| model as Arc<dyn Watched>).collect());
    let health = HealthMonitor::start(source, interval, configuration.health_repair)?;
    let worker = Worker { configuration, started: Instant::now(), health, _model: model.clone() };
    Ok((Arc::new(worker), model))
}

fn load(path: &Path, device: &Arc<Device>, configuration: &Configuration) -> Result<Arc<Model>> {
    let options = LoadOptions {
        context_length: configuration.context_length,
        maximum_sessions: configuration.maximum_sessions,
        residency: configuration.residency,
        mode: configuration.load_mode,
        ..LoadOptions::default()
    };
    Model::load(path, Arc::clone(device), &options, &mut |_fraction| true)
}

/// Ends every model of the process and forgets the worker.
fn end() {
    for model in inference::live_models() {
        model.close();
    }
    let worker = place().worker.take();
    // The monitor's thread is joined here, outside the lock.
    drop(worker);
    let mut place = self::place();
    if place.state == State::ShuttingDown {
        place.enter(State::Stopped);
    }
    drop(place);
    event!(Info, "worker_stopped", "Worker has stopped");
}

fn unfinished_sessions() -> u64 {
    inference::live_models()
        .iter()
        .map(|model| {
            let activity = model.activity();
            (activity.running + activity.waiting) as u64
        })
        .sum()
}

fn health_report(worker: Option<&Worker>) -> HealthReport {
    worker.map_or_else(HealthReport::before_any_check, |worker| worker.health.report())
}

fn not_running(state: State) -> Error {
    Error::new(Code::NotInitialized, format!("no worker is running in this process (state: {})", state.name()))
}

impl Watched for Model {
    fn name(&self) -> String {
        self.name().to_owned()
    }

    fn check_residency(&self) -> Result<Residency> {
        self.check_residency().map(|report| residency(&report))
    }

    fn repair_residency(&self) -> Result<Residency> {
        self.repair_residency().map(|report| residency(&report))
    }

    fn check_device(&self) -> Result<()> {
        self.device().check_health()
    }
}

fn residency(report: &crate::engine::ResidencyReport) -> Residency {
    Residency {
        checked_bytes: report.checked_bytes,
        resident_bytes: report.resident_bytes,
        violating: (!report.resident).then(|| report.violating.clone().unwrap_or_default()),
    }
}

/// This process' worker; the child of a fork has none.
fn place() -> MutexGuard<'static, Place> {
    static PLACE: PerProcess<Mutex<Place>> = PerProcess::new();
    PLACE.get_or_init(|| Mutex::new(Place { state: State::Stopped, worker: None, reason: String::new() })).lock()
}

static GATE: AtomicU8 = AtomicU8::new(OPEN);
const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const CAREFUL: u8 = 2;
const POLL: Duration = Duration::from_millis(2);
