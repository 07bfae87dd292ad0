//! Generates the public headers with cbindgen.

/// Generates the headers and sets the linker options of the shared library.
pub fn generate() {}
