//! The C door: `extern "C"` functions, one file per section of the header.
//!
//! What is public in the files named after the header's sections is the published ABI, and its doc comments are the header's
//! text. Each function is one guarded call (`guard`); arguments are checked by `marshal`.

mod callbacks;
pub mod devices;
pub mod errors;
mod guard;
pub mod handles;
pub mod health;
pub mod lifecycle;
mod lifecycle_calls;
pub mod locked;
mod locked_calls;
mod log_descriptor;
pub mod logging;
mod marshal;
mod model_calls;
pub mod models;
mod objects;
pub mod operation_types;
pub mod residency;
pub mod scoring;
mod session_calls;
pub mod session_types;
pub mod sessions;
pub mod types;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("handles have 64 bits, and the cuda_* functions carry them in pointers");
