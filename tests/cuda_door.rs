//! The Rust door of the seed documents, on the CPU: its lists of unit tests, integration tests and edge cases.

use std::path::Path;

use worker::cuda::{CudaContext, CudaError, CudaModel, InferenceResult};

const CPU: i32 = -1;

fn tiny_model() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/models/stories260K-q8_0.gguf");
    path.to_str().unwrap().to_owned()
}

fn loaded() -> (CudaContext, CudaModel) {
    let context = CudaContext::new(CPU).unwrap();
    let model = context.load_model(&tiny_model()).unwrap();
    (context, model)
}

fn read_all(result: &mut InferenceResult) -> String {
    let mut text = String::new();
    let mut expected = 0;
    while let Some((piece, index)) = result.next_token().unwrap() {
        assert_eq!(index, expected);
        assert!(!piece.is_empty());
        expected += 1;
        text += &piece;
    }
    text
}

#[test]
fn a_context_opens_on_a_valid_device() {
    let context = CudaContext::new(CPU).unwrap();
    let device = context.device().unwrap();
    assert_eq!(device.ordinal, CPU);
    assert!(device.total_memory > 0 && !device.name.is_empty());
}

#[test]
fn every_valid_device_is_accepted_and_no_other() {
    for ordinal in -5..CudaContext::device_count() + 5 {
        let valid = (CPU..CudaContext::device_count()).contains(&ordinal);
        match CudaContext::new(ordinal) {
            Ok(_) => assert!(valid, "{ordinal}"),
            Err(error) => {
                assert!(!valid, "{ordinal}: {error}");
                assert!(matches!(error, CudaError::InvalidDevice(_)), "{error}");
                assert!(error.detail().contains(&ordinal.to_string()), "{error}");
            }
        }
    }
}

#[test]
fn the_device_count_is_not_negative() {
    assert!(CudaContext::device_count() >= 0);
}

#[test]
fn the_full_flow_runs_and_is_deterministic() {
    let (context, model) = loaded();
    assert!(model.vram_usage() > 0);
    assert!(context.process_vram_usage() > model.vram_usage() / 2);
    assert!(context.check_device_health().unwrap());
    assert!(model.check_vram_residency().unwrap());
    let mut texts = Vec::new();
    for _ in 0..2 {
        let mut result = model.start_inference("Once upon a time", 40, 0.9, 42).unwrap();
        texts.push(read_all(&mut result));
        assert_eq!(result.next_token().unwrap(), None, "after the end it is still the end");
    }
    assert_eq!(texts[0], texts[1]);
    assert!(texts[0].len() > 40);
}

#[test]
fn temperature_zero_ignores_the_seed() {
    let (_context, model) = loaded();
    let text = |seed| read_all(&mut model.start_inference("Once upon a time", 20, 0.0, seed).unwrap());
    assert_eq!(text(0), text(u64::MAX));
}

#[test]
fn several_generations_run_side_by_side_and_do_not_touch_each_other() {
    let (_context, model) = loaded();
    let alone = read_all(&mut model.start_inference("The dog", 40, 1.0, 3).unwrap());
    let mut running: Vec<_> = (0..4).map(|_| model.start_inference("The dog", 40, 1.0, 3).unwrap()).collect();
    for result in &mut running {
        assert_eq!(read_all(result), alone);
    }
}

#[test]
fn arguments_out_of_range_are_refused_by_name() {
    let (context, model) = loaded();
    let refused = |error: CudaError, name: &str| {
        assert!(matches!(error, CudaError::InvalidParameter(_)), "{error}");
        assert!(error.detail().contains(name), "{error}");
        assert_eq!((error.http_status(), error.is_retriable()), (400, false));
    };
    refused(model.start_inference("a\0b", 1, 0.0, 0).unwrap_err(), "prompt contains a null byte");
    refused(model.start_inference("a", 0, 0.0, 0).unwrap_err(), "max_tokens");
    refused(model.start_inference("a", u32::MAX, 0.0, 0).unwrap_err(), "max_tokens");
    for temperature in [-0.1, 2.1, f32::NAN, f32::INFINITY] {
        refused(model.start_inference("a", 1, temperature, 0).unwrap_err(), "temperature");
    }
    refused(context.load_model("a\0b").unwrap_err(), "model_path contains a null byte");
    refused(context.load_model("").unwrap_err(), "model_path");
    refused(model.start_inference(&"word ".repeat(100_000), 1, 0.0, 0).unwrap_err(), "prompt");
}

