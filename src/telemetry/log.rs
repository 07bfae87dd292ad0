//! Log records: from `tracing` events, and from the host's own calls, to one sink.
//!
//! Records wait in a bounded queue for a thread that hands them to the sink, so a slow sink stalls nobody, and one
//! that calls back into the library cannot deadlock. When the queue is full, records are dropped and counted; the
//! next one that gets through says how many were lost.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicU8, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use once_cell::sync::Lazy;
use parking_lot::{Condvar, Mutex};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Dispatch, Metadata, Subscriber};

use crate::error::{Code, Error, Result};
use crate::registry::PerProcess;

/// How much a record matters, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// The hot path, step by step.
    Trace = 1,
    /// Detail for whoever looks for a fault.
    Debug = 2,
    /// The life of workers, models and sessions.
    Info = 3,
    /// Degraded, or refused but worth another try.
    Warn = 4,
    /// Needs a person.
    Error = 5,
}

impl Level {
    /// The level with this name (`trace` to `error`).
    ///
    /// # Errors
    /// `InvalidParameter` for another name.
    pub fn parse(name: &str) -> Result<Self> {
        [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error]
            .into_iter()
            .find(|level| level.name() == name)
            .ok_or_else(|| {
                Error::new(
                    Code::InvalidParameter,
                    format!("log_level: expected trace, debug, info, warn or error, found {name:?}"),
                )
            })
    }

    /// The level with this number, 1 (trace) to 5 (error).
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Trace),
            2 => Some(Self::Debug),
            3 => Some(Self::Info),
            4 => Some(Self::Warn),
            5 => Some(Self::Error),
            _ => None,
        }
    }

    /// The level's name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Record {
    /// How much it matters.
    pub level: Level,
    /// The event's stable name, such as `worker::model_loaded`; `host` for the host's own records.
    pub target: String,
    /// A sentence for people.
    pub message: String,
    /// The fields, as one JSON object.
    pub fields: String,
    /// Nanoseconds since 1970.
    pub time: u64,
}

/// Receives records, one at a time, on the log thread.
pub type Sink = Box<dyn FnMut(&Record) + Send>;

/// Replaces the sink; `None` makes logging silent again. Returns when the former sink will not be called any more,
/// except when called from within that sink: then it is dropped as soon as it returns.
pub fn set_sink(sink: Option<Sink>) {
    let former = state().delivery.lock().take();
    if former.is_some() {
        LIVE.store(OFF, Ordering::Release);
    }
    drop(former);
    let Some(sink) = sink else { return };
    if let Some(delivery) = Delivery::start(sink) {
        *state().delivery.lock() = Some(delivery);
        LIVE.store(state().level.load(Ordering::Acquire), Ordering::Release);
    }
}

/// Sets the least level that is recorded.
pub fn set_level(level: Level) {
    state().level.store(level as u8, Ordering::Release);
    if state().delivery.lock().is_some() {
        LIVE.store(level as u8, Ordering::Release);
    }
}

/// The least level that is recorded while a sink is set.
#[must_use]
pub fn level() -> Level {
    Level::from_number(u32::from(state().level.load(Ordering::Acquire))).unwrap_or(Level::Info)
}

/// Whether a record of this level would be delivered: one atomic load.
#[must_use]
pub fn enabled(level: Level) -> bool {
    level as u8 >= LIVE.load(Ordering::Relaxed)
}

/// Runs `emit` with the library's own dispatcher as the thread's default.
pub fn within(emit: impl FnOnce()) {
    tracing::dispatcher::with_default(&DISPATCH, emit);
}

/// A record of the host's own, joining the library's stream.
///
/// # Errors
/// `InvalidParameter` when `fields` is neither empty nor one JSON object.
pub fn host_record(level: Level, message: &str, fields: &str) -> Result<()> {
    let fields = match fields {
        "" => "{}".to_owned(),
        text => match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(_)) => text.to_owned(),
            Ok(_) => return Err(Error::new(Code::InvalidParameter, "context_json: expected one JSON object")),
            Err(error) => return Err(Error::new(Code::InvalidParameter, format!("context_json: {error}"))),
        },
    };
    if enabled(level) {
        deliver(Record { level, target: "host".to_owned(), message: message.to_owned(), fields, time: now() });
    }
    Ok(())
}

