//! What a host of the managed worker does, in few words.

use std::ffi::{c_char, c_void, CStr};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use worker::ffi::errors::worker_last_error;
use worker::ffi::health::*;
use worker::ffi::lifecycle::*;
use worker::ffi::operation_types::*;
use worker::ffi::scoring::worker_model_score;
use worker::ffi::session_types::*;
use worker::ffi::sessions::*;

/// The right to use the process' worker; the worker is stopped at its end, whatever happened.
pub struct Turn {
    _turn: MutexGuard<'static, ()>,
}

impl Turn {
    pub fn take() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        Self { _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        worker_stop();
    }
}

pub fn model_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/models/stories260K-q8_0.gguf").canonicalize().unwrap()
}

/// A configuration with the stories model and `more` keys.
pub fn stories(more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(r#"{{"model": {:?}, "health_interval_seconds": 0{comma} {more}}}"#, model_path())
}

pub fn bootstrap(configuration: &str) -> (i32, worker_bootstrap_t) {
    let mut out: worker_bootstrap_t = zeroed();
    out.struct_size = size_of::<worker_bootstrap_t>() as u32;
    let code =
        unsafe { worker_bootstrap(configuration.as_ptr().cast(), configuration.len(), &raw mut out, null_mut()) };
    (code, out)
}

pub fn overview() -> worker_overview_t {
    let mut out: worker_overview_t = zeroed();
    out.struct_size = size_of::<worker_overview_t>() as u32;
    assert_eq!(unsafe { worker_status(&raw mut out, null_mut()) }, 0);
    out
}

pub fn health() -> worker_health_t {
    let mut out: worker_health_t = zeroed();
    out.struct_size = size_of::<worker_health_t>() as u32;
    assert_eq!(unsafe { worker_health(&raw mut out, null_mut()) }, 0);
    out
}

pub fn check_health() -> worker_health_t {
    let mut out: worker_health_t = zeroed();
    out.struct_size = size_of::<worker_health_t>() as u32;
    assert_eq!(unsafe { worker_health_check(&raw mut out, null_mut()) }, 0);
    out
}

pub fn metrics() -> serde_json::Value {
    serde_json::from_str(&text(|buffer, capacity, needed| unsafe { worker_metrics_json(buffer, capacity, needed) }))
        .unwrap()
}

pub fn prometheus() -> String {
    text(|buffer, capacity, needed| unsafe { worker_metrics_prometheus(buffer, capacity, needed) })
}

pub fn last_error() -> String {
    text(|buffer, capacity, needed| unsafe { worker_last_error(buffer, capacity, needed) })
}

/// A text whose length may grow between two calls.
fn text(call: impl Fn(*mut c_char, usize, *mut usize) -> i32) -> String {
    let mut buffer = vec![0_u8; 1 << 16];
    let mut needed = 0;
    assert_eq!(call(buffer.as_mut_ptr().cast(), buffer.len(), &raw mut needed), 0);
    String::from_utf8(buffer[..needed - 1].to_vec()).unwrap()
}

pub fn describe(text: &[c_char]) -> String {
    unsafe { CStr::from_ptr(text.as_ptr()) }.to_str().unwrap().to_owned()
}

pub fn zeroed<T>() -> T {
    // The public structs are plain data that may all be zero.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// A session; closed when dropped.
pub struct Stream(pub u64);

pub fn start(model: u64, prompt: &str, maximum_tokens: u32, seed: u64) -> Stream {
    try_start(model, prompt, maximum_tokens, seed).unwrap_or_else(|code| panic!("{code}: {}", last_error()))
}

/// A session that never ends by itself before its tokens do; greedy with seed 0.
pub fn try_start(model: u64, prompt: &str, maximum_tokens: u32, seed: u64) -> Result<Stream, i32> {
    let mut options: worker_session_options_t = zeroed();
    options.struct_size = size_of::<worker_session_options_t>() as u32;
    options.maximum_tokens = maximum_tokens;
    options.temperature = if seed == 0 { 0.0 } else { 1.0 };
    options.seed_given = 1;
    options.seed = seed;
    options.ignore_end = 1;
    let mut session = 0;
    let code = unsafe {
        worker_session_start(
            model,
            prompt.as_ptr().cast(),
            prompt.len(),
            &raw const options,
            &raw mut session,
            null_mut(),
        )
    };
    if code == 0 {
        Ok(Stream(session))
    } else {
        Err(code)
    }
}

/// What starting a session gives, which is then closed.
pub fn start_code(model: u64) -> i32 {
    try_start(model, "Once", 1, 0).err().unwrap_or(0)
}

/// An event, with its text.
pub struct Event {
    pub kind: u32,
    pub token: u32,
    pub end_reason: u32,
}

impl Stream {
    pub fn next(&self, timeout_ms: i64) -> Result<Event, i32> {
        let mut buffer = [0_u8; 256];
        let mut event: worker_event_t = zeroed();
        event.struct_size = size_of::<worker_event_t>() as u32;
        event.text = buffer.as_mut_ptr().cast();
        event.text_capacity = buffer.len() as u64;
        match unsafe { worker_session_next(self.0, &raw mut event, timeout_ms, null_mut()) } {
            0 => Ok(Event { kind: event.kind, token: event.token, end_reason: event.end_reason }),
            code => Err(code),
        }
    }

    /// The tokens and why they end.
    pub fn read_all(&self) -> (Vec<u32>, u32) {
        let mut tokens = Vec::new();
        loop {
            let event = self.next(60_000).unwrap_or_else(|code| panic!("{code}: {}", last_error()));
            if event.kind == WORKER_EVENT_END {
                return (tokens, event.end_reason);
            }
            tokens.push(event.token);
        }
    }

    pub fn cancel(&self) {
        worker_session_cancel(self.0);
    }

    pub fn descriptor(&self) -> i32 {
        let mut descriptor = -1;
        assert_eq!(unsafe { worker_session_event_descriptor(self.0, &raw mut descriptor, null_mut()) }, 0);
        descriptor
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        worker_session_close(self.0);
    }
}

pub fn poll(descriptor: i32, timeout_ms: i32) -> bool {
    let mut watched = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    unsafe { libc::poll(&raw mut watched, 1, timeout_ms) == 1 }
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Threads of the library, by name; the log thread lives as long as its callback.
pub fn own_threads() -> Vec<String> {
    // What the library did not start may have the program's name, which begins like its own threads'.
    let program = std::fs::read_to_string("/proc/self/comm").unwrap();
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(Result::ok)
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| *name != program)
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with("worker-") && name != "worker-log")
        .collect()
}

/// A copy of the model that only this process maps, so that its pages can be evicted.
pub fn private_model() -> (tempfile::NamedTempFile, PathBuf) {
    // Beside the other build results: a file system of memory has nowhere to evict to.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut file = tempfile::NamedTempFile::new_in(folder).unwrap();
    std::io::copy(&mut std::fs::File::open(model_path()).unwrap(), &mut file).unwrap();
    file.as_file().sync_all().unwrap();
    let path = file.path().to_owned();
    (file, path)
}

/// Has the kernel take back the pages of a mapped file, as it does by itself when memory rests. It refuses for locked
/// pages.
pub fn evict(path: &Path) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut ranges = 0;
    for line in maps.lines().filter(|line| line.ends_with(path.to_str().unwrap())) {
        let (begin, end) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
        let address = |text: &str| usize::from_str_radix(text, 16).unwrap();
        let (begin, end) = (address(begin), address(end));
        let code = unsafe { libc::madvise(begin as *mut c_void, end - begin, libc::MADV_PAGEOUT) };
        let refusal = std::io::Error::last_os_error().raw_os_error();
        assert!(code == 0 || refusal == Some(libc::EINVAL), "{refusal:?}");
        ranges += 1;
    }
    assert!(ranges > 0, "{} is not mapped", path.display());
    // Pages that are mapped no more may still be in the page cache.
    let file = std::fs::File::open(path).unwrap();
    use std::os::fd::AsRawFd;
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

/// Runs tokens through the model without starting a session: all weights are read.
pub fn read_whole_model(model: u64) {
    let tokens: Vec<u32> = (1..40).collect();
    let mut needed = 0;
    let mut logits = vec![0.0_f32; 40 * 512];
    let code = unsafe {
        worker_model_score(
            model,
            tokens.as_ptr(),
            tokens.len(),
            null(),
            logits.as_mut_ptr(),
            logits.len(),
            &raw mut needed,
            null_mut(),
        )
    };
    assert_eq!(code, 0, "{}", last_error());
}

static WATCH_ENDED: AtomicBool = AtomicBool::new(false);

/// Collects what the health callback is told: 1 healthy, 0 not.
pub fn watch_health() -> Arc<Mutex<Vec<u32>>> {
    unsafe extern "C" fn tell(user_data: *mut c_void, health: *const worker_health_t) {
        let told = unsafe { &*user_data.cast::<Mutex<Vec<u32>>>() };
        told.lock().unwrap().push(unsafe { (*health).healthy });
    }
    unsafe extern "C" fn release(user_data: *mut c_void) {
        drop(unsafe { Arc::from_raw(user_data.cast::<Mutex<Vec<u32>>>()) });
        WATCH_ENDED.store(true, Ordering::SeqCst);
    }
    WATCH_ENDED.store(false, Ordering::SeqCst);
    let told = Arc::new(Mutex::new(Vec::new()));
    let data = Arc::into_raw(Arc::clone(&told)).cast_mut().cast();
    assert_eq!(unsafe { worker_set_health_callback(Some(tell), data, Some(release)) }, 0);
    told
}

pub fn watch_ended() -> bool {
    WATCH_ENDED.load(Ordering::SeqCst)
}
