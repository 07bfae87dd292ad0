//! What the functions of sessions do between their arguments and the layer below.

use std::ffi::{c_char, c_void, CStr};
use std::mem::offset_of;
use std::sync::Arc;
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;
use parking_lot::{Mutex, MutexGuard};

use super::callbacks::{thrown, HostData};
use super::handles::{model, session, worker_model_t, worker_session_t};
use super::marshal::{
    array, invalid, length, options, output_struct, required, reserved, switch, text, zeroed, OutputStruct,
};
use super::model_calls::unknown_value;
use super::objects::registry;
use super::session_types::*;
use super::types::worker_destroy_fn;
use crate::cuda::InferenceResult;
use crate::engine;
use crate::error::{Code, Error, Result};
use crate::inference::{
    ConstraintSource, EndReason, Event, EventDescriptor, Prompt, SamplingOptions, Session, SessionRequest,
};
use crate::worker::lifecycle;

/// A session behind a handle.
pub(super) struct SessionEntry {
    session: Arc<Session>,
    /// Its reader: one thread reads at a time, and waits in here, so cancelling and closing do not need it.
    reader: Mutex<InferenceResult>,
    /// Made when a host first asks for it.
    descriptor: OnceCell<EventDescriptor>,
}

impl SessionEntry {
    pub(super) fn new(session: Arc<Session>) -> Self {
        Self { reader: Mutex::new(InferenceResult::new(Arc::clone(&session))), session, descriptor: OnceCell::new() }
    }

    /// Of a session that the Rust door started.
    pub(super) fn of(result: InferenceResult) -> Result<Self> {
        Ok(Self { session: Arc::clone(result.session()?), reader: Mutex::new(result), descriptor: OnceCell::new() })
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub(super) fn reader(&self) -> MutexGuard<'_, InferenceResult> {
        self.reader.lock()
    }

    /// The descriptor that follows the session.
    pub(super) fn descriptor(&self) -> Result<i32> {
        let descriptor = self.descriptor.get_or_try_init(|| EventDescriptor::new(&self.session))?;
        Ok(descriptor.descriptor())
    }
}

/// Starts a session.
///
/// # Safety
/// As `worker_session_start`'s.
pub(super) unsafe fn start(
    handle: worker_model_t,
    prompt: Prompt,
    source: *const worker_session_options_t,
) -> Result<worker_session_t> {
    // SAFETY: as this function's.
    let request = unsafe { request(prompt, &options(source)?) }?;
    let model = model(handle)?;
    lifecycle::admit_new_work()?;
    let session = model.model()?.start(request)?;
    registry().insert_owned(SessionEntry::new(session), handle)
}

/// Translates options; a zero that the layer below would read otherwise becomes what the header says it is.
///
/// # Safety
/// The options' pointers are valid for their lengths.
unsafe fn request(prompt: Prompt, options: &worker_session_options_t) -> Result<SessionRequest> {
    reserved(options.reserved, "reserved")?;
    let one_if_zero = |value: f32| if value == 0.0 { 1.0 } else { value };
    let seed_given = switch(options.seed_given, "seed_given")?;
    if !seed_given && options.seed != 0 {
        return Err(invalid("seed is set, but seed_given is 0".to_owned()));
    }
    // SAFETY: the caller's.
    let biases =
        unsafe { array(options.logit_bias, length(options.logit_bias_count, "logit_bias_count")?, "logit_bias") }?;
    let sampling = SamplingOptions {
        temperature: options.temperature,
        top_k: options.top_k,
        top_p: one_if_zero(options.top_p),
        min_p: options.min_p,
        typical_p: one_if_zero(options.typical_p),
        repetition_penalty: one_if_zero(options.repetition_penalty),
        presence_penalty: options.presence_penalty,
        frequency_penalty: options.frequency_penalty,
        penalty_window: options.penalty_window,
        logit_bias: biases.iter().map(|bias| (bias.token, bias.bias)).collect(),
    };
    // SAFETY: the caller's.
    let stops = unsafe { array(options.stop, length(options.stop_count, "stop_count")?, "stop") }?;
    let mut stop = Vec::new();
    for (index, piece) in stops.iter().enumerate() {
        let name = format!("stop[{index}]");
        // SAFETY: the caller's.
        stop.push(unsafe { text(piece.data, length(piece.length, &name)?, &name) }?.to_owned());
    }
    Ok(SessionRequest {
        prompt,
        maximum_tokens: options.maximum_tokens,
        sampling,
        stop,
        seed: seed_given.then_some(options.seed),
        logprobs: options.logprobs,
        // SAFETY: the caller's.
        constraint: unsafe { constraint(options) }?,
        deadline: (options.deadline_ms != 0).then(|| Duration::from_millis(options.deadline_ms)),
        ignore_end: switch(options.ignore_end, "ignore_end")?,
    })
}

