//! The scheduler's thread.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;

use super::batching::{share, PromptBudget};
use super::engine::{Engine, Vocabulary};
use super::pages::KvPages;
use super::sequence::{Ending, Job, Sequence};
use super::{Shared, PAGE};
use crate::engine::{Output, Role, Row, Sampling};
use crate::error::{Code, Error, Result};
use crate::inference::session::{EndReason, SessionState};
use crate::telemetry::metrics::METRICS;

/// What the thread owns.
pub struct Worker<E: Engine> {
    engine: E,
    vocabulary: Arc<dyn Vocabulary>,
    shared: Arc<Shared>,
    waiting: VecDeque<Job>,
    running: Vec<Sequence>,
    pages: KvPages,
    /// A session left since those that wait were last looked at.
    has_new_room: bool,
    budget: PromptBudget,
    /// Who gets the rows first that cannot be divided evenly; moves on with every step.
    turn: usize,
    outputs: Vec<f32>,
}

/// One step's rows, and whose they are.
struct Step {
    rows: Vec<Row>,
    parts: Vec<Part>,
    prompt_rows: usize,
    logits: usize,
    /// Of the rows that ask for a token.
    samplings: Vec<Sampling>,
}

/// The part of a step that belongs to one session.
struct Part {
    /// Index into the running sessions.
    sequence: usize,
    rows: usize,
    /// What the last of its rows asks for.
    output: Output,
}

impl<E: Engine> Worker<E> {
    pub fn new(engine: E, vocabulary: Arc<dyn Vocabulary>, shared: Arc<Shared>) -> Self {
        let pages = KvPages::new(engine.pages());
        Self {
            engine,
            vocabulary,
            shared,
            waiting: VecDeque::new(),
            running: Vec::new(),
            pages,
            has_new_room: false,
            budget: PromptBudget::new(),
            turn: 0,
            outputs: Vec::new(),
        }
    }

    /// Runs sessions until the scheduler is closed.
    pub fn run(mut self) {
        while self.receive() {
            // A fault in here must not leave hosts waiting for ever: it ends the sessions it may have touched.
            let result = catch_unwind(AssertUnwindSafe(|| {
                self.tidy();
                self.admit();
                self.step();
            }));
            if let Err(panic) = result {
                self.recover(&panic_text(panic.as_ref()));
            }
        }
        for sequence in self.running.drain(..) {
            sequence.state().terminate(EndReason::Closed);
        }
        for job in self.waiting.drain(..) {
            job.state.terminate(EndReason::Closed);
        }
    }

