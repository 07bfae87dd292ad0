//! Compiles `cuda/` with the C++ compiler.

/// Compiles the engine and links it.
pub fn compile() {}
