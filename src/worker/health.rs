//! The health monitor: on a timer it proves that weights are where they were put and that the device answers.

use std::cell::Cell;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde_json::{json, Value};

use crate::error::{Code, Error, Result};
use crate::event;
use crate::telemetry::metrics::METRICS;

/// Something whose health can be proven; a loaded model is one.
pub trait Watched: Send + Sync {
    /// Its name in reports.
    fn name(&self) -> String;
    /// Bytes checked and bytes in place, and the first allocation that is not, if any.
    fn check_residency(&self) -> Result<Residency>;
    /// Brings back what was evicted, then checks.
    fn repair_residency(&self) -> Result<Residency>;
    /// Whether the device answers.
    fn check_device(&self) -> Result<()>;
}

/// What a residency check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Residency {
    /// Bytes looked at.
    pub checked_bytes: u64,
    /// Of these, bytes where they should be.
    pub resident_bytes: u64,
    /// The first allocation that is not wholly in place.
    pub violating: Option<String>,
}

/// What the last check found.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthReport {
    /// True until a check says otherwise.
    pub healthy: bool,
    /// Why not, for people; empty while healthy.
    pub reason: String,
    /// Checks made so far.
    pub checks: u64,
    /// When the last one ended; `None` before the first.
    pub last_check: Option<Instant>,
    /// Bytes looked at by the last check.
    pub checked_bytes: u64,
    /// Of these, bytes where they should be.
    pub resident_bytes: u64,
}

impl HealthReport {
    pub(super) fn before_any_check() -> Self {
        Self { healthy: true, reason: String::new(), checks: 0, last_check: None, checked_bytes: 0, resident_bytes: 0 }
    }

    /// Seconds since the last check; `None` before the first.
    #[must_use]
    pub fn age_seconds(&self) -> Option<f64> {
        self.last_check.map(|last| last.elapsed().as_secs_f64())
    }

    /// The report as a JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "status": if self.healthy { "healthy" } else { "unhealthy" },
            "reason": self.reason,
            "checks": self.checks,
            "last_check_seconds": self.age_seconds(),
            "checked_bytes": self.checked_bytes,
            "resident_bytes": self.resident_bytes,
            "resident": self.checked_bytes == self.resident_bytes,
        })
    }

    /// The report as lines for people.
    #[must_use]
    pub fn text(&self) -> String {
        let age = self.age_seconds().map_or_else(|| "never".to_owned(), |age| format!("{age:.1} s ago"));
        let status = if self.healthy { "HEALTHY".to_owned() } else { format!("UNHEALTHY: {}", self.reason) };
        format!(
            "Status: {status}\nLast check: {age}\nResident: {} of {} bytes\nChecks: {}\n",
            self.resident_bytes, self.checked_bytes, self.checks
        )
    }
}

/// Whom the monitor watches, asked anew at each check.
pub type Source = Arc<dyn Fn() -> Vec<Arc<dyn Watched>> + Send + Sync>;

/// Told, on the monitor's thread, when the state changes from healthy to unhealthy or back.
pub type OnChange = Arc<dyn Fn(&HealthReport) + Send + Sync>;

/// Checks now and then, and remembers the verdict. Dropping it ends its thread.
pub struct HealthMonitor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    source: Source,
    repair: bool,
    on_change: Mutex<Option<OnChange>>,
    report: Mutex<HealthReport>,
    /// Checks take turns, so that reports follow each other in time.
    checking: Mutex<()>,
    ended: Mutex<bool>,
    end: Condvar,
}

