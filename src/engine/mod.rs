//! The only caller of the C++ engine: raw declarations and safe wrappers.
//!
//! A [`Device`] opens, [`Weights`] load onto it from a checked table of tensors, a [`KvCache`] holds what sequences have
//! seen, and [`Weights::forward`] runs rows of tokens. The engine parses no files and knows no tokenizer.

mod cache;
mod callback;
mod description;
mod device;
#[cfg(feature = "emulated-gpu")]
pub mod emulated;
pub(crate) mod fork;
mod forward;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod lanes_avx2;
#[cfg(target_arch = "x86_64")]
mod lanes_avx512;
mod lanes_in_parts;
#[cfg(target_arch = "aarch64")]
mod lanes_neon;
#[cfg(target_arch = "x86_64")]
mod lanes_sse2;
mod raw;
mod sampling;
#[cfg(test)]
mod tests;
mod weights;
mod wide;

pub use cache::{KvCache, KvType};
pub use callback::{
    ask_contained, ask_fraction_contained, call_contained, release_contained, Callback, FractionQuestion, Question,
    Release,
};
pub use description::{Activation, ModelDescription, Norm, Rotary, TensorRole, TensorType};
pub use device::{Device, DeviceInformation, DeviceKind, DeviceUsage, MemoryUse, UsageSource};
pub use forward::{Output, Role, Row};
pub(crate) use lanes::{Lanes, LANES};
pub(crate) use sampling::{not_finite, nothing_allowed};
pub use sampling::{Sampling, TokenBias, TokenCount};
pub use weights::{Backing, LoadMode, ResidencyPolicy, ResidencyReport, TensorSource, Weights};
pub(crate) use wide::{with_wide_vectors, WideWork};

/// Positions that a page of the KV cache holds.
pub const PAGE_TOKENS: u32 = raw::ENGINE_PAGE_TOKENS;
