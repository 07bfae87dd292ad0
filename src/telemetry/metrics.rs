//! Counters, histograms and gauges of the process: cheap to update, read as JSON or as Prometheus text.
//!
//! Updating is one relaxed atomic addition. Gauges are not stored: whoever knows them gives them when a snapshot is
//! taken.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{json, Map, Value};

use crate::error::Code;

/// The process's metrics.
pub static METRICS: Metrics = Metrics::new();

/// Every counter and histogram.
pub struct Metrics {
    /// Prompt tokens of sessions that were admitted.
    pub prompt_tokens: Counter,
    /// Of those, tokens taken from the prefix cache.
    pub cached_tokens: Counter,
    /// Tokens sampled.
    pub generated_tokens: Counter,
    /// Sessions admitted or queued.
    pub sessions_started: Counter,
    /// Sessions that ended, by how.
    pub sessions_ended: [Counter; OUTCOMES.len()],
    /// Residency checks that found everything in place.
    pub residency_verified: Counter,
    /// Residency checks that did not.
    pub residency_violated: Counter,
    /// From a session's start to its first token.
    pub time_to_first_token: Histogram,
    /// Between a session's tokens.
    pub inter_token: Histogram,
    /// One step of a model's scheduler.
    pub step: Histogram,
    /// Rows that a step ran.
    pub batch_rows: Histogram,
    failures: [Counter; Code::ALL.len()],
}

/// How sessions end, in the order of [`Metrics::sessions_ended`].
pub const OUTCOMES: [&str; 4] = ["completed", "cancelled", "deadline", "failed"];

impl Metrics {
    const fn new() -> Self {
        Self {
            prompt_tokens: Counter::new(),
            cached_tokens: Counter::new(),
            generated_tokens: Counter::new(),
            sessions_started: Counter::new(),
            sessions_ended: [const { Counter::new() }; OUTCOMES.len()],
            residency_verified: Counter::new(),
            residency_violated: Counter::new(),
            time_to_first_token: Histogram::new(&SECONDS),
            inter_token: Histogram::new(&SECONDS),
            step: Histogram::new(&SECONDS),
            batch_rows: Histogram::new(&ROWS),
            failures: [const { Counter::new() }; Code::ALL.len()],
        }
    }

    /// Counts a failure that a host saw.
    pub fn failed(&self, code: Code) {
        if let Some(place) = Code::ALL.iter().position(|known| *known == code) {
            self.failures[place].add(1);
        }
    }

    /// Failures of this code so far.
    #[must_use]
    pub fn failures(&self, code: Code) -> u64 {
        Code::ALL.iter().position(|known| *known == code).map_or(0, |place| self.failures[place].get())
    }
}

/// What is true at this moment; collected by the caller.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// Seconds since the worker was bootstrapped; 0 without one.
    pub uptime_seconds: f64,
    /// Models loaded.
    pub models: u64,
    /// Sessions running.
    pub sessions_running: u64,
    /// Sessions waiting for admission.
    pub sessions_queued: u64,
    /// KV pages in use, and there.
    pub kv_pages_used: u64,
    /// KV pages of all models.
    pub kv_pages_total: u64,
    /// Device memory by purpose: weights, KV cache, workspace, other; bytes.
    pub memory: [u64; 4],
    /// 1 healthy, 0 unhealthy.
    pub healthy: bool,
}

const PURPOSES: [&str; 4] = ["weights", "kv_cache", "workspace", "other"];

