//! Steps through the C functions: sessions that are cancelled, handles that are stale, forged or of another kind.

use crate::{shipped_model, Scene};
use cucumber::{given, then, when};
use std::ffi::CStr;
use std::time::{Duration, Instant};
use worker::ffi::errors::{worker_error_name, WORKER_SUCCESS};
use worker::ffi::models::{worker_model_load, worker_model_memory, worker_model_unload};
use worker::ffi::session_types::{
    worker_event_t, worker_session_options_t, WORKER_END_CANCELLED, WORKER_END_CLOSED, WORKER_EVENT_END,
    WORKER_EVENT_TOKEN,
};
use worker::ffi::sessions::{worker_session_cancel, worker_session_close, worker_session_next, worker_session_start};
use worker::ffi::types::{worker_memory_t, WORKER_WAIT_FOREVER};

/// What a scenario holds of the C side; the model is unloaded with it.
#[derive(Debug, Default)]
pub(crate) struct Hands {
    model: u64,
    session: u64,
    status: i32,
}

impl Drop for Hands {
    fn drop(&mut self) {
        if self.model != 0 {
            worker_model_unload(self.model);
        }
    }
}

fn load() -> u64 {
    let path = shipped_model();
    let path = path.to_str().unwrap();
    let mut model = 0;
    // SAFETY: the path and the output are valid for the call.
    let status = unsafe {
        worker_model_load(path.as_ptr().cast(), path.len(), std::ptr::null(), &mut model, std::ptr::null_mut())
    };
    assert_eq!(status, WORKER_SUCCESS);
    assert_ne!(model, 0);
    model
}

/// Starts a session that goes on until it is ended, or the given number of tokens.
fn start(model: u64, maximum_tokens: u32, ignore_end: bool) -> u64 {
    let prompt = "Write a haiku about rain";
    // SAFETY: the struct is plain numbers and pointers, for all of which zero is valid.
    let mut options: worker_session_options_t = unsafe { std::mem::zeroed() };
    options.struct_size = size_of::<worker_session_options_t>() as u32;
    options.maximum_tokens = maximum_tokens;
    options.ignore_end = u32::from(ignore_end);
    let mut session = 0;
    // SAFETY: all pointers are valid for the call.
    let status = unsafe {
        worker_session_start(model, prompt.as_ptr().cast(), prompt.len(), &options, &mut session, std::ptr::null_mut())
    };
    assert_eq!(status, WORKER_SUCCESS);
    session
}

/// One read: the status, the kind of event, and why the session ended.
fn next(session: u64, timeout_ms: i64) -> (i32, u32, u32) {
    let mut text = [0; 256];
    // SAFETY: as in `start`.
    let mut event: worker_event_t = unsafe { std::mem::zeroed() };
    event.struct_size = size_of::<worker_event_t>() as u32;
    event.text = text.as_mut_ptr();
    event.text_capacity = text.len() as u64;
    // SAFETY: the event and its buffer are valid for the call.
    let status = unsafe { worker_session_next(session, &mut event, timeout_ms, std::ptr::null_mut()) };
    (status, event.kind, event.end_reason)
}

/// Reads until the session ends or is refused; how it went, and after how long.
fn read_to_end(session: u64) -> (i32, u32, Duration) {
    let begin = Instant::now();
    loop {
        let (status, kind, reason) = next(session, WORKER_WAIT_FOREVER);
        if status != WORKER_SUCCESS || kind == WORKER_EVENT_END {
            return (status, reason, begin.elapsed());
        }
    }
}

fn memory(handle: u64) -> i32 {
    // SAFETY: as in `start`.
    let mut out: worker_memory_t = unsafe { std::mem::zeroed() };
    out.struct_size = size_of::<worker_memory_t>() as u32;
    // SAFETY: the struct is valid for the call.
    unsafe { worker_model_memory(handle, &mut out, std::ptr::null_mut()) }
}