impl HealthMonitor {
    /// A monitor of `source`, checking every `interval` (`None`: only when asked), the first time one interval from
    /// now. With `repair`, evicted weights are brought back before the verdict is given.
    ///
    /// # Errors
    /// `OutOfMemory` when no thread can be made.
    pub fn start(source: Source, interval: Option<Duration>, repair: bool) -> Result<Self> {
        let shared = Arc::new(Shared {
            source,
            repair,
            on_change: Mutex::new(None),
            report: Mutex::new(HealthReport::before_any_check()),
            checking: Mutex::new(()),
            ended: Mutex::new(false),
            end: Condvar::new(),
        });
        let Some(interval) = interval else { return Ok(Self { shared, thread: None }) };
        let watching = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("worker-health".to_owned())
            .spawn(move || {
                CHECKING.set(Arc::as_ptr(&watching) as usize);
                watching.run(interval);
            })
            .map_err(|error| Error::new(Code::OutOfMemory, format!("health monitor: no thread: {error}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Sets who is told of changes.
    pub fn set_on_change(&self, on_change: Option<OnChange>) {
        *self.shared.on_change.lock() = on_change;
    }

    /// Checks now, on the calling thread.
    #[must_use]
    pub fn check(&self) -> HealthReport {
        self.shared.check()
    }

    /// What the last check found, without checking: one short lock.
    #[must_use]
    pub fn report(&self) -> HealthReport {
        self.shared.report.lock().clone()
    }
}

impl Drop for HealthMonitor {
    fn drop(&mut self) {
        *self.shared.ended.lock() = true;
        self.shared.end.notify_all();
        let Some(thread) = self.thread.take() else { return };
        // Not by the thread's id: asking for it costs a host's thread memory that only its end gives back.
        if CHECKING.get() != Arc::as_ptr(&self.shared) as usize {
            let _ended = thread.join();
        }
    }
}

thread_local! {
    /// The monitor that this thread works for, by its address; 0 on all other threads.
    static CHECKING: Cell<usize> = const { Cell::new(0) };
}

impl Shared {
    fn run(&self, interval: Duration) {
        let mut ended = self.ended.lock();
        while !*ended {
            let timed_out = self.end.wait_for(&mut ended, interval).timed_out();
            if timed_out && !*ended {
                parking_lot::MutexGuard::unlocked(&mut ended, || self.check());
            }
        }
    }

    fn check(&self) -> HealthReport {
        let _turn = self.checking.lock();
        let verdict = self.examine();
        let (report, changed) = {
            let mut report = self.report.lock();
            let changed = report.healthy != verdict.reason.is_empty();
            *report = HealthReport {
                healthy: verdict.reason.is_empty(),
                reason: verdict.reason,
                checks: report.checks + 1,
                last_check: Some(Instant::now()),
                checked_bytes: verdict.checked_bytes,
                resident_bytes: verdict.resident_bytes,
            };
            (report.clone(), changed)
        };
        if changed {
            if report.healthy {
                event!(Info, "worker_healthy", "Worker is healthy again");
            } else {
                event!(Error, "worker_unhealthy", "Worker is unhealthy", reason = report.reason.as_str());
            }
            let told = self.on_change.lock().clone();
            if let Some(told) = told {
                told(&report);
            }
        }
        report
    }

    fn examine(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for watched in (self.source)() {
            let found = if self.repair { repair_when_needed(watched.as_ref()) } else { watched.check_residency() };
            match found {
                Ok(residency) => verdict.add(watched.as_ref(), &residency),
                Err(error) => verdict.blame(watched.as_ref(), &error.to_string()),
            }
            if let Err(error) = watched.check_device() {
                verdict.blame(watched.as_ref(), &error.to_string());
            }
        }
        verdict
    }
}

fn repair_when_needed(watched: &dyn Watched) -> Result<Residency> {
    let found = watched.check_residency()?;
    if found.violating.is_none() {
        return Ok(found);
    }
    event!(
        Warn,
        "residency_repair",
        "Bringing evicted weights back",
        model = watched.name(),
        missing_bytes = found.checked_bytes - found.resident_bytes
    );
    watched.repair_residency()
}

#[derive(Default)]
struct Verdict {
    reason: String,
    checked_bytes: u64,
    resident_bytes: u64,
}

impl Verdict {
    fn add(&mut self, watched: &dyn Watched, residency: &Residency) {
        self.checked_bytes += residency.checked_bytes;
        self.resident_bytes += residency.resident_bytes;
        let missing = residency.checked_bytes - residency.resident_bytes;
        let Some(violating) = &residency.violating else {
            METRICS.residency_verified.add(1);
            event!(
                Debug,
                "residency_verified",
                "Weights are in place",
                model = watched.name(),
                bytes = residency.checked_bytes
            );
            return;
        };
        METRICS.residency_violated.add(1);
        event!(
            Error,
            "residency_violated",
            "Weights are not in place",
            model = watched.name(),
            allocation = violating.as_str(),
            missing_bytes = missing
        );
        self.blame(
            watched,
            &format!("{missing} of {} bytes are not resident, first in {violating}", residency.checked_bytes),
        );
    }

    fn blame(&mut self, watched: &dyn Watched, reason: &str) {
        if self.reason.is_empty() {
            self.reason = format!("{}: {reason}", watched.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// A model whose pages come and go as the test says.
    #[derive(Default)]
    struct Pages {
        evicted: AtomicBool,
        repairs: AtomicU64,
        device_lost: AtomicBool,
    }

    impl Watched for Pages {
        fn name(&self) -> String {
            "pages".to_owned()
        }

        fn check_residency(&self) -> Result<Residency> {
            let evicted = self.evicted.load(Ordering::SeqCst);
            Ok(Residency {
                checked_bytes: 100,
                resident_bytes: if evicted { 60 } else { 100 },
                violating: evicted.then(|| "blk.0.attn_q.weight".to_owned()),
            })
        }

        fn repair_residency(&self) -> Result<Residency> {
            self.repairs.fetch_add(1, Ordering::SeqCst);
            self.evicted.store(false, Ordering::SeqCst);
            self.check_residency()
        }

        fn check_device(&self) -> Result<()> {
            match self.device_lost.load(Ordering::SeqCst) {
                true => Err(Error::new(Code::InvalidDevice, "the device does not answer")),
                false => Ok(()),
            }
        }
    }

    fn monitor(pages: &Arc<Pages>, interval: Option<Duration>, repair: bool) -> HealthMonitor {
        let pages = Arc::clone(pages);
        HealthMonitor::start(Arc::new(move || vec![Arc::clone(&pages) as Arc<dyn Watched>]), interval, repair).unwrap()
    }

    #[test]
    fn a_violation_is_named_told_once_and_forgotten_when_it_is_over() {
        let pages = Arc::new(Pages::default());
        let monitor = monitor(&pages, None, false);
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        monitor.set_on_change(Some(Arc::new(move |report: &HealthReport| telling.lock().push(report.healthy))));
        assert!(monitor.check().healthy);
        pages.evicted.store(true, Ordering::SeqCst);
        let report = monitor.check();
        assert!(
            !report.healthy && report.reason.contains("blk.0.attn_q.weight") && report.reason.contains("40 of 100")
        );
        assert!(!monitor.check().healthy);
        pages.evicted.store(false, Ordering::SeqCst);
        assert!(monitor.check().healthy);
        assert_eq!(*told.lock(), [false, true]);
        assert_eq!(monitor.report().checks, 4);
        assert_eq!(monitor.report().json()["status"], "healthy");
        assert!(monitor.report().text().starts_with("Status: HEALTHY\n"));
    }

    #[test]
    fn repair_brings_pages_back_before_the_verdict() {
        let pages = Arc::new(Pages::default());
        let monitor = monitor(&pages, None, true);
        assert!(monitor.check().healthy);
        assert_eq!(pages.repairs.load(Ordering::SeqCst), 0);
        pages.evicted.store(true, Ordering::SeqCst);
        assert!(monitor.check().healthy);
        assert_eq!(pages.repairs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_lost_device_is_unhealthy() {
        let pages = Arc::new(Pages::default());
        pages.device_lost.store(true, Ordering::SeqCst);
        let report = monitor(&pages, None, false).check();
        assert!(report.reason.contains("does not answer"), "{}", report.reason);
    }

    #[test]
    fn the_timer_checks_and_ends_with_the_monitor() {
        let pages = Arc::new(Pages::default());
        pages.evicted.store(true, Ordering::SeqCst);
        let monitor = monitor(&pages, Some(Duration::from_millis(5)), false);
        let begun = Instant::now();
        while monitor.report().checks < 3 && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(monitor.report().checks >= 3);
        assert!(!monitor.report().healthy);
        drop(monitor);
        assert_eq!(Arc::strong_count(&pages), 1, "the thread has ended");
    }
}
