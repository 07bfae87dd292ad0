//! One stream of tokens as its host sees it: read, cancelled and closed from any thread.
//!
//! The scheduler produces events into a bounded queue; a session whose queue is full is simply not scheduled until its
//! host reads on, so a slow reader pauses nobody else and holds no growing memory.
//!
//! Whoever ends a session from outside (cancel, close, the model's close) ends it at once: unread tokens are dropped and
//! the next read gives the end, whether or not the model had already finished the text. Ends that come from
//! generation itself (end of text, limits, stop strings, the deadline, errors) come after the tokens before them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};
use crate::telemetry::metrics::METRICS;

/// A session whose host has left this many events unread is not scheduled until it reads.
pub const MAXIMUM_UNREAD_EVENTS: usize = 1024;

/// What reading a session gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// The next event.
    Event(Event),
    /// The time given passed first; nothing is lost.
    TimedOut,
}

/// One thing that happened in a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A token was generated.
    Token {
        /// The token.
        id: u32,
        /// Counts the session's tokens from 0.
        index: u32,
        /// The text that became certain with this token: whole UTF-8 characters, often one word, possibly empty.
        text: String,
        /// The token's log-probability in the model's own distribution, before penalties, filters and temperature;
        /// only where the request asked for logprobs.
        logprob: Option<f32>,
        /// The likeliest tokens of that distribution and their log-probabilities, likeliest first.
        top: Vec<(u32, f32)>,
    },
    /// The session is over; reading again gives this again.
    End {
        /// Why.
        reason: EndReason,
        /// What it took.
        usage: Usage,
    },
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The model generated an end-of-generation token.
    EndOfText,
    /// As many tokens were generated as were asked for.
    MaximumTokens,
    /// The text ran into one of the stop strings.
    StopString,
    /// The host cancelled the session.
    Cancelled,
    /// The session or its model was closed.
    Closed,
    /// The request's deadline passed.
    Deadline,
    /// The context has no room for another token.
    ContextFull,
    /// Running the model failed; the error was given before.
    Error,
    /// What the constraint asks for is complete, and nothing may follow.
    ConstraintComplete,
}

/// What a session took so far.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of these, how many were found computed already by an earlier session.
    pub cached_tokens: u32,
    /// Tokens generated; the end-of-generation token is not counted.
    pub generated_tokens: u32,
    /// From the start until the session was admitted.
    pub queue_seconds: f64,
    /// From its admission until the first token.
    pub prefill_seconds: f64,
    /// From the first token until the end, or until now.
    pub decode_seconds: f64,
    /// From the start until the first token; 0 while there is none.
    pub first_token_seconds: f64,
}

/// A running or finished generation. Dropping it closes it.
pub struct Session {
    state: Arc<SessionState>,
    seed: u64,
    on_change: Box<OnChange>,
}

impl Session {
    /// `on_change` tells the scheduler that the session was ended from outside or read after it was full.
    pub(super) fn new(state: Arc<SessionState>, seed: u64, on_change: Box<OnChange>) -> Self {
        Self { state, seed, on_change }
    }

    /// The next event; waits for it without end, or for `timeout` (zero: not at all).
    ///
    /// An engine failure comes as the error once, then as [`EndReason::Error`].
    pub fn next(&self, timeout: Option<Duration>) -> Result<Next> {
        // When to give up, once there is something to wait for; the clock is not asked for what is there already.
        let mut until: Option<Option<Instant>> = None;
        let mut output = self.state.output.lock();
        loop {
            if let Some(event) = output.events.pop_front() {
                // Not at the first free place: the scheduler would be woken for every single token.
                let resume = output.paused && output.events.len() <= MAXIMUM_UNREAD_EVENTS / 2;
                output.paused &= !resume;
                drop(output);
                if resume {
                    (self.on_change)();
                }
                return Ok(Next::Event(event));
            }
            if let Some(error) = output.error.take() {
                return Err(error);
            }
            if let Some(reason) = output.end {
                output.end_delivered = true;
                return Ok(Next::Event(Event::End { reason, usage: output.usage_now() }));
            }
            // A timeout beyond what the clock can tell is no timeout.
            match *until.get_or_insert_with(|| timeout.and_then(|timeout| Instant::now().checked_add(timeout))) {
                None => self.state.changed.wait(&mut output),
                Some(until) if Instant::now() >= until => return Ok(Next::TimedOut),
                Some(until) => {
                    self.state.changed.wait_until(&mut output, until);
                }
            }
        }
    }

