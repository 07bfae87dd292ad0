//! Runs given tokens once, apart from the sessions: with a KV cache of its own that is gone afterwards, in chunks between
//! which the sessions' steps get their turn.

use std::sync::atomic::AtomicU32;
use std::sync::Arc;

use parking_lot::FairMutex;

use crate::engine::{KvCache, KvType, Output, Role, Row, Weights, PAGE_TOKENS};
use crate::error::{Code, Error, Result};

/// What evaluating takes.
pub(super) struct Evaluation<'model> {
    pub(super) weights: &'model Arc<Weights>,
    /// Whose turn it is to use the engine; fair, so that neither sessions nor evaluations starve.
    pub(super) turn: &'model FairMutex<()>,
    pub(super) cancel: &'model AtomicU32,
    pub(super) kv_type: KvType,
}

impl Evaluation<'_> {
    /// Runs `tokens` and gives the `output` of each from position `first` on to `receive`.
    pub(super) fn run(
        &self,
        tokens: &[u32],
        first: usize,
        output: Output,
        receive: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        self.check(tokens)?;
        let pages = tokens.len().div_ceil(PAGE_TOKENS as usize) as u32;
        let cache = KvCache::new(self.weights, pages, self.kv_type)?;
        let table: Vec<u32> = (0..pages).collect();
        let floats = output.floats(self.weights);
        let mut outputs = floats_of(CHUNK_ROWS.min(tokens.len()) * floats)?;
        for (chunk, start) in tokens.chunks(CHUNK_ROWS).zip((0..).step_by(CHUNK_ROWS)) {
            let row = |(token, position): (&u32, usize)| Row {
                token: *token,
                position: position as u32,
                sequence: 0,
                role: Role::Prompt,
                output: if position >= first { output } else { Output::None },
            };
            let rows: Vec<Row> = chunk.iter().zip(start..).map(row).collect();
            let wanted = (start + chunk.len()).saturating_sub(first.max(start));
            let results = &mut outputs[..wanted * floats];
            {
                let _turn = self.turn.lock();
                self.weights.forward(&cache, &rows, &[&table], self.cancel, results)?;
            }
            for (result, position) in results.chunks_exact(floats.max(1)).zip(first.max(start)..) {
                receive(position, result)?;
            }
        }
        Ok(())
    }

    fn check(&self, tokens: &[u32]) -> Result<()> {
        let description = self.weights.description();
        if tokens.is_empty() {
            return Err(Error::new(Code::InvalidParameter, "tokens: there are none"));
        }
        let context = description.context_length as usize;
        if context > 0 && tokens.len() > context {
            let detail = format!("tokens: {} are more than the model's context of {context}", tokens.len());
            return Err(Error::new(Code::InvalidParameter, detail));
        }
        check_tokens("tokens", tokens, description.vocabulary)
    }
}

/// Refuses tokens outside the vocabulary.
pub(super) fn check_tokens(field: &str, tokens: &[u32], vocabulary: u32) -> Result<()> {
    let Some(index) = tokens.iter().position(|&token| token >= vocabulary) else { return Ok(()) };
    let token = tokens[index];
    Err(Error::new(
        Code::InvalidParameter,
        format!("{field}[{index}]: token {token} is outside the vocabulary of {vocabulary} tokens"),
    ))
}

/// So many zeros, or an error where there is no memory for them.
pub(super) fn floats_of(count: usize) -> Result<Vec<f32>> {
    let mut floats = reserved(count)?;
    floats.resize(count, 0.0);
    Ok(floats)
}

/// An empty vector with room for so many floats.
pub(super) fn reserved(count: usize) -> Result<Vec<f32>> {
    let mut floats = Vec::new();
    floats
        .try_reserve_exact(count)
        .map_err(|_| Error::new(Code::OutOfMemory, format!("no memory for a result of {count} floats")))?;
    Ok(floats)
}

/// Tokens that run together: few enough that sessions in between hardly notice.
const CHUNK_ROWS: usize = 32;
