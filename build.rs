//! Builds the C++ engine, generates the headers, and gives the shared library its soname.

#[path = "build/engine.rs"]
mod engine;
#[path = "build/headers.rs"]
mod headers;

fn main() {
    println!("cargo:rustc-env=WORKER_FEATURES={}", features());
    engine::compile();
    headers::generate();
}

fn features() -> String {
    let set = |variable: String| Some(variable.strip_prefix("CARGO_FEATURE_")?.to_lowercase().replace('_', "-"));
    let mut names: Vec<String> = std::env::vars().filter_map(|(variable, _)| set(variable)).collect();
    names.retain(|name| name != "default");
    names.sort();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(" ")
    }
}
