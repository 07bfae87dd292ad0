//! What a model file holds: GGUF, architecture, tokenizer, chat template.

pub mod gguf;
pub mod map;
pub mod tokenizer;

pub use gguf::{GgufFile, Metadata, StringArray, TensorInformation};
pub use map::{LoadMode, Mapping};
pub use tokenizer::Tokenizer;