/// Everything as one JSON object.
#[must_use]
pub fn json(metrics: &Metrics, gauges: &Gauges) -> Value {
    let by_name = |names: &[&str], values: &mut dyn Iterator<Item = u64>| -> Value {
        names
            .iter()
            .zip(values)
            .map(|(name, value)| ((*name).to_owned(), Value::from(value)))
            .collect::<Map<_, _>>()
            .into()
    };
    let failures: Map<String, Value> = Code::ALL
        .iter()
        .filter(|code| metrics.failures(**code) > 0)
        .map(|code| (code.c_name().to_owned(), Value::from(metrics.failures(*code))))
        .collect();
    json!({
        "uptime_seconds": gauges.uptime_seconds,
        "healthy": gauges.healthy,
        "models": gauges.models,
        "sessions": {
            "running": gauges.sessions_running,
            "queued": gauges.sessions_queued,
            "started": metrics.sessions_started.get(),
            "ended": by_name(&OUTCOMES, &mut metrics.sessions_ended.iter().map(Counter::get)),
        },
        "tokens": {
            "prompt": metrics.prompt_tokens.get(),
            "cached": metrics.cached_tokens.get(),
            "generated": metrics.generated_tokens.get(),
        },
        "memory_bytes": by_name(&PURPOSES, &mut gauges.memory.iter().copied()),
        "kv_pages": { "used": gauges.kv_pages_used, "total": gauges.kv_pages_total },
        "residency_checks": { "verified": metrics.residency_verified.get(), "violated": metrics.residency_violated.get() },
        "failures": failures,
        "log_records_dropped": super::log::dropped(),
        "time_to_first_token_seconds": metrics.time_to_first_token.json(),
        "inter_token_seconds": metrics.inter_token.json(),
        "step_seconds": metrics.step.json(),
        "batch_rows": metrics.batch_rows.json(),
    })
}

/// Everything in Prometheus's text format, version 0.0.4.
#[must_use]
pub fn prometheus(metrics: &Metrics, gauges: &Gauges) -> String {
    let mut page = Page(String::new());
    page.gauge("worker_uptime_seconds", "Seconds since bootstrap.", gauges.uptime_seconds);
    page.gauge("worker_healthy", "1 while healthy.", f64::from(u8::from(gauges.healthy)));
    page.gauge("worker_models", "Models loaded.", gauges.models as f64);
    page.gauge("worker_sessions_running", "Sessions running.", gauges.sessions_running as f64);
    page.gauge("worker_sessions_queued", "Sessions waiting for admission.", gauges.sessions_queued as f64);
    page.gauge("worker_kv_pages_used", "KV cache pages in use.", gauges.kv_pages_used as f64);
    page.gauge("worker_kv_pages", "KV cache pages of all models.", gauges.kv_pages_total as f64);
    let memory = PURPOSES.iter().copied().zip(gauges.memory);
    page.labelled("worker_vram_bytes", "Device memory by purpose.", "gauge", "purpose", memory);
    page.counter("worker_sessions_started_total", "Sessions started.", &metrics.sessions_started);
    let ended = OUTCOMES.iter().copied().zip(metrics.sessions_ended.iter().map(Counter::get));
    page.labelled("worker_requests_total", "Sessions ended, by outcome.", "counter", "outcome", ended);
    page.counter("worker_tokens_prompt_total", "Prompt tokens.", &metrics.prompt_tokens);
    page.counter("worker_tokens_cached_total", "Prompt tokens from the prefix cache.", &metrics.cached_tokens);
    page.counter("worker_tokens_generated_total", "Tokens sampled.", &metrics.generated_tokens);
    let checks = [("verified", metrics.residency_verified.get()), ("violated", metrics.residency_violated.get())];
    page.labelled("worker_residency_checks_total", "Residency checks.", "counter", "result", checks.into_iter());
    let failures = Code::ALL.iter().map(|code| (code.c_name(), metrics.failures(*code)));
    page.labelled("worker_failures_total", "Failures that hosts saw, by code.", "counter", "code", failures);
    page.histogram("worker_time_to_first_token_seconds", "Start to first token.", &metrics.time_to_first_token);
    page.histogram("worker_inter_token_seconds", "Between a session's tokens.", &metrics.inter_token);
    page.histogram("worker_step_seconds", "One scheduler step.", &metrics.step);
    page.histogram("worker_batch_rows", "Rows run by a step.", &metrics.batch_rows);
    page.0
}

/// A number that only grows.
#[derive(Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts of values by upper bound.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64; BOUNDS],
    counts: [AtomicU64; BOUNDS + 1],
    /// Sum of the values in millionths.
    sum: AtomicU64,
}

const BOUNDS: usize = 14;
const SECONDS: [f64; BOUNDS] = [1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0, 10.0, 60.0];
const ROWS: [f64; BOUNDS] = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

impl Histogram {
    const fn new(bounds: &'static [f64; BOUNDS]) -> Self {
        Self { bounds, counts: [const { AtomicU64::new(0) }; BOUNDS + 1], sum: AtomicU64::new(0) }
    }