unsafe fn constraint(options: &worker_session_options_t) -> Result<Option<ConstraintSource>> {
    let make = match options.constraint_kind {
        WORKER_CONSTRAINT_NONE if options.constraint_length == 0 => return Ok(None),
        WORKER_CONSTRAINT_NONE => return Err(invalid("constraint_length is set, but constraint_kind is 0".to_owned())),
        WORKER_CONSTRAINT_JSON_SCHEMA => ConstraintSource::JsonSchema,
        WORKER_CONSTRAINT_REGEX => ConstraintSource::Regex,
        WORKER_CONSTRAINT_LARK => ConstraintSource::Lark,
        other => return Err(unknown_value("constraint_kind", other)),
    };
    let bytes = length(options.constraint_length, "constraint_length")?;
    required(options.constraint, "constraint")?;
    // SAFETY: the caller's.
    Ok(Some(make(unsafe { text(options.constraint, bytes, "constraint") }?.to_owned())))
}

/// Reads the next event into a caller's struct.
///
/// # Safety
/// As `worker_session_next`'s.
pub(super) unsafe fn next(handle: worker_session_t, event: *mut worker_event_t, timeout_ms: i64) -> Result<()> {
    // SAFETY: as this function's.
    let mut target = unsafe { EventTarget::new(event) }?;
    let entry = session(handle)?;
    let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
    let (mut reader, remaining) = match (entry.reader.try_lock(), timeout) {
        (Some(reader), _) => (reader, timeout),
        (None, None) => (entry.reader(), None),
        (None, Some(timeout)) => {
            let started = Instant::now();
            // Another thread is reading: waiting for it is part of the waiting.
            let Some(reader) = entry.reader.try_lock_for(timeout) else { return Err(timed_out(timeout_ms)) };
            (reader, Some(timeout.saturating_sub(started.elapsed())))
        }
    };
    if let Some(descriptor) = entry.descriptor.get() {
        descriptor.lower();
    }
    let result = match reader.peek(remaining) {
        Ok(None) => Err(timed_out(timeout_ms)),
        Ok(Some(found)) => match target.fill(found, &entry.session) {
            Ok(()) => {
                reader.take();
                Ok(())
            }
            Err(failure) => Err(failure),
        },
        Err(failure) => {
            target.fill_error(&failure);
            Err(failure)
        }
    };
    if let Some(descriptor) = entry.descriptor.get() {
        // What did not fit waits with the reader.
        if reader.is_holding() {
            descriptor.raise();
        } else {
            descriptor.raise_if_readable(&entry.session);
        }
    }
    result
}

#[cold]
fn timed_out(timeout_ms: i64) -> Error {
    Error::new(Code::TimedOut, format!("there was no event within {timeout_ms} ms"))
}

/// A caller's event struct: what it gives is kept, everything else is cleared and waits for an event.
struct EventTarget {
    output: OutputStruct<worker_event_t>,
    event: worker_event_t,
}