    /// Ends the session: unread tokens are dropped and [`Session::next`] gives [`EndReason::Cancelled`], unless its end
    /// was already given out. Any thread, any time.
    pub fn cancel(&self) {
        self.terminate(EndReason::Cancelled);
    }

    /// Ends the session and lets go of what it holds: who waits or reads gets [`EndReason::Closed`], unless another end
    /// was already given out. Any thread, any time.
    pub fn close(&self) {
        self.terminate(EndReason::Closed);
    }

    /// What the session took so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.state.output.lock().usage_now()
    }

    /// The seed of the session's random numbers, given or generated.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Which of the request's stop strings ended the session, if one did.
    #[must_use]
    pub fn matched_stop(&self) -> Option<usize> {
        self.state.output.lock().matched_stop
    }

    /// Calls `waker` whenever there may be something new to read, from the thread that made it so, under no lock; for
    /// hosts with an event loop. `None` takes it away again.
    pub fn set_waker(&self, waker: Option<Waker>) {
        let ready = {
            let mut output = self.state.output.lock();
            output.waker.clone_from(&waker);
            output.is_readable()
        };
        if let (Some(waker), true) = (waker, ready) {
            waker();
        }
    }

    /// Whether [`Session::next`] would return at once.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.state.output.lock().is_readable()
    }

    fn terminate(&self, reason: EndReason) {
        if self.state.terminate(reason) {
            (self.on_change)();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}

/// Told that a session may have something to read.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Told that a session was ended from outside or is being read again.
type OnChange = dyn Fn() + Send + Sync;

/// What a session shares with the scheduler.
pub(super) struct SessionState {
    /// Set once nothing more is wanted: the scheduler drops the session at its next step.
    terminated: AtomicBool,
    admitted: AtomicBool,
    output: Mutex<Output>,
    changed: Condvar,
}

struct Output {
    events: VecDeque<Event>,
    error: Option<Error>,
    end: Option<EndReason>,
    end_delivered: bool,
    matched_stop: Option<usize>,
    /// The scheduler waits for the host to read.
    paused: bool,
    usage: Usage,
    started: Instant,
    first_token: Option<Instant>,
    last_token: Option<Instant>,
    ended: Option<Instant>,
    waker: Option<Waker>,
}

impl Output {
    fn is_readable(&self) -> bool {
        !self.events.is_empty() || self.error.is_some() || self.end.is_some()
    }

    fn usage_now(&self) -> Usage {
        let mut usage = self.usage;
        if let Some(first_token) = self.first_token {
            let until = self.ended.unwrap_or_else(Instant::now);
            usage.decode_seconds = until.saturating_duration_since(first_token).as_secs_f64();
        }
        usage
    }
}

impl SessionState {
    pub(super) fn new(prompt_tokens: u32, started: Instant) -> Self {
        let usage = Usage { prompt_tokens, ..Usage::default() };
        let output = Output {
            events: VecDeque::new(),
            error: None,
            end: None,
            end_delivered: false,
            matched_stop: None,
            paused: false,
            usage,
            started,
            first_token: None,
            last_token: None,
            ended: None,
            waker: None,
        };
        Self {
            terminated: AtomicBool::new(false),
            admitted: AtomicBool::new(false),
            output: Mutex::new(output),
            changed: Condvar::new(),
        }
    }

    /// Whether the session was ended from outside.
    pub(super) fn is_terminated(&self) -> bool {
        self.terminated.load(Ordering::Acquire)
    }

    /// Whether nothing can change any more in what the host reads.
    pub(super) fn is_over_for_its_host(&self) -> bool {
        self.is_terminated() || self.output.lock().end_delivered
    }

    /// Ends the session from outside, dropping what is unread; false when its end was already read.
    pub(super) fn terminate(&self, reason: EndReason) -> bool {
        let (waker, stale) = {
            let mut output = self.output.lock();
            // A session cancelled and then closed stays cancelled: the first word counts.
            if output.end_delivered || self.is_terminated() {
                return false;
            }
            self.terminated.store(true, Ordering::Release);
            output.error = None;
            if output.end.is_none() {
                count_end(reason);
            }
            output.end = Some(reason);
            output.ended.get_or_insert_with(Instant::now);
            (output.waker.clone(), std::mem::take(&mut output.events))
        };
        drop(stale);
        self.announce(waker);
        true
    }

    /// Adds a token's event, counts it, and makes it known.
    pub(super) fn push(&self, event: Event) {
        let waker = {
            let mut output = self.output.lock();
            if output.end.is_some() {
                return;
            }
            output.events.push_back(event);
            output.usage.generated_tokens += 1;
            METRICS.generated_tokens.add(1);
            let now = Instant::now();
            if let Some(last) = output.last_token.replace(now) {
                METRICS.inter_token.observe_duration(now.saturating_duration_since(last));
            }
            if output.first_token.is_none() {
                let since_start = now.saturating_duration_since(output.started).as_secs_f64();
                output.first_token = Some(now);
                METRICS.time_to_first_token.observe(since_start);
                output.usage.first_token_seconds = since_start;
                output.usage.prefill_seconds = since_start - output.usage.queue_seconds;
            }
            output.waker.clone()
        };
        self.announce(waker);
    }

    /// Ends the session from within, after what was pushed before.
    pub(super) fn finish(&self, reason: EndReason, error: Option<Error>, matched_stop: Option<usize>) {
        let waker = {
            let mut output = self.output.lock();
            if output.end.is_some() {
                return;
            }
            count_end(reason);
            output.error = error;
            output.end = Some(reason);
            output.matched_stop = matched_stop;
            output.ended = Some(Instant::now());
            output.waker.clone()
        };
        self.announce(waker);
    }

    /// Whether the host has left so much unread that the session has to wait; then its reading on wakes the scheduler.
    pub(super) fn pause_when_full(&self) -> bool {
        let mut output = self.output.lock();
        output.paused |= output.events.len() >= MAXIMUM_UNREAD_EVENTS;
        output.paused
    }

    /// Whether the session waits no longer.
    pub(super) fn is_admitted(&self) -> bool {
        self.admitted.load(Ordering::Acquire)
    }

    /// Notes the session's admission and what it found computed.
    pub(super) fn note_admitted(&self, cached_tokens: u32) {
        self.admitted.store(true, Ordering::Release);
        let mut output = self.output.lock();
        output.usage.cached_tokens = cached_tokens;
        METRICS.prompt_tokens.add(u64::from(output.usage.prompt_tokens));
        METRICS.cached_tokens.add(u64::from(cached_tokens));
        output.usage.queue_seconds = output.started.elapsed().as_secs_f64();
    }

    fn announce(&self, waker: Option<Waker>) {
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker();
        }
    }
}

/// Counts a session's end, once.
fn count_end(reason: EndReason) {
    let outcome = match reason {
        EndReason::EndOfText
        | EndReason::MaximumTokens
        | EndReason::StopString
        | EndReason::ContextFull
        | EndReason::ConstraintComplete => 0,
        EndReason::Cancelled | EndReason::Closed => 1,
        EndReason::Deadline => 2,
        EndReason::Error => 3,
    };
    METRICS.sessions_ended[outcome].add(1);
}
