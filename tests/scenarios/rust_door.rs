//! Steps through the Rust API: `CudaContext`, `CudaModel`, `InferenceResult`, `CudaError`.

use crate::{shipped_model, Scene};
use cucumber::{given, then, when};
use worker::cuda::{CudaContext, CudaError, CudaModel};

/// The device every machine has: the CPU.
const CPU: i32 = -1;

fn open_cpu() -> CudaContext {
    CudaContext::new(CPU).expect("the CPU is a device everywhere")
}

/// Everything an inference writes, as one text.
fn write(model: &CudaModel, prompt: &str, tokens: u32, temperature: f32, seed: u64) -> String {
    let mut inference = model.start_inference(prompt, tokens, temperature, seed).expect("inference starts");
    let mut text = String::new();
    while let Some((token, _)) = inference.next_token().expect("a token or the end") {
        text.push_str(&token);
    }
    text
}

fn model(scene: &Scene) -> &CudaModel {
    scene.model.as_ref().expect("a model was loaded")
}

// Given

#[given("a valid device ID")]
fn valid_device(scene: &mut Scene) {
    scene.devices = vec![CPU];
}

#[given("every device ID below the device count")]
fn every_device(scene: &mut Scene) {
    // On a machine without a GPU this is the CPU alone.
    scene.devices = std::iter::once(CPU).chain(0..CudaContext::device_count()).collect();
}

#[given(expr = "an invalid device ID {int}")]
fn invalid_device(scene: &mut Scene, device: i32) {
    assert!(device >= CudaContext::device_count() || device < CPU, "this machine has a device {device}");
    scene.devices = vec![device];
}

#[given("two contexts on valid devices")]
fn two_contexts(scene: &mut Scene) {
    scene.contexts = vec![open_cpu(), open_cpu()];
}

#[given("a CudaContext and valid model path")]
fn context_and_path(scene: &mut Scene) {
    scene.contexts = vec![open_cpu()];
    scene.model_path = shipped_model();
}

#[given("a CudaContext and a model path with NUL")]
fn context_and_path_with_nul(scene: &mut Scene) {
    scene.contexts = vec![open_cpu()];
    scene.model_path = "model\0.gguf".into();
}

#[given(expr = "a file that is {word}")]
#[given(regex = r"^a file that is (cut in half|a directory)$")]
fn no_model_file(scene: &mut Scene, kind: String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("model.gguf");
    match kind.as_str() {
        "missing" => {}
        "empty" => std::fs::write(&path, b"").unwrap(),
        "text" => std::fs::write(&path, "This is no model.\n".repeat(100)).unwrap(),
        "cut in half" => {
            let whole = std::fs::read(shipped_model()).unwrap();
            std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        }
        "a directory" => std::fs::create_dir(&path).unwrap(),
        other => panic!("the feature names an unknown kind of file: {other}"),
    }
    scene.contexts = vec![open_cpu()];
    scene.model_path = path;
    scene.directory = Some(directory);
}

#[given("a loaded model")]
fn loaded_model(scene: &mut Scene) {
    let context = open_cpu();
    let path = shipped_model();
    scene.model = Some(context.load_model(path.to_str().unwrap()).expect("the shipped model loads"));
    scene.model_path = path;
    scene.contexts = vec![context];
}

// When

#[when("I create a CudaContext")]
#[when("I create a CudaContext for each")]
fn create_contexts(scene: &mut Scene) {
    for device in &scene.devices {
        match CudaContext::new(*device) {
            Ok(context) => scene.contexts.push(context),
            Err(error) => scene.error = Some(error),
        }
    }
}

#[when("I load the model")]
fn load(scene: &mut Scene) {
    match scene.contexts[0].load_model(scene.model_path.to_str().unwrap()) {
        Ok(model) => scene.model = Some(model),
        Err(error) => scene.error = Some(error),
    }
}

#[when("each loads the model")]
fn each_loads(scene: &mut Scene) {
    let path = shipped_model();
    let path = path.to_str().unwrap();
    scene.model = Some(scene.contexts[0].load_model(path).unwrap());
    scene.second_model = Some(scene.contexts[1].load_model(path).unwrap());
}

