//! The C door: `extern "C"` functions, one file per section of the header.
