//! Builds the C++ engine, generates the headers, and gives the shared library its soname.

#[path = "build/engine.rs"]
mod engine;
#[path = "build/headers.rs"]
mod headers;

fn main() {
    engine::compile();
    headers::generate();
}
