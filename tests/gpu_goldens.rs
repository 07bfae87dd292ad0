//! Whole models on GPU 0, in the tests' build an emulated one, which runs the very kernels as C++: the goldens again, the
//! choice of tokens there, and what is left after failures.
//!
//! Needs a build with a GPU: `cargo test --features emulated-gpu --target-dir target/emulated --test gpu_goldens`.

#[path = "gpu_goldens/faults.rs"]
mod faults;
mod golden_models;
#[path = "gpu_goldens/sampling.rs"]
mod sampling;

use std::sync::{Arc, RwLock};

use golden_models::{names, Case, Engine, CHUNKS, GOLDEN_ROWS};
use worker::engine::{Device, DeviceKind, KvType, Role};

/// The emulated machine is one for the process: tests that break it are alone.
static MACHINE: RwLock<()> = RwLock::new(());

fn gpu() -> Arc<Device> {
    let device = Device::open(0, 0).unwrap();
    assert_eq!(device.information().unwrap().kind, DeviceKind::Gpu);
    device
}

fn same_bits(left: &[f32], right: &[f32]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.to_bits() == right.to_bits())
}

#[test]
fn every_model_computes_its_golden_logits() {
    let _whole = MACHINE.read();
    let names = names();
    assert!(names.len() >= 35, "only {} models", names.len());
    println!("{:<20} {:<4} {:>9} {:>9} {:>6} {:>9}", "model", "KV", "NRMSE", "limit", "top-1", "as CPU");
    let cpu = Device::open(-1, 2).unwrap();
    let mut failures = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let case = Case::read(name);
        let (engine, on_cpu) = (Engine::load(&case.path, gpu()), Engine::load(&case.path, Arc::clone(&cpu)));
        // Each kind of cache for some: the rows are few, and the emulation slow.
        let kind = [KvType::F16, KvType::F32][index % 2];
        let logits = engine.logits(Role::Prompt, kind, &[GOLDEN_ROWS]);
        let reference = on_cpu.logits(Role::Prompt, kind, &[GOLDEN_ROWS]);
        let (error, limit, agreement) =
            (case.error(&logits), case.limit(kind, Role::Prompt), case.top_agreement(&logits));
        let same = logits.iter().zip(&reference).filter(|(left, right)| left.to_bits() == right.to_bits()).count();
        println!(
            "{name:<20} {:<4} {error:>9.2e} {limit:>9.1e} {agreement:>3}/{GOLDEN_ROWS} {:>8.1}%",
            format!("{kind:?}"),
            same as f64 * 100.0 / logits.len() as f64
        );
        if error.is_nan() || error > limit {
            failures.push(format!("{name}, {kind:?} KV: NRMSE {error:.3e} above {limit:.1e}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn the_same_tokens_give_the_same_bits_whatever_the_batch_the_chunks_and_the_roles() {
    let _whole = MACHINE.read();
    for name in ["llama-q4_k_m", "gemma3-q8_0", "gpt2-q8_0", "gpt-oss-mxfp4_moe"] {
        let engine = Engine::load(&Case::read(name).path, gpu());
        let expected = engine.logits(Role::Prompt, KvType::F16, &[GOLDEN_ROWS]);
        for chunks in &CHUNKS[1..3] {
            let logits = engine.logits(Role::Prompt, KvType::F16, chunks);
            assert!(same_bits(&logits, &expected), "{name}: chunks {chunks:?}");
        }
        // On a GPU both roles have one arithmetic.
        assert!(same_bits(&engine.logits(Role::Decode, KvType::F16, &[GOLDEN_ROWS]), &expected), "{name}: decode rows");
        assert!(
            same_bits(&engine.logits_in_company(Role::Prompt, KvType::F16), &expected),
            "{name}: in a shared batch"
        );
    }
}

#[test]
fn a_cache_of_eight_bits_costs_little() {
    let _whole = MACHINE.read();
    for name in ["llama-q8_0", "gemma2-q8_0"] {
        let case = Case::read(name);
        let logits = Engine::load(&case.path, gpu()).logits(Role::Prompt, KvType::Q8_0, &[GOLDEN_ROWS]);
        let on_cpu = Engine::load(&case.path, Device::open(-1, 2).unwrap());
        let reference = case.error(&on_cpu.logits(Role::Prompt, KvType::Q8_0, &[GOLDEN_ROWS]));
        let error = case.error(&logits);
        println!("{name}: NRMSE {error:.2e}, {reference:.2e} on the CPU");
        assert!(error > 0.0 && error < 1.5 * reference, "{name}: {error:.2e}, {reference:.2e} on the CPU");
    }
}
