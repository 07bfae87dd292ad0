//! What a failed batch leaves behind: a device and a model that work, unless the failure was the device's end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use worker::engine::emulated::{self, status};
use worker::engine::{Device, KvCache, KvType, LoadMode, Output, ResidencyPolicy, Role, Row, Sampling, Weights};
use worker::error::{Code, Result};
use worker::inference::sampling::Sampler;
use worker::inference::SamplingOptions;
use worker::model::{describe, GgufFile};

use crate::golden_models::{micro_tokens, Case};
use crate::{gpu, same_bits, MACHINE};

fn load(name: &str, device: &Arc<Device>) -> Result<Arc<Weights>> {
    let file = GgufFile::open(&Case::read(name).path, worker::model::LoadMode::Map).unwrap();
    let (description, tensors) = describe(&file).unwrap();
    let (mode, policy) = (LoadMode::Map, ResidencyPolicy::Verify);
    Weights::load(device, &description, &tensors, file.mapping.clone(), mode, policy, &mut |_, _| true).map(Arc::new)
}

/// A cache, and what rows of every kind of output give with it.
fn run(weights: &Arc<Weights>) -> Result<(Vec<f32>, Vec<u32>)> {
    let cache = KvCache::new(weights, 2, KvType::F16)?;
    let outputs = [Output::None, Output::Hidden, Output::Logits, Output::Token, Output::Logits];
    let rows: Vec<Row> = micro_tokens()
        .into_iter()
        .zip(0..)
        .take(20)
        .map(|(token, position)| Row {
            token,
            position,
            sequence: 0,
            role: Role::Prompt,
            output: outputs[position as usize % outputs.len()],
        })
        .collect();
    let mut floats = vec![f32::NAN; rows.iter().map(|row| row.output.floats(weights)).sum()];
    let tokens = rows.iter().filter(|row| row.output == Output::Token).count() as u64;
    let sampling = |index| Sampler::new(SamplingOptions::default(), index, &[1, 2]).parameters(None);
    let samplings: Vec<Sampling> = (0..tokens).map(sampling).collect();
    let cancel = AtomicU32::new(0);
    let chosen = weights.forward_and_sample(&cache, &rows, &[&[0, 1]], &samplings, &cancel, &mut floats)?;
    Ok((floats, chosen.into_iter().collect::<Result<_>>()?))
}

fn assert_same(found: &(Vec<f32>, Vec<u32>), expected: &(Vec<f32>, Vec<u32>), when: &str) {
    assert!(same_bits(&found.0, &expected.0) && found.1 == expected.1, "{when}");
}

#[test]
fn no_memory_at_any_allocation_leaves_the_device_usable_and_nothing_behind() {
    let _alone = MACHINE.write();
    emulated::reset();
    let expected = run(&load("gpt2-q8_0", &gpu()).unwrap()).unwrap();
    for from_then_on in [false, true] {
        let device = gpu();
        device.check_health().unwrap();
        let before = device.memory();
        let requests = || emulated::census().memory_requests;
        let at_start = requests();
        drop(run(&load("gpt2-q8_0", &device).unwrap()).unwrap());
        let needed = requests() - at_start;
        assert!(needed >= 3, "weights, cache and scratch take memory; {needed} requests were made");
        for successes in 0..needed {
            emulated::fail("memory", successes as i64, status::OUT_OF_MEMORY, from_then_on);
            let result = load("gpt2-q8_0", &device).and_then(|weights| run(&weights));
            emulated::reset();
            let error = result.unwrap_err();
            assert_eq!(error.code, Code::OutOfMemory, "after {successes}: {error}");
            assert_eq!(device.memory(), before, "after {successes}");
            let again = run(&load("gpt2-q8_0", &device).unwrap()).unwrap();
            assert_same(&again, &expected, &format!("after no memory at allocation {successes}"));
        }
    }
}

