//! The C door: `extern "C"` functions, one file per section of the header.

pub(crate) mod fork;
