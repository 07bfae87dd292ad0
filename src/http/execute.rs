//! `POST /execute`: one job as server-sent events: started, tokens, then exactly one of end or error.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event as SseEvent, Sse};
use axum::response::{IntoResponse, Response};
use axum::Json;
use futures::stream::{self, Stream};
use serde_json::{json, Value};
use tokio::sync::Notify;

use super::{failure_json, validation, Failure, Front};
use crate::error::{Code, Error};
use crate::inference::{EndReason, Event, Next, Session, Usage};
use crate::worker::lifecycle;

/// Runs a job. The answer is a stream, or 400 with every bad field, or the refusal's own status.
pub async fn execute(State(front): State<Front>, headers: HeaderMap, body: Bytes) -> Response {
    let correlation = correlation_id(&headers);
    let mut response = match begin(&front, &body) {
        Ok(job) => Sse::new(events(job)).into_response(),
        Err(refusal) => *refusal,
    };
    response.headers_mut().insert("x-correlation-id", correlation);
    response
}

fn begin(front: &Front, body: &[u8]) -> Result<Job, Box<Response>> {
    let refused = |error: Error| Box::new(Failure(error).into_response());
    let vocabulary = front.shared.model.tokenizer().vocabulary_size();
    let execute =
        validation::read(body, vocabulary).map_err(|errors| (StatusCode::BAD_REQUEST, Json(errors)).into_response())?;
    if front.is_draining() {
        return Err(refused(Error::new(Code::ShuttingDown, "the worker is draining")));
    }
    lifecycle::admit_new_work().map_err(refused)?;
    let mut jobs = front.shared.jobs.lock();
    if jobs.contains_key(&execute.job_id) {
        let detail = format!("job_id: a job named {:?} is running", execute.job_id);
        return Err(refused(Error::new(Code::InvalidParameter, detail)));
    }
    let session = front.shared.model.start(execute.request).map_err(refused)?;
    jobs.insert(execute.job_id.clone(), Arc::clone(&session));
    drop(jobs);
    let ready = Arc::new(Notify::new());
    let waking = Arc::clone(&ready);
    session.set_waker(Some(Arc::new(move || waking.notify_one())));
    Ok(Job { front: front.clone(), job_id: execute.job_id, session, ready, stage: Stage::Before })
}

/// A running job; dropping it, as a client's leaving does, cancels it.
struct Job {
    front: Front,
    job_id: String,
    session: Arc<Session>,
    ready: Arc<Notify>,
    stage: Stage,
}

#[derive(PartialEq, Eq)]
enum Stage {
    Before,
    Running,
    Over,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.session.set_waker(None);
        self.session.cancel();
        self.front.shared.jobs.lock().remove(&self.job_id);
    }
}

fn events(job: Job) -> impl Stream<Item = Result<SseEvent, Infallible>> {
    stream::unfold(job, |mut job| async move {
        let (name, data) = match job.stage {
            Stage::Over => return None,
            Stage::Before => {
                job.stage = Stage::Running;
                ("started", job.started())
            }
            Stage::Running => job.next().await,
        };
        Some((Ok(SseEvent::default().event(name).data(data.to_string())), job))
    })
}

impl Job {
    fn started(&self) -> Value {
        json!({
            "type": "started",
            "job_id": self.job_id,
            "model": self.front.shared.model.name(),
            "seed": self.session.seed(),
            "started_at": now(),
        })
    }

    async fn next(&mut self) -> (&'static str, Value) {
        loop {
            match self.session.next(Some(Duration::ZERO)) {
                Ok(Next::TimedOut) => self.ready.notified().await,
                Ok(Next::Event(Event::Token { id, index, text, .. })) => {
                    return ("token", json!({ "type": "token", "t": text, "i": index, "id": id }));
                }
                Ok(Next::Event(Event::End { reason, usage })) => {
                    self.stage = Stage::Over;
                    return end(reason, &usage);
                }
                Err(error) => {
                    self.stage = Stage::Over;
                    return ("error", error_event(error.code, &error.detail));
                }
            }
        }
    }
}

fn end(reason: EndReason, usage: &Usage) -> (&'static str, Value) {
    let stop_reason = match reason {
        EndReason::EndOfText | EndReason::ConstraintComplete => "end_of_text",
        EndReason::MaximumTokens => "max_tokens",
        EndReason::StopString => "stop_sequence",
        EndReason::ContextFull => "context_full",
        EndReason::Cancelled => return ("error", error_event(Code::Cancelled, "the job was cancelled")),
        EndReason::Deadline => return ("error", error_event(Code::TimedOut, "the job's deadline passed")),
        EndReason::Closed | EndReason::Error => {
            return ("error", error_event(Code::InferenceFailed, "the model was unloaded or failed"))
        }
    };
    let milliseconds = usage.decode_seconds * 1e3;
    let data = json!({
        "type": "end",
        "tokens_out": usage.generated_tokens,
        "tokens_in": usage.prompt_tokens,
        "decode_time_ms": milliseconds,
        "stop_reason": stop_reason,
    });
    ("end", data)
}

fn error_event(code: Code, detail: &str) -> Value {
    let mut data = failure_json(code, detail);
    data["type"] = Value::from("error");
    data
}

/// The client's, when it is a UUID or up to 64 letters and digits; otherwise a new random one.
fn correlation_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get("x-correlation-id").filter(|value| {
        value.to_str().is_ok_and(|text| {
            let plain = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
            plain || is_uuid(text)
        })
    });
    given.cloned().unwrap_or_else(|| {
        use std::hash::{BuildHasher, Hasher};
        let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
        let (high, low) = (random(), random());
        let text = format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | (low >> 48) & 0x3fff,
            low & 0xffff_ffff_ffff
        );
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            14 => byte == b'4',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The time as ISO 8601 in UTC, to the second.
fn now() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Year, month and day, so many days after 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_778), (2026, 11, 21));
    }

    #[test]
    fn correlation_ids_are_kept_when_sound_and_made_when_not() {
        let header = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-correlation-id", HeaderValue::from_str(text).unwrap());
            correlation_id(&headers)
        };
        assert_eq!(header("abc123"), "abc123");
        let kept = "3f2b8c1e-1234-4abc-9def-0123456789ab";
        assert_eq!(header(kept), kept);
        for bad in ["a b", "", &"x".repeat(65)] {
            let made = header(bad);
            assert!(is_uuid(made.to_str().unwrap()), "{made:?}");
        }
    }
}