/// Records lost because the sink was too slow, since the process began.
#[must_use]
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

fn deliver(record: Record) {
    let queue = state().delivery.lock().as_ref().map(|delivery| Arc::clone(&delivery.queue));
    if let Some(queue) = queue {
        queue.push(record);
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

struct State {
    level: AtomicU8,
    delivery: Mutex<Option<Delivery>>,
}

/// The queue and the thread that empties it.
struct Delivery {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Delivery {
    fn start(mut sink: Sink) -> Option<Self> {
        let queue = Arc::new(Queue::default());
        let source = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("worker-log".to_owned())
            .spawn(move || {
                EMPTYING.set(Arc::as_ptr(&source) as usize);
                while let Some((record, lost)) = source.pop() {
                    if lost > 0 {
                        sink(&lost_records(lost));
                    }
                    sink(&record);
                }
            })
            .ok()?;
        Some(Self { queue, thread: Some(thread) })
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // Not by the thread's id: asking for it costs a host's thread memory that only its end gives back.
        let within = EMPTYING.get() == Arc::as_ptr(&self.queue) as usize;
        // A sink that removes itself is not called again; one that is removed by others is given what waits.
        self.queue.close(within);
        let Some(thread) = self.thread.take() else { return };
        if !within {
            // A sink does not panic through here: the door's sinks contain what their callbacks throw.
            let _ended = thread.join();
        }
    }
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Default)]
struct Waiting {
    records: VecDeque<Record>,
    lost: u64,
    closed: bool,
}

impl Queue {
    fn push(&self, record: Record) {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return;
        }
        if waiting.records.len() >= QUEUE_LIMIT {
            waiting.lost += 1;
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.records.push_back(record);
        self.filled.notify_one();
    }

    /// The next record and how many were lost before it; `None` once closed and empty.
    fn pop(&self) -> Option<(Record, u64)> {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(record) = waiting.records.pop_front() {
                return Some((record, std::mem::take(&mut waiting.lost)));
            }
            if waiting.closed {
                return None;
            }
            self.filled.wait(&mut waiting);
        }
    }

    fn close(&self, discard: bool) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        if discard {
            waiting.records.clear();
        }
        drop(waiting);
        self.filled.notify_all();
    }
}

fn lost_records(count: u64) -> Record {
    Record {
        level: Level::Warn,
        target: "worker::log_records_lost".to_owned(),
        message: "Log records were lost because the host's callback was too slow".to_owned(),
        fields: format!("{{\"count\":{count}}}"),
        time: now(),
    }
}

/// Turns `tracing` events into records.
struct Bridge;

impl Subscriber for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let level = match *event.metadata().level() {
            tracing::Level::TRACE => Level::Trace,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::INFO => Level::Info,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::ERROR => Level::Error,
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        deliver(Record {
            level,
            target: event.metadata().target().to_owned(),
            message: fields.message,
            fields: Value::Object(fields.others).to_string(),
            time: now(),
        });
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            // Writing to a String cannot fail.
            let _written = write!(self.message, "{value:?}");
        } else {
            self.put(field, Value::from(format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }
}

/// This process' state; the child of a fork starts silent, for the log thread is the parent's.
fn state() -> &'static State {
    static STATE: PerProcess<State> = PerProcess::new();
    STATE.get_or_init(|| {
        // In a child this still says what the parent's sink wanted.
        LIVE.store(OFF, Ordering::Release);
        State { level: AtomicU8::new(Level::Info as u8), delivery: Mutex::new(None) }
    })
}

