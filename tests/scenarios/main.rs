//! The Given/When/Then scenarios of `tests/features`, run by cucumber against the library.
//!
//! `cargo test --test scenarios -- "second load"` runs those whose name contains the words.

mod c_door;
mod rust_door;

use cucumber::writer::Stats;
use cucumber::World;
use std::path::{Path, PathBuf};
use worker::cuda::{CudaContext, CudaError, CudaModel, InferenceResult};

/// What one scenario has in hand. Fields drop in this order: inference, models, contexts.
#[derive(Default, World)]
pub(crate) struct Scene {
    pub(crate) inference: Option<InferenceResult>,
    pub(crate) model: Option<CudaModel>,
    pub(crate) second_model: Option<CudaModel>,
    pub(crate) contexts: Vec<CudaContext>,
    pub(crate) devices: Vec<i32>,
    pub(crate) model_path: PathBuf,
    pub(crate) error: Option<CudaError>,
    pub(crate) texts: Vec<String>,
    pub(crate) resident: Vec<bool>,
    pub(crate) bytes: u64,
    pub(crate) directory: Option<tempfile::TempDir>,
    pub(crate) c: c_door::Hands,
}

impl std::fmt::Debug for Scene {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Scene")
            .field("contexts", &self.contexts.len())
            .field("model", &self.model.is_some())
            .field("error", &self.error.as_ref().map(ToString::to_string))
            .field("texts", &self.texts)
            .field("c", &self.c)
            .finish_non_exhaustive()
    }
}

/// The model that ships with the project.
pub(crate) fn shipped_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/models/haiku.gguf")
}

fn main() {
    let features = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/features");
    let wanted: Option<String> = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let filter = wanted.clone();
    let writer = futures::executor::block_on(
        Scene::cucumber()
            .max_concurrent_scenarios(1)
            .fail_on_skipped()
            // The arguments are `cargo test`'s, meant for another harness.
            .with_default_cli()
            .filter_run(features, move |_, _, scenario| {
                filter.as_ref().is_none_or(|words| scenario.name.contains(words.as_str()))
            }),
    );
    let failed = writer.failed_steps() + writer.parsing_errors() + writer.hook_errors() + writer.skipped_steps();
    // The line that `cargo test`'s other harnesses end with, counted in steps.
    println!(
        "test result: {}. {} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out",
        if failed == 0 { "ok" } else { "FAILED" },
        writer.passed_steps()
    );
    if wanted.is_none() && writer.passed_steps() == 0 {
        println!("no scenario ran");
        std::process::exit(1);
    }
    if failed > 0 {
        std::process::exit(1);
    }
}
