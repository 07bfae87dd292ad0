//! A worker over HTTP, for hosts that would rather have a server: `GET /health`, `GET /metrics`, `POST /execute`
//! (server-sent events), `POST /cancel`, `POST /shutdown`.
//!
//! Shapes, limits and statuses follow the seed documents' worker. The front is thin: validation here, everything else
//! in the scheduler. A client that goes away cancels its job.

mod execute;
mod validation;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{header, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{json, Value};
use tokio::sync::Notify;

use crate::cuda::CudaError;
use crate::error::{Code, Error};
use crate::inference::{Model, Session};
use crate::telemetry::metrics::{self, METRICS};
use crate::worker::lifecycle;

/// What the handlers share.
#[derive(Clone)]
pub struct Front {
    shared: Arc<Shared>,
}

struct Shared {
    model: Arc<Model>,
    started: Instant,
    jobs: Mutex<HashMap<String, Arc<Session>>>,
    draining: AtomicBool,
    drained: Notify,
}

impl Front {
    /// A front of one loaded model.
    #[must_use]
    pub fn new(model: Arc<Model>) -> Self {
        let shared = Shared {
            model,
            started: Instant::now(),
            jobs: Mutex::new(HashMap::new()),
            draining: AtomicBool::new(false),
            drained: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The routes, to serve with axum.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/health", get(health))
            .route("/metrics", get(prometheus))
            .route("/execute", post(execute::execute))
            .route("/cancel", post(cancel))
            .route("/shutdown", post(shutdown))
            .with_state(self.clone())
    }

    /// Takes no new work from now on; [`Front::drained`] ends when the running jobs have.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Release);
        self.shared.drained.notify_waiters();
    }

    /// Waits until [`Front::drain`] was called and no job runs, for at most `deadline` from the drain; what still runs
    /// then is cancelled.
    pub async fn drained(&self, deadline: Duration) {
        while !self.is_draining() {
            let notified = self.shared.drained.notified();
            if self.is_draining() {
                break;
            }
            notified.await;
        }
        let begun = Instant::now();
        while begun.elapsed() < deadline && !self.shared.jobs.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let left: Vec<Arc<Session>> = self.shared.jobs.lock().values().cloned().collect();
        for session in left {
            session.cancel();
        }
    }

    fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }
}

async fn health(State(front): State<Front>) -> Json<Value> {
    let status = lifecycle::status();
    let information = front.shared.model.information();
    Json(json!({
        "status": if status.health.healthy { "healthy" } else { "unhealthy" },
        "reason": status.health.reason,
        "model": front.shared.model.name(),
        "resident": status.health.checked_bytes == status.health.resident_bytes,
        "vram_bytes_used": status.memory.iter().sum::<u64>(),
        "quant_kind": information.get("quantisation").cloned().unwrap_or(Value::Null),
        "context_length": front.shared.model.context_length(),
        "vocab_size": front.shared.model.tokenizer().vocabulary_size(),
        "uptime_seconds": front.shared.started.elapsed().as_secs(),
        "last_check_secs": status.health.age_seconds(),
        "draining": front.is_draining(),
    }))
}

async fn prometheus() -> Response {
    let page = metrics::prometheus(&METRICS, &lifecycle::gauges());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}

#[derive(Deserialize)]
struct CancelRequest {
    job_id: String,
}

/// Always accepted: an unknown, finished or repeated job is as cancelled as it can be.
async fn cancel(State(front): State<Front>, Json(request): Json<CancelRequest>) -> StatusCode {
    let session = front.shared.jobs.lock().get(&request.job_id).cloned();
    if let Some(session) = session {
        session.cancel();
    }
    StatusCode::ACCEPTED
}

async fn shutdown(State(front): State<Front>) -> StatusCode {
    front.drain();
    StatusCode::ACCEPTED
}

/// An error as an HTTP answer: its status, and `{code, message, retriable}`.
pub struct Failure(pub Error);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = self.0.code;
        METRICS.failed(code);
        let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(failure_json(code, &self.0.detail))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

impl IntoResponse for CudaError {
    fn into_response(self) -> Response {
        let code = Code::from_number(self.code()).unwrap_or(Code::Unknown);
        Failure(Error::new(code, self.to_string())).into_response()
    }
}

/// The body of an error, in answers and in events.
fn failure_json(code: Code, detail: &str) -> Value {
    let name = code.c_name().trim_start_matches("WORKER_ERROR_");
    json!({ "code": name, "message": detail, "retriable": code.retry_helps() })
}