#[test]
fn a_kernel_that_cannot_be_started_fails_its_batch_alone() {
    let _alone = MACHINE.write();
    emulated::reset();
    let weights = load("gpt-oss-mxfp4_moe", &gpu()).unwrap();
    let started = emulated::census().launches;
    let expected = run(&weights).unwrap();
    let launches = emulated::census().launches - started;
    println!("{launches} kernels for a batch");
    assert!(launches > 20, "{launches}");
    const OUT_OF_RESOURCES: i32 = 701;
    for successes in (0..launches).step_by(13).chain([launches - 1]) {
        emulated::fail("launch", successes as i64, OUT_OF_RESOURCES, false);
        let error = run(&weights).unwrap_err();
        assert_eq!(error.code, Code::KernelLaunchFailed, "after {successes}: {error}");
    }
    emulated::reset();
    assert_same(&run(&weights).unwrap(), &expected, "after launches that failed");
}

#[test]
fn a_copy_that_fails_fails_its_batch_alone() {
    let _alone = MACHINE.write();
    emulated::reset();
    let weights = load("llama-q4_0", &gpu()).unwrap();
    let expected = run(&weights).unwrap();
    let mut failures = 0;
    for successes in 0.. {
        const INVALID_VALUE: i32 = 1;
        emulated::fail("copy", successes, INVALID_VALUE, false);
        let result = run(&weights);
        emulated::reset();
        match result {
            Ok(found) => {
                assert_same(&found, &expected, "when no copy failed");
                break;
            }
            Err(error) => assert_eq!(error.code, Code::InferenceFailed, "{error}"),
        }
        failures += 1;
    }
    assert!(failures >= 3, "inputs, outputs and tokens are copied, and only {failures} copies failed");
}

#[test]
fn a_broken_device_fails_every_batch_and_everything_can_still_be_freed() {
    let _alone = MACHINE.write();
    emulated::reset();
    let device = gpu();
    let weights = load("llama-q4_0", &device).unwrap();
    run(&weights).unwrap();
    emulated::lose_device(0, status::ILLEGAL_ADDRESS);
    for _ in 0..2 {
        let error = run(&weights).unwrap_err();
        assert!([Code::KernelLaunchFailed, Code::InferenceFailed, Code::OutOfMemory].contains(&error.code), "{error}");
        assert!(error.detail.contains("illegal") || error.detail.contains("700"), "{error}");
    }
    assert!(device.check_health().is_err());
    drop((weights, device));
    emulated::reset();
    run(&load("llama-q4_0", &gpu()).unwrap()).unwrap();
}

#[test]
fn a_cancelled_batch_stops_and_the_next_one_runs() {
    let _alone = MACHINE.write();
    emulated::reset();
    let weights = load("llama-q8_0", &gpu()).unwrap();
    let expected = run(&weights).unwrap();
    let cache = KvCache::new(&weights, 2, KvType::F16).unwrap();
    let rows: Vec<Row> = micro_tokens()
        .into_iter()
        .zip(0..)
        .map(|(token, position)| Row { token, position, sequence: 0, role: Role::Prompt, output: Output::None })
        .collect();
    let cancel = AtomicU32::new(0);
    let started = emulated::census().launches;
    weights.forward(&cache, &rows, &[&[0, 1]], &cancel, &mut []).unwrap();
    let whole = emulated::census().launches - started;
    // From another thread, while the batch runs: fewer kernels are started.
    let started = emulated::census().launches;
    let error = std::thread::scope(|scope| {
        let batch = scope.spawn(|| weights.forward(&cache, &rows, &[&[0, 1]], &cancel, &mut []));
        while emulated::census().launches < started + 2 {
            std::thread::yield_now();
        }
        cancel.store(1, Ordering::Release);
        batch.join().unwrap().unwrap_err()
    });
    assert_eq!(error.code, Code::Cancelled);
    let launches = emulated::census().launches - started;
    assert!(launches < whole, "{launches} of {whole}");
    assert_same(&run(&weights).unwrap(), &expected, "after a batch that was cancelled");
}