#[when("I load the model again and drop it")]
fn load_again_and_drop(scene: &mut Scene) {
    scene.bytes = model(scene).vram_usage();
    let second = scene.contexts[0].load_model(scene.model_path.to_str().unwrap()).unwrap();
    assert_eq!(second.vram_usage(), scene.bytes);
    drop(second);
}

#[when("I start inference with a prompt")]
fn start(scene: &mut Scene) {
    scene.inference = Some(model(scene).start_inference("Write a haiku about rain", 40, 0.7, 7).unwrap());
}

#[when(expr = "I start inference for at most {int} tokens")]
fn start_limited(scene: &mut Scene, limit: u32) {
    scene.inference = Some(model(scene).start_inference("Write a haiku about rain", limit, 0.7, 7).unwrap());
}

#[when(expr = "I run inference twice at temperature {float} with seed {int}")]
fn run_twice(scene: &mut Scene, temperature: f32, seed: u64) {
    scene.texts = (0..2).map(|_| write(model(scene), "Write a haiku about snow", 60, temperature, seed)).collect();
}

#[when(expr = "I run inference at temperature {float} with seeds {int} to {int}")]
fn run_seeds(scene: &mut Scene, temperature: f32, first: u64, last: u64) {
    scene.texts =
        (first..=last).map(|seed| write(model(scene), "Write a haiku about snow", 60, temperature, seed)).collect();
}

#[when(expr = "I ask for a haiku about {string}")]
fn ask_for_haiku(scene: &mut Scene, topic: String) {
    scene.texts = vec![write(model(scene), &format!("Write a haiku about {topic}"), 80, 0.7, 1)];
}

#[when(regex = r"^I start inference with (no tokens allowed|temperature .*|a prompt with NUL)$")]
fn start_badly(scene: &mut Scene, request: String) {
    let (prompt, tokens, temperature) = match request.as_str() {
        "no tokens allowed" => ("rain", 0, 0.7),
        "temperature below zero" => ("rain", 10, -0.1),
        "temperature above two" => ("rain", 10, 2.5),
        "temperature NaN" => ("rain", 10, f32::NAN),
        "a prompt with NUL" => ("ra\0in", 10, 0.7),
        other => panic!("the feature names an unknown request: {other}"),
    };
    scene.error = model(scene).start_inference(prompt, tokens, temperature, 1).err();
}

#[when("I check its residency")]
fn check_residency(scene: &mut Scene) {
    scene.resident = vec![model(scene).check_vram_residency().expect("the check itself works")];
}

#[when("I check its residency after every token of an inference")]
fn check_residency_while_working(scene: &mut Scene) {
    let mut inference = model(scene).start_inference("Write a haiku about rain", 30, 0.7, 7).unwrap();
    let mut resident = Vec::new();
    while inference.next_token().unwrap().is_some() {
        resident.push(model(scene).check_vram_residency().unwrap());
    }
    scene.resident = resident;
}

#[when("I ask for the process's memory use")]
fn ask_process_memory(scene: &mut Scene) {
    scene.bytes = scene.contexts[0].process_vram_usage();
}

// Then

#[then("the context should be initialized successfully")]
#[then("every context should be initialized successfully")]
fn contexts_initialized(scene: &mut Scene) {
    assert!(scene.error.is_none(), "{:?}", scene.error.as_ref().map(ToString::to_string));
    assert_eq!(scene.contexts.len(), scene.devices.len());
}

#[then("device properties should be accessible")]
fn properties_accessible(scene: &mut Scene) {
    assert!(CudaContext::device_count() >= 0);
    assert!(scene.contexts[0].process_vram_usage() > 0, "a running process uses memory");
}

#[then("the device should be healthy")]
fn device_healthy(scene: &mut Scene) {
    assert!(scene.contexts[0].check_device_health().unwrap());
}

#[then("the model should be loaded to VRAM")]
fn model_loaded(scene: &mut Scene) {
    assert!(scene.error.is_none(), "{:?}", scene.error.as_ref().map(ToString::to_string));
    assert!(model(scene).check_vram_residency().unwrap());
}

