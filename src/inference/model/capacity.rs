//! How much a model reads and holds: bytes per token, the context, pages for keys and values.

use super::{LoadOptions, DEFAULT_CONTEXT, DEFAULT_CONTEXTS};
use crate::engine::{ModelDescription, TensorRole, TensorSource, PAGE_TOKENS};
use crate::error::{Code, Error, Result};

/// See [`super::Model::weight_bytes_per_token`].
pub(super) fn weight_bytes_per_token(description: &ModelDescription, tensors: &[TensorSource]) -> u64 {
    let has_output = tensors.iter().any(|tensor| tensor.role == TensorRole::Output);
    let bytes = |tensor: &TensorSource| {
        let bytes = tensor.range.len() as u64;
        match tensor.role {
            TensorRole::TokenEmbedding if has_output => 0,
            TensorRole::PositionEmbedding => 0,
            TensorRole::ExpertsGate | TensorRole::ExpertsUp | TensorRole::ExpertsDown => {
                bytes * u64::from(description.experts_used) / u64::from(description.experts.max(1))
            }
            _ => bytes,
        }
    };
    tensors.iter().map(bytes).sum()
}

/// The longest context of a session, as far as model and host decide it.
pub(super) fn context_of(options: &LoadOptions, trained: u32) -> u32 {
    let trained = or_default(trained, u32::MAX);
    match options.context_length {
        0 => trained.min(DEFAULT_CONTEXT),
        asked => trained.min(asked),
    }
}

/// Pages of the KV cache, and the context that they allow.
pub(super) fn kv_size(options: &LoadOptions, trained: u32, page_bytes: u64) -> Result<(u32, u32)> {
    if page_bytes == 0 {
        let detail = format!("kv_type: the model's head size does not allow {:?}", options.kv_type);
        return Err(Error::new(Code::InvalidParameter, detail));
    }
    let context = context_of(options, trained);
    let pages_of_context = context.div_ceil(PAGE_TOKENS);
    if options.kv_budget_bytes == 0 {
        return Ok((pages_of_context.saturating_mul(DEFAULT_CONTEXTS), context));
    }
    let pages = u32::try_from(options.kv_budget_bytes / page_bytes).unwrap_or(u32::MAX);
    if pages >= pages_of_context {
        return Ok((pages, context));
    }
    if pages == 0 || options.context_length != 0 {
        return Err(Error::new(
            Code::InvalidParameter,
            format!(
                "kv_budget_bytes: {} are too few for a context of {context} tokens, which takes {}",
                options.kv_budget_bytes,
                u64::from(pages_of_context) * page_bytes
            ),
        ));
    }
    Ok((pages, pages * PAGE_TOKENS))
}

/// What the host asked for, if it did.
pub(super) fn or_default(value: u32, default: u32) -> u32 {
    if value == 0 {
        default
    } else {
        value
    }
}
