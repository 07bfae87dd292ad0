//! What a model file holds: GGUF, architecture, tokenizer, chat template.

pub(crate) mod beside;
pub mod chat;
pub mod families;
pub mod gguf;
pub mod information;
pub mod map;
pub mod tokenizer;

pub use families::{choose_rotary_factors, describe, supported_architectures};
pub use gguf::{GgufFile, Metadata, StringArray, TensorInformation};
pub use information::information;
pub use map::{LoadMode, Mapping};
pub use tokenizer::Tokenizer;
