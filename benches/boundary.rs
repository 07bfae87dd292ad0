//! What the C boundary costs: calls that look a handle up and little else, and reading an event that is ready.
//!
//! Aims: 15 ns and 200 ns; the seed documents allow 1 µs. Recorded in `RESULTS.md`.

#![allow(missing_docs)] // of what the macros make

use std::path::Path;
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use criterion::{criterion_group, criterion_main, Criterion};

use worker::ffi::models::{worker_model_load, worker_model_memory, worker_model_unload};
use worker::ffi::session_types::{worker_event_t, worker_session_options_t, worker_usage_t, WORKER_EVENT_TOKEN};
use worker::ffi::sessions::{
    worker_session_close, worker_session_next, worker_session_seed, worker_session_start, worker_session_usage,
};
use worker::ffi::types::worker_memory_t;

fn boundary(criterion: &mut Criterion) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/models/stories260K-q8_0.gguf");
    let path = path.to_str().expect("the repository's path is UTF-8").as_bytes();
    let mut model = 0;
    // SAFETY: all pointers are valid for the call.
    let status = unsafe { worker_model_load(path.as_ptr().cast(), path.len(), null(), &raw mut model, null_mut()) };
    assert_eq!(status, 0, "the model loads");

    criterion.bench_function("a model's memory: worker_model_memory", |bencher| {
        // SAFETY: the struct may be zero.
        let mut memory: worker_memory_t = unsafe { std::mem::zeroed() };
        memory.struct_size = size_of::<worker_memory_t>() as u32;
        // SAFETY: all pointers are valid for the call.
        bencher.iter(|| unsafe { worker_model_memory(model, &raw mut memory, null_mut()) });
        assert!(memory.total > 0);
    });
    criterion.bench_function("look a session up: worker_session_seed", |bencher| {
        let ready = ReadySession::start(model);
        let mut seed = 0;
        // SAFETY: all pointers are valid for the call.
        bencher.iter(|| unsafe { worker_session_seed(ready.0, &raw mut seed, null_mut()) });
    });
    criterion.bench_function("an invalid handle", |bencher| {
        // SAFETY: the struct may be zero.
        let mut memory: worker_memory_t = unsafe { std::mem::zeroed() };
        memory.struct_size = size_of::<worker_memory_t>() as u32;
        // SAFETY: all pointers are valid for the call.
        bencher.iter(|| unsafe { worker_model_memory(model + 1, &raw mut memory, null_mut()) });
    });
    criterion.bench_function("read a ready event: worker_session_next", |bencher| {
        bencher.iter_custom(|iterations| {
            // All the tokens of a session each time, so that no sample is of a few cold calls.
            let rounds = iterations.div_ceil(u64::from(TOKENS));
            let spent: Duration = (0..rounds).map(|_| ReadySession::start(model).read(u64::from(TOKENS))).sum();
            spent.mul_f64(iterations as f64 / (rounds * u64::from(TOKENS)) as f64)
        });
    });
    assert_eq!(worker_model_unload(model), 0);
}

const TOKENS: u32 = 300;

/// A session whose tokens are all generated and wait to be read.
struct ReadySession(u64);

impl ReadySession {
    fn start(model: u64) -> Self {
        // SAFETY: the structs may be zero.
        let (mut options, mut usage): (worker_session_options_t, worker_usage_t) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        options.struct_size = size_of::<worker_session_options_t>() as u32;
        options.maximum_tokens = TOKENS;
        options.ignore_end = 1;
        usage.struct_size = size_of::<worker_usage_t>() as u32;
        let mut session = 0;
        // SAFETY: all pointers are valid for the call.
        let status = unsafe {
            worker_session_start(model, c"Once".as_ptr(), 4, &raw const options, &raw mut session, null_mut())
        };
        assert_eq!(status, 0, "the session starts");
        while usage.generated_tokens < TOKENS {
            std::thread::sleep(Duration::from_millis(1));
            // SAFETY: all pointers are valid for the call.
            assert_eq!(unsafe { worker_session_usage(session, &raw mut usage, null_mut()) }, 0);
        }
        // The last token is counted a moment before it is there.
        std::thread::sleep(Duration::from_millis(1));
        Self(session)
    }

    fn read(&self, count: u64) -> Duration {
        let mut text = [0u8; 256];
        // SAFETY: the struct may be zero.
        let mut event: worker_event_t = unsafe { std::mem::zeroed() };
        event.struct_size = size_of::<worker_event_t>() as u32;
        event.text = text.as_mut_ptr().cast();
        event.text_capacity = text.len() as u64;
        let started = Instant::now();
        for _ in 0..count {
            // SAFETY: all pointers are valid for the call.
            unsafe { worker_session_next(self.0, &raw mut event, 0, null_mut()) };
        }
        let spent = started.elapsed();
        assert_eq!(event.kind, WORKER_EVENT_TOKEN);
        spent
    }
}

impl Drop for ReadySession {
    fn drop(&mut self) {
        assert_eq!(worker_session_close(self.0), 0);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2)).sample_size(20);
    targets = boundary
}
criterion_main!(benches);
