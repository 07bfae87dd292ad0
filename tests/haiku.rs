//! The shipped model's acceptance, through the library: haiku of 5-7-5 syllables that name their topic.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use worker::cuda::{CudaContext, CudaModel};

/// At the temperature and with the prompt that the model card states.
const TEMPERATURE: f32 = 0.7;
const SEEDS: std::ops::Range<u64> = 0..4;

#[test]
fn on_seen_topics_nine_in_ten_pass() {
    let (passed, total) = judge("topics-seen.txt");
    assert_eq!(total, 50 * SEEDS.count() as u64);
    assert!(passed * 10 >= total * 9, "{passed} of {total} passed, nine in ten are required");
}

#[test]
fn on_topics_never_seen_half_pass() {
    let (passed, total) = judge("topics-unseen.txt");
    assert_eq!(total, 20 * SEEDS.count() as u64);
    assert!(passed * 2 >= total, "{passed} of {total} passed, half are required");
}

/// Writes haiku on each topic of the list and has them counted: (passed, total).
fn judge(topics: &str) -> (u64, u64) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let context = CudaContext::new(-1).unwrap();
    let model = context.load_model(root.join("examples/models/haiku.gguf").to_str().unwrap()).unwrap();
    let mut lines = String::new();
    for topic in std::fs::read_to_string(root.join("tools/haiku").join(topics)).unwrap().lines() {
        for seed in SEEDS {
            let text = write(&model, topic.trim(), seed);
            lines.push_str(&serde_json::json!({"topic": topic.trim(), "text": text.trim()}).to_string());
            lines.push('\n');
        }
    }
    count(root, &lines)
}

fn write(model: &CudaModel, topic: &str, seed: u64) -> String {
    let mut inference = model.start_inference(&format!("Write a haiku about {topic}"), 80, TEMPERATURE, seed).unwrap();
    let mut text = String::new();
    while let Some((token, _)) = inference.next_token().unwrap() {
        text.push_str(&token);
    }
    text
}

/// The counter is the one the model card's figures come from, in the repository for anyone to check.
fn count(root: &Path, lines: &str) -> (u64, u64) {
    let mut counter = Command::new("python3")
        .arg(root.join("tools/haiku/syllables.py"))
        .arg("--check")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    counter.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = counter.wait_with_output().unwrap();
    assert!(output.status.success());
    let counts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("{counts}");
    (counts["both"].as_u64().unwrap(), counts["total"].as_u64().unwrap())
}
