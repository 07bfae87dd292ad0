//! The only caller of the C++ engine: raw declarations and safe wrappers.