/// The level in force: the least that is delivered, or `OFF` while there is no sink.
static LIVE: AtomicU8 = AtomicU8::new(OFF);
thread_local! {
    /// The queue that this thread empties, by its address; 0 on all other threads.
    static EMPTYING: Cell<usize> = const { Cell::new(0) };
}
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// Kept for the life of the process: `tracing` remembers which dispatchers an event's place has met.
static DISPATCH: Lazy<Dispatch> = Lazy::new(|| Dispatch::new(Bridge));
const OFF: u8 = u8::MAX;
const QUEUE_LIMIT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event;
    use std::sync::mpsc::{channel, Receiver};
    use std::time::Duration;

    /// The sink is one for the process, so tests that set it take turns.
    static TURN: Mutex<()> = Mutex::new(());

    fn collecting() -> Receiver<Record> {
        let (send, receive) = channel();
        // Other tests of this process make real events meanwhile.
        set_sink(Some(Box::new(move |record: &Record| {
            if record.target == "host" || record.target.starts_with("worker::test_") {
                let _sent = send.send(record.clone());
            }
        })));
        receive
    }

    fn next(records: &Receiver<Record>) -> Record {
        records.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn events_reach_the_sink_with_name_fields_and_level() {
        let _turn = TURN.lock();
        let records = collecting();
        set_level(Level::Info);
        event!(Debug, "ignored", "below the level");
        event!(Info, "test_event", "Model loaded", bytes = 12_u64, name = "a\"b");
        let record = next(&records);
        assert_eq!(record.target, "worker::test_event");
        assert_eq!(record.message, "Model loaded");
        assert_eq!(record.fields, r#"{"bytes":12,"name":"a\"b"}"#);
        assert_eq!(record.level, Level::Info);
        assert!(record.time > 1_600_000_000_000_000_000);
        set_level(Level::Debug);
        event!(Debug, "test_heard", "now on");
        assert_eq!(next(&records).target, "worker::test_heard");
        set_level(Level::Info);
        set_sink(None);
        event!(Error, "nobody", "silent by default");
        assert!(records.try_recv().is_err());
    }

    #[test]
    fn host_records_keep_arbitrary_context_and_refuse_what_is_no_object() {
        let _turn = TURN.lock();
        let records = collecting();
        host_record(Level::Warn, "from the host", r#"{"a":[1,{"b":null}]}"#).unwrap();
        let record = next(&records);
        assert_eq!((record.target.as_str(), record.fields.as_str()), ("host", r#"{"a":[1,{"b":null}]}"#));
        assert_eq!(host_record(Level::Warn, "x", "[1]").unwrap_err().code, Code::InvalidParameter);
        assert_eq!(host_record(Level::Warn, "x", "{").unwrap_err().code, Code::InvalidParameter);
        set_sink(None);
    }

    #[test]
    fn a_slow_sink_loses_records_and_says_how_many_but_stalls_nobody() {
        let _turn = TURN.lock();
        let (release, wait) = channel::<()>();
        let (send, records) = channel();
        set_sink(Some(Box::new(move |record: &Record| {
            let _released = wait.recv_timeout(Duration::from_secs(60));
            let _sent = send.send(record.clone());
        })));
        let extra = 100;
        for _ in 0..QUEUE_LIMIT as u64 + extra {
            event!(Warn, "flood", "again");
        }
        drop(release);
        let mut lost = 0;
        while lost < extra - 1 {
            let record = records.recv_timeout(Duration::from_secs(60)).expect("the loss is told");
            if record.target == "worker::log_records_lost" {
                let fields: Value = serde_json::from_str(&record.fields).unwrap();
                lost += fields["count"].as_u64().unwrap();
            }
        }
        set_sink(None);
    }

    #[test]
    fn a_sink_may_log_and_may_remove_itself() {
        let _turn = TURN.lock();
        let (send, receive) = channel();
        set_sink(Some(Box::new(move |record: &Record| {
            let _same = host_record(Level::Info, "from within", "");
            set_sink(None);
            let _sent = send.send(record.message.clone());
        })));
        host_record(Level::Info, "first", "").unwrap();
        assert_eq!(receive.recv_timeout(Duration::from_secs(60)).unwrap(), "first");
        // What it logged itself waited when it went: it is not called for it, and ends.
        let ended = receive.recv_timeout(Duration::from_secs(60));
        assert_eq!(ended, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    }

    #[test]
    fn levels_parse_by_name() {
        assert_eq!(Level::parse("warn").unwrap(), Level::Warn);
        assert!(Level::parse("WARN").unwrap_err().detail.contains("expected trace, debug"));
        assert!(Level::Trace < Level::Error);
    }
}