#[then("VRAM usage should be reported")]
fn usage_reported(scene: &mut Scene) {
    let file = std::fs::metadata(&scene.model_path).unwrap().len();
    let used = model(scene).vram_usage();
    assert!(used > file / 2 && used < file * 4, "a file of {file} bytes is said to use {used}");
}

#[then("VRAM usage should be as before")]
fn usage_as_before(scene: &mut Scene) {
    assert_eq!(model(scene).vram_usage(), scene.bytes);
}

#[then("both models should give the same greedy words")]
fn same_greedy_words(scene: &mut Scene) {
    let first = write(model(scene), "Write a haiku about rain", 40, 0.0, 0);
    let second = write(scene.second_model.as_ref().unwrap(), "Write a haiku about rain", 40, 0.0, 0);
    assert!(!first.is_empty());
    assert_eq!(first, second);
}

#[then("I should receive an InferenceResult")]
fn inference_received(scene: &mut Scene) {
    assert!(scene.inference.is_some());
}

#[then("next_token() should return tokens")]
fn tokens_come(scene: &mut Scene) {
    let first = scene.inference.as_mut().unwrap().next_token().unwrap();
    assert!(first.is_some());
    scene.bytes = u64::from(first.unwrap().1);
    assert_eq!(scene.bytes, 0, "indices count from 0");
}

#[then("token indices should count from 0")]
fn indices_count(scene: &mut Scene) {
    let inference = scene.inference.as_mut().unwrap();
    let mut expected = 1;
    while let Some((_, index)) = inference.next_token().unwrap() {
        assert_eq!(index, expected);
        expected += 1;
    }
    assert!(expected > 3, "only {expected} tokens came");
}

#[then(expr = r"next_token\(\) should return at most {int} tokens and then none")]
fn tokens_limited(scene: &mut Scene, limit: usize) {
    let inference = scene.inference.as_mut().unwrap();
    let mut count = 0;
    while inference.next_token().unwrap().is_some() {
        count += 1;
        assert!(count <= limit, "token {count} came, {limit} were allowed");
    }
    assert!(count > 0);
    assert!(inference.next_token().unwrap().is_none(), "the end stays the end");
}

#[then("both texts should be equal")]
fn texts_equal(scene: &mut Scene) {
    assert!(!scene.texts[0].is_empty());
    assert_eq!(scene.texts[0], scene.texts[1]);
}

#[then("not all texts should be equal")]
fn texts_differ(scene: &mut Scene) {
    assert!(scene.texts.iter().any(|text| *text != scene.texts[0]), "{:?}", scene.texts);
}

#[then("the text should have three lines")]
fn three_lines(scene: &mut Scene) {
    let text = &scene.texts[0];
    assert_eq!(text.trim().lines().count(), 3, "{text:?}");
}

#[then(expr = "I should receive CudaError::{word}")]
fn error_received(scene: &mut Scene, variant: String) {
    let error = scene.error.as_ref().expect("an error was due");
    let found = match error {
        CudaError::InvalidDevice(_) => "InvalidDevice",
        CudaError::InvalidParameter(_) => "InvalidParameter",
        CudaError::ModelLoadFailed(_) => "ModelLoadFailed",
        _ => "another",
    };
    assert_eq!(found, variant, "{error}");
}

#[then("error message should be descriptive")]
fn error_descriptive(scene: &mut Scene) {
    let text = scene.error.as_ref().unwrap().to_string();
    assert!(text.len() > 20 && text.contains(' '), "{text:?} tells too little");
    assert!(!text.contains("Unknown"), "{text:?}");
}

#[then("the model should still give tokens")]
#[then("the first model should still give tokens")]
fn still_gives_tokens(scene: &mut Scene) {
    assert!(!write(model(scene), "Write a haiku about rain", 10, 0.0, 0).is_empty());
}

#[then("the model should be resident")]
fn resident(scene: &mut Scene) {
    assert!(!scene.resident.is_empty());
    assert!(scene.resident.iter().all(|resident| *resident), "{:?}", scene.resident);
}

#[then("it should be at least the model's")]
fn at_least_the_models(scene: &mut Scene) {
    assert!(scene.bytes >= model(scene).vram_usage(), "{} < {}", scene.bytes, model(scene).vram_usage());
}
