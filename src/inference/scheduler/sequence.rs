//! One session inside the scheduler: its tokens, its pages, and what turns logits into events.

use std::sync::Arc;
use std::time::Instant;

use super::engine::{TokenConstraint, Vocabulary};
use super::pages::Lease;
use crate::engine::Sampling;
use crate::error::Result;
use crate::inference::constraint::forbid;
use crate::inference::sampling::{Logprobs, ModelLogprobs, Sampler};
use crate::inference::session::{EndReason, Event, SessionState};
use crate::inference::stop::{StopMatcher, StopOutcome};
use crate::inference::text_stream::TextStream;

/// A session that is ready to run, as it is given to the scheduler.
pub struct Job {
    /// What it shares with its host.
    pub(in crate::inference) state: Arc<SessionState>,
    /// At least one token, all within the vocabulary.
    pub prompt: Vec<u32>,
    /// At most this many tokens are generated, at least one; with the prompt they fit the context.
    pub maximum_tokens: usize,
    /// Why the session ends when they are.
    pub limit_reason: EndReason,
    /// Chooses the tokens.
    pub sampler: Sampler,
    /// Finds the stop strings.
    pub stop: StopMatcher,
    /// What the text must match.
    pub constraint: Option<Box<dyn TokenConstraint>>,
    /// How many of the likeliest tokens come with each token; 0: no logprobs.
    pub logprobs: usize,
    /// When the session ends at the latest.
    pub deadline: Option<Instant>,
}

impl Job {
    /// The most positions of the KV cache that the session can fill: the last token is never run.
    pub fn most_positions(&self) -> usize {
        self.prompt.len() + self.maximum_tokens - 1
    }
}

/// Why and how a session ended by itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Ending {
    pub(super) reason: EndReason,
    pub(super) matched_stop: Option<usize>,
}

/// A session with its pages.
pub struct Sequence {
    job: Job,
    lease: Lease,
    prompt_tokens: usize,
    /// How many tokens are in the KV cache.
    computed: usize,
    text: TextStream,
    /// The last event, kept back while text is: if no stop string comes of it, this event gets the text.
    retained: Option<Event>,
}

impl Sequence {
    /// Begins `job` with `lease`, which may hold the beginning of the prompt already.
    pub fn new(job: Job, lease: Lease) -> Self {
        let computed = lease.capacity();
        let prompt_tokens = job.prompt.len();
        Self { job, lease, prompt_tokens, computed, text: TextStream::default(), retained: None }
    }

    pub(in crate::inference) fn state(&self) -> &Arc<SessionState> {
        &self.job.state
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.job.deadline
    }