// Given

#[given("a model opened through the C functions")]
fn open_model(scene: &mut Scene) {
    scene.c.model = load();
}

#[given(expr = "a session that would write {int} tokens")]
fn long_session(scene: &mut Scene, tokens: u32) {
    scene.c.session = start(scene.c.model, tokens, true);
}

// When

#[when("another thread cancels the session")]
fn cancel_from_another_thread(scene: &mut Scene) {
    let session = scene.c.session;
    // A token first, so that it is known to run.
    let (status, kind, _) = next(session, 10_000);
    assert_eq!((status, kind), (WORKER_SUCCESS, WORKER_EVENT_TOKEN));
    scene.c.status = std::thread::spawn(move || worker_session_cancel(session)).join().unwrap();
    assert_eq!(scene.c.status, WORKER_SUCCESS);
}

#[when("I cancel the session")]
fn cancel(scene: &mut Scene) {
    scene.c.status = worker_session_cancel(scene.c.session);
    assert_eq!(scene.c.status, WORKER_SUCCESS);
}

#[when("the model is unloaded")]
fn unload(scene: &mut Scene) {
    assert_eq!(worker_model_unload(std::mem::take(&mut scene.c.model)), WORKER_SUCCESS);
}

#[when(regex = r"^I ask for the memory of (no model|a forged model|an unloaded model|a session as a model)$")]
fn ask_memory(scene: &mut Scene, which: String) {
    let handle = match which.as_str() {
        "no model" => 0,
        "a forged model" => 0x1234_5678_9abc_def0,
        "an unloaded model" => {
            let unloaded = load();
            assert_eq!(worker_model_unload(unloaded), WORKER_SUCCESS);
            unloaded
        }
        "a session as a model" => start(scene.c.model, 5, false),
        other => panic!("the feature names an unknown handle: {other}"),
    };
    scene.c.status = memory(handle);
}

#[when("I unload another model twice")]
fn unload_twice(scene: &mut Scene) {
    let other = load();
    assert_eq!(worker_model_unload(other), WORKER_SUCCESS);
    scene.c.status = worker_model_unload(other);
}

#[when("I close the session and read it")]
fn close_and_read(scene: &mut Scene) {
    assert_eq!(worker_session_close(scene.c.session), WORKER_SUCCESS);
    scene.c.status = next(scene.c.session, 0).0;
}

// Then

#[then(expr = "the session should end as {string} within {int} seconds")]
fn ends_as(scene: &mut Scene, reason: String, seconds: u64) {
    assert_eq!(reason, "cancelled");
    let (status, found, took) = read_to_end(scene.c.session);
    assert_eq!((status, found), (WORKER_SUCCESS, WORKER_END_CANCELLED));
    assert!(took < Duration::from_secs(seconds), "it took {took:?}");
}

#[then(expr = "reading the session should end or be refused, within {int} seconds")]
fn ends_or_is_refused(scene: &mut Scene, seconds: u64) {
    let (status, reason, took) = read_to_end(scene.c.session);
    assert!(took < Duration::from_secs(seconds), "it took {took:?}");
    assert!(status != WORKER_SUCCESS || reason == WORKER_END_CLOSED, "status {status}, reason {reason}");
}

#[then("the model should serve a new session")]
fn serves_a_new_session(scene: &mut Scene) {
    let session = start(scene.c.model, 5, false);
    let (status, kind, _) = next(session, 10_000);
    assert_eq!((status, kind), (WORKER_SUCCESS, WORKER_EVENT_TOKEN));
    assert_eq!(worker_session_close(session), WORKER_SUCCESS);
}

#[then(expr = "the answer should be {word}")]
fn answer_is(scene: &mut Scene, name: String) {
    // SAFETY: the name is a static text of the library.
    let found = unsafe { CStr::from_ptr(worker_error_name(scene.c.status)) };
    assert_eq!(found.to_str().unwrap(), name);
}
