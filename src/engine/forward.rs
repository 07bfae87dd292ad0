//! The forward pass: rows of tokens in, logits or hidden states out.

use std::sync::atomic::AtomicU32;

use super::sampling::{told, RawSamplings};
use super::{raw, KvCache, KvType, Sampling, Weights};
use crate::error::Result;

/// One token to run. What it computes depends on its role, position and content alone, never on what else is in the
/// batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Row {
    /// Which token.
    pub token: u32,
    /// Where in its sequence.
    pub position: u32,
    /// Which page table is its sequence's.
    pub sequence: u32,
    /// Chooses the arithmetic.
    pub role: Role,
    /// What is wanted of it.
    pub output: Output,
}

/// Prompts are bound by multiplication and decoding by memory: their arithmetic may differ; see [`Weights::roles_agree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Role {
    /// Given by the caller.
    Prompt = 0,
    /// Chosen from the model's output.
    Decode = 1,
}

/// What a row gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Output {
    /// Keys and values alone.
    None = 0,
    /// One logit per token of the vocabulary.
    Logits = 1,
    /// The hidden state after the output norm.
    Hidden = 2,
    /// The next token, chosen on the device; see [`Weights::forward_and_sample`].
    Token = 3,
}

impl Output {
    /// How many floats it takes.
    #[must_use]
    pub fn floats(self, weights: &Weights) -> usize {
        match self {
            Self::None | Self::Token => 0,
            Self::Logits => weights.description().vocabulary as usize,
            Self::Hidden => weights.description().width as usize,
        }
    }
}

impl Weights {
    /// Runs `rows`, which come in rising position within each sequence, and writes their outputs one after another.
    ///
    /// `page_tables` has, per sequence, the page of positions `[32 i, 32 i + 32)` at index `i`. A non-zero `cancel`
    /// ends the call soon with [`Code::Cancelled`](crate::error::Code::Cancelled); the rows' positions then hold
    /// nothing of use. Calls for one model take turns.
    pub fn forward(
        &self,
        cache: &KvCache,
        rows: &[Row],
        page_tables: &[&[u32]],
        cancel: &AtomicU32,
        outputs: &mut [f32],
    ) -> Result<()> {
        self.forward_and_sample(cache, rows, page_tables, &[], cancel, outputs).map(drop)
    }

    /// Whether the device chooses tokens itself: rows may ask for [`Output::Token`].
    #[must_use]
    pub fn samples(&self) -> bool {
        // SAFETY: the model lives as long as `self`.
        unsafe { raw::engine_model_samples(self.raw()) != 0 }
    }

    /// Whether a row gives the same bits in both roles, with a cache of this kind.
    #[must_use]
    pub fn roles_agree(&self, kind: KvType) -> bool {
        // SAFETY: the model lives as long as `self`.
        unsafe { raw::engine_model_roles_agree(self.raw(), kind as u32) != 0 }
    }

    /// Does what [`forward`](Self::forward) does, and gives what was chosen for each row that asks for a token:
    /// `samplings` has one entry for each of these, in the rows' order.
    pub fn forward_and_sample(
        &self,
        cache: &KvCache,
        rows: &[Row],
        page_tables: &[&[u32]],
        samplings: &[Sampling],
        cancel: &AtomicU32,
        outputs: &mut [f32],
    ) -> Result<Vec<Result<u32>>> {
        let tables: Vec<*const u32> = page_tables.iter().map(|table| table.as_ptr()).collect();
        let counts: Vec<u32> = page_tables.iter().map(|table| u32::try_from(table.len()).unwrap_or(u32::MAX)).collect();
        let samplings = RawSamplings::new(samplings, self.description().vocabulary)?;
        let mut sampled = vec![raw::engine_sampled::default(); samplings.as_slice().len()];
        let batch = raw::engine_batch {
            rows: rows.as_ptr().cast(),
            row_count: rows.len() as u64,
            page_tables: tables.as_ptr(),
            page_counts: counts.as_ptr(),
            sequence_count: tables.len() as u64,
            cancel: cancel.as_ptr(),
            outputs: outputs.as_mut_ptr(),
            output_capacity: outputs.len() as u64,
            samplings: samplings.as_slice().as_ptr(),
            sampled: sampled.as_mut_ptr(),
            sampling_count: sampled.len() as u64,
        };
        // SAFETY: model and cache live through the call; the batch's pointers come from slices that do too, with their
        // lengths; `Row` is laid out as `engine_row`; `cancel` is read atomically; masks have words for the vocabulary.
        raw::call(|error| unsafe { raw::engine_forward(self.raw(), cache.raw(), &raw const batch, error) })?;
        Ok(sampled.iter().map(told).collect())
    }
}

const _: () = {
    assert!(size_of::<Row>() == size_of::<raw::engine_row>());
    assert!(std::mem::offset_of!(Row, sequence) == std::mem::offset_of!(raw::engine_row, sequence));
    assert!(std::mem::offset_of!(Row, role) == std::mem::offset_of!(raw::engine_row, role));
    assert!(std::mem::offset_of!(Row, output) == std::mem::offset_of!(raw::engine_row, output));
};