    /// The prompt, and what was generated.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.job.prompt
    }

    pub(super) fn computed(&self) -> usize {
        self.computed
    }

    pub(super) fn lease(&mut self) -> &mut Lease {
        &mut self.lease
    }

    pub(super) fn table(&self) -> &[u32] {
        self.lease.table()
    }

    /// Prompt tokens that have not run.
    pub(super) fn prompt_left(&self) -> usize {
        self.prompt_tokens.saturating_sub(self.computed)
    }

    /// Notes that `count` more tokens ran.
    pub(super) fn advance(&mut self, count: usize) {
        self.computed += count;
    }

    /// Its pages and the computed tokens of its prompt, or, with the answer, all that are.
    pub(super) fn lease_and_computed(&mut self, with_answer: bool) -> (&mut Lease, &[u32]) {
        let most = if with_answer { self.job.prompt.len() } else { self.prompt_tokens };
        (&mut self.lease, &self.job.prompt[..self.computed.min(most)])
    }

    /// Whether a device's choice is enough: log-probabilities need the logits.
    pub(super) fn can_be_sampled(&self) -> bool {
        self.job.logprobs == 0
    }

    /// What a device needs to choose the next token.
    pub(super) fn sampling(&mut self, vocabulary_size: usize) -> Result<Sampling> {
        let Job { sampler, constraint, .. } = &mut self.job;
        let allowed = constraint.as_mut().map(|constraint| constraint.allowed(vocabulary_size)).transpose()?;
        Ok(sampler.parameters(allowed))
    }

    /// Chooses the next token from `logits` and tells the host; says how the session ended if it did.
    pub(super) fn take_logits(&mut self, logits: &mut [f32], vocabulary: &dyn Vocabulary) -> Result<Option<Ending>> {
        let (token, logprobs) = self.choose(logits)?;
        self.take(token, logprobs, vocabulary)
    }

    /// Tells the host of the token that a device chose; says how the session ended if it did.
    pub(super) fn take_token(&mut self, token: u32, vocabulary: &dyn Vocabulary) -> Result<Option<Ending>> {
        self.job.sampler.accept(token);
        self.take(token, None, vocabulary)
    }

    fn take(&mut self, token: u32, logprobs: Option<Logprobs>, vocabulary: &dyn Vocabulary) -> Result<Option<Ending>> {
        if vocabulary.is_end(token) {
            self.flush();
            return Ok(Some(Ending { reason: EndReason::EndOfText, matched_stop: None }));
        }
        if let Some(constraint) = &mut self.job.constraint {
            constraint.accept(token)?;
        }
        let index = (self.job.prompt.len() - self.prompt_tokens) as u32;
        self.job.prompt.push(token);
        let text = self.text.push(vocabulary.token_bytes(token));
        let (text, matched_stop) = match self.job.stop.push(&text) {
            StopOutcome::Continue(text) => (text, None),
            StopOutcome::Matched(which, text) => (text, Some(which)),
        };
        let (logprob, top) = logprobs.map_or((None, Vec::new()), |found| (Some(found.chosen), found.top));
        self.emit(Event::Token { id: token, index, text, logprob, top });
        let ending = self.ending(index as usize + 1, matched_stop);
        if ending.is_some() {
            self.flush();
        } else if !self.job.stop.is_holding() {
            self.release_retained();
        }
        Ok(ending)
    }

    /// Lets the text out that was kept back, with the last token's event.
    pub(super) fn flush(&mut self) {
        let held = self.job.stop.flush();
        if let Some(Event::Token { text, .. }) = &mut self.retained {
            text.push_str(&held);
        }
        self.release_retained();
    }

    pub(super) fn into_lease(self) -> Lease {
        self.lease
    }

    fn choose(&mut self, logits: &mut [f32]) -> Result<(u32, Option<Logprobs>)> {
        let Job { sampler, constraint, logprobs, .. } = &mut self.job;
        let mask = |logits: &mut [f32]| match constraint {
            None => Ok(()),
            Some(constraint) => {
                forbid(logits, &constraint.allowed(logits.len())?);
                Ok(())
            }
        };
        if *logprobs == 0 {
            return Ok((sampler.sample(logits, mask)?, None));
        }
        let model = ModelLogprobs::new(logits, *logprobs)?;
        let unchanged = logits.to_vec();
        let token = sampler.sample(logits, mask)?;
        Ok((token, Some(model.of(unchanged[token as usize]))))
    }

    fn ending(&self, generated: usize, matched_stop: Option<usize>) -> Option<Ending> {
        let reason = if matched_stop.is_some() {
            EndReason::StopString
        } else if self.job.constraint.as_ref().is_some_and(|constraint| constraint.must_stop()) {
            EndReason::ConstraintComplete
        } else if generated >= self.job.maximum_tokens {
            self.job.limit_reason
        } else {
            return None;
        };
        Some(Ending { reason, matched_stop })
    }

    /// Lets the event before out and keeps `event` back for now.
    fn emit(&mut self, event: Event) {
        self.release_retained();
        self.retained = Some(event);
    }

    fn release_retained(&mut self) {
        if let Some(event) = self.retained.take() {
            self.job.state.push(event);
        }
    }
}
