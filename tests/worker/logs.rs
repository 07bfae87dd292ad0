//! Logging through the C functions.

use std::ffi::{c_void, CStr};
use std::ptr::null_mut;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use worker::ffi::logging::*;
use worker::ffi::operation_types::*;

use crate::host::{self, bootstrap, last_error, start, stories, Turn};

#[derive(Debug, Clone)]
struct Line {
    level: u32,
    target: String,
    message: String,
    fields: Value,
}

type Lines = Arc<Mutex<Vec<Line>>>;

unsafe extern "C" fn collect(user_data: *mut c_void, record: *const worker_log_record_t) {
    let (lines, record) = unsafe { (&*user_data.cast::<Mutex<Vec<Line>>>(), &*record) };
    let text = |pointer| unsafe { CStr::from_ptr(pointer) }.to_str().unwrap().to_owned();
    assert!(record.timestamp > 1_600_000_000_000_000_000);
    lines.lock().unwrap().push(Line {
        level: record.level,
        target: text(record.target),
        message: text(record.message),
        fields: serde_json::from_str(&text(record.fields)).unwrap(),
    });
}

unsafe extern "C" fn release(user_data: *mut c_void) {
    drop(unsafe { Arc::from_raw(user_data.cast::<Mutex<Vec<Line>>>()) });
}

fn listen() -> Lines {
    let lines = Lines::default();
    let data = Arc::into_raw(Arc::clone(&lines)).cast_mut().cast();
    assert_eq!(unsafe { worker_set_log_callback(Some(collect), data, Some(release)) }, 0);
    lines
}

/// Ends the listening, and gives everything that was heard.
fn heard(lines: Lines) -> Vec<Line> {
    assert_eq!(unsafe { worker_set_log_callback(None, null_mut(), None) }, 0);
    Arc::into_inner(lines).expect("the callback's data was released").into_inner().unwrap()
}

fn log(message: &str, context: &str) -> i32 {
    unsafe { worker_log_info(message.as_ptr().cast(), message.len(), context.as_ptr().cast(), context.len()) }
}

#[test]
fn the_host_logs_before_bootstrap_with_any_context() {
    let _turn = Turn::take();
    let lines = listen();
    assert_eq!(log("hello", r#"{"correlation_id": "7", "deep": {"list": [1, null]}}"#), 0);
    assert_eq!(log("plain", ""), 0);
    assert_eq!(log("bad", "[1]"), 6);
    assert!(last_error().contains("context_json"));
    let lines = heard(lines);
    let line = lines.iter().find(|line| line.message == "hello").unwrap();
    assert_eq!((line.level, line.target.as_str()), (WORKER_LOG_INFO, "host"));
    assert_eq!(line.fields["deep"]["list"][0], 1);
    assert!(lines.iter().any(|line| line.message == "plain"));
}

#[test]
fn a_models_life_is_told_by_stable_names_and_its_words_are_not() {
    let _turn = Turn::take();
    assert_eq!(worker_set_log_level(WORKER_LOG_TRACE), 0);
    let lines = listen();
    let model = bootstrap(&stories(r#""log_level": "trace""#)).1.model;
    let secret = "Zebulon the secret zebra";
    start(model, secret, 30, 0).read_all();
    assert_ne!(host::start_code(99), 0);
    host::check_health();
    assert_eq!(worker::ffi::lifecycle::worker_stop(), 0);
    let lines = heard(lines);
    for name in [
        "worker::model_load_progress",
        "worker::model_loaded",
        "worker::worker_started",
        "worker::ffi_call_failed",
        "worker::residency_verified",
        "worker::resource_cleanup",
        "worker::worker_stopped",
    ] {
        assert!(lines.iter().any(|line| line.target == name), "{name} in {lines:#?}");
    }
    let progress: Vec<u64> = lines
        .iter()
        .filter(|line| line.target == "worker::model_load_progress")
        .map(|line| line.fields["percent"].as_u64().unwrap())
        .collect();
    assert_eq!(progress.last(), Some(&100));
    let everything = format!("{lines:?}");
    assert!(!everything.contains("Zebulon") && !everything.contains("zebra"));
    assert_eq!(worker_set_log_level(WORKER_LOG_INFO), 0);
}

#[test]
fn levels_change_while_running_and_wrong_ones_are_refused() {
    let _turn = Turn::take();
    let lines = listen();
    assert_eq!(worker_set_log_level(WORKER_LOG_ERROR), 0);
    assert_eq!(log("too quiet", ""), 0);
    assert_eq!(worker_set_log_level(WORKER_LOG_INFO), 0);
    assert_eq!(log("loud enough", ""), 0);
    for level in [0, 6, u32::MAX] {
        assert_eq!(worker_set_log_level(level), 6);
    }
    let lines = heard(lines);
    assert!(lines.iter().any(|line| line.message == "loud enough"));
    assert!(!lines.iter().any(|line| line.message == "too quiet"));
}

#[test]
fn a_callback_may_call_back_and_replace_itself() {
    let _turn = Turn::take();
    unsafe extern "C" fn replace(user_data: *mut c_void, _record: *const worker_log_record_t) {
        let seen = unsafe { &*user_data.cast::<Mutex<u32>>() };
        *seen.lock().unwrap() += 1;
        log("from within", "");
        host::overview();
        unsafe { worker_set_log_callback(None, null_mut(), None) };
    }
    let seen: &Mutex<u32> = Box::leak(Box::new(Mutex::new(0_u32)));
    assert_eq!(unsafe { worker_set_log_callback(Some(replace), std::ptr::from_ref(seen).cast_mut().cast(), None) }, 0);
    assert_eq!(log("first", ""), 0);
    host::wait_until("the callback", || *seen.lock().unwrap() > 0);
    let lines = listen();
    assert_eq!(log("to the next one", ""), 0);
    assert!(heard(lines).iter().any(|line| line.message == "to the next one"));
}
