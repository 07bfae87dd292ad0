//! A running or finished generation.

use std::sync::Arc;
use std::time::Duration;

use super::CudaError;
use crate::error::{self, Code, Error};
use crate::inference::{EndReason, Event, Next, Session};
use crate::registry::ProcessOwned;

/// A running or finished generation, read piece by piece. Dropping it ends it.
pub struct InferenceResult {
    session: ProcessOwned<Arc<Session>>,
    /// Read from the session, but not yet taken: so that nothing is lost when it does not fit where it should go.
    pending: Option<Event>,
    /// Pieces of text taken.
    taken: u32,
}

impl InferenceResult {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session: ProcessOwned::new(session), pending: None, taken: 0 }
    }

    pub(crate) fn session(&self) -> error::Result<&Arc<Session>> {
        self.session.get()
    }

    /// Waits for the next piece of text, and counts the pieces from 0; `None` at the end. A piece is whole characters and
    /// never empty: a token whose text is not yet certain comes with the one that completes it.
    ///
    /// # Errors
    /// [`CudaError::InferenceFailed`] when running the model failed, or when the model or its context was ended;
    /// [`CudaError::OutOfMemory`].
    pub fn next_token(&mut self) -> Result<Option<(String, u32)>, CudaError> {
        let Some((text, index)) = self.peek_token()? else { return Ok(None) };
        let piece = (text.to_owned(), index);
        self.take();
        Ok(Some(piece))
    }

    /// The next piece of text and its number, without taking it: it comes again until [`Self::take`] is called.
    pub(crate) fn peek_token(&mut self) -> error::Result<Option<(&str, u32)>> {
        while matches!(self.peek(None)?, Some(Event::Token { text, .. }) if text.is_empty()) {
            self.pending = None;
        }
        match &self.pending {
            Some(Event::Token { text, .. }) => Ok(Some((text, self.taken))),
            Some(Event::End { reason: EndReason::Closed, .. }) => {
                Err(Error::new(Code::InferenceFailed, "the generation, its model or its context was ended"))
            }
            _ => Ok(None),
        }
    }

    /// The next event, without taking it; `None` when `timeout` passed first.
    pub(crate) fn peek(&mut self, timeout: Option<Duration>) -> error::Result<Option<&Event>> {
        if self.pending.is_none() {
            match self.session.get()?.next(timeout)? {
                Next::Event(event) => self.pending = Some(event),
                Next::TimedOut => return Ok(None),
            }
        }
        Ok(self.pending.as_ref())
    }

    /// Whether an event was peeked at and not taken.
    pub(crate) fn is_holding(&self) -> bool {
        self.pending.is_some()
    }

    /// Takes what was peeked at.
    pub(crate) fn take(&mut self) -> Option<Event> {
        let event = self.pending.take();
        if matches!(&event, Some(Event::Token { text, .. }) if !text.is_empty()) {
            self.taken = self.taken.saturating_add(1);
        }
        event
    }
}

impl Drop for InferenceResult {
    fn drop(&mut self) {
        if let Ok(session) = self.session.get() {
            session.close();
        }
    }
}

impl std::fmt::Debug for InferenceResult {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("InferenceResult").field("taken", &self.taken).finish_non_exhaustive()
    }
}