impl EventTarget {
    /// # Safety
    /// `event` is NULL or valid, while the result lives, for the size that its first member tells, and so are its buffers
    /// for their capacities.
    unsafe fn new(event: *mut worker_event_t) -> Result<Self> {
        let mut given = zeroed::<worker_event_t>();
        required(event, "event")?;
        // SAFETY: the caller's; what is smaller than the first version is refused below, before the rest is read.
        unsafe {
            let size = event.cast::<u32>().read_unaligned() as usize;
            if size >= offset_of!(worker_event_t, top_count) {
                given.text = (&raw const (*event).text).read_unaligned();
                given.text_capacity = (&raw const (*event).text_capacity).read_unaligned();
                given.top = (&raw const (*event).top).read_unaligned();
                given.top_capacity = (&raw const (*event).top_capacity).read_unaligned();
            }
        }
        // SAFETY: as this function's.
        let output = unsafe { output_struct(event, "event") }?;
        let target = Self { output, event: given };
        // At once, so that the caller's pointers are never lost.
        target.write();
        if given.text.is_null() && given.text_capacity != 0 {
            return Err(invalid(format!("event: text is NULL, but its capacity is {}", given.text_capacity)));
        }
        if given.top.is_null() && given.top_capacity != 0 {
            return Err(invalid(format!("event: top is NULL, but its capacity is {}", given.top_capacity)));
        }
        if given.text_capacity > 0 {
            // SAFETY: the caller's.
            unsafe { given.text.write(0) };
        }
        Ok(target)
    }

    fn write(&self) {
        self.output.write(self.event);
    }

    fn fill(&mut self, found: &Event, session: &Session) -> Result<()> {
        let mut filled = self.event;
        if let Event::Token { text, top, .. } = found {
            let needed = text.len() as u64 + 1;
            if needed > filled.text_capacity || top.len() > filled.top_capacity as usize {
                self.event.text_needed = needed;
                self.event.top_count = top.len() as u32;
                self.write();
                let detail = format!(
                    "event: the text needs {needed} bytes, {} fit; {} logprobs are needed, {} fit",
                    filled.text_capacity,
                    top.len(),
                    filled.top_capacity
                );
                return Err(Error::new(Code::BufferTooSmall, detail));
            }
            // SAFETY: both buffers have the room, as was just checked, and are no memory of ours.
            unsafe {
                std::ptr::copy_nonoverlapping(text.as_ptr(), filled.text.cast(), text.len());
                filled.text.add(text.len()).write(0);
                for (index, &(token, logprob)) in top.iter().enumerate() {
                    filled.top.add(index).write_unaligned(worker_logprob_t { token, logprob });
                }
            }
        }
        describe(&mut filled, found, session);
        self.event = filled;
        self.write();
        Ok(())
    }

    fn fill_error(&mut self, failure: &Error) {
        self.event.kind = WORKER_EVENT_ERROR;
        self.event.error_code = failure.code.number();
        self.write();
    }
}

/// Sets an event's numbers; its text and top are where they are.
fn describe(target: &mut worker_event_t, found: &Event, session: &Session) {
    match found {
        Event::Token { id, index, text, logprob, top } => {
            target.kind = WORKER_EVENT_TOKEN;
            target.token = *id;
            target.index = *index;
            target.text_length = text.len() as u64;
            target.text_needed = text.len() as u64 + 1;
            target.top_count = top.len() as u32;
            target.has_logprob = u32::from(logprob.is_some());
            target.logprob = logprob.unwrap_or_default();
        }
        Event::End { reason, usage } => {
            target.kind = WORKER_EVENT_END;
            target.end_reason = reason_number(*reason);
            let stop = session.matched_stop().and_then(|index| i32::try_from(index).ok());
            target.matched_stop = stop.unwrap_or(-1);
            target.prompt_tokens = usage.prompt_tokens;
            target.cached_tokens = usage.cached_tokens;
            target.generated_tokens = usage.generated_tokens;
        }
    }
}

