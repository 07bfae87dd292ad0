//! Logits and texts that no one here made: every model in `../shared/models/` against its recorded answer.
//!
//! `cargo test --test goldens -- --nocapture` prints the table of errors and limits.

mod golden_models;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use golden_models::{folder, micro_tokens, names, Case, Engine, CHUNKS, GOLDEN_ROWS};
use worker::engine::{Device, KvType, Role};
use worker::inference::{
    EndReason, Event, LoadOptions, Model, Next, Prompt, SamplingOptions, ScoreKind, SessionRequest,
};

/// Names of models that a child process with a forced kernel path is to check, separated by commas.
const ONLY: &str = "WORKER_GOLDENS_ONLY";

#[test]
fn every_model_computes_its_golden_logits() {
    let only = std::env::var(ONLY).ok();
    let names: Vec<String> = names()
        .into_iter()
        .filter(|name| only.as_ref().is_none_or(|only| only.split(',').any(|one| one == name)))
        .collect();
    assert!(only.is_some() || names.len() >= 35, "only {} models", names.len());
    println!("{:<20} {:<4} {:<7} {:>9} {:>9} {:>6}", "model", "KV", "rows", "NRMSE", "limit", "top-1");
    let mut failures = Vec::new();
    for name in &names {
        let case = Case::read(name);
        let engine = Engine::load(&case.path, forced_device(0));
        for kv in if only.is_some() { &[KvType::F16][..] } else { &[KvType::F16, KvType::F32] } {
            let kv = *kv;
            for role in [Role::Prompt, Role::Decode] {
                let logits = match role {
                    Role::Prompt => engine.logits(role, kv, &[GOLDEN_ROWS]),
                    Role::Decode => engine.logits(role, kv, &[1; GOLDEN_ROWS]),
                };
                let (error, limit) = (case.error(&logits), case.limit(kv, role));
                let agreement = case.top_agreement(&logits);
                println!(
                    "{name:<20} {:<4} {:<7} {error:>9.2e} {limit:>9.1e} {agreement:>3}/{GOLDEN_ROWS}",
                    format!("{kv:?}"),
                    format!("{role:?}")
                );
                if error.is_nan() || error > limit {
                    failures.push(format!("{name}, {kv:?} KV, {role:?} rows: NRMSE {error:.3e} above {limit:.1e}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn scoring_through_the_model_gives_the_engine_s_logits() {
    for name in ["llama-f32", "gemma2-q4_k_m", "gpt2-f32", "gpt-oss-mxfp4_moe"] {
        let case = Case::read(name);
        let device = Device::open(-1, 2).unwrap();
        let model = Model::load(&case.path, device, &LoadOptions::default(), &mut |_| true).unwrap();
        for kv in [KvType::F16, KvType::F32] {
            let logits = model.score(&micro_tokens(), 0, ScoreKind::Logits, kv).unwrap();
            let error = case.error(&logits);
            assert!(error <= case.limit(kv, Role::Prompt), "{name}, {kv:?} KV: NRMSE {error:.3e}");
            let last = model.score(&micro_tokens(), GOLDEN_ROWS - 1, ScoreKind::Logits, kv).unwrap();
            assert_eq!(last, logits[logits.len() - last.len()..], "{name}: the last position alone");
        }
    }
}

#[test]
fn the_same_tokens_give_the_same_bits_whatever_the_threads_and_the_chunks() {
    for name in ["llama-q4_k_m", "qwen2-q8_0", "gemma3-q8_0", "gpt2-f32", "gpt-oss-mxfp4_moe"] {
        let path = Case::read(name).path;
        let one = Engine::load(&path, Device::open(-1, 1).unwrap());
        for role in [Role::Prompt, Role::Decode] {
            let expected = one.logits(role, KvType::F16, &[GOLDEN_ROWS]);
            for chunks in CHUNKS {
                assert!(
                    same_bits(&one.logits(role, KvType::F16, chunks), &expected),
                    "{name}, {role:?}: chunks {chunks:?}"
                );
            }
            for threads in [2, 3, 8] {
                let several = Engine::load(&path, Device::open(-1, threads).unwrap());
                assert!(
                    same_bits(&several.logits(role, KvType::F16, &[GOLDEN_ROWS]), &expected),
                    "{name}, {role:?}: {threads} threads"
                );
            }
            assert!(
                same_bits(&one.logits_in_company(role, KvType::F16), &expected),
                "{name}, {role:?}: in a shared batch"
            );
        }
    }
}

#[test]
fn every_kernel_path_of_this_machine_computes_the_golden_logits() {
    // Each tensor type once, and each piece of arithmetic that only some architectures have.
    let models = names()
        .into_iter()
        .filter(|name| {
            name.starts_with("llama-") || ["gpt-oss-mxfp4_moe", "gemma2-q8_0", "gpt2-q8_0"].contains(&name.as_str())
        })
        .collect::<Vec<_>>()
        .join(",");
    let best = best_kernel_path();
    let mut paths = if cfg!(target_arch = "aarch64") {
        vec!["scalar", "neon", "neon-dotprod"]
    } else {
        vec!["scalar", "avx2", "avx512", "avx512vnni", "avx512bf16", "amx"]
    };
    let known = paths.iter().position(|path| *path == best);
    // Beyond those that are listed: itself and the scalar one.
    match known {
        Some(index) => paths.truncate(index),
        None => paths.truncate(1),
    }
    for path in paths {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "every_model_computes_its_golden_logits", "--nocapture"])
            .env("WORKER_CPU_PATH", path)
            .env(ONLY, &models)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        println!("forced path {path}:\n{text}");
        assert!(output.status.success(), "{path}: {text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("1 passed"), "{path}: no test ran: {text}");
    }
}

#[test]
fn the_stories_are_told_as_recorded() {
    // The whole text where the stored weights decide it; up to a near-tie where rounding does.
    for (name, bytes) in [("f32", usize::MAX), ("f16", usize::MAX), ("q8_0", 290), ("q4_0", 370)] {
        let golden = std::fs::read_to_string(folder("goldens").join(format!("stories260K-{name}.txt"))).unwrap();
        let path = folder("models").join(format!("stories260K-{name}.gguf"));
        let model = Model::load(&path, Device::open(-1, 2).unwrap(), &LoadOptions::default(), &mut |_| true).unwrap();
        let told = greedy(&model, "Once upon a time", 200);
        // The recording ends with a line break of its own.
        let golden = golden.trim_end_matches('\n');
        let required = bytes.min(golden.len());
        let same = told.bytes().zip(golden.bytes()).take_while(|(told, golden)| told == golden).count();
        println!("stories260K-{name}: {same} bytes as recorded of {}, required {required}", golden.len());
        assert!(same >= required, "{name}: after {same} bytes\n{told}\ninstead of\n{golden}");
    }
}

/// A device with so many threads; 0: as many as this machine likes.
fn forced_device(threads: u32) -> Arc<Device> {
    Device::open(-1, threads).unwrap()
}

/// The kernel path that is chosen here when none is forced.
fn best_kernel_path() -> String {
    forced_device(1).information().unwrap().kernel_path
}

fn greedy(model: &Arc<Model>, prompt: &str, tokens: u32) -> String {
    let session = model
        .start(SessionRequest {
            prompt: Prompt::Text(prompt.to_owned()),
            maximum_tokens: tokens,
            sampling: SamplingOptions::greedy(),
            stop: Vec::new(),
            seed: None,
            logprobs: 0,
            constraint: None,
            deadline: None,
            ignore_end: false,
        })
        .unwrap();
    let mut text = prompt.to_owned();
    loop {
        match session.next(Some(Duration::from_secs(60))).unwrap() {
            Next::Event(Event::Token { text: piece, .. }) => text.push_str(&piece),
            Next::Event(Event::End { reason, .. }) => {
                assert!(matches!(reason, EndReason::MaximumTokens | EndReason::EndOfText), "{reason:?}");
                return text;
            }
            Next::TimedOut => panic!("no token within a minute"),
        }
    }
}

fn same_bits(left: &[f32], right: &[f32]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.to_bits() == right.to_bits())
}
