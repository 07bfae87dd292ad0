//! libworker: an embeddable inference worker behind one stable C ABI.

pub mod cuda;
pub mod engine;
pub mod error;
pub mod ffi;
#[cfg(feature = "http")]
pub mod http;
pub mod inference;
pub mod model;
pub mod registry;
pub mod telemetry;
pub mod worker;
