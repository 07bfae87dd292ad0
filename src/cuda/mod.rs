//! The Rust door of the seed documents: contexts, models, inference results, errors.
//!
//! ```no_run
//! use worker::cuda::CudaContext;
//!
//! let context = CudaContext::new(-1)?; // the CPU; GPUs count from 0
//! let model = context.load_model("haiku.gguf")?;
//! let mut result = model.start_inference("Write a haiku about rain", 64, 0.7, 42)?;
//! while let Some((text, _index)) = result.next_token()? {
//!     print!("{text}");
//! }
//! # Ok::<(), worker::cuda::CudaError>(())
//! ```
//!
//! Each type ends what it stands for when it is dropped; ending one ends what was made with it, so they may be dropped in
//! any order. All of them may be sent between threads. The locked C functions call these methods, one for one.

mod context;
pub(crate) mod devices;
mod error;
mod inference;
mod model;

pub use context::CudaContext;
pub use error::CudaError;
pub use inference::InferenceResult;
pub use model::CudaModel;
