//! One thread per model that runs all its sessions together.
//!
//! Sessions wait in a queue until the KV cache has room for them to their very end ([`pages`]), then take part in every
//! step: those that decode with one row, those whose prompt is still being read with a share of the prompt rows
//! ([`batching`]). What a session gives does not depend on the others. When there is nothing to do the thread sleeps.

mod batching;
mod engine;
mod pages;
mod prefix;
mod sequence;
mod worker;

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

pub use self::engine::{Engine, TokenConstraint, Vocabulary};
pub use self::sequence::Job;
use self::worker::Worker;
use super::session::{EndReason, Session, SessionState};
use crate::error::{Code, Error, Result};
use crate::telemetry::metrics::METRICS;

/// Tokens in a page of the KV cache.
const PAGE: usize = crate::engine::PAGE_TOKENS as usize;

/// How many sessions a scheduler takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many run together.
    pub running: usize,
    /// So many more may wait.
    pub waiting: usize,
}

/// Sessions of a scheduler at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    /// Sessions that take part in steps.
    pub running: usize,
    /// Sessions that wait to be let in.
    pub waiting: usize,
}

/// The way to a model's scheduler thread.
pub struct Scheduler {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Scheduler {
    /// Starts the thread.
    pub fn start(engine: impl Engine, vocabulary: Arc<dyn Vocabulary>, limits: Limits) -> Result<Self> {
        let shared = Arc::new(Shared {
            inbox: Mutex::new(Inbox::default()),
            wake: Condvar::new(),
            cancel: AtomicU32::new(0),
            limits,
            kv_pages: engine.pages() as usize,
            kv_pages_used: AtomicUsize::new(0),
        });
        let worker = Worker::new(engine, vocabulary, Arc::clone(&shared));
        let identity = Arc::as_ptr(&shared) as usize;
        let run = move || {
            SCHEDULER_OF_THREAD.set(identity);
            worker.run();
        };
        let thread = std::thread::Builder::new()
            .name("worker-scheduler".to_owned())
            .spawn(run)
            .map_err(|error| Error::new(Code::OutOfMemory, format!("starting the scheduler thread: {error}")))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a session; its seed is only carried to the host.
    pub(super) fn submit(&self, job: Job, seed: u64) -> Result<Session> {
        let state = Arc::clone(&job.state);
        {
            let mut inbox = self.shared.inbox.lock();
            if inbox.closing {
                return Err(Error::new(Code::StaleHandle, "the model is closed"));
            }
            let (running, waiting) = inbox.counts();
            let Limits { running: most_running, waiting: most_waiting } = self.shared.limits;
            if running + waiting >= most_running + most_waiting {
                return Err(Error::new(
                    Code::Busy,
                    format!(
                        "{running} sessions run and {waiting} wait; at most {most_running} run and {most_waiting} wait"
                    ),
                ));
            }
            inbox.live.push(Arc::clone(&state));
            inbox.arrivals.push(job);
            inbox.changed = true;
        }
        self.shared.wake.notify_one();
        METRICS.sessions_started.add(1);
        let shared = Arc::clone(&self.shared);
        Ok(Session::new(state, seed, Box::new(move || shared.session_changed())))
    }

    /// Sessions that run and wait.
    pub fn activity(&self) -> Activity {
        let (running, waiting) = self.shared.inbox.lock().counts();
        Activity { running, waiting }
    }

    /// Pages of the KV cache that are in use or promised, and how many there are.
    pub fn kv_pages(&self) -> (usize, usize) {
        (self.shared.kv_pages_used.load(Ordering::Relaxed), self.shared.kv_pages)
    }

    /// Ends every session and the thread; returns when both have ended. May be called again.
    pub fn close(&self) {
        let sessions = {
            let mut inbox = self.shared.inbox.lock();
            inbox.closing = true;
            self.shared.cancel.store(1, Ordering::Release);
            let unread = inbox.unread.drain(..).filter_map(|session| session.upgrade()).collect::<Vec<_>>();
            inbox.live.iter().cloned().chain(unread).collect::<Vec<_>>()
        };
        for session in sessions {
            session.terminate(EndReason::Closed);
        }
        self.shared.wake.notify_one();
        // Held while joining, so that a second caller returns no sooner.
        let mut thread = self.thread.lock();
        if let Some(handle) = thread.take() {
            // A waker that owned the last reference to the model ends up here on the scheduler's own thread.
            if SCHEDULER_OF_THREAD.get() != Arc::as_ptr(&self.shared) as usize {
                // The thread contains its panics; there is nothing to learn from the result.
                let _ = handle.join();
            }
        }
    }
}

thread_local! {
    /// Whose thread this is: the address of what the scheduler shares with it. Not the thread's id: asking for that
    /// would make the standard library allocate for a host's thread, for ever.
    static SCHEDULER_OF_THREAD: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the scheduler's thread shares with everyone else.
struct Shared {
    inbox: Mutex<Inbox>,
    wake: Condvar,
    /// Stops the step that is running.
    cancel: AtomicU32,
    limits: Limits,
    kv_pages: usize,
    /// Told by the thread after each step.
    kv_pages_used: AtomicUsize,
}

#[derive(Default)]
struct Inbox {
    arrivals: Vec<Job>,
    /// Every session that was taken and has not left the scheduler.
    live: Vec<Arc<SessionState>>,
    /// Sessions that have left, but whose hosts have not read the end: closing ends these as well, so that what a host
    /// sees does not depend on how far a session had run ahead.
    unread: Vec<Weak<SessionState>>,
    /// The sessions of the step that is running.
    in_step: Vec<Arc<SessionState>>,
    /// Something happened that the thread may be waiting for.
    changed: bool,
    closing: bool,
}

impl Inbox {
    /// Counts the sessions that run and that wait, of those that are not over; one that was cancelled a moment ago takes no place.
    fn counts(&self) -> (usize, usize) {
        let (mut running, mut waiting) = (0, 0);
        for session in self.live.iter().filter(|session| !session.is_terminated()) {
            if session.is_admitted() {
                running += 1;
            } else {
                waiting += 1;
            }
        }
        (running, waiting)
    }

    /// Whether nobody waits for the step that is running.
    fn step_is_unwanted(&self) -> bool {
        !self.in_step.is_empty() && self.in_step.iter().all(|session| session.is_terminated())
    }
}

impl Shared {
    /// A session leaves the scheduler.
    fn forget(&self, state: &Arc<SessionState>) {
        let mut inbox = self.inbox.lock();
        inbox.live.retain(|session| !Arc::ptr_eq(session, state));
        inbox.unread.retain(|session| session.upgrade().is_some_and(|session| !session.is_over_for_its_host()));
        if inbox.closing {
            return;
        }
        inbox.unread.push(Arc::downgrade(state));
    }

    /// A session was ended from outside, or is being read again.
    fn session_changed(&self) {
        {
            let mut inbox = self.inbox.lock();
            inbox.changed = true;
            if inbox.step_is_unwanted() {
                self.cancel.store(1, Ordering::Release);
            }
        }
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests;
