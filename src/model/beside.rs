//! Work on a thread of its own, beside what its caller does meanwhile.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Work that has begun. Dropping it waits for the thread.
///
/// Not a scoped thread: a scope leaves the standard library's record of the host's thread behind for good.
pub struct Beside<T> {
    work: Arc<dyn Fn() -> T + Send + Sync>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Beside<T> {
    /// Begins `work` on a thread with this name.
    pub fn start(name: &str, work: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let work: Arc<dyn Fn() -> T + Send + Sync> = Arc::new(work);
        let begin = Arc::clone(&work);
        // Where no more threads are allowed, `finish` works.
        let thread = Builder::new().name(name.to_owned()).spawn(move || begin()).ok();
        Self { work, thread }
    }

    /// Waits for the result. A panic of the work goes on here.
    pub fn finish(mut self) -> T {
        match self.thread.take() {
            Some(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            None => (self.work)(),
        }
    }
}

impl<T> Drop for Beside<T> {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // What it found, or how it failed, is nobody's concern any more.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn work_is_done_elsewhere_and_its_panic_comes_back() {
        let here = std::thread::current().id();
        let elsewhere = Beside::start("test-beside", || std::thread::current().id());
        assert_ne!(elsewhere.finish(), here);
        let failing: Beside<u32> = Beside::start("test-beside", || std::panic::panic_any(7_u32));
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| failing.finish())).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&7_u32));
        let without_thread = Beside { work: Arc::new(|| 3), thread: None };
        assert_eq!(without_thread.finish(), 3);
    }

    #[test]
    fn dropping_waits() {
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        drop(Beside::start("test-beside", move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            flag.store(true, Ordering::SeqCst);
        }));
        assert!(done.load(Ordering::SeqCst));
    }
}