#[test]
fn a_model_that_cannot_be_loaded_says_why() {
    let context = CudaContext::new(CPU).unwrap();
    for path in
        ["/no/such/model.gguf".to_owned(), "/".to_owned(), "x".repeat(10_000), env!("CARGO_MANIFEST_DIR").into()]
    {
        let error = context.load_model(&path).unwrap_err();
        assert!(matches!(error, CudaError::ModelLoadFailed(_)), "{error}");
        assert!(!error.detail().is_empty());
    }
    let damaged = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(damaged.path(), b"GGUF\x03\0\0\0 and then nothing that makes sense").unwrap();
    let error = context.load_model(damaged.path().to_str().unwrap()).unwrap_err();
    assert!(matches!(error, CudaError::ModelLoadFailed(_)), "{error}");
}

#[test]
fn everything_may_be_dropped_in_any_order_and_ends_what_was_made_with_it() {
    let (context, model) = loaded();
    let mut result = model.start_inference("Once", 2000, 1.0, 1).unwrap();
    assert!(result.next_token().unwrap().is_some());
    drop(context);
    let end = loop {
        match result.next_token() {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(matches!(end, Err(CudaError::InferenceFailed(_))), "{end:?}");
    assert!(model.start_inference("a", 1, 0.0, 0).is_err());
    drop(model);
    drop(result);

    let (context, model) = loaded();
    let result = model.start_inference("Once", 2000, 1.0, 1).unwrap();
    drop(model);
    drop(result);
    drop(context);
}

#[test]
fn memory_returns_when_models_are_dropped() {
    let context = CudaContext::new(CPU).unwrap();
    let path = tiny_model();
    drop(context.load_model(&path).unwrap());
    let before = context.process_vram_usage();
    for _ in 0..20 {
        let model = context.load_model(&path).unwrap();
        let mut result = model.start_inference("Once", 4, 0.0, 0).unwrap();
        read_all(&mut result);
    }
    let grown = context.process_vram_usage().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more after 20 models");
}

#[test]
fn a_panic_of_the_host_cleans_up() {
    let (_context, model) = loaded();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut result = model.start_inference("Once", 500, 0.0, 0).unwrap();
        result.next_token().unwrap();
        std::panic::resume_unwind(Box::new("a host's panic"));
    }));
    assert!(panic.is_err());
    let mut next = model.start_inference("Once", 5, 0.0, 0).unwrap();
    assert!(!read_all(&mut next).is_empty(), "the model goes on working");
}

#[test]
fn what_is_made_here_may_move_to_another_thread() {
    fn check<T: Send>() {}
    check::<CudaContext>();
    check::<CudaModel>();
    check::<InferenceResult>();
    let (context, model) = loaded();
    let text = std::thread::spawn(move || {
        let mut result = model.start_inference("Once", 10, 0.0, 0).unwrap();
        std::thread::spawn(move || read_all(&mut result)).join().unwrap()
    });
    assert!(!text.join().unwrap().is_empty());
    drop(context);
}

#[test]
fn contexts_are_independent() {
    let (first, first_model) = loaded();
    let (second, second_model) = loaded();
    drop(first);
    assert!(first_model.start_inference("a", 1, 0.0, 0).is_err());
    assert!(!read_all(&mut second_model.start_inference("Once", 5, 0.0, 0).unwrap()).is_empty());
    drop(second);
}

#[test]
fn every_device_of_this_machine_runs_the_full_flow() {
    for ordinal in CPU..CudaContext::device_count() {
        let context = CudaContext::new(ordinal).unwrap();
        let model = context.load_model(&tiny_model()).unwrap();
        assert!(model.check_vram_residency().unwrap() && model.vram_usage() > 0);
        assert!(!read_all(&mut model.start_inference("Once", 10, 0.0, 0).unwrap()).is_empty());
    }
}
