//! What the scheduler needs from the outside, as traits small enough to be imitated in tests.

use std::sync::atomic::AtomicU32;

use crate::engine::{Row, Sampling};
use crate::error::Result;

/// Runs rows of tokens through a model, with one paged KV cache.
pub trait Engine: Send + 'static {
    /// Length of a row of logits.
    fn vocabulary_size(&self) -> usize;

    /// Pages of the KV cache.
    fn pages(&self) -> u32;

    /// Whether the engine chooses tokens itself: rows may ask for [`Output::Token`](crate::engine::Output::Token).
    fn samples(&self) -> bool;

    /// Whether pages that decode rows made have the bits that prompt rows would have given them.
    fn roles_agree(&self) -> bool;

    /// Runs `rows`; `page_tables` has one entry for each sequence that rows refer to. The logits of the rows that ask
    /// for them go to `outputs`, one after another; for rows that ask for a token there is one of `samplings` each, and
    /// what was chosen is given. A non-zero `cancel` makes it stop early with `Code::Cancelled`.
    fn forward(
        &mut self,
        rows: &[Row],
        page_tables: &[&[u32]],
        samplings: &[Sampling],
        cancel: &AtomicU32,
        outputs: &mut [f32],
    ) -> Result<Vec<Result<u32>>>;
}

/// What tokens mean.
pub trait Vocabulary: Send + Sync + 'static {
    /// What the token prints.
    fn token_bytes(&self, token: u32) -> &[u8];

    /// Whether the token ends the generation.
    fn is_end(&self, token: u32) -> bool;
}

/// What a session's text must match, token by token.
pub trait TokenConstraint: Send {
    /// Which of a model's `tokens` tokens may follow: one bit each, the lowest bit of the first word for token 0.
    fn allowed(&mut self, tokens: usize) -> Result<Vec<u32>>;

    /// Takes the chosen token in.
    fn accept(&mut self, token: u32) -> Result<()>;

    /// Whether nothing may follow any more.
    fn must_stop(&self) -> bool;
}