    /// Counts one value.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn observe(&self, value: f64) {
        let place = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(BOUNDS);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((value.max(0.0) * 1e6) as u64, Ordering::Relaxed);
    }

    /// Counts one duration, in seconds.
    pub fn observe_duration(&self, value: Duration) {
        self.observe(value.as_secs_f64());
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Their sum, to a millionth.
    #[allow(clippy::cast_precision_loss)]
    pub fn sum(&self) -> f64 {
        self.sum.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// Bounds with the count of values at or below each; the last bound is infinity.
    fn cumulative(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let mut total = 0;
        bounds
            .zip(&self.counts)
            .map(|(bound, count)| {
                total += count.load(Ordering::Relaxed);
                (bound, total)
            })
            .collect()
    }

    fn json(&self) -> Value {
        let buckets: Vec<Value> = self
            .cumulative()
            .into_iter()
            .map(|(bound, count)| if bound.is_finite() { json!([bound, count]) } else { json!([null, count]) })
            .collect();
        json!({ "count": self.count(), "sum": self.sum(), "at_most": buckets })
    }
}

/// A page of Prometheus text being written. Writing to a String cannot fail.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _written = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, help, "gauge");
        let _written = writeln!(self.0, "{name} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, counter: &Counter) {
        self.head(name, help, "counter");
        let _written = writeln!(self.0, "{name} {}", counter.get());
    }

    fn labelled<'a>(
        &mut self,
        name: &str,
        help: &str,
        kind: &str,
        label: &str,
        values: impl Iterator<Item = (&'a str, u64)>,
    ) {
        self.head(name, help, kind);
        for (value, count) in values {
            let _written = writeln!(self.0, "{name}{{{label}=\"{value}\"}} {count}");
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, "histogram");
        let mut total = 0;
        for (bound, count) in histogram.cumulative() {
            total = count;
            if bound.is_finite() {
                let _written = writeln!(self.0, "{name}_bucket{{le=\"{bound}\"}} {count}");
            } else {
                let _written = writeln!(self.0, "{name}_bucket{{le=\"+Inf\"}} {count}");
            }
        }
        let _written = writeln!(self.0, "{name}_sum {}\n{name}_count {total}", histogram.sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_cumulatively_and_sums() {
        let histogram = Histogram::new(&SECONDS);
        for value in [0.000_05, 0.002, 0.002, 100.0] {
            histogram.observe(value);
        }
        let counts = histogram.cumulative();
        assert_eq!(counts[0].1, 1);
        assert_eq!(counts[3].1, 3);
        assert_eq!(counts.last().unwrap().1, 4);
        assert!((histogram.sum() - 100.004_05).abs() < 1e-5);
    }

    #[test]
    fn prometheus_text_has_a_type_before_every_family_and_no_family_twice() {
        let metrics = Metrics::new();
        metrics.generated_tokens.add(7);
        metrics.failed(Code::Busy);
        metrics.time_to_first_token.observe(0.03);
        let text = prometheus(&metrics, &Gauges { models: 2, ..Gauges::default() });
        assert!(text.contains("\nworker_tokens_generated_total 7\n"));
        assert!(text.contains("worker_failures_total{code=\"WORKER_ERROR_BUSY\"} 1"));
        assert!(text.contains("worker_time_to_first_token_seconds_bucket{le=\"0.02\"} 0\n"));
        assert!(text.contains("worker_time_to_first_token_seconds_bucket{le=\"0.05\"} 1\n"));
        assert!(text.contains("worker_time_to_first_token_seconds_count 1\n"));
        let families: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let distinct: std::collections::HashSet<&&str> = families.iter().collect();
        assert_eq!(distinct.len(), families.len());
    }

    #[test]
    fn the_json_snapshot_names_failures_by_code() {
        let metrics = Metrics::new();
        metrics.failed(Code::OutOfMemory);
        metrics.failed(Code::OutOfMemory);
        let snapshot = json(&metrics, &Gauges::default());
        assert_eq!(snapshot["failures"]["WORKER_ERROR_OUT_OF_MEMORY"], 2);
        assert_eq!(snapshot["tokens"]["generated"], 0);
    }
}