fn reason_number(reason: EndReason) -> worker_end_reason_t {
    match reason {
        EndReason::EndOfText => WORKER_END_OF_TEXT,
        EndReason::MaximumTokens => WORKER_END_MAXIMUM_TOKENS,
        EndReason::StopString => WORKER_END_STOP_STRING,
        EndReason::Cancelled => WORKER_END_CANCELLED,
        EndReason::Closed => WORKER_END_CLOSED,
        EndReason::Deadline => WORKER_END_DEADLINE,
        EndReason::ContextFull => WORKER_END_CONTEXT_FULL,
        EndReason::Error => WORKER_END_ERROR,
        EndReason::ConstraintComplete => WORKER_END_CONSTRAINT_COMPLETE,
    }
}

/// Reads a session to its end, calling back for each event.
///
/// # Safety
/// As `worker_session_run`'s.
pub(super) unsafe fn run(
    handle: worker_session_t,
    callback: worker_event_fn,
    user_data: *mut c_void,
    destroy: worker_destroy_fn,
) -> Result<()> {
    let data = HostData::new(user_data, destroy);
    let Some(callback) = callback else { return Err(invalid("callback is NULL".to_owned())) };
    let entry = session(handle)?;
    let tell = |event: &worker_event_t| {
        // SAFETY: the caller's: it may be called with its data; the event lives through the call.
        let answer = unsafe { engine::ask_contained(erase(callback), data.user_data, (&raw const *event).cast()) };
        if answer != Some(0) {
            entry.session.cancel();
        }
        answer.map(|_| ()).ok_or_else(|| thrown("callback"))
    };
    let mut failure = None;
    loop {
        // The reader is let go before the callback runs, which may call anything.
        let found = {
            let mut reader = entry.reader();
            match reader.peek(None) {
                Ok(_) => Ok(reader.take()),
                Err(error) => Err(error),
            }
        };
        let mut event = zeroed::<worker_event_t>();
        match found {
            Ok(Some(mut found)) => {
                let mut likeliest = Vec::new();
                describe(&mut event, &found, &entry.session);
                if let Event::Token { text, top, .. } = &mut found {
                    text.push('\0');
                    likeliest.extend(top.iter().map(|&(token, logprob)| worker_logprob_t { token, logprob }));
                    event.text = text.as_mut_ptr().cast::<c_char>();
                    event.text_capacity = text.len() as u64;
                    event.top = likeliest.as_mut_ptr();
                    event.top_capacity = likeliest.len() as u32;
                }
                tell(&event)?;
                if event.kind == WORKER_EVENT_END {
                    return failure.map_or(Ok(()), Err);
                }
            }
            Ok(None) => return Err(Error::new(Code::Unknown, "waiting without end gave nothing")),
            Err(error) => {
                event.kind = WORKER_EVENT_ERROR;
                event.error_code = error.code.number();
                event.text = EMPTY.as_ptr().cast_mut();
                tell(&event)?;
                // Where even the reading fails, no end will come.
                if failure.replace(error).is_some() {
                    return failure.map_or(Ok(()), Err);
                }
            }
        }
    }
}

/// The callback as the engine's trampoline calls it: its argument's type is known to both ends only.
fn erase(callback: unsafe extern "C" fn(*mut c_void, *const worker_event_t) -> i32) -> engine::Question {
    // SAFETY: the two differ in what a pointer points to, which no calling convention sees.
    unsafe { std::mem::transmute(callback) }
}

const EMPTY: &CStr = c"";

/// What a session took so far.
pub(super) fn usage(handle: worker_session_t) -> Result<worker_usage_t> {
    let usage = session(handle)?.session.usage();
    let mut out = zeroed::<worker_usage_t>();
    out.prompt_tokens = usage.prompt_tokens;
    out.cached_tokens = usage.cached_tokens;
    out.generated_tokens = usage.generated_tokens;
    out.queue_seconds = usage.queue_seconds;
    out.prefill_seconds = usage.prefill_seconds;
    out.decode_seconds = usage.decode_seconds;
    out.first_token_seconds = usage.first_token_seconds;
    Ok(out)
}
