//! The managed worker through its C functions, as a host that runs it in production would use it.
//!
//! There is one worker per process, so these tests take turns.

mod host;
mod load;
mod logs;

use std::time::{Duration, Instant};

use host::{bootstrap, describe, last_error, overview, start, stories, Turn};
use worker::ffi::lifecycle::{worker_stop, worker_transition_to_graceful_shutdown};
use worker::ffi::operation_types::*;
use worker::ffi::session_types::*;

const ALREADY_INITIALIZED: i32 = 101;
const NOT_INITIALIZED: i32 = 100;
const SHUTTING_DOWN: i32 = 102;

#[test]
fn without_a_worker_status_says_stopped_and_stop_says_so_too() {
    let _turn = Turn::take();
    assert_eq!(overview().state, WORKER_STATE_STOPPED);
    assert_eq!(worker_stop(), NOT_INITIALIZED);
    assert!(last_error().contains("stopped"), "{}", last_error());
    assert_eq!(worker_transition_to_graceful_shutdown(0), NOT_INITIALIZED);
}

#[test]
fn a_worker_starts_once_runs_stops_and_may_start_again() {
    let _turn = Turn::take();
    let configuration = stories(r#""worker_id": "first""#);
    let (code, first) = bootstrap(&configuration);
    assert_eq!(code, 0, "{}", last_error());
    assert_eq!(bootstrap("{}").0, ALREADY_INITIALIZED);
    let running = overview();
    assert_eq!(running.state, WORKER_STATE_RUNNING);
    assert_eq!(describe(&running.worker_id), "first");
    assert_eq!(running.models, 1);
    assert!(running.memory > 300_000);
    let session = start(first.model, "Once upon a time", 20, 0);
    assert_eq!(session.read_all().1, WORKER_END_MAXIMUM_TOKENS);
    assert!(overview().steps_processed >= 1);
    assert_eq!(worker_stop(), 0);
    assert_eq!(overview().state, WORKER_STATE_STOPPED);
    assert_eq!(host::start_code(first.model), 111, "the model's handle is stale");
    assert_eq!(overview().models, 0);
    assert_eq!(host::own_threads(), Vec::<String>::new());
    assert_eq!(worker_stop(), NOT_INITIALIZED);
    let (code, second) = bootstrap(&configuration);
    assert_eq!(code, 0);
    assert_ne!(second.model, first.model);
    assert_eq!(worker_stop(), 0);
}

#[test]
fn a_failed_start_is_told_with_its_reason_and_another_may_follow() {
    let _turn = Turn::take();
    for (configuration, expected) in [
        (r#"{"log_levle": "info"}"#.to_owned(), "log_levle"),
        (r#"{"model": "/nowhere/at/all.gguf"}"#.to_owned(), "/nowhere/at/all.gguf"),
        (r#"{"device": 7}"#.to_owned(), "7"),
        ("{".to_owned(), "configuration"),
    ] {
        assert_ne!(bootstrap(&configuration).0, 0, "{configuration}");
        let status = overview();
        assert_eq!(status.state, WORKER_STATE_ERROR);
        assert!(describe(&status.reason).contains(expected), "{}", describe(&status.reason));
        assert_eq!(worker_stop(), NOT_INITIALIZED);
    }
    assert_eq!(bootstrap("").0, 0);
    assert_eq!(describe(&overview().reason), "");
    assert_eq!(worker_stop(), 0);
}

#[test]
fn of_ten_threads_one_starts_the_worker() {
    let _turn = Turn::take();
    let configuration = stories("");
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..10).map(|_| scope.spawn(|| bootstrap(&configuration).0)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| [0, ALREADY_INITIALIZED].contains(code)), "{codes:?}");
    assert_eq!(worker_stop(), 0);
}

#[test]
fn a_graceful_end_lets_sessions_finish_and_refuses_new_ones() {
    let _turn = Turn::take();
    let model = bootstrap(&stories("")).1.model;
    let alone = start(model, "Once upon a time", 200, 0).read_all();
    let sessions: Vec<_> = (0..4).map(|_| start(model, "Once upon a time", 200, 0)).collect();
    let ending = std::thread::spawn(|| worker_transition_to_graceful_shutdown(60_000));
    host::wait_until("the shutdown", || overview().state != WORKER_STATE_RUNNING);
    if overview().state == WORKER_STATE_SHUTTING_DOWN {
        let refused = host::start_code(model);
        // The sessions may have ended since.
        assert!(refused == SHUTTING_DOWN || refused == 111, "{refused}");
        assert_eq!(bootstrap("").0, ALREADY_INITIALIZED);
    }
    assert_eq!(ending.join().unwrap(), 0);
    // The handles are stale, but what was generated is counted as completed.
    assert_eq!(alone.1, WORKER_END_MAXIMUM_TOKENS);
    drop(sessions);
    assert_eq!(overview().state, WORKER_STATE_STOPPED);
    assert_eq!(host::own_threads(), Vec::<String>::new());
}

#[test]
fn at_the_deadline_of_a_graceful_end_what_runs_is_ended() {
    let _turn = Turn::take();
    let model = bootstrap(&stories("")).1.model;
    let session = start(model, "Once upon a time", 0, 0);
    // Nobody reads, so it can never finish by itself: the reader's queue is full before the context is.
    let begun = Instant::now();
    assert_eq!(worker_transition_to_graceful_shutdown(200), 0);
    assert!(begun.elapsed() < Duration::from_secs(20));
    drop(session);
}

#[test]
fn health_sees_evicted_weights_and_brings_them_back_or_says_so() {
    let _turn = Turn::take();
    let (file, path) = host::private_model();
    let configuration = format!(r#"{{"model": {path:?}, "health_interval_seconds": 0}}"#);
    assert_eq!(bootstrap(&configuration).0, 0, "{}", last_error());
    let health = host::check_health();
    assert_eq!((health.healthy, health.checked_bytes), (1, health.resident_bytes));
    host::evict(&path);
    let health = host::check_health();
    assert_eq!(health.healthy, 0);
    assert!(health.resident_bytes < health.checked_bytes);
    assert!(describe(&health.reason).contains("not resident"), "{}", describe(&health.reason));
    assert_eq!(overview().healthy, 0);
    assert_eq!(worker_stop(), 0);

    let repairing = format!(r#"{{"model": {path:?}, "health_interval_seconds": 0, "health_repair": true}}"#);
    assert_eq!(bootstrap(&repairing).0, 0);
    host::evict(&path);
    assert_eq!(host::check_health().healthy, 1);
    assert_eq!(worker_stop(), 0);
    drop(file);
}

#[test]
fn locked_weights_cannot_be_evicted() {
    let _turn = Turn::take();
    let (file, path) = host::private_model();
    let configuration = format!(r#"{{"model": {path:?}, "residency": "locked", "health_interval_seconds": 0}}"#);
    let (code, _) = bootstrap(&configuration);
    assert_eq!(code, 0, "the tests may lock memory: {}", last_error());
    host::evict(&path);
    let health = host::check_health();
    assert_eq!((health.healthy, health.resident_bytes), (1, health.checked_bytes));
    assert_eq!(worker_stop(), 0);
    drop(file);
}

#[test]
fn the_monitor_tells_of_changes_by_itself_and_new_work_is_refused_meanwhile() {
    let _turn = Turn::take();
    let (file, path) = host::private_model();
    let configuration =
        format!(r#"{{"model": {path:?}, "health_interval_seconds": 0.05, "refuse_while_unhealthy": true}}"#);
    let (code, made) = bootstrap(&configuration);
    assert_eq!(code, 0, "{}", last_error());
    let told = host::watch_health();
    host::wait_until("a check", || host::health().checks > 0);
    // Pages that nobody reads stay away until the sessions below read them.
    host::evict(&path);
    host::wait_until("the violation", || told.lock().unwrap().first() == Some(&0));
    assert_eq!(host::start_code(made.model), 103);
    assert!(last_error().contains("unhealthy"), "{}", last_error());
    host::read_whole_model(made.model);
    host::wait_until("the recovery", || told.lock().unwrap().last() == Some(&1));
    assert_eq!(start(made.model, "Once", 3, 0).read_all().1, WORKER_END_MAXIMUM_TOKENS);
    assert_eq!(worker_stop(), 0);
    assert!(host::watch_ended(), "the callback's data was released");
    drop(file);
}

#[test]
fn metrics_count_what_sessions_did() {
    let _turn = Turn::take();
    let model = bootstrap(&stories("")).1.model;
    let before = host::metrics();
    let session = start(model, "Once upon a time", 12, 0);
    assert_eq!(session.read_all().1, WORKER_END_MAXIMUM_TOKENS);
    assert_ne!(host::start_code(12345), 0);
    let after = host::metrics();
    let grown =
        |path: &str| after.pointer(path).unwrap().as_u64().unwrap() - before.pointer(path).unwrap().as_u64().unwrap();
    assert_eq!(grown("/tokens/generated"), 12);
    assert!(grown("/tokens/prompt") > 3);
    assert_eq!(grown("/sessions/ended/completed"), 1);
    assert_eq!(grown("/time_to_first_token_seconds/count"), 1);
    assert_eq!(grown("/inter_token_seconds/count"), 11);
    assert!(grown("/step_seconds/count") >= 12);
    assert!(after["failures"]["WORKER_ERROR_INVALID_HANDLE"].as_u64().unwrap() >= 1);
    assert!(after["memory_bytes"]["weights"].as_u64().unwrap() > 300_000);
    let page = host::prometheus();
    assert!(page.contains("\nworker_models 1\n"), "{page}");
    assert!(page.lines().all(|line| line.starts_with('#') || line.rsplit_once(' ').unwrap().1.parse::<f64>().is_ok()));
    assert_eq!(worker_stop(), 0);
}

#[test]
fn the_event_descriptor_is_readable_exactly_while_there_is_something_to_read() {
    let _turn = Turn::take();
    let model = bootstrap(&stories("")).1.model;
    let session = start(model, "Once upon a time", 40, 0);
    let descriptor = session.descriptor();
    let mut tokens = 0;
    loop {
        assert!(host::poll(descriptor, 20_000), "tokens make it readable");
        match session.next(0) {
            Ok(event) if event.kind == WORKER_EVENT_TOKEN => tokens += 1,
            Ok(event) => {
                assert_eq!(event.end_reason, WORKER_END_MAXIMUM_TOKENS);
                break;
            }
            Err(121) => assert!(!host::poll(descriptor, 0) || session.next(0).is_ok()),
            Err(code) => panic!("{code}: {}", last_error()),
        }
    }
    assert_eq!(tokens, 40);
    assert!(host::poll(descriptor, 0), "the end stays readable");
    drop(session);
    let paused = start(model, "Once upon a time", 3, 0);
    let descriptor = paused.descriptor();
    host::wait_until("the end", || host::poll(descriptor, 10));
    while paused.next(-1).unwrap().kind == WORKER_EVENT_TOKEN {}
    assert_eq!(worker_stop(), 0);
}