    /// Takes arrivals in, sleeping while there is nothing to do; false when the scheduler is closed.
    fn receive(&mut self) -> bool {
        let can_run = self.running.iter().any(|sequence| !sequence.state().pause_when_full())
            || self.has_new_room && !self.waiting.is_empty();
        let deadline = self.next_deadline();
        let used = self.engine.pages() as usize - self.pages.available();
        self.shared.kv_pages_used.store(used, Ordering::Relaxed);
        let mut inbox = self.shared.inbox.lock();
        while !can_run && !inbox.changed && !inbox.closing {
            match deadline {
                None => self.shared.wake.wait(&mut inbox),
                Some(deadline) => {
                    if self.shared.wake.wait_until(&mut inbox, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        inbox.changed = false;
        self.waiting.extend(inbox.arrivals.drain(..));
        if inbox.closing {
            inbox.live.clear();
        }
        !inbox.closing
    }

    fn next_deadline(&self) -> Option<Instant> {
        let running = self.running.iter().filter_map(Sequence::deadline);
        running.chain(self.waiting.iter().filter_map(|job| job.deadline)).min()
    }

    /// Lets go of sessions that were ended from outside or ran out of time.
    fn tidy(&mut self) {
        let now = Instant::now();
        let is_late = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        for index in (0..self.running.len()).rev() {
            if self.running[index].state().is_terminated() {
                self.remove(index);
            } else if is_late(self.running[index].deadline()) {
                self.running[index].flush();
                self.end(index, Ending { reason: EndReason::Deadline, matched_stop: None }, None);
            }
        }
        for index in (0..self.waiting.len()).rev() {
            let job = &self.waiting[index];
            let late = is_late(job.deadline);
            if late || job.state.is_terminated() {
                let Some(job) = self.waiting.remove(index) else { continue };
                self.shared.forget(&job.state);
                if late {
                    job.state.finish(EndReason::Deadline, None, None);
                }
            }
        }
    }

    /// Lets sessions in, in the order of their arrival: one that needs much is not overtaken for ever by ones that need
    /// little.
    fn admit(&mut self) {
        self.has_new_room = false;
        while self.running.len() < self.shared.limits.running {
            let Some(job) = self.waiting.front() else { return };
            let lease = self.pages.admit(&job.prompt, job.most_positions());
            if lease.is_none() && !self.running.is_empty() {
                return;
            }
            let Some(job) = self.waiting.pop_front() else { return };
            let Some(lease) = lease else {
                // Alone and still without room: it would wait for ever.
                let detail = format!(
                    "{} tokens need more than the {} pages of {PAGE} tokens that the KV cache has",
                    job.most_positions(),
                    self.engine.pages()
                );
                self.shared.forget(&job.state);
                job.state.finish(EndReason::Error, Some(Error::new(Code::OutOfMemory, detail)), None);
                continue;
            };
            job.state.note_admitted(lease.capacity() as u32);
            self.running.push(Sequence::new(job, lease));
        }
    }

    /// Runs one step of everyone who can.
    fn step(&mut self) {
        let step = match self.plan() {
            Ok(step) => step,
            Err((index, error)) => return self.end(index, FAILED, Some(error)),
        };
        if step.rows.is_empty() || !self.announce(&step) {
            return;
        }
        let started = Instant::now();
        let result = self.forward(&step);
        self.shared.inbox.lock().in_step.clear();
        match result {
            Ok(chosen) => {
                let took = started.elapsed();
                self.budget.note(step.prompt_rows, took);
                METRICS.step.observe_duration(took);
                METRICS.batch_rows.observe(step.rows.len() as f64);
                self.distribute(&step, chosen);
            }
            // Whoever still wants the step gets it run again; the same rows give the same result.
            Err(error) if error.code == Code::Cancelled && self.shared.cancel.load(Ordering::Acquire) != 0 => {}
            Err(error) => {
                let mut affected: Vec<usize> = step.parts.iter().map(|part| part.sequence).collect();
                // From the back, so that the indices before stay what they are.
                affected.sort_unstable_by_key(|index| Reverse(*index));
                for index in affected {
                    self.running[index].flush();
                    self.end(index, FAILED, Some(error.clone()));
                }
            }
        }
    }

    /// Chooses the step's rows and gets the pages for them.
    fn plan(&mut self) -> std::result::Result<Step, (usize, Error)> {
        let mut step = Step { rows: Vec::new(), parts: Vec::new(), prompt_rows: 0, logits: 0, samplings: Vec::new() };
        for index in 0..self.running.len() {
            let sequence = &self.running[index];
            if sequence.prompt_left() == 0 && !sequence.state().pause_when_full() {
                self.plan_rows(&mut step, index, 1, Role::Decode)?;
            }
        }
        let mut prefilling: Vec<usize> =
            (0..self.running.len()).filter(|&index| self.running[index].prompt_left() > 0).collect();
        if !prefilling.is_empty() {
            self.turn = (self.turn + 1) % prefilling.len();
            prefilling.rotate_left(self.turn);
            let wanted: Vec<usize> = prefilling.iter().map(|&index| self.running[index].prompt_left()).collect();
            let given = share(&wanted, self.budget.rows(!step.rows.is_empty()));
            for (index, count) in prefilling.into_iter().zip(given).filter(|(_, count)| *count > 0) {
                step.prompt_rows += count;
                self.plan_rows(&mut step, index, count, Role::Prompt)?;
            }
        }
        Ok(step)
    }

    fn plan_rows(
        &mut self,
        step: &mut Step,
        index: usize,
        count: usize,
        role: Role,
    ) -> std::result::Result<(), (usize, Error)> {
        let sequence = &mut self.running[index];
        let first = sequence.computed();
        let end = first + count;
        while sequence.lease().capacity() < end {
            if self.pages.grow(sequence.lease()).is_none() {
                let detail = format!("no page of the KV cache was left for position {first}, though it was promised");
                return Err((index, Error::new(Code::OutOfMemory, detail)));
            }
        }
        let last = match end == sequence.tokens().len() {
            false => Output::None,
            true if self.engine.samples() && sequence.can_be_sampled() => Output::Token,
            true => Output::Logits,
        };
        match last {
            Output::Token => {
                let sampling = sequence.sampling(self.engine.vocabulary_size()).map_err(|error| (index, error))?;
                step.samplings.push(sampling);
            }
            Output::Logits => step.logits += 1,
            Output::None | Output::Hidden => {}
        }
        for (position, &token) in sequence.tokens().iter().enumerate().take(end).skip(first) {
            let output = if position + 1 == end { last } else { Output::None };
            let sequence = step.parts.len() as u32;
            step.rows.push(Row { token, position: position as u32, sequence, role, output });
        }
        step.parts.push(Part { sequence: index, rows: count, output: last });
        Ok(())
    }

    /// Makes known whose step it is, so that it can be stopped once nobody wants it; false when nobody does already.
    fn announce(&self, step: &Step) -> bool {
        let mut inbox = self.shared.inbox.lock();
        if inbox.closing {
            return false;
        }
        inbox.in_step = step.parts.iter().map(|part| Arc::clone(self.running[part.sequence].state())).collect();
        if inbox.step_is_unwanted() {
            inbox.in_step.clear();
            return false;
        }
        self.shared.cancel.store(0, Ordering::Release);
        true
    }

    fn forward(&mut self, step: &Step) -> Result<Vec<Result<u32>>> {
        let floats = step.logits * self.engine.vocabulary_size();
        if self.outputs.len() < floats {
            let more = floats - self.outputs.len();
            self.outputs.try_reserve_exact(more).map_err(|_| {
                Error::new(Code::OutOfMemory, format!("{} rows of logits need {} bytes", step.logits, floats * 4))
            })?;
            self.outputs.resize(floats, 0.0);
        }
        let tables: Vec<&[u32]> = step.parts.iter().map(|part| self.running[part.sequence].table()).collect();
        self.engine.forward(&step.rows, &tables, &step.samplings, &self.shared.cancel, &mut self.outputs[..floats])
    }

    /// Gives everyone what the step computed for them; `chosen` are the tokens that the engine chose.
    fn distribute(&mut self, step: &Step, chosen: Vec<Result<u32>>) {
        let vocabulary_size = self.engine.vocabulary_size();
        let mut outputs = std::mem::take(&mut self.outputs);
        let mut logits = outputs.chunks_exact_mut(vocabulary_size.max(1));
        let mut chosen = chosen.into_iter();
        let mut endings: Vec<(usize, Result<Ending>)> = Vec::new();
        for part in &step.parts {
            let sequence = &mut self.running[part.sequence];
            let read_prompt = sequence.prompt_left() > 0;
            sequence.advance(part.rows);
            // Unless the answer's pages can serve as well, those of the prompt alone.
            if read_prompt || self.engine.roles_agree() {
                let (lease, tokens) = sequence.lease_and_computed(self.engine.roles_agree());
                self.pages.publish(lease, tokens);
            }
            let is_terminated = sequence.state().is_terminated();
            let taken = match part.output {
                Output::Logits => logits.next().map(|row| match is_terminated {
                    true => Ok(None),
                    false => sequence.take_logits(row, self.vocabulary.as_ref()),
                }),
                Output::Token => chosen.next().map(|token| match (is_terminated, token) {
                    (true, _) => Ok(None),
                    (false, Ok(token)) => sequence.take_token(token, self.vocabulary.as_ref()),
                    (false, Err(error)) => Err(error),
                }),
                Output::None | Output::Hidden => None,
            };
            match taken.unwrap_or(Ok(None)) {
                Ok(None) => {}
                Ok(Some(ending)) => endings.push((part.sequence, Ok(ending))),
                Err(error) => {
                    sequence.flush();
                    endings.push((part.sequence, Err(error)));
                }
            }
        }
        self.outputs = outputs;
        endings.sort_unstable_by_key(|(index, _)| Reverse(*index));
        for (index, ending) in endings {
            match ending {
                Ok(ending) => self.end(index, ending, None),
                Err(error) => self.end(index, FAILED, Some(error)),
            }
        }
    }

    /// Ends a session that is running. Its place is free before its host hears of it.
    fn end(&mut self, index: usize, ending: Ending, error: Option<Error>) {
        let state = self.remove(index);
        state.finish(ending.reason, error, ending.matched_stop);
    }

    fn remove(&mut self, index: usize) -> Arc<SessionState> {
        let sequence = self.running.remove(index);
        let state = Arc::clone(sequence.state());
        self.pages.release(sequence.into_lease());
        self.has_new_room = true;
        self.shared.forget(&state);
        state
    }

    /// Ends every running session after a fault, and starts over with an empty KV cache.
    fn recover(&mut self, what: &str) {
        self.pages = KvPages::new(self.engine.pages());
        self.has_new_room = true;
        self.outputs = Vec::new();
        self.shared.inbox.lock().in_step.clear();
        for sequence in self.running.drain(..) {
            let state = Arc::clone(sequence.state());
            drop(sequence);
            self.shared.forget(&state);
            let error = Error::new(Code::Panic, format!("a fault in the scheduler: {what}"));
            state.finish(EndReason::Error, Some(error), None);
        }
    }
}

const FAILED: Ending = Ending { reason: EndReason::Error, matched_stop: None };

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
